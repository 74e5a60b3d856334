package discoverednode

import (
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
