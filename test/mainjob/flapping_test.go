package mainjob

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// flapper is a node whose record changes all the time.
type flapper struct {
	*rig
	js  jetstream.JetStream
	key string
}

// say writes the node's record without waiting; a record that is empty unregisters it.
func (f *flapper) say(record string) {
	f.Helper()
	message := &nats.Msg{Subject: "$KV.catga_nodes." + f.key, Data: []byte(record)}
	if record == "" {
		message.Header = nats.Header{"KV-Operation": {"DEL"}}
	}
	if _, err := f.js.PublishMsgAsync(message, jetstream.WithStallWait(patience)); err != nil {
		f.Error(err)
	}
}

// flapsAtOnce is how many records a node that flaps writes each millisecond.
const flapsAtOnce = 8

// flap writes the records in turn, 8,000 a second, until ctx ends or there were so many, and returns how many there were.
func (f *flapper) flap(ctx context.Context, most int, records ...string) (sent int) {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for ; ctx.Err() == nil && sent < most; sent++ {
		f.say(records[sent%len(records)])
		if sent%flapsAtOnce == 0 {
			<-ticker.C
		}
	}
	select {
	case <-f.js.PublishAsyncComplete():
	case <-f.Context().Done():
	}
	return sent
}

// flapping has the node write the records in turn until the func that it returns is called.
func (f *flapper) flapping(records ...string) (stop func()) {
	ctx, cancel := context.WithCancel(f.Context())
	began, done := time.Now(), make(chan int, 1)
	go func() { done <- f.flap(ctx, math.MaxInt, records...) }()
	stop = sync.OnceFunc(func() {
		cancel()
		f.Logf("%.0f records a second", float64(<-done)/time.Since(began).Seconds())
	})
	f.Cleanup(stop)
	return stop
}

// everywhere returns true if each of the Services has exactly these ready addresses.
func (r *rig) everywhere(services []string, addresses ...string) bool {
	slices.Sort(addresses)
	return !slices.ContainsFunc(services, func(name string) bool { return !slices.Equal(r.ready(name), addresses) })
}

// flappingRecords are what a node writes in turn; an empty record unregisters it. The first is the last state.
var flappingRecords = []struct {
	name    string
	records []string
}{
	{"registers and unregisters", []string{flapping("10.2.0.1", "web", ""), ""}},
	{"moves", []string{flapping("10.2.0.1", "web", ""), flapping("10.2.0.2", "web", "")}},
	{"drains", []string{flapping("10.2.0.1", "web", ""), flapping("10.2.0.1", "web", `,"Draining":true`)}},
	{"gives an address that is refused", []string{flapping("10.2.0.1", "web", ""), flapping("127.0.0.1", "web", "")}},
	{"leaves and joins by its label", []string{flapping("10.2.0.1", "web", ""), flapping("10.2.0.1", "db", "")}},
}

func flapping(host, role, rest string) string {
	return fmt.Sprintf(`{"NodeId":"flapper","Endpoint":"http://%s:8080","Metadata":{"role":%q}%s}`, host, role, rest)
}

// TestFlappingKey: one key that changes thousands of times a second in ten Services costs a few writes; no other node waits for it;
// and in the end it is what its record says.
func TestFlappingKey(t *testing.T) {
	for _, tt := range flappingRecords {
		t.Run(tt.name, func(t *testing.T) { testFlapping(t, tt.records) })
	}
}

func testFlapping(t *testing.T, records []string) {
	t.Helper()
	const (
		services = 10
		window   = 4 * time.Second
	)
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	var names []string
	for n := range services {
		names = append(names, fmt.Sprintf("web-%d", n))
		r.service(names[n])
	}
	m := r.startReady()
	r.beat(0)
	r.Within(patience, "the first endpoint", func() bool { return r.everywhere(names, address(0)) })
	js, err := jetstream.New(r.nats.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	f := &flapper{rig: r, js: js, key: "node.flapper"}
	stop := f.flapping(records...)
	r.Within(patience, "the burst to be over", func() bool { return r.condition("Degraded") == "True/"+rollcallv1alpha1.ReasonFlapping })
	m.Take()
	began := time.Now()
	r.beat(1)
	took := r.Within(patience, "another node beside it", func() bool {
		return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(r.ready(name), address(1)) })
	})
	r.Within(patience, "the window to be over", func() bool { return time.Since(began) > window })
	writes, elapsed := m.Take(), time.Since(began).Seconds()
	stop()
	f.flap(t.Context(), 1, records...)
	waited := r.Within(patience, "the last state", func() bool { return r.everywhere(names, address(0), address(1), "10.2.0.1") })

	// One of each is the other node's.
	slicesWritten, nodesWritten := count(writes, "/endpointslices")-services, count(writes, "/discoverednodes")-1
	t.Logf("%.1f slice writes and %.1f writes of DiscoveredNodes a second; another node was shown after %s, the last state after %s",
		float64(slicesWritten)/elapsed, float64(nodesWritten)/elapsed, took, waited)
	// What was allowed just before the window is written in it.
	if most := services * (elapsed + 5); float64(slicesWritten) > most {
		t.Errorf("%d slice writes in %.1f s, want at most %.0f", slicesWritten, elapsed, most)
	}
	if most := elapsed + 3; float64(nodesWritten) > most {
		t.Errorf("%d writes of DiscoveredNodes in %.1f s, want at most %.0f", nodesWritten, elapsed, most)
	}
}

// count returns how many of the writes are to a resource.
func count(writes []string, resource string) (n int) {
	for _, write := range writes {
		if strings.Contains(write, resource) {
			n++
		}
	}
	return n
}
