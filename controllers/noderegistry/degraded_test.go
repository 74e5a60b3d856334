package noderegistry

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/natsconn"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// The restrictions in the order in which they are told, each with a state that shows it.
var restrictions = []struct {
	reason string
	state  func(*observation)
	says   []string
}{
	{rollcallv1alpha1.ReasonInvalidExpression, func(o *observation) {
		o.record = recordFault{err: errors.New("spec.record.zone: no"), survived: true}
	}, []string{"the last valid spec.record stays in force: spec.record.zone: no"}},
	{rollcallv1alpha1.ReasonExpiryGuard, func(o *observation) {
		o.mirror.Held = &mirror.Held{Reason: rollcallv1alpha1.HeldGuard, Silent: 3, Of: 4}
	}, []string{"3 of 4 nodes"}},
	{rollcallv1alpha1.ReasonStoreFull, func(o *observation) { o.mirror.Bucket.Store = kv.Store{Refusal: kv.StoreFull} }, []string{"full"}},
	{rollcallv1alpha1.ReasonAuthenticationFailed, func(o *observation) { o.session.link.Trouble = natsconn.Classify(nats.ErrAuthorization, false, true) }, []string{"the connection stands"}},
	{rollcallv1alpha1.ReasonPermissionDenied, func(o *observation) { o.mirror.Bucket.Denied = "$JS.API.X" }, []string{"$JS.API.X"}},
	{rollcallv1alpha1.ReasonTooManyNodes, func(o *observation) { o.mirror.Excess = 2 }, []string{"2 entries beyond spec.maxNodes"}},
	{rollcallv1alpha1.ReasonTooManyNodes, func(o *observation) { o.mirror.Bucket.LeftOut = true }, []string{"at least 1 entries beyond spec.maxNodes"}},
	{rollcallv1alpha1.ReasonExpressionFailed, func(o *observation) {
		o.mirror.Records.Failing = map[string]int{"spec.record.zone": 20, "spec.record.metadata": 19}
	}, []string{"spec.record.zone can't be used for any of the 20 entries"}},
	{rollcallv1alpha1.ReasonRecordsRefused, func(o *observation) {
		o.mirror.Records.Refused, o.mirror.Records.Example = 20, "node.web-1: the Port is a string"
	}, []string{"20 of 20 nodes write records that are refused and live on their last good ones, for example node.web-1: the Port is a string: correct"}},
	{rollcallv1alpha1.ReasonReadingTooSlow, func(o *observation) { o.mirror.Records.TooSlow = true }, []string{"cheaper"}},
	{rollcallv1alpha1.ReasonChangedBack, func(o *observation) {
		o.contest = contest{services: 2, example: "web", remark: `let one of them write: "a", "b"`}
	}, []string{`2 Services, for example web: let one of them write: "a", "b"`}},
	{rollcallv1alpha1.ReasonViewsRefused, func(o *observation) { o.viewRefused = "the writes of 3 DiscoveredNodes" }, []string{"the writes of 3 DiscoveredNodes"}},
	{rollcallv1alpha1.ReasonViewsDisputed, func(o *observation) { o.viewDisputed = "somebody changes 3" }, []string{"somebody changes 3"}},
	{rollcallv1alpha1.ReasonFlapping, func(o *observation) {
		o.mirror.Records.Flapping, o.mirror.Records.Flaps = 2, "node.web-1"
	}, []string{"2 nodes change more often than once a second", `"node.web-1"`}},
	{rollcallv1alpha1.ReasonNoExpiry, func(o *observation) { o.mirror.Bucket.TTL = 0 }, []string{"no TTL", "set staleAfter, or give the bucket a TTL"}},
	{rollcallv1alpha1.ReasonStaleAfterTooShort, func(o *observation) {
		o.spec.Liveness.StaleAfter = &metav1.Duration{Duration: 15 * time.Second}
		o.mirror.Records.Sparse, o.mirror.Records.Interval = 11, 10040*time.Millisecond
	}, []string{"staleAfter is 15s", "every 10s", "at least 20s"}},
	{rollcallv1alpha1.ReasonLabelNotFound, func(o *observation) {
		o.spec.Labels = map[string]string{"role": "rolle"}
		o.mirror.Records.Missing = []string{"role"}
	}, []string{"role (rolle)"}},
	{rollcallv1alpha1.ReasonBucketUnfit, func(o *observation) { o.mirror.Bucket.MaxValueSize = 127 }, []string{"at most 127 bytes", "may refuse its own markers"}},
}

func serving() *observation {
	o := healthy()
	o.mirror.Records = mirror.Records{Entries: 20, Accepted: 20}
	return o
}

func TestDegraded(t *testing.T) {
	for i, r := range restrictions {
		o := serving()
		for _, other := range restrictions[i:] {
			if other.reason != rollcallv1alpha1.ReasonStaleAfterTooShort || r.reason != rollcallv1alpha1.ReasonNoExpiry { // staleAfter is its cure.
				other.state(o)
			}
		}
		if r.reason != rollcallv1alpha1.ReasonNoExpiry && i < 12 {
			o.spec.Liveness.StaleAfter = nil
		}
		c := o.degraded()
		if c.Reason != r.reason || c.Status != metav1.ConditionTrue {
			t.Errorf("%s with all that follows is %s: %s", r.reason, c.Reason, c.Message)
		}
		o = serving()
		r.state(o)
		if c = o.degraded(); c.Reason != r.reason {
			t.Errorf("%s alone is %s: %s", r.reason, c.Reason, c.Message)
		}
		for _, part := range r.says {
			if !strings.Contains(c.Message, part) {
				t.Errorf("%s: %q does not say %q", r.reason, c.Message, part)
			}
		}
	}
}

// What is odd in a minority is counted, and is no restriction.
func TestNotDegraded(t *testing.T) {
	for name, state := range map[string]func(*observation){
		"half were never nodes": func(o *observation) { o.mirror.Records.NeverAccepted, o.mirror.Records.Accepted = 10, 10 },
		"no entries": func(o *observation) {
			o.mirror.Records = mirror.Records{Failing: map[string]int{"spec.record.zone": 0}}
		},
		"remarks":               func(o *observation) { o.mirror.Records.Remarked, o.mirror.Records.Shared = 20, 20 },
		"some expressions fail": func(o *observation) { o.mirror.Records.Failing = map[string]int{"spec.record.zone": 19} },
		"half heartbeat seldom": func(o *observation) { o.mirror.Records.Sparse, o.mirror.Records.Interval = 10, time.Minute },
		"staleAfter, no TTL": func(o *observation) {
			o.mirror.Bucket.TTL, o.spec.Liveness.StaleAfter = 0, &metav1.Duration{Duration: time.Minute}
		},
		"no markers":          func(o *observation) { o.mirror.Bucket.Markers = false },
		"large enough values": func(o *observation) { o.mirror.Bucket.MaxValueSize = leastValueSize },
		"not seen yet":        func(o *observation) { o.mirror.Bucket = kv.Bucket{} },
	} {
		o := serving()
		state(o)
		if c := o.degraded(); c.Status != metav1.ConditionFalse {
			t.Errorf("%s is %s: %s", name, c.Reason, c.Message)
		}
	}
}

func TestMostEntriesWereNeverNodes(t *testing.T) {
	o := serving()
	o.mirror.Records.NeverAccepted, o.mirror.Records.Accepted = 11, 9
	if c := o.degraded(); c.Reason != rollcallv1alpha1.ReasonRecordsRefused || !strings.Contains(c.Message, "11 of 20 entries never held a record") {
		t.Errorf("it is %s: %s", c.Reason, c.Message)
	}
	counts := statusOf(&rollcallv1alpha1.NodeRegistry{}, o).Nodes
	if counts.NeverAccepted != 11 || counts.Refused != 0 {
		t.Errorf("the counts are %+v", counts)
	}
}
