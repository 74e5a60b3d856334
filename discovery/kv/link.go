package kv

import (
	"slices"

	"github.com/nats-io/nats.go"
)

// link is a connection and what a run needs of it. It belongs to the loop.
type link struct {
	nc      *nats.Conn
	api     *api
	opener  *opener
	account *accountWatch
	status  chan nats.Status
	users   int             // helpers at work
	left    []chan struct{} // closed once the link is no longer used
	denied  string          // the subject that the login may not use, as far as that has shown
}

func newLink(nc *nats.Conn, o *WatcherOptions, wake chan<- struct{}) *link {
	a := newAPI(nc, apiPrefix(o.Domain, o.APIPrefix), o.Bucket, o.APITimeout)
	return &link{
		nc: nc, api: a, account: &accountWatch{api: a}, status: nc.StatusChanged(),
		opener: &opener{nc: nc, api: a, prefix: o.KeyPrefix, heartbeat: o.IdleHeartbeat, wake: wake},
	}
}

// changes returns the changes of the connection's status; of no link there are none.
func (l *link) changes() <-chan nats.Status {
	if l == nil {
		return nil
	}
	return l.status
}

func (l *link) leave() {
	l.nc.RemoveStatusListener(l.status)
	for _, left := range l.left {
		close(left)
	}
}

// links are the connections of a run. A planned change goes from one to another: the session that is open stays where it is
// until there is one on the other that has listed the bucket.
type links struct {
	to      *link   // where sessions are opened
	from    *link   // where the current session still is, if that is another; or nil
	leaving []*link // that have no session, and helpers at work
}

// change opens sessions on another link from now on. left is closed once no other is used.
func (ls *links) change(to *link, current *session, left chan struct{}) {
	before := ls.to
	ls.to = to
	if current != nil && current.link == before {
		ls.from = before
	} else {
		ls.leaving = append(ls.leaving, before)
	}
	last := before
	if ls.from != nil {
		last = ls.from
	}
	last.left = append(last.left, left)
	ls.release(current)
}

// release leaves the links that aren't used any more.
func (ls *links) release(current *session) {
	if ls.from != nil && (current == nil || current.link != ls.from) {
		ls.leaving = append(ls.leaving, ls.from)
		ls.from = nil
	}
	ls.leaving = slices.DeleteFunc(ls.leaving, func(l *link) bool {
		if l.users > 0 {
			return false
		}
		l.leave()
		return true
	})
}

// end leaves all links; the run has ended.
func (ls *links) end() {
	for _, l := range append(ls.leaving, ls.from, ls.to) {
		if l != nil {
			l.leave()
		}
	}
}

// rebind changes to another connection.
func (r *run) rebind(nc *nats.Conn, left chan struct{}) {
	if r.attempt != nil {
		r.attempt()
		r.attempt = nil
	}
	if s := r.next; s != nil {
		r.next = nil
		r.close(s)
	}
	r.links.change(newLink(nc, r.o, r.wake), r.current, left)
	r.refusals.backoff.Reset()
	if r.current == nil {
		r.backoff.Reset()
		r.open()
	} else if r.current.live() {
		r.open()
	}
}
