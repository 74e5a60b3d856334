package manager

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
)

// leaseDuration is how long a Lease holds that is not renewed: after that another replica leads.
const leaseDuration = 15 * time.Second

// leaseTick is how often a leader looks at its Lease. A process that was stopped looks as soon as it goes on.
const leaseTick = 250 * time.Millisecond

// lease bounds how long this process may lead without having renewed its Lease. client-go notices in a renewal that fails,
// and tries those for another ten seconds: a process that was stopped meanwhile would write beside its successor. It is safe
// for concurrent use.
type lease struct {
	name     string
	clock    clock.WithTicker
	duration time.Duration

	mu sync.Mutex
	// renewed is when the last renewal was sent that succeeded; zero: this process has never led. Nobody else leads before
	// duration has passed since.
	renewed time.Time
	// lapsed is true once the Lease was not renewed in time. It stays so: what this process knows is old, even if nobody
	// has taken over.
	lapsed bool
}

func newLease(name string, c clock.WithTicker) *lease {
	return &lease{name: name, clock: c, duration: leaseDuration}
}

// err returns an error once the Lease has lapsed.
func (l *lease) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.renewed.IsZero() && l.clock.Since(l.renewed) > l.duration {
		l.lapsed = true
	}
	if l.lapsed {
		return fmt.Errorf("this manager has not renewed the Lease %s for more than %s: it was stopped, and another replica may lead", l.name, l.duration)
	}
	return nil
}

// renew notes that a renewal succeeded which was sent at that time.
func (l *lease) renew(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sent.After(l.renewed) {
		l.renewed = sent
	}
}

// watch returns what the manager ended with, or an error as soon as the Lease has lapsed.
func (l *lease) watch(ended <-chan error) error {
	ticker := l.clock.NewTicker(leaseTick)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-ticker.C():
			if err := l.err(); err != nil {
				return err
			}
		}
	}
}

// transport returns next as one that sees when the Lease is renewed, and refuses every request that changes something once it
// has lapsed: a worker may be scheduled before the ticker is. A renewal is refused too, for a Lease that ends with its
// holder would keep the others waiting. It fits rest.Config.Wrap.
func (l *lease) transport(next http.RoundTripper) http.RoundTripper {
	return &leaseTransport{lease: l, next: next}
}

type leaseTransport struct {
	lease *lease
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *leaseTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodGet || request.Method == http.MethodHead {
		return t.next.RoundTrip(request)
	}
	if err := t.lease.err(); err != nil {
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, err
	}
	sent := t.lease.clock.Now()
	response, err := t.next.RoundTrip(request)
	if err == nil && response.StatusCode < http.StatusMultipleChoices && isLease(request.URL.Path) {
		t.lease.renew(sent)
	}
	return response, err
}

// WrappedRoundTripper lets the client library look inside.
func (t *leaseTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

// isLease is true for the path of a Lease. The manager writes no other than its own.
func isLease(path string) bool {
	return strings.HasPrefix(path, "/apis/coordination.k8s.io/") && strings.Contains(path, "/leases")
}

// electedManager is a manager that ends at once when its Lease has lapsed.
type electedManager struct {
	ctrl.Manager

	lease *lease
}

// Start runs the manager until it ends. When the Lease has lapsed it returns without waiting for the controllers, whose end
// may take them 30 s: the process is to exit, and its connections with it.
func (m *electedManager) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- m.Manager.Start(ctx) }()
	return m.lease.watch(ended)
}
