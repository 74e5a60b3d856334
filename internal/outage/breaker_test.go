package outage

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// log is what an Outage says. It is safe for concurrent use.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) write(_, args string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, args)
}

// has fails the test unless the log has these lines: each contains its text.
func (l *log) has(t *testing.T, texts ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) != len(texts) {
		t.Fatalf("the log says %q, not %q", l.lines, texts)
	}
	for i, text := range texts {
		if !strings.Contains(l.lines[i], text) {
			t.Errorf("the log says %q, not %q", l.lines[i], text)
		}
	}
}

func newOutage() (*Outage, *log) {
	l := &log{}
	return New(funcr.New(l.write, funcr.Options{}), clock.RealClock{}), l
}

// server is an API server without a network, whose clock is the test's. It answers a write with what was sent. It is safe for
// concurrent use.
type server struct {
	mu sync.Mutex
	// err is how requests fail; nil: they do not. errHang: they are never answered. An error with a Status is an answer.
	err    error
	failed int
}

var errHang = errors.New("hang")

// RoundTrip implements http.RoundTripper, and takes a millisecond.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	<-time.After(time.Millisecond)
	switch err := s.count(); {
	case errors.Is(err, errHang):
		<-r.Context().Done()
		return nil, r.Context().Err()
	case err != nil:
		if status := statusOf(err); status != nil {
			return refusing(status)
		}
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": r.Header["Content-Type"]}, Body: r.Body, Request: r}, nil
}

func (s *server) count() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		s.failed++
	}
	return s.err
}

// statusOf returns the Status of an error that is an API server's answer, nil of another.
func statusOf(err error) *metav1.Status {
	answer := apierrors.APIStatus(nil)
	if !errors.As(err, &answer) {
		return nil
	}
	status := answer.Status()
	status.APIVersion, status.Kind = "v1", "Status"
	return &status
}

func refusing(status *metav1.Status) (*http.Response, error) {
	body, err := json.Marshal(status)
	header := http.Header{"Content-Type": {"application/json"}}
	if status.Code == http.StatusServiceUnavailable {
		header.Set(retryAfter, "5")
	}
	return &http.Response{StatusCode: int(status.Code), Header: header, Body: io.NopCloser(strings.NewReader(string(body)))}, err
}

// fails lets requests fail with err from now on, and returns how many have failed before.
func (s *server) fails(err error) (before int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	return s.failed
}

// connect returns a client of the server that goes through the outage's transport.
func connect(t *testing.T, away *Outage, s *server) client.Client {
	t.Helper()
	scheme, mapper := runtime.NewScheme(), meta.NewDefaultRESTMapper(nil)
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), rollcallv1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	mapper.Add(rollcallv1alpha1.GroupVersion.WithKind("DiscoveredNode"), meta.RESTScopeNamespace)
	mapper.Add(eventsv1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	mapper.Add(discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"), meta.RESTScopeNamespace)
	config := &rest.Config{Host: "https://api.test", Transport: s, WrapTransport: away.Transport, QPS: -1}
	c, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func named() metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "fleet", Name: "x", ResourceVersion: "1"}
}

func writeNode(ctx context.Context, c client.Client) error {
	return c.Update(ctx, &rollcallv1alpha1.DiscoveredNode{ObjectMeta: named()})
}

func writeSlice(ctx context.Context, c client.Client) error {
	return c.Update(ctx, &discoveryv1.EndpointSlice{ObjectMeta: named()})
}

// controller is one with 16 workers and a queue of its own, which writes each object once.
type controller struct {
	client client.Client
	queue  chan struct{}

	mu              sync.Mutex
	written, errors int
}

func startController(t *testing.T, away *Outage, s *server, objects int) *controller {
	t.Helper()
	c := &controller{queue: make(chan struct{}, objects), client: connect(t, away, s)}
	for range objects {
		c.queue <- struct{}{}
	}
	for range 16 {
		go func() {
			for {
				select {
				case <-t.Context().Done():
					return
				case <-c.queue:
					c.write(t.Context())
				}
			}
		}()
	}
	return c
}

func (c *controller) write(ctx context.Context) {
	result, err := Result(reconcile.Result{}, writeNode(ctx, c.client))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.errors++
	case result.RequeueAfter > 0:
		time.AfterFunc(result.RequeueAfter, func() { c.queue <- struct{}{} })
	default:
		c.written++
	}
}

func TestAnOutageCostsFewRequestsAndTwoLines(t *testing.T) {
	const objects, long, blip = 1000, 30 * time.Second, quietPeriod / 2
	for name, test := range map[string]struct {
		failure error
		lasts   time.Duration
		refused bool // It is an error of each object.
		quiet   bool // It is not worth a line.
	}{
		"connection refused": {failure: syscall.ECONNREFUSED, lasts: long},
		"not ready":          {failure: apierrors.NewServiceUnavailable("not ready"), lasts: long},
		"timed out":          {failure: internal("etcdserver: request timed out"), lasts: long},
		"terminating":        {failure: apierrors.NewForbidden(nodes, "x", errors.New("create not allowed while custom resource definition is terminating")), lasts: long},
		"a blip":             {failure: syscall.ECONNRESET, lasts: blip, quiet: true},
		"a refusal":          {failure: apierrors.NewConflict(nodes, "x", errors.New("changed")), lasts: blip, quiet: true, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				away, said := newOutage()
				s := &server{err: test.failure}
				c := startController(t, away, s, objects)
				<-time.After(test.lasts)
				if failed := s.fails(nil); !test.refused && (failed > 16+int(test.lasts/probeAfter) || failed < int(test.lasts/maxWait)) {
					t.Errorf("%d writes failed", failed)
				}
				<-time.After(2*(probeAfter+probeSpread) + 2*objects/16*time.Millisecond)
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.written+c.errors != objects || c.errors > 0 != test.refused {
					t.Errorf("%d objects were written, and %d failed", c.written, c.errors)
				}
				if test.quiet {
					said.has(t)
				} else {
					said.has(t, name, "answers again")
				}
			})
		})
	}
}

// opened returns an outage whose breaker for DiscoveredNodes has just opened, a client and the server, which from now on fails in
// that way.
func opened(t *testing.T, next error) (*Outage, client.Client, *server) {
	t.Helper()
	away, _ := newOutage()
	s := &server{err: syscall.ECONNREFUSED}
	c := connect(t, away, s)
	if err := writeNode(t.Context(), c); !Unanswered(err) {
		t.Fatal(err)
	}
	s.fails(next)
	return away, c, s
}

func TestAResourceDoesNotHoldBackAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, _ := opened(t, nil)
		start := time.Now()
		if err := writeSlice(t.Context(), c); err != nil || time.Since(start) > time.Millisecond {
			t.Errorf("a write of another resource took %s: %v", time.Since(start), err)
		}
		if err := writeNode(t.Context(), c); err != nil || time.Since(start) < probeAfter {
			t.Errorf("a write of the same took %s: %v", time.Since(start), err)
		}
	})
}

// What a request carries grows old, and the request of another may hang for a reason of its own.
func TestNobodyWaitsForLongerThanASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, s := opened(t, errHang)
		ctx, end := context.WithCancel(t.Context())
		var all sync.WaitGroup
		defer all.Wait()
		defer end()
		all.Go(func() { _ = writeNode(ctx, c) }) // It hangs until the end.
		<-time.After(probeAfter + probeSpread)
		start := time.Now()
		for range 10 {
			all.Go(func() {
				if err := writeNode(ctx, c); ctx.Err() == nil && (!errors.Is(err, errWaited) || !Unanswered(err) || time.Since(start) != maxWait) {
					t.Errorf("a write ended after %s with %v", time.Since(start), err)
				}
			})
		}
		<-time.After(2 * maxWait)
		if failed := s.fails(nil); failed != 3 {
			t.Errorf("%d writes were sent: one that opens the breaker, and one in a second", failed)
		}
	})
}

// What the API server refuses one object holds back no other, whether or not the refusal says that it works again.
func TestARefusalHoldsBackNobody(t *testing.T) {
	for name, refusal := range map[string]error{
		"quota":       apierrors.NewForbidden(nodes, "x", errors.New("exceeded quota: small")),
		"not allowed": apierrors.NewForbidden(nodes, "x", errors.New(`User "manager" cannot update resource "discoverednodes"`)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, c, _ := opened(t, refusal)
				<-time.After(probeAfter + probeSpread)
				start := time.Now()
				for range 10 {
					if err := writeNode(t.Context(), c); !apierrors.IsForbidden(err) {
						t.Fatal(err)
					}
				}
				if took := time.Since(start); took >= probeAfter {
					t.Errorf("ten writes that are refused took %s", took)
				}
			})
		})
	}
}

func TestWhoWaitsLeavesWhenTheManagerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, _ := opened(t, nil)
		ctx, cancel := context.WithTimeout(t.Context(), probeAfter/2)
		defer cancel()
		start := time.Now()
		if err := writeNode(ctx, c); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != probeAfter/2 {
			t.Errorf("waited for %s: %v", time.Since(start), err)
		}
	})
}

// The client library would repeat it for ten seconds, and write then what was so before.
func TestAWriteToAServerThatIsNotReadyIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away, _ := newOutage()
		s := &server{err: apierrors.NewServiceUnavailable("not ready")}
		c := connect(t, away, s)
		if err := writeNode(t.Context(), c); !Unanswered(err) {
			t.Errorf("it ended with %v", err)
		}
		if failed := s.fails(nil); failed != 1 {
			t.Errorf("it was sent %d times", failed)
		}
	})
}

// The client library would log each of them, and give up after two minutes.
func TestEventsWaitForTheAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events, outage = 20, 10 * time.Minute
		away, said := newOutage()
		s := &server{err: apierrors.NewServiceUnavailable("not ready")}
		c := connect(t, away, s)
		var all sync.WaitGroup
		for range events {
			all.Go(func() {
				if err := c.Create(t.Context(), &eventsv1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet", Name: "x"}, Note: "was"}); err != nil {
					t.Error(err)
				}
			})
		}
		<-time.After(outage)
		if failed := s.fails(nil); failed > events+int(outage/probeAfter) {
			t.Errorf("%d requests failed", failed)
		}
		all.Wait()
		said.has(t, "not ready", "answers again")
	})
}

// What failed last need not be written any more, so nobody will ask again.
func TestAResourceThatNobodyAsksForDoesNotKeepTheOutageGoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away, said := newOutage()
		s := &server{err: syscall.ECONNREFUSED}
		c := connect(t, away, s)
		_ = writeNode(t.Context(), c)
		<-time.After(quietPeriod)
		_ = writeSlice(t.Context(), c)
		said.has(t, "connection refused")
		s.fails(nil)
		<-time.After(idleAfter)
		if err := writeSlice(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		said.has(t, "connection refused", "answers again")
	})
}
