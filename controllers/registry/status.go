package registry

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/discovery"
)

// patience is how long a connection may be away, or a listing take, before the status says so. A shorter interruption is
// over before anybody could act on it.
const patience = 2 * time.Second

// observation is what there is to know of a registry at one moment.
type observation struct {
	suspended bool
	session   sessionState
	mirror    mirror.State
	now       time.Time
}

// unsettled returns how much longer to wait before the status says that something is wrong; zero or less: it is time.
func (o *observation) unsettled() time.Duration {
	if o.suspended || (o.session.connected && o.mirror.Reading) || o.session.bucketErr != nil {
		return 0
	}
	since := o.mirror.Since
	if !o.session.connected {
		since = o.session.since
	}
	return patience - o.now.Sub(since)
}

// statusOf returns the status that says what was observed, carrying on the transition times of the old one.
func statusOf(registry *rollcallv1alpha1.NodeRegistry, o *observation) rollcallv1alpha1.NodeRegistryStatus {
	status := *registry.Status.DeepCopy()
	status.ObservedGeneration = registry.Generation
	conditions := []metav1.Condition{o.connected(), o.synced(), o.degraded()}
	conditions = append(conditions, ready(conditions))
	for _, condition := range conditions {
		condition.ObservedGeneration = registry.Generation
		condition.LastTransitionTime = metav1.NewTime(o.now.Truncate(time.Second))
		meta.SetStatusCondition(&status.Conditions, condition)
	}
	status.Nodes = countsOf(o.mirror.Nodes)
	if b := &o.mirror.Bucket; b.Name != "" {
		status.Bucket = bucketOf(b)
	}
	if !o.mirror.LastSync.IsZero() {
		synced := metav1.NewTime(o.mirror.LastSync.Truncate(time.Second))
		status.LastSyncTime = &synced
	}
	return status
}

func condition(kind string, status bool, reason, message string) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
	if status {
		c.Status = metav1.ConditionTrue
	}
	return c
}

func (o *observation) connected() metav1.Condition {
	const kind = rollcallv1alpha1.ConditionConnected
	s := &o.session
	switch {
	case o.suspended:
		return condition(kind, false, rollcallv1alpha1.ReasonSuspended, "spec.suspend is set: the last known state stands")
	case s.connected:
		return condition(kind, true, rollcallv1alpha1.ReasonConnected, "the connection to NATS is up")
	case s.ever:
		return condition(kind, false, rollcallv1alpha1.ReasonConnectionLost, because("the connection to NATS was lost and is being made again", s.connectErr))
	case s.connectErr != nil:
		return condition(kind, false, rollcallv1alpha1.ReasonConnectionFailed, because("no NATS server answers", s.connectErr))
	default:
		return condition(kind, false, rollcallv1alpha1.ReasonConnecting, "connecting to NATS")
	}
}

func (o *observation) synced() metav1.Condition {
	const kind = rollcallv1alpha1.ConditionSynced
	switch {
	case o.suspended:
		return condition(kind, false, rollcallv1alpha1.ReasonSuspended, "spec.suspend is set: the last known state stands")
	case o.mirror.Reading:
		return condition(kind, true, rollcallv1alpha1.ReasonListed, "the bucket was listed completely and is being watched")
	case !o.session.connected:
		return condition(kind, false, rollcallv1alpha1.ReasonNotListed, "there is no connection to NATS: the last known state stands")
	case errors.Is(o.session.bucketErr, discovery.ErrBucketNotFound):
		return condition(kind, false, rollcallv1alpha1.ReasonBucketNotFound, "the bucket does not exist, and spec.bucket.creationPolicy is Never")
	case o.session.bucketErr != nil:
		return condition(kind, false, rollcallv1alpha1.ReasonBucketError, because("the bucket can't be opened", o.session.bucketErr))
	case o.mirror.Err != nil:
		return condition(kind, false, rollcallv1alpha1.ReasonBucketError, because("the bucket can't be watched", o.mirror.Err))
	default:
		return condition(kind, false, rollcallv1alpha1.ReasonListing, "the bucket is being listed")
	}
}

func (o *observation) degraded() metav1.Condition {
	const kind = rollcallv1alpha1.ConditionDegraded
	switch settings := o.settings(); {
	case o.mirror.Guard:
		return condition(kind, true, rollcallv1alpha1.ReasonExpiryGuard, fmt.Sprintf(
			"%d nodes are past their TTL, more than maxExpiredPercent allows, and are kept: find out what cuts them off, or annotate with %s=true to let them go",
			o.mirror.Held, rollcallv1alpha1.AnnotationAcceptExpiry))
	case settings != "":
		return condition(kind, true, rollcallv1alpha1.ReasonBucketSettings, settings)
	default:
		return condition(kind, false, rollcallv1alpha1.ReasonAsExpected, "there is no restriction")
	}
}

// settings says how the bucket differs from the spec; empty if it does not. An existing bucket is never altered.
func (o *observation) settings() string {
	if len(o.session.differences) == 0 {
		return ""
	}
	parts := make([]string, 0, len(o.session.differences))
	for _, d := range o.session.differences {
		parts = append(parts, fmt.Sprintf("%s is %s, not %s", d.Setting, d.Got, d.Want))
	}
	return "the bucket exists with other settings, which are in force: " + strings.Join(parts, "; ")
}

// ready summarises the other conditions: it is as the first of them that is not as it should be.
func ready(conditions []metav1.Condition) metav1.Condition {
	for _, c := range conditions {
		broken := c.Status != metav1.ConditionTrue
		if c.Type == rollcallv1alpha1.ConditionDegraded {
			// Other settings are worth a warning, but everything works.
			broken = c.Reason == rollcallv1alpha1.ReasonExpiryGuard
		}
		if broken {
			return condition(rollcallv1alpha1.ConditionReady, false, c.Reason, c.Message)
		}
	}
	return condition(rollcallv1alpha1.ConditionReady, true, rollcallv1alpha1.ReasonReady, "the bucket is mirrored")
}

func because(what string, err error) string {
	if err == nil {
		return what
	}
	return what + ": " + err.Error()
}

func countsOf(phases map[rollcallv1alpha1.NodePhase]int) *rollcallv1alpha1.NodeCounts {
	of := func(phase rollcallv1alpha1.NodePhase) int32 { return int32(phases[phase]) }
	counts := &rollcallv1alpha1.NodeCounts{
		Ready: of(rollcallv1alpha1.NodeReady), Stale: of(rollcallv1alpha1.NodeStale), Draining: of(rollcallv1alpha1.NodeDraining),
		Expired: of(rollcallv1alpha1.NodeExpired), Invalid: of(rollcallv1alpha1.NodeInvalid),
	}
	counts.Total = counts.Ready + counts.Stale + counts.Draining + counts.Expired + counts.Invalid
	return counts
}

func bucketOf(b *discovery.Bucket) *rollcallv1alpha1.BucketStatus {
	storage := rollcallv1alpha1.StorageFile
	if b.Storage == jetstream.MemoryStorage {
		storage = rollcallv1alpha1.StorageMemory
	}
	return &rollcallv1alpha1.BucketStatus{
		Revision: int64(b.Revision),
		Storage:  storage, TTL: &metav1.Duration{Duration: b.TTL},
		History: int32(b.History),
		Markers: b.Markers, ServerVersion: b.ServerVersion,
	}
}

// sameBut compares two statuses. firm says that they differ in nothing but what moves all the time, the bucket's revision
// and the time of the last listing; exact that not even these differ.
func sameBut(a, b rollcallv1alpha1.NodeRegistryStatus) (firm, exact bool) {
	exact = equality.Semantic.DeepEqual(a, b)
	a.LastSyncTime = b.LastSyncTime
	if a.Bucket != nil && b.Bucket != nil {
		bucket := *a.Bucket
		bucket.Revision = b.Bucket.Revision
		a.Bucket = &bucket
	}
	return equality.Semantic.DeepEqual(a, b), exact
}
