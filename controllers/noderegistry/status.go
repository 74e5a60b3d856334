package noderegistry

import (
	"errors"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/natsconn"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// patience is how long nobody may answer, or a listing take, before the status says so. A shorter interruption is over before
// anybody could act on it, and so is a restart of the manager that finds its servers.
const patience = 2 * time.Second

// observation is what there is to know of a registry at one moment.
type observation struct {
	// registry is the name of the registry.
	registry  types.NamespacedName
	suspended bool
	record    recordFault
	// spec is what is asked for.
	spec    *rollcallv1alpha1.NodeRegistrySpec
	session sessionState
	mirror  mirror.State
	// problems counts the nodes that a person should look at, with the view Problems, and notShown those without an object.
	problems, notShown int
	// viewRefused says what the API server refuses of the DiscoveredNodes, and viewDisputed what somebody changes back; empty: nothing.
	viewRefused, viewDisputed string
	contest                   contest
	now                       time.Time
}

// contest is how many Services with nodes of the registry somebody else writes as well, and what the condition of one of them says.
type contest struct {
	services        int
	example, remark string
}

// recordFault is what is wrong with spec.record; its zero value: nothing.
type recordFault struct {
	// err says why it can't be used, nil if it can.
	err error
	// survived is true if the last valid one is in force instead.
	survived bool
}

// invalid says why nothing can be read, for spec.record can't be used and no other is known; nil if it can.
func (o *observation) invalid() error {
	if o.record.survived {
		return nil
	}
	return o.record.err
}

// untold returns how much longer to wait before the status says that something is wrong; zero or less: it is time. An answer
// that refuses is told at once, only silence has patience.
func (o *observation) untold() time.Duration {
	link := &o.session.link
	switch {
	case o.suspended, o.invalid() != nil, link.Connected && o.mirror.Reading:
		return 0
	case !link.Connected:
		if link.Trouble.Answer {
			return 0
		}
		return patience - o.now.Sub(link.Since)
	case refuses(o.session.bucketErr), refuses(o.mirror.Err), o.denied() != "":
		return 0
	}
	return patience - o.now.Sub(o.mirror.Since)
}

// within returns when to look again, at the latest after d: nobody tells that a denial is over.
func (o *observation) within(d time.Duration) time.Duration {
	if o.denied() != "" {
		return min(d, patience)
	}
	return d
}

// statusOf returns the status that says what was observed, carrying on the transition times of the old one.
func statusOf(registry *rollcallv1alpha1.NodeRegistry, o *observation) rollcallv1alpha1.NodeRegistryStatus {
	status := *registry.Status.DeepCopy()
	status.ObservedGeneration = registry.Generation
	conditions := []metav1.Condition{o.connected(), o.synced(), o.degraded()}
	conditions = append(conditions, ready(conditions), o.bucketAsRequested())
	for _, condition := range conditions {
		condition.ObservedGeneration = registry.Generation
		condition.LastTransitionTime = metav1.NewTime(o.now.Truncate(time.Second))
		meta.SetStatusCondition(&status.Conditions, condition)
	}
	status.Held = heldStatus(o.mirror.Held)
	status.Nodes = countsOf(&o.mirror)
	status.Nodes.Problems, status.Nodes.NotShown = int32(o.problems), int32(o.notShown)
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
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: record.Note(message)}
	if status {
		c.Status = metav1.ConditionTrue
	}
	return c
}

func (o *observation) connected() metav1.Condition {
	const kind = rollcallv1alpha1.ConditionConnected
	switch link := &o.session.link; {
	case o.suspended:
		return condition(kind, false, rollcallv1alpha1.ReasonSuspended, "spec.suspend is set: the last known state stands")
	case o.invalid() != nil:
		return condition(kind, false, rollcallv1alpha1.ReasonInvalidExpression, "the last known state stands: "+o.invalid().Error())
	case link.Connected:
		return condition(kind, true, rollcallv1alpha1.ReasonConnected, "the connection to NATS is up")
	default:
		return condition(kind, false, link.Trouble.Reason, link.Trouble.Message)
	}
}

func (o *observation) synced() metav1.Condition {
	const kind = rollcallv1alpha1.ConditionSynced
	no := func(reason, message string) metav1.Condition { return condition(kind, false, reason, message) }
	switch denied := o.denied(); {
	case o.suspended:
		return no(rollcallv1alpha1.ReasonSuspended, "spec.suspend is set: the last known state stands")
	case o.invalid() != nil:
		return no(rollcallv1alpha1.ReasonInvalidExpression, "the last known state stands: "+o.invalid().Error())
	case o.mirror.Reading:
		return condition(kind, true, rollcallv1alpha1.ReasonListed, "the bucket was listed completely and is being watched")
	case !o.session.link.Connected:
		return no(rollcallv1alpha1.ReasonNotListed, "there is no connection to NATS: the last known state stands")
	case errors.Is(o.session.bucketErr, kv.ErrBucketNotFound):
		return no(rollcallv1alpha1.ReasonBucketNotFound, "the bucket does not exist, and spec.bucket.creationPolicy is Never")
	case denied != "":
		return no(rollcallv1alpha1.ReasonPermissionDenied, "the bucket can't be read: the server does not let the user "+denied)
	case natsconn.Limit(o.session.bucketErr):
		return no(rollcallv1alpha1.ReasonLimitReached, natsconn.Because("the bucket can't be opened", o.session.bucketErr))
	case natsconn.Limit(o.mirror.Err):
		return no(rollcallv1alpha1.ReasonLimitReached, natsconn.Because("the bucket can't be watched", o.mirror.Err))
	case o.session.bucketErr != nil:
		return no(rollcallv1alpha1.ReasonBucketError, natsconn.Because("the bucket can't be opened", o.session.bucketErr))
	case o.mirror.Err != nil:
		return no(rollcallv1alpha1.ReasonBucketError, natsconn.Because("the bucket can't be watched", o.mirror.Err))
	default:
		return no(rollcallv1alpha1.ReasonListing, "the bucket is being listed")
	}
}

// denied says what the server does not let the user do; empty if nothing is denied. What was denied before the bucket was
// read or listed without it is over. What is denied afterwards is tried again at the next listing at the latest. Bucket.Denied
// tells besides of what is asked about a node that falls silent, which happens seldom.
func (o *observation) denied() string {
	return o.session.denials.text(func(d natsconn.Denial, at time.Time) bool {
		switch {
		case d.Optional() && o.session.bucketErr == nil:
			return false
		case !o.mirror.Reading:
			return at.After(o.mirror.LastSync) && o.now.Sub(at) < denialMemory
		}
		return d.Bucket != "" && at.After(o.mirror.Since) && (at.After(o.mirror.LastSync) || o.now.Sub(o.mirror.LastSync) < patience)
	})
}

// ready summarises the other conditions: it is as the first of them that is not as it should be.
func ready(conditions []metav1.Condition) metav1.Condition {
	for _, c := range conditions {
		broken := c.Status != metav1.ConditionTrue
		if c.Type == rollcallv1alpha1.ConditionDegraded {
			// Other settings are worth a warning, but everything works.
			broken = stops(c.Reason)
		}
		if broken {
			return condition(rollcallv1alpha1.ConditionReady, false, c.Reason, c.Message)
		}
	}
	return condition(rollcallv1alpha1.ConditionReady, true, rollcallv1alpha1.ReasonReady, "the bucket is mirrored")
}

func countsOf(state *mirror.State) *rollcallv1alpha1.NodeCounts {
	of := func(phase rollcallv1alpha1.NodePhase) int32 { return int32(state.Nodes[phase]) }
	counts := &rollcallv1alpha1.NodeCounts{
		Ready: of(rollcallv1alpha1.NodeReady), Stale: of(rollcallv1alpha1.NodeStale), Draining: of(rollcallv1alpha1.NodeDraining),
		Expired: of(rollcallv1alpha1.NodeExpired), Invalid: of(rollcallv1alpha1.NodeInvalid),
		Refused: int32(state.Records.Refused), Superseded: int32(state.Records.Superseded), NeverAccepted: int32(state.Records.NeverAccepted),
	}
	counts.Total = counts.Ready + counts.Stale + counts.Draining + counts.Expired + counts.Invalid
	return counts
}

// maxVersion is the greatest length of the server's version in the status, in bytes.
const maxVersion = 64

// bucketOf returns what a server says of a bucket, within what the API takes: the server may say anything.
func bucketOf(b *kv.Bucket) *rollcallv1alpha1.BucketStatus {
	storage := rollcallv1alpha1.StorageFile
	if b.Storage == jetstream.MemoryStorage {
		storage = rollcallv1alpha1.StorageMemory
	}
	status := &rollcallv1alpha1.BucketStatus{
		Revision: int64(min(b.Revision, math.MaxInt64)), Storage: storage, History: int32(min(max(b.History, 0), math.MaxInt32)),
		Markers: b.Markers, ServerVersion: record.Cut(record.Bounded(b.ServerVersion), maxVersion),
	}
	if b.TTL > 0 {
		status.TTL = &metav1.Duration{Duration: b.TTL}
	}
	return status
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
