package discoverednode

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// scene is a choice with three places, and a clock.
type scene struct {
	*testing.T
	*choice
	now time.Time
}

func newScene(t *testing.T) *scene {
	t.Helper()
	return &scene{T: t, choice: newChoice(3, time.Minute), now: began}
}

func (s *scene) is(problem problem, names ...string) {
	for _, name := range names {
		s.set(name, problem, s.now)
	}
}

func (s *scene) after(d time.Duration) {
	s.now = s.now.Add(d)
	s.pass(s.now)
}

// has returns the names of those with a place, sorted.
func (s *scene) has() string {
	var names []string
	for name := range s.candidates {
		if s.shows(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestChoice(t *testing.T) {
	for name, test := range map[string]struct {
		happens            func(*scene)
		want               string
		problems, notShown int
	}{
		"nothing":              {func(s *scene) { s.is(fine, "a", "b") }, "", 0, 0},
		"few":                  {func(s *scene) { s.is(stale, "a"); s.is(fine, "b"); s.is(remarked, "c") }, "a c", 2, 0},
		"the first are shown":  {func(s *scene) { s.is(stale, "d", "a", "b", "c") }, "a b d", 4, 1},
		"who is in stays in":   {func(s *scene) { s.is(remarked, "a", "b", "c"); s.is(held, "d") }, "a b c", 4, 1},
		"refused comes first":  {func(s *scene) { s.is(stale, "a"); s.is(remarked, "b", "c"); s.is(refused, "d") }, "a b d", 4, 1},
		"refused stays in":     {func(s *scene) { s.is(refused, "a", "b", "c", "d") }, "a b c", 4, 1},
		"cordoned comes first": {func(s *scene) { s.is(refused, "a", "b", "c"); s.is(cordoned, "d") }, "a b d", 4, 1},
		"all cordoned are shown": {func(s *scene) {
			s.is(stale, "z")
			s.is(cordoned, "a", "b", "c", "d", "e")
		}, "a b c d e", 6, 1},
		"the least problem waits first": {func(s *scene) {
			s.is(stale, "a", "b", "c")
			s.is(remarked, "d")
			s.is(invalid, "e")
			s.drop("a")
		}, "b c e", 4, 1},
		"who lost a place gets the next": {func(s *scene) {
			s.is(stale, "a", "b", "c", "d")
			s.is(refused, "r")
			s.drop("a")
		}, "b c r", 4, 1},
		"its problem is over": {func(s *scene) { s.is(stale, "a"); s.is(fine, "a") }, "a", 0, 0},
		"over for long":       {func(s *scene) { s.is(stale, "a"); s.is(fine, "a"); s.after(time.Minute) }, "", 0, 0},
		"over, and the next": {func(s *scene) {
			s.is(stale, "a", "b", "c", "d")
			s.is(fine, "a")
			s.after(time.Minute)
		}, "b c d", 3, 0},
		"over, and there again": {func(s *scene) {
			s.is(stale, "a")
			for range 10 {
				s.is(fine, "a")
				s.after(59 * time.Second)
				s.is(stale, "a")
			}
			s.after(time.Hour)
		}, "a", 1, 0},
		"another problem for a moment": {func(s *scene) {
			s.is(refused, "a", "b", "c")
			s.is(stale, "a")
			s.is(refused, "d")
		}, "a b c", 4, 1},
		"another problem for long": {func(s *scene) {
			s.is(refused, "a", "b", "c")
			s.is(stale, "a")
			s.is(refused, "d")
			s.after(time.Minute)
		}, "b c d", 4, 1},
		"a worse one": {func(s *scene) {
			s.is(stale, "a", "b", "c")
			s.is(refused, "c")
			s.is(refused, "d", "e")
		}, "c d e", 5, 2},
		"over while it waits": {func(s *scene) { s.is(stale, "a", "b", "c", "d"); s.is(fine, "d") }, "a b c", 3, 0},
		"gone": {func(s *scene) {
			s.is(stale, "a", "b", "c", "d")
			s.is(fine, "b")
			s.drop("b")
			s.drop("x")
		}, "a c d", 3, 0},
		"uncordoned": {func(s *scene) {
			s.is(cordoned, "a", "b", "c", "d")
			s.is(fine, "a", "b")
			s.after(time.Minute)
		}, "c d", 2, 0},
	} {
		s := newScene(t)
		test.happens(s)
		if got := s.has(); got != test.want || s.problems != test.problems || s.notShown() != test.notShown {
			t.Errorf("%s: %q are shown, of %d problems %d are not; want %q, %d, %d",
				name, got, s.problems, s.notShown(), test.want, test.problems, test.notShown)
		}
	}
}

// Whatever happens, the choice is as it should be, and what it says has changed is what has changed.
func TestChoiceAlways(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, shown, is := newScene(t), map[string]bool{}, map[string]problem{}
		for range 300 {
			var changed []string
			name := strconv.Itoa(r.IntN(12))
			switch r.IntN(10) {
			case 0:
				changed = append(s.drop(name), name)
				delete(is, name)
			case 1:
				s.now = s.now.Add(rand.N(time.Minute))
				changed = s.pass(s.now)
			default:
				is[name] = problem(r.IntN(int(fine) + 1))
				changed = s.set(name, is[name], s.now)
			}
			for i := range 12 {
				n := strconv.Itoa(i)
				if s.shows(n) != shown[n] && !slices.Contains(changed, n) {
					t.Fatalf("seed %d: nobody was told that %s is shown: %t", seed, n, s.shows(n))
				}
				shown[n] = s.shows(n)
			}
			s.check(seed, is)
		}
	}
}

func (s *scene) check(seed uint64, is map[string]problem) {
	places, cordons, problems, waiting, least := 0, 0, 0, false, fine
	greatest := cordoned
	for name, p := range is {
		x := s.candidates[name]
		if p != fine {
			problems++
		}
		switch {
		case s.shows(name):
			places++
			greatest = max(greatest, x.as)
			if x.as == cordoned {
				cordons++
			}
		case p != fine:
			waiting, least = true, min(least, p)
		}
	}
	if places != s.places || places > max(3, cordons) || waiting && places < 3 {
		s.Fatalf("seed %d: there are %d places, of which %d for cordons; somebody waits: %t", seed, places, cordons, waiting)
	}
	if least == cordoned || least == refused && greatest > refused {
		s.Fatalf("seed %d: %d waits, and %d is shown", seed, least, greatest)
	}
	if problems != s.problems || s.fading.Len() > places {
		s.Fatalf("seed %d: there are %d problems, it says %d, and %d fade", seed, problems, s.problems, s.fading.Len())
	}
}

// A storm of problems that come and go makes no objects that come and go as often.
func TestAStormIsSeenCalmly(t *testing.T) {
	const nodes, limit, minutes = 2000, 100, 10
	c, now, changes := newChoice(limit, time.Minute), began, 0
	for range minutes * 60 {
		now = now.Add(time.Second)
		changes += len(c.pass(now))
		for range nodes / 5 {
			n, is := rand.N(nodes), problem(rand.N(uint8(fine)+1))
			if is == cordoned {
				is = refused
			}
			changes += len(c.set(strconv.Itoa(n), is, now))
		}
	}
	// In a minute all places may go to others, once for the sake of one that is refused and once since a problem is over.
	if most := 4 * limit * (minutes + 1); changes > most || changes < limit {
		t.Errorf("%d objects came or went in %d minutes, want at most %d", changes, minutes, most)
	}
}
