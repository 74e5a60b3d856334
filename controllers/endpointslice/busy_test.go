package endpointslice

import (
	"context"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

var (
	web = types.NamespacedName{Namespace: namespace, Name: "web"}
	db  = types.NamespacedName{Namespace: namespace, Name: "db"}
)

// waits says whether wait waits at this time of a clock that stands still.
func (b *busy) waits() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	b.wait(ctx)
	return ctx.Err() != nil
}

func TestSlicesGoFirst(t *testing.T) {
	clk := testclock.NewFakeClock(epoch)
	b := newBusy(clk)
	expect := func(what string, waits bool) {
		t.Helper()
		if got := b.waits(); got != waits {
			t.Errorf("%s: the view waits: %t", what, got)
		}
	}
	expect("nothing has happened", false)

	b.changed(web, db)
	expect("two Services have changed", true)
	change := b.begin(web)
	b.changed(web)
	b.end(web, change)
	b.end(db, b.begin(db))
	expect("one has changed again while it was written", true)
	b.end(web, b.begin(web))
	expect("all is written", false)
	b.end(web, b.begin(web))
	expect("a reconcile without a change", false)

	b.changed(web)
	clk.Step(precedence - 1)
	expect("the slices are slow", true)
	clk.Step(1)
	expect("the slices are too slow", false)
}

func TestWhoeverYieldsGoesOnOnceSlicesAreWritten(t *testing.T) {
	b := newBusy(testclock.NewFakeClock(epoch))
	b.changed(web)
	done := make(chan struct{})
	go func() {
		b.wait(t.Context())
		close(done)
	}()
	if !b.waits() {
		t.Fatal("did not wait")
	}
	b.end(web, b.begin(web))
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("still waits")
	}
}

func TestAStormIsGathered(t *testing.T) {
	changes := func(nodes ...*mirror.Node) (all []mirror.Change) {
		for _, node := range nodes {
			all = append(all, mirror.Change{New: node})
		}
		return all
	}
	const many = int(lull/worth) + 2
	nodes := fleet(2 * many)
	for _, test := range []struct {
		name   string
		change func(s *states)
		after  time.Duration
		rest   time.Duration
	}{
		{"one change", func(s *states) { s.change(changes(nodes[0]), epoch) }, 0, 0},
		{"two changes", func(s *states) { s.change(changes(nodes[:2]...), epoch) }, 0, worth},
		{"two changes a while ago", func(s *states) { s.change(changes(nodes[:2]...), epoch) }, worth, 0},
		{"a storm", func(s *states) { s.change(changes(nodes[:many]...), epoch) }, time.Millisecond, lull - time.Millisecond},
		{"a storm that is over", func(s *states) { s.change(changes(nodes[:many]...), epoch) }, lull, 0},
		{"a storm that goes on", func(s *states) {
			s.change(changes(nodes[:many]...), epoch)
			s.change(changes(nodes[many:]...), epoch.Add(patience-time.Millisecond))
		}, patience - time.Millisecond, time.Millisecond},
		{"a storm that goes on for too long", func(s *states) {
			s.change(changes(nodes[:many]...), epoch)
			s.change(changes(nodes[many:]...), epoch.Add(patience))
		}, patience, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStates()
			st := s.get(web)
			selector, err := parseSelector(newService())
			if err != nil {
				t.Fatal(err)
			}
			s.begin(st, selector, false)
			for n := range many {
				st.slices[fmt.Sprintf("web-%d", n)] = &known{}
			}
			test.change(s)
			if rest := s.gathering(st, epoch.Add(test.after)); rest != test.rest {
				t.Errorf("waits for %s, not %s", rest, test.rest)
			}
		})
	}
}
