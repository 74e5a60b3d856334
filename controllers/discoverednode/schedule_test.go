package discoverednode

import (
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestAChangeIsNewsOnce(t *testing.T) {
	s := newSchedule()
	name, other := types.NamespacedName{Name: "catga.web-1"}, types.NamespacedName{Name: "catga.web-2"}
	at := time.Unix(1, 0)
	for i, test := range []struct {
		name types.NamespacedName
		at   time.Time
		news bool
	}{{name, at, true}, {name, at.UTC(), false}, {other, at, true}, {name, at.Add(1), true}, {name, at.Add(1), false}} {
		if news := s.shows(test.name, test.at); news != test.news {
			t.Errorf("%d: a change of %s at %s is news: %t", i, test.name, test.at, news)
		}
	}
	s.forget(name)
	if !s.shows(name, at.Add(1)) {
		t.Error("what a new node shows is no news")
	}
}

// A turn is never farther away than the interval, and those of many objects are not all at once.
func TestAShorterIntervalCountsAtOnce(t *testing.T) {
	s, now := newSchedule(), time.Unix(1000, 0)
	turns := map[time.Duration]struct{}{}
	for i := range 100 {
		name := types.NamespacedName{Name: strconv.Itoa(i)}
		s.written(name, time.Hour, now)
		wait := s.next(name, time.Minute, now.Add(time.Second))
		if wait <= 0 || wait > time.Minute {
			t.Fatalf("with an interval of a minute it is %s until the turn", wait)
		}
		if again := s.next(name, time.Minute, now.Add(2*time.Second)); again != wait-time.Second {
			t.Fatalf("the turn was after %s, and a second later it is after %s", wait, again)
		}
		if longer := s.next(name, time.Hour, now.Add(time.Second)); longer != wait {
			t.Fatalf("a longer interval moves the turn from %s to %s", wait, longer)
		}
		turns[wait] = struct{}{}
	}
	if len(turns) < 50 {
		t.Errorf("100 objects have %d turns", len(turns))
	}
}
