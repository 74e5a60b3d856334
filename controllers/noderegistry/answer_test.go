package noderegistry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/natsconn"
	"github.com/rollcall-dev/rollcall/discovery/dial"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// An answer that refuses is told at once, whether it is the first since the start or not. Silence has patience.
func TestAnswersAndSilence(t *testing.T) {
	answer := func(code jetstream.ErrorCode, text string) error {
		return fmt.Errorf("requesting $JS.API: %w", &jetstream.APIError{Code: 400, ErrorCode: code, Description: text})
	}
	down := func(err error) func(*observation) {
		return func(o *observation) {
			o.session.link = natsconn.State{Since: o.now, Trouble: natsconn.Classify(err, false, true)}
		}
	}
	opening := func(err error) func(*observation) {
		return func(o *observation) { o.session.bucketErr = err }
	}
	watching := func(err error) func(*observation) {
		return func(o *observation) { o.mirror.Err = err }
	}
	for _, test := range []struct {
		name    string
		change  func(*observation)
		atOnce  bool
		because string // the reason of Ready
	}{
		{"nothing heard yet", down(nil), false, rollcallv1alpha1.ReasonConnecting},
		{"no server", down(nats.ErrNoServers), false, rollcallv1alpha1.ReasonConnectionFailed},
		{"connection refused", down(&dial.Error{Class: dial.Unreachable, Err: syscall.ECONNREFUSED}), false, rollcallv1alpha1.ReasonServerUnreachable},
		{"no such host", down(&dial.Error{Class: dial.NotFound, Err: errors.New("no such host")}), false, rollcallv1alpha1.ReasonServerNotFound},
		{"not allowed", down(&dial.Error{Class: dial.NotAllowed, Err: errors.New("no")}), true, rollcallv1alpha1.ReasonServerNotAllowed},
		{"time out", down(nats.ErrTimeout), false, rollcallv1alpha1.ReasonConnectionFailed},
		{"login", down(nats.ErrAuthorization), true, rollcallv1alpha1.ReasonAuthenticationFailed},
		{"expired login", down(errors.New("nats: account authentication expired")), true, rollcallv1alpha1.ReasonAuthenticationFailed},
		{"TLS", down(fmt.Errorf("%w: x509", nats.ErrTLS)), true, rollcallv1alpha1.ReasonTLSFailed},
		{"Secret", down(&natsconn.SpecError{Reason: rollcallv1alpha1.ReasonSecretInvalid}), true, rollcallv1alpha1.ReasonSecretInvalid},
		{"connections", down(errors.New("nats: maximum connections exceeded")), true, rollcallv1alpha1.ReasonLimitReached},
		{"connections of the account", down(nats.ErrMaxAccountConnectionsExceeded), true, rollcallv1alpha1.ReasonLimitReached},

		{"no bucket", opening(kv.ErrBucketNotFound), true, rollcallv1alpha1.ReasonBucketNotFound},
		{"no answer about the bucket", opening(fmt.Errorf("%w: %w", kv.ErrNoAnswer, context.DeadlineExceeded)), false, rollcallv1alpha1.ReasonBucketError},
		{"no JetStream", opening(fmt.Errorf("%w: %w", kv.ErrUnavailable, answer(10039, "JetStream not enabled for account"))), true, rollcallv1alpha1.ReasonBucketError},
		{"no leader", opening(fmt.Errorf("%w: %w", kv.ErrUnavailable, answer(10008, "JetStream system temporarily unavailable"))), false, rollcallv1alpha1.ReasonBucketError},
		{"no responders", opening(fmt.Errorf("%w: %w", kv.ErrUnavailable, nats.ErrNoResponders)), false, rollcallv1alpha1.ReasonBucketError},
		{"streams", opening(answer(10027, "maximum number of streams reached")), true, rollcallv1alpha1.ReasonLimitReached},

		{"consumers", watching(answer(10026, "maximum consumers limit reached")), true, rollcallv1alpha1.ReasonLimitReached},
		{"the account", watching(answer(10002, "resource limits exceeded for account")), true, rollcallv1alpha1.ReasonLimitReached},
		{"stream offline", watching(fmt.Errorf("%w: %w", kv.ErrUnavailable, answer(10118, "stream is offline"))), true, rollcallv1alpha1.ReasonBucketError},
		{"no heartbeat", watching(kv.ErrNoHeartbeat), false, rollcallv1alpha1.ReasonBucketError},
		{"denied", func(o *observation) {
			o.session.denials = o.session.denials.add(natsconn.Denial{Subject: "$JS.API.STREAM.INFO.KV_b", Bucket: "b"}, o.now)
		}, true, rollcallv1alpha1.ReasonPermissionDenied},
		{"denied what is optional", func(o *observation) {
			o.session.denials = o.session.denials.add(natsconn.Denial{Subject: "$JS.API.INFO"}, o.now)
		}, false, rollcallv1alpha1.ReasonListing},
	} {
		for _, listed := range []bool{true, false} {
			o := healthy()
			o.mirror.Reading, o.mirror.Listed, o.mirror.Since = false, listed, o.now
			test.change(o)
			if atOnce := o.untold() <= 0; atOnce != test.atOnce {
				t.Errorf("%s, listed before %t: told at once %t, want %t", test.name, listed, atOnce, test.atOnce)
			}
			o.now = o.now.Add(2 * time.Second)
			if o.untold() > 0 {
				t.Errorf("%s, listed before %t: not told after 2 s", test.name, listed)
			}
			conditions := statusOf(&rollcallv1alpha1.NodeRegistry{}, o).Conditions
			for _, c := range conditions {
				if c.Type == rollcallv1alpha1.ConditionReady && c.Reason != test.because {
					t.Errorf("%s is told as %s (%s), want %s", test.name, c.Reason, c.Message, test.because)
				}
			}
		}
	}
}

// Account info is optional. That the leader may not be asked about a node that falls silent is a restriction.
func TestDeniedReads(t *testing.T) {
	o := healthy()
	o.session.denials = o.session.denials.add(natsconn.Denial{Subject: "$JS.API.INFO"}, o.now)
	if c := o.degraded(); c.Reason != rollcallv1alpha1.ReasonAsExpected {
		t.Errorf("without account info it is %s: %s", c.Reason, c.Message)
	}
	o.mirror.Bucket.Denied = "$JS.hub.API.STREAM.MSG.GET.KV_b"
	if c := o.degraded(); c.Reason != rollcallv1alpha1.ReasonPermissionDenied || !strings.Contains(c.Message, o.mirror.Bucket.Denied) {
		t.Errorf("without reads from the leader it is %s: %s", c.Reason, c.Message)
	}
}

// Every clock that stands has its reason, the counts, the cause and the way out.
func TestHeld(t *testing.T) {
	const detail = "it holds 9 of 10 MiB"
	for reason, want := range map[rollcallv1alpha1.HeldReason]string{
		rollcallv1alpha1.HeldGuard:        rollcallv1alpha1.ReasonExpiryGuard,
		rollcallv1alpha1.HeldStoreFull:    rollcallv1alpha1.ReasonStoreFull,
		rollcallv1alpha1.HeldSealed:       rollcallv1alpha1.ReasonSealed,
		rollcallv1alpha1.HeldMirrorCut:    rollcallv1alpha1.ReasonMirrorCut,
		rollcallv1alpha1.HeldNobodyWrites: rollcallv1alpha1.ReasonNobodyWrites,
	} {
		o := healthy()
		o.registry = types.NamespacedName{Namespace: "fleet", Name: "catga"}
		if reason != rollcallv1alpha1.HeldGuard {
			// Before anybody is silent.
			o.mirror.Bucket.Store = kv.Store{Refusal: kv.Refusal(reason), Detail: detail}
			if c := o.degraded(); c.Reason != want || !strings.Contains(c.Message, detail) {
				t.Errorf("%s without silent nodes: %s: %s", reason, c.Reason, c.Message)
			}
		}
		o.mirror.Held = &mirror.Held{Since: epoch, Reason: reason, Silent: 3, Of: 4}
		status := statusOf(&rollcallv1alpha1.NodeRegistry{}, o)
		for _, kind := range []string{rollcallv1alpha1.ConditionDegraded, rollcallv1alpha1.ConditionReady} {
			c := meta.FindStatusCondition(status.Conditions, kind)
			command := "kubectl annotate noderegistry catga -n fleet rollcall.dev/accept-expiry=2026-11-22T20:00:00Z"
			if c.Reason != want || !strings.Contains(c.Message, "3 of 4 nodes") || !strings.HasSuffix(c.Message, command) {
				t.Errorf("%s: %s is %s: %s", reason, kind, c.Reason, c.Message)
			}
		}
		if h := status.Held; h == nil || h.Reason != reason || h.Silent != 3 || h.Of != 4 || !h.Since.Equal(&metav1.Time{Time: epoch}) {
			t.Errorf("%s: status.held is %+v", reason, h)
		}
	}
}

// Only the time since when nodes are held accepts, and each other value is told once.
func TestAnswers(t *testing.T) {
	var all answers
	name := types.NamespacedName{Name: "catga"}
	refuse := func(wanted string) func(string) func() answer {
		return func(value string) func() answer { return func() answer { return answer{value: value, wanted: wanted} } }
	}
	idle, held := refuse(""), refuse("then")
	for i, test := range []struct {
		value string
		judge func(string) func() answer
		told  bool
	}{
		{"false", idle, false}, {"false", held, true}, {"false", held, false}, {"false", idle, false}, {"false", held, false},
		{"true", held, true}, {"false", held, true},
	} {
		a, first := all.of(name, test.value, test.judge(test.value))
		if told := first && a.wanted != ""; told != test.told || a.accepted {
			t.Errorf("%d: %q is told %t, want %t; accepted %t", i, test.value, told, test.told, a.accepted)
		}
	}
	accept := func() answer { return answer{value: "then", accepted: true, released: 3} }
	if a, _ := all.of(name, "then", accept); !a.accepted || a.removed {
		t.Errorf("the right value is %+v", a)
	}
	all.done(name)
	if a, _ := all.of(name, "then", func() answer { t.Error("judged twice"); return answer{} }); !a.removed {
		t.Errorf("what was accepted is %+v", a)
	}
}
