package mirror

import (
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// outbox collects what observers are to be told, so that they are told without the Mirror's lock, and of a storm at once.
type outbox struct {
	changes []Change
	// at is the place in changes of a name, so that two changes of one node become one.
	at map[string]int
	// phases counts the nodes by phase.
	phases map[rollcallv1alpha1.NodePhase]int
	// state is true if Mirror.State changed, settled if the registry was listed completely for the first time.
	state, settled bool
	// closed is the time until which changes stay inside: while a listing is under way that follows a gap, the state is a
	// mixture of old and new, and slices written from it would be written twice. Zero: they go out at once.
	closed time.Time
	// gathered is the time until which nodes that join stay inside after that, unless something else has to go out, and pause how
	// long that was: of a fleet that is new and large nobody misses the rest for a moment, and slices are written often else.
	gathered time.Time
	pause    time.Duration
	// waits is true if there is something besides nodes that join.
	waits bool
}

// close has changes stay inside while a listing goes on.
func (o *outbox) close(now time.Time) {
	o.closed, o.pause = now.Add(listingPatience), listingPatience
	o.gathered = o.closed
}

// open lets changes out.
func (o *outbox) open() { o.closed, o.gathered = time.Time{}, time.Time{} }

// put notes that a node, nil if there was none, is another one now.
func (o *outbox) put(old, next *Node) {
	if old != nil {
		o.phases[old.Phase]--
	}
	o.phases[next.Phase]++
	o.add(next.Name, Change{Old: old, New: next})
}

// gone notes that there is no such node any more; nil is none.
func (o *outbox) gone(old *Node) {
	if old != nil {
		o.phases[old.Phase]--
		o.add(old.Name, Change{Old: old})
	}
}

func (o *outbox) add(name string, c Change) {
	o.state = true
	if at, found := o.at[name]; found {
		o.changes[at].New = c.New
		if c.New == nil && o.changes[at].Old == nil {
			o.changes[at].Old = c.Old // It was there for whoever looked, or written down before the start.
		}
		// It may have had an endpoint before anybody looked.
		o.waits = o.waits || c.New == nil || c.New.Traffic() != TrafficReady
		return
	}
	if o.at == nil {
		o.at = map[string]int{}
	}
	o.waits = o.waits || c.Old != nil
	o.at[name] = len(o.changes)
	o.changes = append(o.changes, c)
}

// take empties the outbox of what may go out at that time.
func (o *outbox) take(now time.Time) (changes []Change, state, settled bool) {
	state, settled = o.state, o.settled
	o.state, o.settled = false, false
	if len(o.changes) == 0 || now.Before(o.closed) || now.Before(o.gathered) && !o.waits {
		return nil, state, settled
	}
	if o.waits = false; !o.closed.IsZero() {
		o.pause = min(o.pause*pauseFactor, maxPause)
		o.gathered = now.Add(o.pause)
	}
	changes, o.changes, o.at = o.changes, nil, nil
	return changes, state, settled
}
