package manager

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	leasePath = "/apis/coordination.k8s.io/v1/namespaces/rollcall-system/leases/rollcall-manager"
	slicePath = "/apis/discovery.k8s.io/v1/namespaces/fleet/endpointslices/web-1"
)

// server answers requests and counts those that change something.
type server struct {
	code   int
	writes int
	// takes is how long the fake clock goes on while a request is answered.
	takes time.Duration
	clock *testingclock.FakeClock
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.clock.Step(s.takes)
	if r.Method != http.MethodGet {
		s.writes++
	}
	return &http.Response{StatusCode: s.code, Body: http.NoBody, Request: r}, nil
}

// body is a request's body that knows whether it was closed.
type body struct {
	io.Reader

	closed bool
}

func (b *body) Close() error {
	b.closed = true
	return nil
}

type leaseRig struct {
	*testing.T

	clock  *testingclock.FakeClock
	server *server
	lease  *lease
}

func newLeaseRig(t *testing.T) *leaseRig {
	t.Helper()
	c := testingclock.NewFakeClock(time.Unix(1000, 0))
	return &leaseRig{T: t, clock: c, server: &server{code: http.StatusOK, clock: c}, lease: newLease(leaderElectionID, c)}
}

// send sends a request and returns how it ended.
func (r *leaseRig) send(method, path string) error {
	r.Helper()
	content := &body{Reader: strings.NewReader("{}")}
	request, err := http.NewRequest(method, "https://api"+path, content)
	if err != nil {
		r.Fatal(err)
	}
	before := r.server.writes
	response, err := r.lease.transport(r.server).RoundTrip(request)
	if err != nil {
		if !content.closed {
			r.Error("the body of a refused request is open")
		}
		if r.server.writes != before {
			r.Error("a request that was refused has arrived")
		}
		return err
	}
	return response.Body.Close()
}

func TestALapsedLeaseRefusesWhatChangesSomething(t *testing.T) {
	type step struct {
		after        time.Duration
		method, path string
		code         int
		takes        time.Duration
		refused      bool
	}
	const put, get = http.MethodPut, http.MethodGet
	for name, steps := range map[string][]step{
		"one that never led writes": {
			{method: http.MethodPost, path: "/apis/authentication.k8s.io/v1/tokenreviews"},
			{after: time.Hour, method: http.MethodPost, path: "/apis/authentication.k8s.io/v1/tokenreviews"},
		},
		"a leader that renews writes for ever": {
			{method: http.MethodPost, path: strings.TrimSuffix(leasePath, "/rollcall-manager")},
			{after: leaseDuration, method: put, path: leasePath},
			{after: leaseDuration, method: put, path: slicePath},
			{method: put, path: leasePath},
			{after: leaseDuration, method: put, path: slicePath},
		},
		"a leader that was stopped writes no more, but reads": {
			{method: put, path: leasePath},
			{after: leaseDuration + time.Millisecond, method: put, path: slicePath, refused: true},
			{method: get, path: slicePath},
			{method: http.MethodPatch, path: slicePath, refused: true},
			{method: http.MethodDelete, path: slicePath, refused: true},
			{method: http.MethodPost, path: slicePath, refused: true},
		},
		"it can't renew either, and so stays lapsed": {
			{method: put, path: leasePath},
			{after: leaseDuration + time.Millisecond, method: put, path: leasePath, refused: true},
			{method: put, path: slicePath, refused: true},
		},
		"a renewal counts from when it was sent": {
			{method: put, path: leasePath, takes: 10 * time.Second},
			{after: 6 * time.Second, method: put, path: slicePath, refused: true},
		},
		"one that comes back after the Lease has run out counts for nothing": {
			{method: put, path: leasePath},
			{method: put, path: leasePath, takes: leaseDuration + time.Second},
			{method: put, path: slicePath, refused: true},
		},
		"one that was refused does not count": {
			{method: put, path: leasePath},
			{after: 10 * time.Second, method: put, path: leasePath, code: http.StatusConflict},
			{after: 6 * time.Second, method: put, path: slicePath, refused: true},
		},
		"another object's does not count": {
			{method: put, path: leasePath},
			{after: 10 * time.Second, method: put, path: slicePath},
			{after: 6 * time.Second, method: put, path: slicePath, refused: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newLeaseRig(t)
			for i, s := range steps {
				r.clock.Step(s.after)
				r.server.takes, r.server.code = s.takes, http.StatusOK
				if s.code != 0 {
					r.server.code = s.code
				}
				if err := r.send(s.method, s.path); (err != nil) != s.refused {
					t.Errorf("step %d, %s %s: %v, want refused: %t", i+1, s.method, s.path, err, s.refused)
				}
			}
		})
	}
}

// fakeManager is a manager whose controllers take their time to end.
type fakeManager struct {
	ctrl.Manager

	end       chan error
	cancelled chan struct{}
}

func (m *fakeManager) Start(ctx context.Context) error {
	select {
	case err := <-m.end:
		return err
	case <-ctx.Done():
		close(m.cancelled)
		return <-m.end
	}
}

func TestAManagerEndsWithItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &fakeManager{end: make(chan error, 1), cancelled: make(chan struct{})}
		m := &electedManager{Manager: inner, lease: newLease(leaderElectionID, clock.RealClock{})}
		m.lease.renew(time.Now())
		began := time.Now()
		err := m.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), leaderElectionID) {
			t.Errorf("the manager ended with %v", err)
		}
		if took := time.Since(began); took <= leaseDuration || took > leaseDuration+leaseTick {
			t.Errorf("it ended after %s", took)
		}
		<-inner.cancelled
		inner.end <- nil
	})
}

func TestAManagerThatHasNeverLedWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &fakeManager{end: make(chan error, 1), cancelled: make(chan struct{})}
		m := &electedManager{Manager: inner, lease: newLease(leaderElectionID, clock.RealClock{})}
		want := errors.New("it ends by itself")
		time.AfterFunc(time.Hour, func() { inner.end <- want })
		if err := m.Start(t.Context()); !errors.Is(err, want) {
			t.Errorf("the manager ended with %v, want %v", err, want)
		}
	})
}
