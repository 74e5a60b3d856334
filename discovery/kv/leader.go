package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// readWindow bounds the reads from the stream's leader that are under way.
	readWindow = 256
	// readBatch is how many answers are gathered before somebody hears of them.
	readBatch = 512
	// readTick is how often a read that waits looks at why there is no answer.
	readTick = 20 * time.Millisecond
	// deniedAfter is after how long without an answer a refusal that the connection knows of is taken for the reason.
	deniedAfter = 100 * time.Millisecond
)

// errDenied: the login may not read from the stream's leader.
var errDenied = errors.New("permission denied")

// answer is what the stream's leader says about a key's last message. The error is errMessageNotFound if there is none.
type answer struct {
	key   string
	entry Entry
	err   error
}

// arrived reports whether the leader has said it; else it is only known why there is no answer.
func (a answer) arrived() bool { return a.err == nil || errors.Is(a.err, errMessageNotFound) }

// leaderRead reads the last messages of many keys from the stream's leader, so many at a time that 10,000 take a fraction of
// a second. It belongs to one goroutine.
type leaderRead struct {
	api    *api
	prefix string // of the subjects
	keys   []string
	told   func([]answer)

	inbox    string
	answers  chan *nats.Msg
	sent     int
	done     []bool
	open     int // sent and not answered
	gathered []answer
	progress time.Time
}

// readLast tells for every key what the leader has of it, in batches and in no order. If ctx ends, the rest isn't told.
func (a *api) readLast(ctx context.Context, subjectPrefix string, keys []string, told func([]answer)) {
	r := &leaderRead{
		api: a, prefix: subjectPrefix, keys: keys, told: told, inbox: a.nc.NewInbox() + ".",
		answers: make(chan *nats.Msg, 2*readWindow), done: make([]bool, len(keys)), progress: time.Now(),
	}
	sub, err := a.nc.ChanSubscribe(r.inbox+"*", r.answers)
	if err == nil {
		err = r.run(ctx)
		_ = sub.Unsubscribe() // The only error is that of a connection that is closed.
	}
	if ctx.Err() == nil {
		r.rest(classify(err))
	}
}

// run returns nil once every key is answered, and otherwise why the rest isn't.
func (r *leaderRead) run(ctx context.Context) error {
	tick := time.NewTicker(readTick)
	defer tick.Stop()
	for {
		if err := r.send(); err != nil || r.open == 0 {
			return err
		}
		select {
		case m := <-r.answers:
			if err := r.answered(m); err != nil {
				return err
			}
		case <-tick.C:
			if err := r.waited(time.Since(r.progress)); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send fills the window.
func (r *leaderRead) send() error {
	for r.sent < len(r.keys) && r.open < readWindow {
		payload, err := json.Marshal(messageRequest{Last: r.prefix + r.keys[r.sent]})
		if err != nil {
			return err
		}
		if err := r.api.nc.PublishRequest(r.subject(), r.inbox+strconv.Itoa(r.sent), payload); err != nil {
			return err
		}
		r.sent++
		r.open++
	}
	return nil
}

func (r *leaderRead) subject() string { return r.api.prefix + r.api.messageOperation() }

// answered takes in one answer.
func (r *leaderRead) answered(m *nats.Msg) error {
	if len(m.Data) == 0 && m.Header.Get(headerStatus) == statusNoResponders {
		return nats.ErrNoResponders
	}
	i, err := strconv.Atoi(strings.TrimPrefix(m.Subject, r.inbox))
	if err != nil || i < 0 || i >= r.sent || r.done[i] {
		return nil //nolint:nilerr // It answers nothing that was asked.
	}
	a := answer{key: r.keys[i]}
	var resp messageResponse
	if a.err = r.api.decode(r.api.messageOperation(), m.Data, &resp); a.err == nil {
		a.entry, a.err = resp.entry(r.prefix)
	}
	if a.err == nil && a.entry.Key != a.key {
		// A key with a wildcard in it, which no message can have, is answered with another one.
		a.err = errMessageNotFound
	}
	r.done[i] = true
	r.open--
	r.progress = time.Now()
	r.gather(a)
	return nil
}

// waited says why there has been no answer for so long, if that is known or has lasted too long.
func (r *leaderRead) waited(silence time.Duration) error {
	if silence >= deniedAfter && denied(r.api.nc, r.subject()) {
		return fmt.Errorf("%w: %s", errDenied, r.subject())
	}
	if silence >= r.api.timeout {
		return nats.ErrTimeout
	}
	return nil
}

// denied reports whether the last that the connection has heard of is that the login may not publish to the subject. The
// server tells no other way.
func denied(nc *nats.Conn, subject string) bool {
	err := nc.LastError()
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(strings.ToLower(err.Error()), strings.ToLower(`"`+subject+`"`))
}

func (r *leaderRead) gather(a answer) {
	r.gathered = append(r.gathered, a)
	if len(r.gathered) >= readBatch {
		r.tell()
	}
}

func (r *leaderRead) tell() {
	if len(r.gathered) > 0 {
		r.told(r.gathered)
	}
	r.gathered = nil
}

// rest ends the read; what isn't answered is so for the reason err.
func (r *leaderRead) rest(err error) {
	for i, done := range r.done {
		if !done {
			r.gather(answer{key: r.keys[i], err: err})
		}
	}
	r.tell()
}
