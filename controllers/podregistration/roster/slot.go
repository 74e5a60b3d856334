package roster

import (
	"time"

	"github.com/rollcall-dev/rollcall/discovery"
)

// slot is everything about one key. It is guarded by the Roster's lock.
type slot struct {
	key string
	// claims are those of the pods that want the key; the first has it.
	claims []*claim
	known  known
	// overheard is what the Watcher delivered while a write of the Roster's own was under way.
	overheard *known
	flight    flight
	// wrote is the record that this process has last written, as far as is known; unanswered is the revision that a write
	// was based on of which it is not clear whether it was stored, plus one.
	wrote      discovery.Template
	unanswered uint64
	// trouble is what stands in the way of the first claim; its zero value if nothing does.
	trouble State
	// attempts counts the failures in a row; balked is since when the stream, and not the key, has been the cause; zero: it
	// isn't.
	attempts int
	balked   time.Time
	// unsent says that the last write could not be sent.
	unsent bool
	// beat is when the next heartbeat is scheduled; zero: none has been sent.
	beat time.Time
	// due is when the slot is to be looked at next, and index its place in the heap.
	due   time.Time
	index int
	// done is what is told of the slot's writes.
	done func(revision uint64, err error)
}

// claim is a Claim with what became of it.
type claim struct {
	Claim
	state State
}

// known is what is known of a key's last message.
type known struct {
	// sure is false while the key has to be asked for.
	sure     bool
	revision uint64
	// live says that the message is a record.
	live bool
	// mine says that this process has written it.
	mine bool
	// owner is the record's owner; nil if it has none.
	owner *discovery.Owner
	// value is the record; nil if this process has written it.
	value []byte
	// written is when it was written, on the server's clock; zero if this process has written it.
	written time.Time
}

// foreign reports whether the entry is none of the cluster's: its node keeps it, another cluster does, or who does can't
// be read.
func (k *known) foreign(cluster string) bool {
	return k.owner == nil || k.owner.UID == "" || k.owner.Cluster != cluster
}

// kind is what a slot is doing.
type kind uint8

const (
	idle kind = iota
	putting
	removing
	reading
)

// flight is what a slot is doing, and has not heard the end of.
type flight struct {
	kind  kind
	after uint64
	// claim is what is being written, record its record at that time.
	claim  *claim
	record discovery.Template
	// scheduled is the time of the heartbeat; zero if it is none.
	scheduled time.Time
}

// step is what to do next with a slot.
type step uint8

const (
	stay step = iota
	put
	remove
	read
	forget
	conflict
	// suspect is to forget an entry that carries this cluster's name and is not this cluster's.
	suspect
)

// view is what the decision about a slot needs to know besides the slot.
type view struct {
	cluster string
	now     time.Time
	// synced says that the bucket was listed completely, settled that all pods have been looked at, leaving that
	// everything is to be removed.
	synced, settled, leaving bool
	// standing says whose an entry is that carries this cluster's name. It is asked only once settled.
	standing func(*discovery.Owner) Standing
}

// decide returns what to do with a slot that is due. It changes nothing but the order of the claims.
func (s *slot) decide(v *view) step {
	switch {
	case s.flight.kind != idle, !v.synced:
		return stay
	case !s.known.sure:
		return read
	case v.leaving && s.known.live && s.known.mine:
		return remove
	case v.leaving:
		return stay
	case len(s.claims) == 0:
		return s.leave(v)
	case !s.known.live:
		return put
	}
	return s.hold(v)
}

// leave decides about a key that nobody wants.
func (s *slot) leave(v *view) step {
	k := &s.known
	switch {
	case !k.live, !k.mine && k.foreign(v.cluster):
		return forget
	case k.mine:
		return remove
	case !v.settled:
		return stay
	}
	switch v.standing(k.owner) {
	case Ours:
		return remove
	case Elsewhere:
		return forget
	default:
		return suspect
	}
}

// hold decides about a key that is wanted and taken.
func (s *slot) hold(v *view) step {
	k := &s.known
	if !k.mine && k.foreign(v.cluster) {
		return conflict
	}
	favoured := s.favour(k.owner)
	switch {
	case k.mine, favoured && s.says(s.claims[0]):
		return put
	case !v.settled:
		return stay
	}
	switch standing := v.standing(k.owner); {
	case standing == Ours, standing == Unknown && favoured:
		return put
	default:
		// Two registries on one bucket that both want the pod would else write in turn without end.
		return conflict
	}
}

// favour makes the claim of the entry's owner the first, and reports whether there is one.
func (s *slot) favour(owner *discovery.Owner) bool {
	for i, c := range s.claims {
		if string(c.UID) != owner.UID {
			continue
		}
		if first := s.claims[0]; i > 0 && first.UID != c.UID {
			copy(s.claims[1:i+1], s.claims[:i])
			s.claims[0] = c
		}
		return true
	}
	return false
}

// enter adds a claim. Before anything is written the older pod goes first, afterwards the one that has the key.
func (s *slot) enter(c *claim) {
	at := len(s.claims)
	for at > 0 && c.older(&s.claims[at-1].Claim) && (at > 1 || !s.taken()) {
		at--
	}
	s.claims = append(s.claims, nil)
	copy(s.claims[at+1:], s.claims[at:])
	s.claims[at] = c
}

// taken reports whether the first claim has the key, or is about to.
func (s *slot) taken() bool {
	first := s.claims[0]
	return s.flight.claim == first || (s.known.live && s.known.owner != nil && s.known.owner.UID == string(first.UID))
}

// exit takes out a claim.
func (s *slot) exit(id ID) {
	for i, c := range s.claims {
		if c.ID == id {
			s.claims = append(s.claims[:i], s.claims[i+1:]...)
			return
		}
	}
}

// holds reports whether the bucket has an entry of the claim's pod.
func (s *slot) holds(c *claim) bool {
	return s.known.live && s.known.owner != nil && s.known.owner.UID == string(c.UID)
}

// checks is a heap of slots, the one that is due first on top. It implements heap.Interface.
type checks []*slot

func (c checks) Len() int           { return len(c) }
func (c checks) Less(i, j int) bool { return c[i].due.Before(c[j].due) }

func (c checks) Swap(i, j int) {
	c[i], c[j] = c[j], c[i]
	c[i].index, c[j].index = i, j
}

func (c *checks) Push(x any) {
	s := x.(*slot) //nolint:errcheck // Only schedule pushes.
	s.index = len(*c)
	*c = append(*c, s)
}

func (c *checks) Pop() any {
	last := len(*c) - 1
	s := (*c)[last]
	(*c)[last] = nil
	*c = (*c)[:last]
	s.index = unqueued
	return s
}

// unqueued is the index of a slot that is not in the heap.
const unqueued = -1
