package roster

import (
	"time"

	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// follower is a Roster as the kv.Observer of one session. What comes from one that is over is ignored.
type follower struct {
	*Roster
	session int
}

// Follow begins a session: the bucket is written to through w, and what its Watcher sees goes to the Observer, until Unfollow.
// Whatever was known is unknown until the bucket has been listed.
func (r *Roster) Follow(w Writer) kv.Observer {
	r.mu.Lock()
	r.session++
	r.writer, r.leaving, r.paused = w, false, time.Time{}
	r.doubt()
	f := &follower{Roster: r, session: r.session}
	r.unlockAndTell()
	return f
}

// Unfollow ends the session that there is. What is under way in it ends without effect.
func (r *Roster) Unfollow() {
	r.mu.Lock()
	r.session++
	r.writer, r.synced = nil, false
	r.news = true
	for _, s := range r.slots {
		s.abandon()
	}
	r.unlockAndTell()
}

// abandon forgets what a slot is doing.
func (s *slot) abandon() {
	if s.flight.kind != idle {
		s.flight, s.overheard, s.known.sure = flight{}, nil, false
	}
}

// doubt makes everything unknown until the next complete listing.
func (r *Roster) doubt() {
	r.synced, r.settled, r.bucket = false, false, kv.Bucket{}
	clear(r.suspects)
	r.namesake, r.scout = "", nil
	for _, s := range r.slots {
		s.abandon()
		s.known = known{}
		s.overheard, s.unanswered, s.unsent = nil, 0, false
		s.forgive()
	}
	r.news = true
}

// within runs f with the lock held if the session is still the one.
func (f *follower) within(do func()) {
	f.mu.Lock()
	if f.Roster.session == f.session {
		do()
	}
	f.unlockAndTell()
}

// Listing implements kv.Observer.
func (f *follower) Listing(cause kv.Cause) {
	f.within(func() {
		if cause == kv.CauseRecreated {
			// Revisions count anew.
			f.doubt()
		}
	})
}

// Synced implements kv.Observer.
func (f *follower) Synced(b kv.Bucket) {
	f.within(func() {
		f.bucket, f.problem, f.news = b, nil, true
		f.paused = time.Time{}
		if !f.synced {
			f.synced = true
			for _, s := range f.slots {
				// What is wanted and was not listed is not there. Other keys may be outside of what is listed.
				s.known.sure = s.known.sure || len(s.claims) > 0
			}
		}
		f.everything()
	})
}

// Bucket implements kv.Observer.
func (f *follower) Bucket(b kv.Bucket) {
	f.within(func() {
		f.news = f.news || b.TTL != f.bucket.TTL || b.MaxValueSize != f.bucket.MaxValueSize
		f.bucket = b
	})
}

// Disconnected implements kv.Observer.
func (f *follower) Disconnected(err error) {
	f.within(func() { f.problem, f.news = err, true })
}

// Absent implements kv.Observer.
func (f *follower) Absent(keys []string) {
	f.within(func() {
		for _, key := range keys {
			if s := f.slots[key]; s != nil && s.flight.kind == idle {
				s.known.sure = false
				f.schedule(s, time.Now())
			}
		}
	})
}

// Entry implements kv.Observer.
func (f *follower) Entry(e kv.Entry) {
	f.within(func() {
		s := f.slots[e.Key]
		if e.Operation != kv.Put {
			f.acquit(e.Key)
		}
		if s == nil {
			if e.Operation != kv.Put || !f.relevant(e.Value) {
				return
			}
			s = f.slot(e.Key)
		}
		if s.known.sure && e.Revision <= s.known.revision {
			return
		}
		next := &known{sure: true, revision: e.Revision, live: e.Operation == kv.Put, value: e.Value, written: e.Written}
		if s.flight.kind != idle {
			// It is most likely the very write whose answer is on its way.
			s.overheard = next
			return
		}
		f.learn(s, next)
		f.schedule(s, time.Now())
	})
}

// acquit forgets a suspect that is gone.
func (r *Roster) acquit(key string) {
	delete(r.suspects, key)
	if r.namesake == key {
		r.namesake, r.news = "", true
	}
}

// local turns a time on the server's clock into one on the local clock. It needs to know the bucket.
func (r *Roster) local(server time.Time) time.Time {
	if r.bucket.ServerTime.IsZero() {
		return time.Now()
	}
	return r.bucket.ReceivedAt.Add(server.Sub(r.bucket.ServerTime))
}

// learn takes over what a key's last message is.
func (r *Roster) learn(s *slot, next *known) {
	r.report(s)
	s.forgive()
	if next.live && next.owner == nil {
		next.owner = discovery.OwnerOf(next.value)
	}
	// What this process wrote, and now reads, is still its own.
	next.mine = next.live && s.wrote.Made(next.value)
	s.known = *next
	if !next.live && s.trouble.Phase == Conflict {
		s.trouble = State{}
	}
	r.judge(s)
}
