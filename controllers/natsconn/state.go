package natsconn

import (
	"sync"
	"time"
)

// Member is what uses a Link. Its methods must not block.
type Member interface {
	// Bucket returns the name of its bucket.
	Bucket() string
	// ConnectionChanged says that the state of the Link is another one.
	ConnectionChanged()
	// Deny says what the server denies the user.
	Deny(d Denial)
}

// State is what a Link has to say for the status of a NodeRegistry.
type State struct {
	// Connected is true while the connection is up, Ever once it has been, Since is when Connected last changed.
	Connected, Ever bool
	Since           time.Time
	// Trouble is why there is no connection. Of one that is up, it is why that could not be made again as it is now.
	Trouble Trouble
}

// view is what a loop shows to others. It is safe for concurrent use.
type view struct {
	mu      sync.Mutex
	members map[Member]struct{}
	state   State
	conn    *Conn
	arrived chan struct{} // closed when there is another conn
}

func newView(s State) *view {
	return &view{members: map[Member]struct{}{}, state: s, arrived: make(chan struct{})}
}

func (v *view) enter(m Member) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.members[m] = struct{}{}
}

// quit ends what enter began, and returns how many members are left.
func (v *view) quit(m Member) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.members, m)
	return len(v.members)
}

// show shows a state, and tells the members if it is another one.
func (v *view) show(s State) {
	v.mu.Lock()
	tell := v.membersIf(s != v.state)
	v.state = s
	v.mu.Unlock()
	for _, m := range tell {
		m.ConnectionChanged()
	}
}

func (v *view) membersIf(needed bool) []Member {
	var all []Member
	for m := range v.members {
		if needed {
			all = append(all, m)
		}
	}
	return all
}

// put puts another Conn, or none, in the place of the one that is there. Nobody acquires the old one afterwards.
func (v *view) put(next *Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.conn = next
	close(v.arrived)
	v.arrived = make(chan struct{})
}

// take returns the Conn with one more user, nil if there is none, and a channel that is closed when there is another.
func (v *view) take() (*Conn, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.conn != nil {
		v.conn.use()
	}
	return v.conn, v.arrived
}

func (v *view) get() State {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state
}

// concerned returns the members whose bucket the denied subject names, all of them if it names none of theirs.
func (v *view) concerned(d Denial) []Member {
	v.mu.Lock()
	defer v.mu.Unlock()
	var named []Member
	for m := range v.members {
		if m.Bucket() == d.Bucket {
			named = append(named, m)
		}
	}
	if len(named) > 0 {
		return named
	}
	return v.membersIf(true)
}
