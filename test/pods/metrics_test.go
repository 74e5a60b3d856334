package pods

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// served makes a manager serve its metrics, and returns what reads one of them; -1 if it is not served.
func (r *rig) served() (change func(*rest.Config, *manager.Options), read func(sample string) float64) {
	r.Helper()
	address := natstest.FreeAddress(r)
	return func(_ *rest.Config, o *manager.Options) { o.MetricsAddress = address }, func(sample string) float64 {
		r.Helper()
		response, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return -1 // The manager has not come so far.
		}
		defer response.Body.Close()
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			if text, found := strings.CutPrefix(lines.Text(), sample+" "); found {
				value, err := strconv.ParseFloat(text, 64)
				if err != nil {
					r.Fatal(err)
				}
				return value
			}
		}
		return -1
	}
}

func TestMetricsOfPods(t *testing.T) {
	r := newRig(t)
	r.registry()
	r.registration("web")
	r.foreign("taken", nil)
	change, read := r.served()
	r.start(change)
	for _, name := range []string{"web-0", "web-1", "taken"} {
		r.pod(name)
	}
	labels := fmt.Sprintf(`namespace="%s",registry="catga"`, r.Namespace)
	registered, conflicts := "rollcall_pod_registered{"+labels+"}", "rollcall_pod_conflicts{"+labels+"}"
	beats := func(result string) string {
		return "rollcall_pod_heartbeats_total{" + labels + `,result="` + result + `"}`
	}
	const latency = "rollcall_pod_heartbeat_latency_seconds_count"
	is := func(sample string, want float64) {
		t.Helper()
		r.Within(patience, fmt.Sprintf("%s to be %v", sample, want), func() bool { return read(sample) == want })
	}
	grows := func(sample string) {
		t.Helper()
		before := read(sample)
		r.Within(patience, fmt.Sprintf("%s to be more than %v", sample, before), func() bool { return before >= 0 && read(sample) > before })
	}
	is(registered, 2)
	is(conflicts, 1)
	grows(beats("success"))
	if sent, measured := read(beats("success")), read(latency); measured <= 0 {
		t.Errorf("%v heartbeats succeeded, of %v the latency was measured", sent, measured)
	}
	is(beats("error"), 0)

	// Somebody writes over an entry: the heartbeat is overtaken, and the pod in conflict.
	r.foreign("web-1", nil)
	is(registered, 1)
	is(conflicts, 2)

	// The server is away.
	before := read(beats("success"))
	r.nats.Stop()
	grows(beats("error"))
	if got := read(registered); got != 1 {
		t.Errorf("without a server %v pods are registered", got)
	}
	if err := r.nats.Restart(); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "heartbeats to succeed again", func() bool { return read(beats("success")) > before })
}
