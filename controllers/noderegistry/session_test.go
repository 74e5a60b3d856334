package noderegistry

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/natsconn"
	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// newSession returns a session of the bucket b of a server, which is not started.
func newSession(t *testing.T, s *natstest.Server) *session {
	t.Helper()
	name := types.NamespacedName{Namespace: "fleet", Name: "b"}
	return &session{
		name: name, pool: natsconn.NewPool(natsconn.Options{Clock: clock.RealClock{}, Log: logr.Discard()}), clock: clock.RealClock{}, log: logr.Discard(), changed: func() {},
		plan: plan{
			connection: rollcallv1alpha1.Connection{Servers: []string{s.URL()}},
			bucket:     kv.BucketConfig{Name: "b", Create: true},
		},
		mirror: mirror.NewStore(clock.RealClock{}, nil).Add(name, mirror.Policy{}, nil, nil),
	}
}

// After the end of a session the next one lists the bucket: nothing is wrong with it.
func TestTheEndOfASessionIsNoError(t *testing.T) {
	s := newSession(t, natstest.Start(t))
	s.start()
	natstest.Eventually(t, func() error {
		if !s.mirror.State().Reading {
			return errors.New("the bucket is not read")
		}
		return nil
	})
	s.stop()
	state := s.mirror.State()
	if state.Reading || state.Err != nil {
		t.Errorf("reading is %t, the error %v", state.Reading, state.Err)
	}
	o := healthy()
	o.mirror, o.session.bucketErr = state, s.snapshot().bucketErr
	if c := o.synced(); c.Reason != rollcallv1alpha1.ReasonListing {
		t.Errorf("Synced is %s: %s", c.Reason, c.Message)
	}
}

func TestWhatWasEndedIsNoErrorOfTheBucket(t *testing.T) {
	server := natstest.Start(t)
	s := newSession(t, server)
	s.link = s.pool.Join(s.name.Namespace, s.plan.connection, s)
	defer s.pool.Leave(s.link, s)
	ended, end := context.WithCancel(t.Context())
	end()
	nc := server.Connect(t)
	if err := s.ensureBucket(ended, nc); err == nil {
		t.Fatal("the bucket was found after the end")
	}
	s.note(ended, nats.ErrConnectionClosed)
	if err := s.snapshot().bucketErr; err != nil {
		t.Errorf("the end is told as %v", err)
	}
	s.note(t.Context(), kv.ErrBucketNotFound)
	if err := s.snapshot().bucketErr; !errors.Is(err, kv.ErrBucketNotFound) {
		t.Errorf("what is wrong is told as %v", err)
	}
	if err := s.ensureBucket(t.Context(), nc); err != nil || s.snapshot().bucketErr != nil {
		t.Errorf("the bucket is there, but %v, %v", err, s.snapshot().bucketErr)
	}
	view := &sink{Mirror: s.mirror}
	for _, err := range []error{kv.ErrConnectionLost, context.Canceled} {
		view.Disconnected(err)
		if got := s.mirror.State().Err; errors.Is(got, context.Canceled) || (got == nil) != errors.Is(err, context.Canceled) {
			t.Errorf("%v is told as %v", err, got)
		}
	}
}

// A server logs each request that it refuses for want of a permission.
func TestADeniedBucketIsTriedRarely(t *testing.T) {
	s := &session{clock: clock.RealClock{}}
	rests, attempts := newBackoffs(), 0
	began := epoch
	for passed := time.Duration(0); passed < time.Hour; attempts++ {
		s.state.denials = s.state.denials.add(natsconn.Denial{Subject: "$JS.API.STREAM.INFO.KV_b", Bucket: "b"}, began)
		rest := s.rest(began, &rests)
		if rest > time.Minute {
			t.Fatalf("it rests for %s", rest)
		}
		passed += rest
		began = began.Add(rest)
	}
	if attempts > 100 {
		t.Errorf("%d attempts in an hour", attempts)
	}
	if rest := s.rest(began.Add(time.Second), &rests); rest > 200*time.Millisecond {
		t.Errorf("an attempt that was not denied is followed by a rest of %s", rest)
	}
}
