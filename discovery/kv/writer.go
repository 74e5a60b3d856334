package kv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The errors of a Writer, besides those of requests.
var (
	// ErrOvertaken: the key's last revision isn't the one that the write was based on.
	ErrOvertaken = errors.New("overtaken by another write")
	// ErrTooLarge: the server or the bucket takes no value of that size.
	ErrTooLarge = errors.New("the record is too large")
	// ErrBucketFull: the bucket, or the account that it belongs to, has come to its limit.
	ErrBucketFull = errors.New("the bucket is full")
	// ErrWriterClosed: the Writer has been closed.
	ErrWriterClosed = errors.New("the writer is closed")
)

// The error codes of JetStream for limits that nats.go has no name for.
const (
	codeAccountResources = 10002
	codeInsufficient     = 10023
	codeMemoryResources  = 10028
	codeStorageResources = 10047
	codeTooLarge         = 10054
	codeStoreFailed      = 10077
)

// DefaultWindow is how many writes of a Writer may be without an answer at a time.
const DefaultWindow = 4096

// sweepsPerTimeout is how often within its timeout a write is looked at.
const sweepsPerTimeout = 8

// WriterOptions are the settings of a Writer. Only Bucket is required.
type WriterOptions struct {
	// Bucket is the bucket's name.
	Bucket string
	// Domain is the JetStream domain; empty for the connection's own.
	Domain string
	// APIPrefix is what the subjects of the JetStream API begin with in place of $JS.API, for a bucket of another account; empty:
	// what the domain has. Entries are written to <prefix>.$KV.<bucket>.
	APIPrefix string
	// Timeout is how long to wait for an answer; 0: 2 s.
	Timeout time.Duration
	// Window is how many writes may be without an answer; 0: DefaultWindow.
	Window int
}

// Writer writes to a bucket without waiting for one answer before the next write, for programs that heartbeat for many
// nodes. Every write is guarded by the key's last revision. It is safe for concurrent use, and for one connection: after an
// outage it goes on by itself.
//
// A write that was sent and not answered, because of the timeout or since the connection was lost meanwhile, may or may
// not have been stored: [ErrNoAnswer]. [Writer.Last] tells. A write that comes while the connection is down is not sent:
// [ErrConnectionLost].
type Writer struct {
	o       WriterOptions
	bucket  string // the subject's part before the key, without the domain
	subject string // the same with it
	ended   chan struct{}
	sweeper sync.WaitGroup
	// telling is held for reading while somebody is told of an answer.
	telling sync.RWMutex

	refusal atomic.Pointer[refusal] // the last one for want of room; nil once a write was stored

	mu      sync.Mutex
	link    *writerLink   // the one that writes go over
	leaving []*writerLink // those of before, which have writes without an answer
	vacancy sync.Cond     // signalled when a slot is free, or the Writer closed
	slots   []writeSlot
	free    []uint32
	wake    chan struct{} // the sweeper, when there is a first write to look at
	closed  bool
}

// writerLink is a connection and where answers come in on it.
type writerLink struct {
	nc     *nats.Conn
	api    *api
	inbox  string // what replies start with
	sub    *nats.Subscription
	status chan nats.Status
	open   int             // writes without an answer
	left   []chan struct{} // closed once the link is no longer used
}

// newLink subscribes to the answers on a connection.
func (w *Writer) newLink(nc *nats.Conn) (*writerLink, error) {
	l := &writerLink{nc: nc, api: newAPI(nc, apiPrefix(w.o.Domain, w.o.APIPrefix), w.o.Bucket, w.o.Timeout), inbox: nc.NewInbox() + "."}
	var err error
	if l.sub, err = nc.Subscribe(l.inbox+"*", func(m *nats.Msg) { w.answered(l, m) }); err != nil {
		return nil, fmt.Errorf("subscribing to the answers to writes: %w", err)
	}
	l.status = nc.StatusChanged(nats.CONNECTED)
	return l, nil
}

// leave ends the subscription.
func (l *writerLink) leave() {
	l.nc.RemoveStatusListener(l.status)
	// A connection that is closed has no subscription any more.
	_ = l.sub.Unsubscribe()
	for _, left := range l.left {
		close(left)
	}
}

// refusal is what a server says that has no room.
type refusal struct {
	err error
	at  time.Time
}

// refusalAge is for how long a refusal tells something about a store to which nobody writes since.
const refusalAge = time.Minute

// refused returns why the server took no write when one was last answered; nil if it did.
func (w *Writer) refused() error {
	r := w.refusal.Load()
	if r == nil || time.Since(r.at) > refusalAge {
		return nil
	}
	return r.err
}

// note remembers what an answer shows about the store. That a key has come to its own limit says nothing about others.
func (w *Writer) note(err error) {
	switch {
	case err == nil:
		if w.refusal.Load() != nil {
			w.refusal.Store(nil)
		}
	case errors.Is(err, ErrBucketFull) && !strings.Contains(err.Error(), "per subject"):
		w.refusal.Store(&refusal{err, time.Now()})
	}
}

// writeSlot is a place for a write that has not been answered.
type writeSlot struct {
	done func(revision uint64, err error) // nil: vacant
	link *writerLink
	sent time.Time
	// use counts the uses of the slot, so that a late answer is not taken for that of another write.
	use uint32
}

// NewWriter makes a writer, which must be closed. The errors are [ErrInvalidBucket] and those of the connection.
func NewWriter(nc *nats.Conn, o WriterOptions) (*Writer, error) {
	if !validBucket(o.Bucket) {
		return nil, fmt.Errorf("%w: name %q: use letters, digits, - and _", ErrInvalidBucket, o.Bucket)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultAPITimeout
	}
	if o.Window <= 0 {
		o.Window = DefaultWindow
	}
	w := &Writer{o: o, bucket: subjectPrefix(o.Bucket), ended: make(chan struct{}), wake: make(chan struct{}, 1)}
	w.vacancy.L = &w.mu
	var err error
	if w.link, err = w.newLink(nc); err != nil {
		return nil, err
	}
	w.subject = w.bucket
	if w.link.api.prefix != jetstream.DefaultAPIPrefix {
		w.subject = w.link.api.prefix + w.bucket
	}
	w.sweeper.Go(w.sweep)
	return w, nil
}

// Rebind has later writes go over another connection to the same account, as when credentials are renewed. Answers to earlier
// ones still come in over the old one. The channel that it returns is closed once the old one is no longer used. The errors are
// those of the new connection; then the old one stays in use.
func (w *Writer) Rebind(nc *nats.Conn) (<-chan struct{}, error) {
	next, err := w.newLink(nc)
	if err != nil {
		return nil, err
	}
	left := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		next.leave()
		close(left)
		return left, nil
	}
	w.link.left = append(w.link.left, left)
	w.leaving = append(w.leaving, w.link)
	w.link = next
	w.rouse()
	return left, nil
}

// rouse has the sweeper look at the writes. The caller holds mu.
func (w *Writer) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// current returns the link that writes go over.
func (w *Writer) current() *writerLink {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.link
}

// release leaves the links that have no write any more. It must not be called with mu held.
func (w *Writer) release() {
	w.mu.Lock()
	var over []*writerLink
	w.leaving = slices.DeleteFunc(w.leaving, func(l *writerLink) bool {
		if l.open == 0 {
			over = append(over, l)
		}
		return l.open == 0
	})
	w.mu.Unlock()
	for _, l := range over {
		l.leave()
	}
}

// Close gives up all writes that have not been answered, with [ErrWriterClosed], and waits until nobody is told any more.
// The connection stays open. It must not be called by what is told of a write.
func (w *Writer) Close() {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	w.closed = true
	w.vacancy.Broadcast()
	w.mu.Unlock()
	close(w.ended)
	w.sweeper.Wait()
	w.telling.Lock()
	defer w.telling.Unlock()
	w.giveUp(func(*writeSlot) bool { return true }, ErrWriterClosed)
	w.release()
	w.link.leave()
}

// Subject returns the subject that the user must be allowed to publish to for the key to be written.
func (w *Writer) Subject(key string) string { return w.subject + key }

// Put writes the value of a key whose last revision is after, which is 0 if it has no message, and calls done once with
// the revision or an error, on any goroutine, and it must not block. Put itself waits while too many writes are without an
// answer. The value must not be changed before done has been called.
//
// The errors are [ErrOvertaken], [ErrBusy], [ErrTooLarge], [ErrBucketFull], [ErrNoAnswer], [ErrUnavailable],
// [ErrConnectionLost], [ErrWriterClosed], and what else the server answers.
func (w *Writer) Put(key string, value []byte, after uint64, done func(revision uint64, err error)) {
	m := nats.Msg{Data: value, Header: nats.Header{headerExpected: {strconv.FormatUint(after, 10)}}}
	w.send(key, &m, done)
}

// Delete removes a key whose last revision is after, which must not be 0: that would remove whatever is there. Else it is
// like Put.
func (w *Writer) Delete(key string, after uint64, done func(revision uint64, err error)) {
	if after == 0 {
		done(0, ErrNotRegistered)
		return
	}
	m := nats.Msg{Header: nats.Header{headerOperation: {operationDelete}, headerExpected: {strconv.FormatUint(after, 10)}}}
	w.send(key, &m, done)
}

// Last reads the last message of a key from the stream's leader; its revision is 0 if there is none. Until it is answered
// it asks a few times a second, so it is not for thousands of keys at a time. The errors are [ErrNoAnswer],
// [ErrUnavailable], [ErrConnectionLost] and [ErrBucketNotFound].
func (w *Writer) Last(ctx context.Context, key string) (Entry, error) {
	e, err := w.current().api.insistOnLast(ctx, w.bucket, key)
	if errors.Is(err, errMessageNotFound) {
		return Entry{Key: key}, nil
	}
	return e, err
}

func (w *Writer) send(key string, m *nats.Msg, done func(uint64, error)) {
	i, use, link := w.take(done)
	if link == nil {
		done(0, ErrWriterClosed)
		return
	}
	m.Subject = w.subject + key
	m.Reply = link.inbox + strconv.FormatUint(uint64(use)<<32|uint64(i), 36)
	if err := link.nc.PublishMsg(m); err != nil {
		done := w.end(i, use)
		if cutShort(err) {
			// The client has dropped this write with those before it that were not sent yet, and might go on without them.
			_ = link.nc.ForceReconnect()
		}
		if done != nil {
			done(0, unsent(err))
		}
	}
}

// unsent says why a message could not be sent.
func unsent(err error) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return classify(err)
}

// take waits for a vacant slot, and returns it with the link to write over; nil: the Writer is closed.
func (w *Writer) take(done func(uint64, error)) (i, use uint32, link *writerLink) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.free) == 0 && len(w.slots) == w.o.Window && !w.closed {
		w.vacancy.Wait()
	}
	if w.closed {
		return 0, 0, nil
	}
	if len(w.free) == len(w.slots) {
		w.rouse()
	}
	if len(w.free) == 0 {
		w.free = append(w.free, uint32(len(w.slots)))
		w.slots = append(w.slots, writeSlot{})
	}
	i = w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	s := &w.slots[i]
	s.done, s.sent, s.link = done, time.Now(), w.link
	s.link.open++
	s.use++
	return i, s.use, w.link
}

// end ends a write, and returns who is to be told how; nil: somebody has been.
func (w *Writer) end(i, use uint32) (done func(uint64, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if int(i) >= len(w.slots) || w.slots[i].done == nil || w.slots[i].use != use {
		return nil
	}
	done = w.slots[i].done
	w.vacate(i)
	return done
}

func (w *Writer) vacate(i uint32) {
	s := &w.slots[i]
	s.link.open--
	s.done, s.link = nil, nil
	w.free = append(w.free, i)
	w.vacancy.Signal()
}

// answered takes in the server's answer to a write.
func (w *Writer) answered(l *writerLink, m *nats.Msg) {
	token, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, l.inbox), 36, 64)
	if err != nil || token&(1<<32-1) >= uint64(w.o.Window) {
		return
	}
	revision, err := parseAnswer(m)
	w.note(err)
	w.telling.RLock()
	defer w.telling.RUnlock()
	if done := w.end(uint32(token), uint32(token>>32)); done != nil {
		done(revision, err)
	}
}

// parseAnswer reads the answer to a write.
func parseAnswer(m *nats.Msg) (uint64, error) {
	if len(m.Data) == 0 && m.Header.Get(headerStatus) == statusNoResponders {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, nats.ErrNoResponders)
	}
	if revision, ok := quickAnswer(m.Data); ok {
		return revision, nil
	}
	var answer struct {
		Sequence uint64              `json:"seq"`
		Error    *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return 0, fmt.Errorf("reading the answer to a write: %w", err)
	}
	if answer.Error == nil {
		return answer.Sequence, nil
	}
	return 0, refused(answer.Error)
}

// statusNoResponders is the status of a message with which the server says that nobody takes the write.
const statusNoResponders = "503"

var (
	answerSequence = []byte(`,"seq":`)
	answerError    = []byte(`"error"`)
)

// quickAnswer reads the answer to a write that was stored, without what a complete JSON decoder costs.
func quickAnswer(data []byte) (uint64, bool) {
	at := bytes.Index(data, answerSequence)
	if at < 0 || bytes.Contains(data, answerError) {
		return 0, false
	}
	var revision uint64
	for _, c := range data[at+len(answerSequence):] {
		if c < '0' || c > '9' {
			break
		}
		revision = revision*10 + uint64(c-'0')
	}
	return revision, revision > 0
}

// refused returns the error for the server's refusal of a write.
func refused(e *jetstream.APIError) error {
	switch {
	case hasCode(e, codeTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, e)
	case hasCode(e, codeAccountResources, codeInsufficient, codeMemoryResources, codeStorageResources),
		hasCode(e, codeStoreFailed) && strings.Contains(e.Description, "maximum"):
		return fmt.Errorf("%w: %w", ErrBucketFull, e)
	}
	return classify(e)
}

// sweep gives up writes that were not answered in time, or whose answer went to a connection that is gone.
func (w *Writer) sweep() {
	tick := time.NewTicker(w.o.Timeout / sweepsPerTimeout)
	defer tick.Stop()
	link := w.current()
	status := link.status
	for {
		select {
		case <-w.ended:
			return
		case <-w.wake:
			tick.Reset(w.o.Timeout / sweepsPerTimeout)
			if now := w.current(); now != link {
				link, status = now, now.status
			}
		case now := <-tick.C:
			before := now.Add(-w.o.Timeout)
			w.giveUp(func(s *writeSlot) bool { return s.sent.Before(before) }, ErrNoAnswer)
			w.release()
			if w.idle() {
				tick.Stop()
			}
		case _, open := <-status:
			if !open {
				status = nil
			}
			before := time.Now()
			w.giveUp(func(s *writeSlot) bool { return s.link == link && s.sent.Before(before) }, ErrNoAnswer)
		}
	}
}

// idle reports whether there is no write to look at.
func (w *Writer) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.free) == len(w.slots) && len(w.leaving) == 0
}

// giveUp ends the writes that which picks.
func (w *Writer) giveUp(which func(*writeSlot) bool, err error) {
	var given []func(uint64, error)
	w.mu.Lock()
	for i := range w.slots {
		if s := &w.slots[i]; s.done != nil && which(s) {
			given = append(given, s.done)
			w.vacate(uint32(i))
		}
	}
	w.mu.Unlock()
	for _, done := range given {
		done(0, err)
	}
}
