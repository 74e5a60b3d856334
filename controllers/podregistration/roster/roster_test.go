package roster

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// stream is a Writer to a stream that can be without a leader.
type stream struct {
	mu       sync.Mutex
	sequence uint64
	last     map[string]kv.Entry
	stored   map[string]time.Time
	refusal  error // what writes and reads end with, if anything
	mute     bool  // reads are not answered, whatever becomes of writes
	deaf     bool  // writes are stored, and not answered
	patience time.Duration
	asked    int
}

func newStream() *stream {
	return &stream{last: map[string]kv.Entry{}, stored: map[string]time.Time{}, patience: time.Second}
}

// roster returns a Roster that writes to the stream, which it has found empty, and where it hears of the stream. It must be
// closed.
func (s *stream) roster() (*Roster, kv.Observer) {
	r := New(Options{
		Cluster: cluster, Settled: func() bool { return true }, Standing: func(*discovery.Owner) Standing { return Ours },
		Changed: func([]Claim) {}, Followed: func() {},
	})
	sink := r.Follow(s)
	sink.Synced(kv.Bucket{ServerTime: time.Now(), ReceivedAt: time.Now()})
	return r, sink
}

// remove removes a key, as a server does at the end of its TTL, and returns what a Watcher sees of that.
func (s *stream) remove(key string) kv.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sequence++
	s.last[key] = kv.Entry{Key: key, Revision: s.sequence, Operation: kv.Expire}
	return s.last[key]
}

// heartbeating returns the claim of a pod that is to heartbeat.
func heartbeating(t *testing.T, uid string, interval time.Duration) Claim {
	t.Helper()
	return Claim{ID: ID{UID: types.UID(uid)}, Key: "node." + uid, Interval: interval, Record: template(t, uid, "http://10.0.0.1:80")}
}

func (s *stream) Put(key string, value []byte, after uint64, done func(uint64, error)) {
	done(s.put(key, value, after))
}

func (s *stream) put(key string, value []byte, after uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	switch {
	case s.refusal != nil:
		return 0, s.refusal
	case s.last[key].Revision != after:
		return 0, kv.ErrOvertaken
	}
	s.sequence++
	s.last[key] = kv.Entry{Key: key, Revision: s.sequence, Operation: kv.Put, Value: value, Written: time.Now()}
	s.stored[key] = time.Now()
	if s.deaf {
		return 0, kv.ErrNoAnswer
	}
	return s.sequence, nil
}

func (s *stream) Delete(key string, after uint64, done func(uint64, error)) {
	s.mu.Lock()
	err := s.refusal
	if err == nil && s.last[key].Revision != after {
		err = kv.ErrOvertaken
	}
	s.mu.Unlock()
	if err != nil {
		done(0, err)
		return
	}
	done(s.remove(key).Revision, nil)
}

// entry returns the last message of a key.
func (s *stream) entry(key string) kv.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[key]
}

// Last asks again and again until it is answered, like kv.Writer's.
func (s *stream) Last(ctx context.Context, key string) (kv.Entry, error) {
	for until := time.Now().Add(s.patience); ; <-time.After(s.patience / 8) {
		s.mu.Lock()
		s.asked++
		e, err := s.last[key], s.refusal
		if s.mute {
			err = kv.ErrNoAnswer
		}
		s.mu.Unlock()
		if err == nil || ctx.Err() != nil || !time.Now().Before(until) {
			return e, err
		}
	}
}

func (s *stream) Subject(key string) string { return key }

func (s *stream) refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal, s.asked = err, 0
}

// since returns how many keys have been written since then, and how often the stream was asked for anything since it last
// changed its mind.
func (s *stream) since(at time.Time) (keys, asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stored := range s.stored {
		if !stored.Before(at) {
			keys++
		}
	}
	return keys, s.asked
}

// While the stream takes nothing one pod tries again for all of them, and when it gets through all heartbeat at once,
// however long that took.
func TestHeartbeatsResumeTogether(t *testing.T) {
	const (
		pods     = 100
		interval = 10 * time.Second
		outage   = 5 * time.Minute
	)
	for name, refusal := range map[string]error{
		"no leader": kv.ErrUnavailable, "no answer": kv.ErrNoAnswer, "no majority": kv.ErrBusy,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStream()
				r, _ := s.roster()
				defer r.Close()
				for i := range pods {
					r.Update(nil, []Claim{heartbeating(t, strconv.Itoa(i), interval)})
				}
				<-time.After(3 * interval)
				if keys, _ := s.since(time.Now().Add(-interval - time.Second)); keys != pods {
					t.Fatalf("%d of %d pods heartbeat", keys, pods)
				}
				s.refuse(refusal)
				<-time.After(outage)
				_, asked := s.since(time.Now())
				// The one waits for at least 250 ms; the others back off to at least 15 s, and then write and read, which is at
				// most ten questions.
				if most := 10 * (int(outage/(250*time.Millisecond)) + pods*(8+int(outage/(15*time.Second)))); asked > most {
					t.Errorf("the stream was asked %d times in %s, at most %d would do", asked, outage, most)
				}
				over := time.Now()
				s.refuse(nil)
				<-time.After(s.patience + scoutInterval + 100*time.Millisecond)
				synctest.Wait()
				if keys, _ := s.since(over); keys != pods {
					t.Errorf("%d of %d pods have heartbeated %s after the outage", keys, pods, time.Since(over))
				}
			})
		})
	}
}

// A pod that tries for all, and is deleted meanwhile, leaves that to another one.
func TestAnotherPodTriesForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		s.refuse(kv.ErrUnavailable)
		r, _ := s.roster()
		defer r.Close()
		first, second := heartbeating(t, "a", time.Minute), heartbeating(t, "b", time.Minute)
		for _, c := range []Claim{first, second} {
			r.Update(nil, []Claim{c})
			<-time.After(time.Minute)
		}
		r.Update([]ID{first.ID}, nil)
		<-time.After(time.Second)
		over := time.Now()
		s.refuse(nil)
		<-time.After(scoutInterval + 100*time.Millisecond)
		if keys, _ := s.since(over); keys != 1 {
			t.Errorf("%d pods are registered after the outage, want 1", keys)
		}
		if state := r.State(second.ID); state.Phase != Registered {
			t.Errorf("the pod is %+v", state)
		}
	})
}

// Servers elect a leader for some seconds. Nothing is said of the pods before it takes longer, and nothing afterwards.
func TestAnElectionIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		r, _ := s.roster()
		defer r.Close()
		pod := heartbeating(t, "a", time.Second)
		r.Update(nil, []Claim{pod})
		<-time.After(5 * time.Second)
		s.refuse(kv.ErrUnavailable)
		for range 9 {
			<-time.After(time.Second)
			if state := r.State(pod.ID); state.Phase != Registered {
				t.Fatalf("the pod is %+v", state)
			}
		}
		<-time.After(5 * time.Second)
		if state := r.State(pod.ID); state.Phase != Failed || !state.Live {
			t.Errorf("after 14 s the pod is %+v", state)
		}
		s.refuse(nil)
		<-time.After(time.Second)
		if state := r.State(pod.ID); state.Phase != Registered {
			t.Errorf("after the election the pod is %+v", state)
		}
	})
}

// A user who may not read the bucket's last message still hears of its removals, also while the question is open.
func TestWhatIsOverheardNeedsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		s.mute = true
		r, sink := s.roster()
		defer r.Close()
		pod := heartbeating(t, "a", time.Second)
		r.Update(nil, []Claim{pod})
		<-time.After(5 * time.Second)
		s.refuse(kv.ErrNoAnswer)
		<-time.After(10 * time.Second)
		s.refuse(nil)
		removed := time.Now()
		sink.Entry(s.remove(pod.Key))
		<-time.After(2 * s.patience)
		if keys, _ := s.since(removed); keys != 1 {
			t.Error("the pod is not registered again")
		}
	})
}

// A heartbeat that waits for the connection is tried ten times a second, and counted once.
func TestAWaitingHeartbeatCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		r, _ := s.roster()
		defer r.Close()
		r.Update(nil, []Claim{heartbeating(t, "a", time.Second)})
		<-time.After(5 * time.Second)
		s.refuse(kv.ErrConnectionLost)
		<-time.After(time.Minute)
		s.refuse(nil)
		<-time.After(5 * time.Second)
		if tally := r.Tally(); tally.Failed != 1 || tally.Stored < 8 {
			t.Errorf("%+v", tally)
		}
	})
}

// A server that is slow answers late, while the Watcher shows what was written. It is not asked for thousands of keys then.
func TestWhatIsSeenNeedsNoAnswer(t *testing.T) {
	const pods = 100
	for name, late := range map[string]time.Duration{"seen before the answer is given up": 0, "seen afterwards": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStream()
				s.mute, s.deaf = true, true
				w := &watched{stream: s, late: late}
				r, _ := s.roster()
				defer r.Close()
				w.sink = r.Follow(w)
				w.sink.Synced(kv.Bucket{ServerTime: time.Now(), ReceivedAt: time.Now()})
				var claims []Claim
				for i := range pods {
					claims = append(claims, heartbeating(t, strconv.Itoa(i), time.Minute))
				}
				r.Update(nil, claims)
				<-time.After(s.patience + late)
				synctest.Wait()
				for _, c := range claims {
					if state := r.State(c.ID); state.Phase != Registered {
						t.Errorf("the pod %s is %+v", c.UID, state)
					}
				}
				if _, asked := s.since(time.Now()); asked > 3*pods {
					t.Errorf("the stream was asked %d times for %d pods", asked, pods)
				}
			})
		})
	}
}

// watched is a Writer whose writes the Watcher sees.
type watched struct {
	*stream

	sink kv.Observer
	late time.Duration // how long after the end of the write
}

func (w *watched) Put(key string, value []byte, after uint64, done func(uint64, error)) {
	revision, err := w.put(key, value, after)
	entry := w.entry(key)
	if w.late > 0 {
		time.AfterFunc(w.late, func() { w.sink.Entry(entry) })
	} else {
		w.sink.Entry(entry)
	}
	done(revision, err)
}

// What stood in the way of a slot in a session that is over says nothing of the next one.
func TestANewSessionIsANewStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		s.refuse(kv.ErrUnavailable)
		r, _ := s.roster()
		defer r.Close()
		pod := heartbeating(t, "a", time.Minute)
		r.Update(nil, []Claim{pod})
		<-time.After(time.Second)
		r.Unfollow()
		<-time.After(2 * patience)
		r.Follow(s).Synced(kv.Bucket{})
		<-time.After(time.Second)
		if state := r.State(pod.ID); state.Phase != Waiting {
			t.Errorf("the pod is %+v", state)
		}
	})
}

// Who leaves during an election removes its entries as soon as it is over.
func TestLeavingInAnElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		r, _ := s.roster()
		defer r.Close()
		r.Update(nil, []Claim{heartbeating(t, "a", time.Minute)})
		<-time.After(time.Second)
		s.refuse(kv.ErrUnavailable)
		// It is the first to be refused, and tries for all.
		r.Update(nil, []Claim{heartbeating(t, "b", time.Minute)})
		<-time.After(5 * time.Minute)
		time.AfterFunc(time.Second, func() { s.refuse(nil) })
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		r.Leave(ctx)
		if e := s.entry("node.a"); e.Operation == kv.Put || ctx.Err() != nil {
			t.Errorf("the last message is %+v, and leaving ended with %v", e, ctx.Err())
		}
	})
}

// An entry whose owner can't be read is somebody else's: it is neither overwritten nor removed. One that is wrong in another
// way is the owner's.
func TestAnOwnerThatCantBeReadIsSomebodyElse(t *testing.T) {
	for value, theirs := range map[string]bool{
		`{"NodeId":"a","Owner":{"Cluster":"here","UID":7}}`:                true,
		`{"NodeId":"a","Owner":{"Cluster":"here"}}`:                        true,
		`{"NodeId":"a","Owner":["here"]}`:                                  true,
		`"here" hello`:                                                     true,
		`{"NodeId":7,"Load":NaN,"Owner":{"Cluster":"here","UID":"a"}}`:     false,
		`{"NodeId":"a","Load":"x","Owner":{"Cluster":"here","UID":"old"}}`: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStream()
			pod := heartbeating(t, "a", time.Second)
			if _, err := s.put(pod.Key, []byte(value), 0); err != nil {
				t.Fatal(err)
			}
			r := New(Options{
				Cluster: cluster, Settled: func() bool { return true }, Standing: func(*discovery.Owner) Standing { return Ours },
				Changed: func([]Claim) {}, Followed: func() {},
			})
			defer r.Close()
			sink := r.Follow(s)
			r.Update(nil, []Claim{pod})
			sink.Entry(s.entry(pod.Key))
			sink.Synced(kv.Bucket{ServerTime: time.Now(), ReceivedAt: time.Now()})
			<-time.After(5 * time.Second)
			if kept := string(s.entry(pod.Key).Value) == value; kept != theirs {
				t.Errorf("%s: it is now %s", value, s.entry(pod.Key).Value)
			}
			r.Update([]ID{pod.ID}, nil)
			<-time.After(5 * time.Second)
			if live := s.entry(pod.Key).Operation == kv.Put; live != theirs {
				t.Errorf("%s: the entry is there: %t", value, live)
			}
		})
	}
}
