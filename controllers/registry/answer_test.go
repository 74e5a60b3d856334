package registry

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// An answer that refuses is told at once, whether it is the first since the start or not. Silence has patience.
func TestAnswersAndSilence(t *testing.T) {
	answer := func(code jetstream.ErrorCode, text string) error {
		return fmt.Errorf("requesting $JS.API: %w", &jetstream.APIError{Code: 400, ErrorCode: code, Description: text})
	}
	down := func(err error) func(*observation) {
		return func(o *observation) { o.session.link = linkState{since: o.now, err: err} }
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
		{"connection refused", down(errors.New("dial tcp 10.0.0.1:4222: connect: connection refused")), false, rollcallv1alpha1.ReasonConnectionFailed},
		{"time out", down(nats.ErrTimeout), false, rollcallv1alpha1.ReasonConnectionFailed},
		{"login", down(nats.ErrAuthorization), true, rollcallv1alpha1.ReasonAuthenticationFailed},
		{"expired login", down(errors.New("nats: account authentication expired")), true, rollcallv1alpha1.ReasonAuthenticationFailed},
		{"TLS", down(fmt.Errorf("%w: x509", nats.ErrTLS)), true, rollcallv1alpha1.ReasonConnectionFailed},
		{"Secret", down(&materialError{reason: rollcallv1alpha1.ReasonSecretInvalid}), true, rollcallv1alpha1.ReasonSecretInvalid},
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
			o.session.denials = o.session.denials.add(denial{subject: "$JS.API.STREAM.INFO.KV_b", bucket: "b"}, o.now)
		}, true, rollcallv1alpha1.ReasonPermissionDenied},
		{"denied what is optional", func(o *observation) {
			o.session.denials = o.session.denials.add(denial{subject: "$JS.API.INFO"}, o.now)
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

// Reads of single keys are asked for seldom, so that they are denied is told for longer; account info is optional.
func TestDeniedReads(t *testing.T) {
	o := healthy()
	o.session.denials = o.session.denials.add(denial{subject: "$JS.API.INFO"}, o.now)
	if c := o.degraded(); c.Reason != rollcallv1alpha1.ReasonAsExpected {
		t.Errorf("without account info it is %s: %s", c.Reason, c.Message)
	}
	d, _ := denialOf(violationOf(`Publish to "$JS.hub.API.STREAM.MSG.GET.KV_b"`), "_INBOX")
	o.session.denials = o.session.denials.add(d, o.mirror.LastSync.Add(-time.Minute))
	if c := o.degraded(); c.Reason != rollcallv1alpha1.ReasonPermissionDenied {
		t.Errorf("without reads from the leader it is %s: %s", c.Reason, c.Message)
	}
	o.session.link.since = o.now
	if c := o.degraded(); c.Reason != rollcallv1alpha1.ReasonAsExpected {
		t.Errorf("on another connection it is %s: %s", c.Reason, c.Message)
	}
}
