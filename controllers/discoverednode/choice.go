package discoverednode

import (
	"container/list"
	"time"
)

// choice decides which nodes of a registry with the view Problems have a DiscoveredNode. It is pure, and a change costs the same
// however many nodes there are.
//
// There are limit places. Who has one keeps it as long as the node has the problem, and for linger after that, so that what comes and
// goes is no object that comes and goes. The others wait, those with the lesser problem first, then those who came first. A place is taken
// away for the sake of a node that is cordoned or refused alone, since an object is where these are written down: from the node
// with the greatest problem that came last. Who is cordoned has a place even where there is none.
type choice struct {
	limit  int
	linger time.Duration

	candidates map[string]*candidate
	// shown are those with a place, and waiting those without, by what they are there as, in the order in which they came.
	shown, waiting [fine]list.List
	places         int
	// fading are those with a place whose problem is another one than that which gave them the place, by when that ends.
	fading list.List
	// problems counts the candidates that have a problem.
	problems int
}

// candidate is a node that has a problem, or had one lately.
type candidate struct {
	name string
	// The problem that the node has, and the one as which it is in shown or waiting.
	is, as  problem
	shown   bool
	element *list.Element
	// fades is its place in fading, nil if it has none, and until when as counts.
	fades *list.Element
	until time.Time
}

func newChoice(limit int, linger time.Duration) *choice {
	return &choice{limit: limit, linger: linger, candidates: map[string]*candidate{}}
}

// set applies what a node's problem is, and returns the names of the nodes that have another answer to shows.
func (c *choice) set(name string, is problem, now time.Time) (changed []string) {
	x := c.candidates[name]
	if x == nil {
		if is == fine {
			return nil
		}
		x = &candidate{name: name, is: fine, as: is}
		c.candidates[name] = x
		x.element = c.waiting[is].PushBack(x)
	}
	c.judge(x, is)
	switch {
	case x.shown && is > x.as:
		if x.fades == nil {
			x.fades, x.until = c.fading.PushBack(x), now.Add(c.linger)
		}
		return nil
	case is == fine:
		c.remove(x)
		return nil
	}
	c.move(x, is)
	return c.settle()
}

// drop applies that a node is gone.
func (c *choice) drop(name string) (changed []string) {
	if x := c.candidates[name]; x != nil {
		c.judge(x, fine)
		c.remove(x)
	}
	return c.settle()
}

// pass applies that time has passed.
func (c *choice) pass(now time.Time) (changed []string) {
	for e := c.fading.Front(); e != nil; e = c.fading.Front() {
		x := candidateIn(e)
		if now.Before(x.until) {
			break
		}
		if x.is == fine {
			c.remove(x)
			changed = append(changed, x.name)
			continue
		}
		c.move(x, x.is)
	}
	return append(changed, c.settle()...)
}

// shows returns true if the node has a place.
func (c *choice) shows(name string) bool {
	x := c.candidates[name]
	return x != nil && x.shown
}

// rest returns after how long pass has something to do for the node; zero: it has not.
func (c *choice) rest(name string, now time.Time) time.Duration {
	x := c.candidates[name]
	if x == nil || x.fades == nil {
		return 0
	}
	return max(x.until.Sub(now), time.Millisecond)
}

// notShown counts those that wait for a place.
func (c *choice) notShown() int { return len(c.candidates) - c.places }

func (c *choice) judge(x *candidate, is problem) {
	if x.is != fine {
		c.problems--
	}
	if is != fine {
		c.problems++
	}
	x.is = is
}

// in returns the lists that the candidate is in one of.
func (c *choice) in(x *candidate) *[fine]list.List {
	if x.shown {
		return &c.shown
	}
	return &c.waiting
}

// move has the candidate be there as that, behind the others.
func (c *choice) move(x *candidate, as problem) {
	c.stay(x)
	if x.as != as {
		c.in(x)[x.as].Remove(x.element)
		x.as, x.element = as, c.in(x)[as].PushBack(x)
	}
}

// stay ends that the candidate fades.
func (c *choice) stay(x *candidate) {
	if x.fades != nil {
		c.fading.Remove(x.fades)
		x.fades = nil
	}
}

func (c *choice) remove(x *candidate) {
	c.stay(x)
	c.in(x)[x.as].Remove(x.element)
	delete(c.candidates, x.name)
	if x.shown {
		c.places--
	}
}

// settle gives places to those that wait, after it has taken back those that there were for cordoned ones alone.
func (c *choice) settle() (changed []string) {
	for c.places > c.limit {
		other := last(&c.shown, cordoned)
		if other == nil {
			break
		}
		c.evict(other)
		changed = append(changed, other.name)
	}
	for {
		x := first(&c.waiting)
		if x == nil {
			return changed
		}
		if c.places >= c.limit {
			if x.as > refused {
				return changed
			}
			other := last(&c.shown, x.as)
			if other == nil && x.as != cordoned {
				return changed
			}
			if other != nil {
				c.evict(other)
				changed = append(changed, other.name)
			}
		}
		c.waiting[x.as].Remove(x.element)
		x.shown, x.element = true, c.shown[x.as].PushBack(x)
		c.places++
		changed = append(changed, x.name)
	}
}

// evict takes a place away. Whoever loses one is the first to get another.
func (c *choice) evict(x *candidate) {
	c.remove(x)
	if x.is != fine {
		x.as, x.shown = x.is, false
		x.element = c.waiting[x.as].PushFront(x)
		c.candidates[x.name] = x
	}
}

// first returns the first with the least problem; nil if there is none.
func first(lists *[fine]list.List) *candidate {
	for i := range lists {
		if e := lists[i].Front(); e != nil {
			return candidateIn(e)
		}
	}
	return nil
}

// last returns the last with the greatest problem, if that is greater; nil if there is none.
func last(lists *[fine]list.List, than problem) *candidate {
	for i := fine - 1; i > than; i-- {
		if e := lists[i].Back(); e != nil {
			return candidateIn(e)
		}
	}
	return nil
}

func candidateIn(e *list.Element) *candidate {
	return e.Value.(*candidate) //nolint:errcheck // The lists hold nothing else.
}
