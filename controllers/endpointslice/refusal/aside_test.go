package refusal

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// due returns which of the new endpoints of a change are tried by then.
func due(a *Aside, c *Change, now time.Time, fresh bool) []int {
	a.Begin(now, fresh)
	return slices.Concat(a.Due(c)...)
}

// TestAsideTriesAgain: after a second, then after twice as long each time, up to four minutes and a fifth.
func TestAsideTriesAgain(t *testing.T) {
	a, c, now := NewAside(), NewChange(slice(1, "a"), slice(1, "a", "b")), start
	for try, seconds := range []int{1, 2, 4, 8, 16, 32, 64, 128, 240, 240} {
		want := time.Duration(seconds) * time.Second
		if got := due(a, c, now, false); !slices.Equal(got, []int{1}) {
			t.Fatalf("try %d: %v are due", try, got)
		}
		a.Put(c, []int{1}, "no")
		next := a.End()
		if next < want || next > want+want/5 {
			t.Errorf("try %d is followed by one after %s, want %s", try, next, want)
		}
		if got := due(a, c, now.Add(next-time.Millisecond), false); got != nil || !a.Missing("b") {
			t.Errorf("try %d: %v are due before that", try, got)
		}
		a.End()
		now = now.Add(next)
	}
	if s := a.Summary(); s.Refused != 1 || s.Example != "b" || s.Words != "no" {
		t.Errorf("it says %+v", s)
	}
}

// TestAsideIsDueAtOnce: where anything changed that the refusal may depend on.
func TestAsideIsDueAtOnce(t *testing.T) {
	refused := func() (*Aside, *Change) {
		a, c := NewAside(), NewChange(slice(1, "a"), slice(1, "a", "b", "c"))
		a.Begin(start, false)
		a.Due(c)
		a.Put(c, []int{1}, "no")
		a.Put(c, []int{2}, "no")
		a.End()
		return a, c
	}
	a, c := refused()
	if got := due(a, c, start, false); got != nil {
		t.Errorf("%v are due without a reason", got)
	}
	if got := due(a, c, start, true); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("where the Service changed %v are due", got)
	}
	a, _ = refused()
	changed := NewChange(slice(1, "a"), slice(1, "a", "b:zone", "c"))
	if got := due(a, changed, start, false); !slices.Equal(got, []int{1}) {
		t.Errorf("where a node changed %v are due", got)
	}
	if a.End(); a.Summary().Refused != 1 {
		t.Error("what is not desired any more is still put aside")
	}
	a, c = refused()
	if got := due(a, NewChange(slice(1), slice(1, "b")), start.Add(2*time.Second), false); len(got) != 1 {
		t.Fatalf("%v are due", got)
	}
	a.Due(c)
	a.Admitted(c, []int{1})
	if next := a.End(); next != time.Millisecond {
		t.Errorf("what was refused beside one that is taken is looked at after %s", next)
	}
	if got := due(a, c, start.Add(2*time.Second), false); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("and %v are due", got)
	}
}

// TestAsideIsForgottenOnceAllIsTaken: nothing is left to say or to do.
func TestAsideIsForgottenOnceAllIsTaken(t *testing.T) {
	a, c := NewAside(), NewChange(slice(1), slice(1, "a"))
	due(a, c, start, false)
	a.Put(c, []int{0}, "exceeded quota: few")
	if s := a.Summary(); !s.Quota {
		t.Errorf("it says %+v", s)
	}
	a.End()
	due(a, c, start.Add(time.Hour), false)
	a.Admitted(c, []int{0})
	if next := a.End(); next != 0 || a.Any() || a.Summary() != (Summary{}) {
		t.Errorf("the next pass is after %s, and it says %+v", next, a.Summary())
	}
}

// TestTriesAreBounded: 32 at once, and 4 a second.
func TestTriesAreBounded(t *testing.T) {
	a, tries := NewAside(), 0
	for second := range 11 {
		a.Begin(start.Add(time.Duration(second)*time.Second), false)
		for a.Try() {
			tries++
		}
	}
	if want := 32 + 10*4; tries != want {
		t.Errorf("%d tries in 10 s, want %d", tries, want)
	}
}

// TestManyThatAreRefusedAreTriedSeldom: 160 groups as often as 16 together.
func TestManyThatAreRefusedAreTriedSeldom(t *testing.T) {
	const many = 160
	a, desired := NewAside(), slice(1)
	for n := range many {
		desired.Endpoints = append(desired.Endpoints, slice(1, strconv.Itoa(n)).Endpoints...)
	}
	c := NewChange(slice(1), desired)
	due(a, c, start, false)
	for n := range many {
		a.Put(c, []int{n}, "no")
	}
	a.End()
	if got := len(due(a, c, start.Add(5*time.Second), false)); got > many*6/10 {
		t.Errorf("%d of %d are tried again within 5 s", got, many)
	}
	if got := len(due(a, c, start.Add(13*time.Second), false)); got != many {
		t.Errorf("%d of %d are tried again within 13 s", got, many)
	}
}

// TestStuck: what should be gone is counted, and other ways to take it out have a backoff.
func TestStuck(t *testing.T) {
	a, c := NewAside(), NewChange(slice(1, "a", "b", "c"), slice(1, "c", "d"))
	a.Begin(start, false)
	if a.Waits("web-1") {
		t.Error("it waits from the beginning")
	}
	a.Stuck(c, "no")
	if s := a.Summary(); s.Stuck != 2 || s.Example != "a" || !a.Waits("web-1") || !a.Any() {
		t.Errorf("it says %+v", s)
	}
	if next := a.End(); next < time.Second || next > 2*time.Second {
		t.Errorf("it is tried again after %s", next)
	}
	a.Begin(start.Add(2*time.Second), false)
	if a.Waits("web-1") {
		t.Error("it still waits after 2 s")
	}
	a.Freed("web-1")
	if s := a.Summary(); s != (Summary{}) {
		t.Errorf("it says %+v", s)
	}
}

// TestWithout: plans do without what was refused as a whole, and are made again at once, but only once.
func TestWithout(t *testing.T) {
	a, c := NewAside(), NewChange(nil, slice(1, "a"))
	a.Begin(start, false)
	if !a.NoCreation(c) || a.NoCreation(c) || !a.Missing("a") {
		t.Error("that no slice can be created is news once")
	}
	a.NoRegrouping(c)
	if sparing, apart := a.Without(); !sparing || !apart || a.End() != time.Millisecond {
		t.Error("no other plan is made")
	}
	a.Begin(start, false)
	a.NoRegrouping(c)
	if a.Created(); a.End() != 0 {
		t.Error("another plan is made again")
	}
	if sparing, apart := a.Without(); sparing || !apart {
		t.Errorf("sparing: %t, apart: %t", sparing, apart)
	}
}
