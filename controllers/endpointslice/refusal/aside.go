package refusal

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
)

const (
	// What was refused is tried again after retryFirst, then after twice as long each time, at most after retryLast. Up to jitter
	// of that is added at random.
	retryFirst, retryLast = time.Second, 4 * time.Minute
	jitter                = 0.2
	// manyGroups is how many groups are tried again at that pace. Where there are more, each waits longer in proportion.
	manyGroups = 16
	// A Service has maxTries for searches at once, and one more each tryEvery.
	maxTries, tryEvery = 32, 250 * time.Millisecond
)

// Aside has what the API server refuses of one Service. It is safe for concurrent use.
type Aside struct {
	mu sync.Mutex
	// groups are by the keys of the endpoints that were refused together.
	groups map[string]*group
	// stuck are the slices that hold what should be gone, or are otherwise not as they should be, by name.
	stuck map[string]*group
	// sparing is true if no slice can be created, apart, if none can be given other ports as a whole.
	sparing, apart bool

	// The rest is of one pass.

	now  time.Time
	seen map[string]bool
	// missing are the addresses that are not shown as they are desired.
	missing map[string]bool
	// replaced are the slices in whose place there are others since the plan was made.
	replaced map[string]bool
	// tries is how many a search has left, filled up to the time refilled.
	tries    int
	refilled time.Time
	replan   bool
}

// group is what was refused together.
type group struct {
	tries int
	due   time.Time
	// example is one of the addresses, gone is how many endpoints should be gone.
	example string
	gone    int
	words   string
}

// NewAside returns an Aside with nothing in it.
func NewAside() *Aside {
	return &Aside{groups: map[string]*group{}, stuck: map[string]*group{}, tries: maxTries}
}

// Begin begins a pass. Something that may have led to the refusals has changed if fresh is true: all is due then.
func (a *Aside) Begin(now time.Time, fresh bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now, a.seen, a.missing, a.replaced, a.replan = now, map[string]bool{}, map[string]bool{}, map[string]bool{}, false
	if more := int(now.Sub(a.refilled) / tryEvery); more > 0 {
		a.tries, a.refilled = min(maxTries, a.tries+more), now
	}
	if fresh {
		a.wake()
	}
}

// wake makes everything due.
func (a *Aside) wake() {
	for _, g := range a.all() {
		g.due = a.now
	}
	a.sparing, a.apart = false, false
}

func (a *Aside) all() []*group {
	return slices.Concat(slices.Collect(maps.Values(a.groups)), slices.Collect(maps.Values(a.stuck)))
}

// End ends a pass in which all was planned, and returns after what time the next one is due; zero: none is.
func (a *Aside) End() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.groups, func(key string, _ *group) bool { return !a.seen[key] })
	maps.DeleteFunc(a.stuck, func(slice string, _ *group) bool { return !a.seen[slice] })
	if a.replan {
		return time.Millisecond
	}
	var next time.Time
	for _, g := range a.all() {
		if next.IsZero() || g.due.Before(next) {
			next = g.due
		}
	}
	switch {
	case next.IsZero():
		return 0
	case !next.After(a.now):
		return retryFirst // It was due in this pass, and not tried.
	}
	return next.Sub(a.now)
}

// Any returns true if anything is refused, so that the slices are not as they were planned.
func (a *Aside) Any() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.groups) > 0 || len(a.stuck) > 0 || len(a.missing) > 0 || a.replan
}

// Without returns what plans have to do without: with sparing new slices where there is room, with apart other ports for a slice as
// a whole.
func (a *Aside) Without() (sparing, apart bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sparing, a.apart
}

// Due returns those of the new endpoints that are to be tried now, a part for each group that was put aside, and first those that
// were not.
func (a *Aside) Due(c *Change) (parts [][]int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	parts = [][]int{nil}
	if len(a.groups) == 0 {
		parts[0] = c.New()
		return parts
	}
	at := map[*group]int{}
	for _, i := range c.New() {
		key := c.key(i)
		a.seen[key] = true
		g := a.groups[key]
		switch {
		case g == nil:
			parts[0] = append(parts[0], i)
		case g.due.After(a.now):
			a.missing[address(&c.desired.Endpoints[i])] = true
		default:
			if _, found := at[g]; !found {
				at[g] = len(parts)
				parts = append(parts, nil)
			}
			parts[at[g]] = append(parts[at[g]], i)
		}
	}
	return parts
}

// Refuses returns true if the endpoint is put aside and not to be tried now, in whatever slice.
func (a *Aside) Refuses(slice *discoveryv1.EndpointSlice, endpoint *discoveryv1.Endpoint) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.groups) == 0 {
		return false
	}
	g := a.groups[keyOf(slice, endpoint)]
	return g != nil && g.due.After(a.now)
}

// Try returns true if a search has a try left.
func (a *Aside) Try() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tries == 0 {
		return false
	}
	a.tries--
	return true
}

// Admitted notes that endpoints were written as they are desired.
func (a *Aside) Admitted(c *Change, items []int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	some := false
	if len(a.groups) > 0 {
		for _, i := range items {
			key := c.key(i)
			_, found := a.groups[key]
			delete(a.groups, key)
			some = some || found
		}
	}
	if some {
		a.wake() // What refused this is gone, and perhaps what refuses the others.
		a.replan = a.replan || len(a.groups) > 0
	}
}

// Put puts endpoints aside that were refused together in those words.
func (a *Aside) Put(c *Change, items []int, words string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := &group{words: words}
	for _, i := range items {
		key, at := c.key(i), address(&c.desired.Endpoints[i])
		if g := a.groups[key]; g != nil {
			next.tries = max(next.tries, g.tries)
		}
		a.groups[key], a.seen[key], a.missing[at] = next, true, true
		if next.example == "" || at < next.example {
			next.example = at
		}
	}
	a.later(next)
}

// later makes a group wait for its next try.
func (a *Aside) later(g *group) {
	wait := min(retryFirst<<min(g.tries, 16), retryLast)
	many := map[*group]bool{g: true}
	for _, other := range a.groups {
		many[other] = true
	}
	wait = wait * time.Duration(max(len(many), manyGroups)) / manyGroups
	g.tries++
	g.due = a.now.Add(wait + time.Duration(rand.Float64()*jitter*float64(wait))) //nolint:gosec // Spreads load.
}

// Stuck notes that a slice is not as it should be, and may hold endpoints that should be gone.
func (a *Aside) Stuck(c *Change, words string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	slice, lost := c.base.Name, c.lost()
	if len(lost) > 0 {
		a.miss(c)
	}
	a.seen[slice] = true
	g := a.stuck[slice]
	if g == nil {
		g = &group{}
		a.stuck[slice] = g
	}
	g.words, g.gone, g.example = words, 0, ""
	for _, at := range lost {
		if g.gone++; g.example == "" || at < g.example {
			g.example = at
		}
	}
	if !g.due.After(a.now) {
		a.later(g)
	}
}

// Freed notes that a slice has lost what had to leave it.
func (a *Aside) Freed(slice string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.stuck, slice)
}

// Waits returns true if no other way is to be tried yet to take endpoints out of a slice than to write it without them.
func (a *Aside) Waits(slice string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[slice] = true
	g := a.stuck[slice]
	return g != nil && g.due.After(a.now)
}

// NoCreation notes that no slice can be created. It returns true if that is new: then another pass does without, as far as it can.
func (a *Aside) NoCreation(c *Change) (news bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	news = !a.sparing
	if a.sparing = true; news {
		a.replan = true
		a.miss(c)
	}
	return news
}

// Created notes that a slice was created.
func (a *Aside) Created() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sparing = false
}

// NoRegrouping notes that a slice can't be given other ports as a whole: another pass does without.
func (a *Aside) NoRegrouping(c *Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.replan = a.replan || !a.apart
	a.apart = true
	a.miss(c)
}

// Postpone leaves all that is new to another pass, which follows at once.
func (a *Aside) Postpone(c *Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.replan = true
	a.miss(c)
}

// miss notes that the desired endpoints may not be shown.
func (a *Aside) miss(c *Change) {
	for i := range c.desired.Endpoints {
		a.missing[address(&c.desired.Endpoints[i])] = true
	}
}

// Replace notes that there is another slice in the place of one: another pass looks at it.
func (a *Aside) Replace(slice string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.replaced[slice], a.replan = true, true
}

// Replaced returns true if there is another slice in the place of that one.
func (a *Aside) Replaced(slice string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.replaced[slice]
}

// Missing returns true if the address is not shown as it is desired.
func (a *Aside) Missing(address string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.missing[address]
}

// Summary is what there is to say of what is refused.
type Summary struct {
	// Refused is how many endpoints are put aside, Stuck how many should be gone, and Slices in how many slices those are, or
	// something else that can't be written.
	Refused, Stuck, Slices int
	// Example is the address of one of them, Words what the API server says of it.
	Example, Words string
	// Quota is true if a quota is the cause.
	Quota bool
}

// Summary returns what there is to say.
func (a *Aside) Summary() (s Summary) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Refused, s.Slices = len(a.groups), len(a.stuck)
	for _, g := range a.stuck {
		s.Stuck += g.gone
	}
	examples := slices.Collect(maps.Values(a.stuck))
	if s.Stuck == 0 && s.Refused > 0 {
		examples = slices.Collect(maps.Values(a.groups))
	}
	if len(examples) > 0 {
		first := slices.MinFunc(examples, func(x, y *group) int { return strings.Compare(x.example, y.example) })
		s.Example, s.Words = first.example, first.words
		s.Quota = Quota(first.words)
	}
	return s
}

// Quota returns true if the API server's words say that a quota is used up.
func Quota(words string) bool { return strings.Contains(words, "exceeded quota") }
