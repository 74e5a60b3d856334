package pods

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/rollcall-dev/rollcall/internal/manager"
)

// way is the manager's way to the API server, which can be cut, and what the manager logs. It is safe for concurrent use.
type way struct {
	next http.RoundTripper

	mu    sync.Mutex
	cut   bool
	tried int
	lines []string
}

// RoundTrip implements http.RoundTripper. Watches that there are go on.
func (w *way) RoundTrip(request *http.Request) (*http.Response, error) {
	w.mu.Lock()
	cut := w.cut
	if cut && strings.Contains(request.URL.Path, "/pods/") {
		w.tried++
	}
	w.mu.Unlock()
	if cut {
		return nil, syscall.ECONNREFUSED
	}
	return w.next.RoundTrip(request)
}

// take has a manager go that way.
func (w *way) take(config *rest.Config, o *manager.Options) {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		w.next = next
		return w
	})
	o.Logger = funcr.New(func(_, args string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.lines = append(w.lines, args)
	}, funcr.Options{})
}

// set cuts the way, or mends it, and returns what has been tried to write of pods meanwhile, and what was logged.
func (w *way) set(cut bool) (tried int, lines []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	tried, lines = w.tried, w.lines
	w.cut, w.tried, w.lines = cut, 0, nil
	return tried, lines
}

// An outage in which the gates of many pods are to close costs few requests and two lines, and afterwards they close at once.
func TestAnOutageOfTheAPIServerIsSatOut(t *testing.T) {
	const pods, outage, handful = 30, 8 * time.Second, 4
	r, to := newRig(t), &way{}
	r.registry()
	r.registration("web")
	r.start(to.take)
	var all []*corev1.Pod
	for i := range pods {
		all = append(all, r.pod(fmt.Sprintf("web-%d", i), gate))
	}
	for _, pod := range all {
		r.Within(patience, "the gate to open", r.gateIs(pod, corev1.ConditionTrue))
	}
	to.set(true)
	for _, pod := range all {
		r.foreign(pod.Name, nil)
	}
	r.Throughout(outage, "the way to be cut", func() bool { return true })
	tried, lines := to.set(false)
	for _, pod := range all {
		r.Within(patience, "the gate to close", r.gateIs(pod, corev1.ConditionFalse))
	}
	// Eight workers write at once before it is known, and then one does every 100 ms at most.
	if most := 8 + int(outage/(100*time.Millisecond)); tried == 0 || tried > most {
		t.Errorf("%d patches of pods failed, more than %d", tried, most)
	}
	if len(lines) == 0 || len(lines) > handful {
		t.Errorf("the outage has %d lines in the log: %.3000s", len(lines), strings.Join(lines, "\n"))
	}
}
