package podregistration

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/podregistration/roster"
)

const (
	// pace is the least time between two looks at all pods of one PodRegistration for its status.
	pace = 2 * time.Second
	// patience is how long the registry may be away before the status says so.
	patience = 3 * time.Second
)

// summary is what became of the pods of one PodRegistration.
type summary struct {
	matched, wanted, registered, conflicts, failed int32
	// first is the trouble of the pod that comes first by name, pod its name.
	pod   string
	first *fault
}

// writeStatus writes the status if it says anything new; wrong is what is wrong with the spec.
func (c *Controller) writeStatus(ctx context.Context, p *rollcallv1alpha1.PodRegistration, wrong *fault) (ctrl.Result, error) {
	name := client.ObjectKeyFromObject(p)
	if wait := c.paces.wait(name, p.Generation != p.Status.ObservedGeneration); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	info := roster.Info{}
	if current := c.ledger.plan(name); current != nil {
		info = c.roster(current.registry).Info()
	}
	s := c.summarize(name)
	if wrong == nil {
		if wrong = away(&info); wrong != nil && c.paces.patient(name) && len(p.Status.Conditions) > 0 {
			return ctrl.Result{RequeueAfter: patience / 3}, nil
		}
	}
	if wrong == nil {
		c.paces.reached(name)
	}
	status := statusOf(p, s, wrong, &info)
	if equality.Semantic.DeepEqual(status, p.Status) {
		return ctrl.Result{}, nil
	}
	before := p.DeepCopy()
	p.Status = status
	if err := c.client.Status().Patch(ctx, p, client.MergeFrom(before)); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	c.announce(p, &before.Status)
	return ctrl.Result{}, nil
}

// away says that the registry's bucket can't be used; nil if it can.
func away(info *roster.Info) *fault {
	if info.Synced && info.Err == nil {
		return nil
	}
	return faulty(rollcallv1alpha1.ReasonRegistryNotReady, "the NodeRegistry has no working connection to its bucket: its own conditions say why")
}

// summarize counts what became of the pods.
func (c *Controller) summarize(name types.NamespacedName) *summary {
	s := &summary{}
	for _, r := range c.ledger.resultsOf(name) {
		s.matched++
		if r.claim != nil {
			s.wanted++
			if c.roster(r.registry).State(r.claim.ID).Live {
				s.registered++
			}
		}
		wrong := c.trouble(r.outcome)
		if wrong == nil {
			continue
		}
		if wrong.conflict() {
			s.conflicts++
		} else {
			s.failed++
		}
		// A conflict comes before anything else.
		if s.first == nil || (wrong.conflict() && !s.first.conflict()) || (wrong.conflict() == s.first.conflict() && r.pod.Name < s.pod) {
			s.pod, s.first = r.pod.Name, wrong
		}
	}
	return s
}

func (f *fault) conflict() bool {
	return f.reason == rollcallv1alpha1.ReasonConflict || f.reason == rollcallv1alpha1.ReasonClusterNameConflict
}

// statusOf returns the status that says so.
func statusOf(p *rollcallv1alpha1.PodRegistration, s *summary, wrong *fault, info *roster.Info) rollcallv1alpha1.PodRegistrationStatus {
	status := *p.Status.DeepCopy()
	status.ObservedGeneration = p.Generation
	status.Matched, status.Conflicts = s.matched, s.conflicts
	if wrong == nil || wrong.reason != rollcallv1alpha1.ReasonRegistryNotReady {
		// How many there are in a bucket that can't be read is not known anew.
		status.Registered = s.registered
	}
	ready := metav1.Condition{Type: rollcallv1alpha1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: p.Generation}
	if wrong == nil {
		wrong = s.verdict(info)
	}
	ready.Reason, ready.Message = wrong.reason, bounded(wrong.message)
	if wrong.reason == rollcallv1alpha1.ReasonRegistered {
		ready.Status = metav1.ConditionTrue
	}
	ready.LastTransitionTime = metav1.NewTime(time.Now().Truncate(time.Second))
	meta.SetStatusCondition(&status.Conditions, ready)
	return status
}

// verdict says how far the pods have come, where nothing is wrong with the whole.
func (s *summary) verdict(info *roster.Info) *fault {
	switch {
	case info.Namesake != "":
		return faulty(rollcallv1alpha1.ReasonClusterNameConflict,
			"another cluster that uses the bucket has the same name as this one: it keeps the entry %q alive; give every cluster a --cluster-name of its own", info.Namesake)
	case s.first != nil && s.first.conflict():
		return faulty(s.first.reason, "%s can't be registered, the first is %s: %s", podsText(s.conflicts), s.pod, s.first.message)
	case s.first != nil:
		return faulty(rollcallv1alpha1.ReasonRegistrationFailed, "%s can't be registered, the first is %s: %s", podsText(s.failed), s.pod, s.first.message)
	case s.registered < s.wanted:
		return faulty(rollcallv1alpha1.ReasonNotReady, "%s are being registered", podsText(s.wanted-s.registered))
	}
	return faulty(rollcallv1alpha1.ReasonRegistered, "every pod that is Ready is in the bucket")
}

func podsText(n int32) string {
	if n == 1 {
		return "1 pod"
	}
	return fmt.Sprintf("%d pods", n)
}

// announce reports an Event if another reason holds for now.
func (c *Controller) announce(p *rollcallv1alpha1.PodRegistration, before *rollcallv1alpha1.PodRegistrationStatus) {
	now := meta.FindStatusCondition(p.Status.Conditions, rollcallv1alpha1.ConditionReady)
	was := meta.FindStatusCondition(before.Conditions, rollcallv1alpha1.ConditionReady)
	if now.Reason == rollcallv1alpha1.ReasonNotReady || (was != nil && was.Reason == now.Reason) {
		return
	}
	kind := corev1.EventTypeWarning
	if now.Status == metav1.ConditionTrue {
		kind = corev1.EventTypeNormal
	}
	c.recorder.Eventf(p, nil, kind, now.Reason, "Observe", "%s", now.Message)
}

// paces knows when each status was looked at last, and since when its registry is away. It is safe for concurrent use.
type paces struct {
	mu   sync.Mutex
	at   map[types.NamespacedName]time.Time
	away map[types.NamespacedName]time.Time
}

// wait returns how long to wait before a status is looked at; with urgent, or if its time has come, zero.
func (p *paces) wait(name types.NamespacedName, urgent bool) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if rest := p.at[name].Add(pace).Sub(now); rest > 0 && !urgent {
		return rest
	}
	p.at[name] = now
	return 0
}

// patient reports whether the registry has been away for no longer than may pass unsaid.
func (p *paces) patient(name types.NamespacedName) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away == nil {
		p.away = map[types.NamespacedName]time.Time{}
	}
	since, known := p.away[name]
	if !known {
		since = time.Now()
		p.away[name] = since
	}
	return time.Since(since) < patience
}

func (p *paces) reached(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.away, name)
}

func (p *paces) forget(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.at, name)
	delete(p.away, name)
}
