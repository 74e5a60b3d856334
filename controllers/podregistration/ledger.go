package podregistration

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/rollcall-dev/rollcall/controllers/podregistration/roster"
	"github.com/rollcall-dev/rollcall/discovery"
)

// ledger knows the plans and what each pod has of them. It is safe for concurrent use, and calls nobody.
type ledger struct {
	mu    sync.Mutex
	plans map[types.NamespacedName]*plan
	pods  map[types.NamespacedName]*account
	// uids are those of the pods in pods.
	uids map[types.UID]types.NamespacedName
	// epoch counts the changes of plans. pending are the pods that are to be looked at, by namespace, each with the epoch
	// of the plans that it is to be looked at with: to have been looked at with older ones does not count.
	epoch   uint64
	pending map[string]map[types.NamespacedName]uint64
	// listed says that expected has been filled: the PodRegistrations that there were at start, less those in seen, which
	// have been reconciled.
	listed         bool
	expected, seen sets.Set[types.NamespacedName]
}

// account is what a pod has.
type account struct {
	uid types.UID
	// outcomes are those of the plans that match the pod, by the name of the PodRegistration.
	outcomes map[string]outcome
	// gated says that the pod waits for being registered.
	gated bool
}

// outcome is what a plan makes of a pod.
type outcome struct {
	// registry and claim are set if the pod is to be registered.
	registry types.NamespacedName
	claim    *roster.Claim
	// fault is why it can't be; nil if nothing is wrong.
	fault *fault
	// deferred says that the plan does not register anything yet.
	deferred bool
}

func newLedger() *ledger {
	return &ledger{
		plans: map[types.NamespacedName]*plan{}, pods: map[types.NamespacedName]*account{}, uids: map[types.UID]types.NamespacedName{},
		pending: map[string]map[types.NamespacedName]uint64{}, expected: sets.New[types.NamespacedName](), seen: sets.New[types.NamespacedName](),
	}
}

// plan returns a PodRegistration's plan, nil if it has none.
func (l *ledger) plan(name types.NamespacedName) *plan {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.plans[name]
}

// put takes over a plan, with the pods of its namespace that are to be looked at for that; nil says that the
// PodRegistration is gone.
func (l *ledger) put(name types.NamespacedName, p *plan, pods []types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p == nil {
		delete(l.plans, name)
	} else {
		l.plans[name] = p
	}
	l.epoch++
	waiting := l.pending[name.Namespace]
	if waiting == nil {
		waiting = map[types.NamespacedName]uint64{}
		l.pending[name.Namespace] = waiting
	}
	for _, pod := range pods {
		waiting[pod] = l.epoch
	}
}

// known returns the pods of a namespace that have an account.
func (l *ledger) known(namespace string) []types.NamespacedName {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []types.NamespacedName
	for name := range l.pods {
		if name.Namespace == namespace {
			names = append(names, name)
		}
	}
	return names
}

// plansOf returns the plans of a namespace, in the order of their names, and the epoch.
func (l *ledger) plansOf(namespace string) (all []*plan, epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, p := range l.plans {
		if name.Namespace == namespace {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *plan) int { return strings.Compare(a.name.Name, b.name.Name) })
	return all, l.epoch
}

// exchange gives a pod another account, nil for none, and returns the one it had.
func (l *ledger) exchange(pod types.NamespacedName, next *account) *account {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.pods[pod]
	if old != nil {
		delete(l.uids, old.uid)
	}
	if next == nil {
		delete(l.pods, pod)
		return old
	}
	l.pods[pod] = next
	l.uids[next.uid] = pod
	return old
}

// looked notes that a pod has been looked at with the plans of that epoch.
func (l *ledger) looked(pod types.NamespacedName, epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending[pod.Namespace][pod] <= epoch {
		delete(l.pending[pod.Namespace], pod)
	}
}

// expect says which PodRegistrations there were at start.
func (l *ledger) expect(names []types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listed = true
	l.expected = sets.New(names...).Difference(l.seen)
	l.seen = nil
}

// reconciled notes that a PodRegistration has a plan, or is gone.
func (l *ledger) reconciled(name types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.listed {
		l.seen.Insert(name)
	}
	l.expected.Delete(name)
}

// settled reports whether there is a plan of every PodRegistration, and every pod of the namespace has been looked at with
// them.
func (l *ledger) settled(namespace string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.listed && l.expected.Len() == 0 && len(l.pending[namespace]) == 0
}

// settledFor is settled for the namespace of a registry, and reports besides whether all plans for that registry are in
// force.
func (l *ledger) settledFor(registry types.NamespacedName) bool {
	if !l.settled(registry.Namespace) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.plans {
		if p.registry == registry && p.deferred {
			return false
		}
	}
	return true
}

// standing says whose an entry with that owner is, as a registry sees it: this registry's if what registered it is, or,
// where that is not known, if its pod is one of the registry's namespace. What a PodRegistration registered that can't be
// used now is left alone.
func (l *ledger) standing(registry types.NamespacedName, owner *discovery.Owner) roster.Standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.plans {
		switch {
		case string(p.uid) != owner.Registration:
		case p.refused, p.registry != registry:
			return roster.Elsewhere
		default:
			return roster.Ours
		}
	}
	switch pod, found := l.uids[types.UID(owner.UID)]; {
	case !found:
		return roster.Unknown
	case pod.Namespace != registry.Namespace:
		return roster.Elsewhere
	}
	return roster.Ours
}

// gated reports whether a pod waits for being registered.
func (l *ledger) gated(pod types.NamespacedName) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.pods[pod]
	return a != nil && a.gated
}

// result is what became of one pod that a PodRegistration matches.
type result struct {
	pod types.NamespacedName
	outcome
}

// resultsOf returns what became of the pods that a PodRegistration matches.
func (l *ledger) resultsOf(name types.NamespacedName) []result {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []result
	for pod, a := range l.pods {
		if pod.Namespace != name.Namespace {
			continue
		}
		if o, matched := a.outcomes[name.Name]; matched {
			all = append(all, result{pod: pod, outcome: o})
		}
	}
	return all
}

// difference returns per registry what is to be taken back and what is to be claimed when a pod goes from one account to
// another; either may be nil.
func difference(old, next *account) map[types.NamespacedName]update {
	updates := map[types.NamespacedName]update{}
	if next != nil {
		for _, name := range slices.Sorted(maps.Keys(next.outcomes)) {
			if o := next.outcomes[name]; o.claim != nil {
				u := updates[o.registry]
				u.claims = append(u.claims, *o.claim)
				updates[o.registry] = u
			}
		}
	}
	if old == nil {
		return updates
	}
	for name, o := range old.outcomes {
		if o.claim == nil || (next != nil && next.claims(name, o)) {
			continue
		}
		u := updates[o.registry]
		u.release = append(u.release, o.claim.ID)
		updates[o.registry] = u
	}
	return updates
}

// update is what a Roster is told.
type update struct {
	release []roster.ID
	claims  []roster.Claim
}

// claims reports whether the account goes on with a claim.
func (a *account) claims(name string, o outcome) bool {
	next := a.outcomes[name]
	return next.claim != nil && next.registry == o.registry && next.claim.ID == o.claim.ID
}
