package kv

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery/internal/backoff"
)

// The errors of a Client, besides those of requests.
var (
	// ErrNotRegistered: a removal names no revision, so there is nothing to remove.
	ErrNotRegistered = errors.New("node is not registered")
	// ErrReadOnly: the bucket is a mirror, which can't be written to.
	ErrReadOnly = errors.New("bucket is a mirror, open its origin to write")
	// ErrBusy says that an earlier write of the key, perhaps one of one's own, is neither stored nor refused yet. The stream's
	// leader takes no other until it has replicated that one, or has lost its office: soon, or once there is a majority again.
	ErrBusy = errors.New("an earlier write of the key is not replicated yet")
)

// firstPause and lastPause bound the wait for an earlier write of the key.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 200 * time.Millisecond
)

// ClientOptions are the settings of a Client. Only Bucket is required.
type ClientOptions struct {
	// Bucket is the bucket's name.
	Bucket string
	// Domain is the JetStream domain; empty for the connection's own.
	Domain string
	// APIPrefix is what the subjects of the JetStream API begin with in place of $JS.API, for a bucket of another account; empty:
	// what the domain has. Entries are written to <prefix>.$KV.<bucket>.
	APIPrefix string
	// Timeout is how long to wait for an answer; 0: 2 s.
	Timeout time.Duration
}

// Client reads and writes one key at a time, and waits for each answer. Its reads reach the stream's leader, and every write
// is guarded by the key's last revision. It is safe for concurrent use.
type Client struct {
	api    *api
	writer *Writer
}

// clientWindow is how many writes of a Client may be without an answer; it is not to be a limit.
const clientWindow = 1 << 16

// NewClient makes a client, which must be closed. The errors are [ErrInvalidBucket] and those of the connection.
func NewClient(nc *nats.Conn, o ClientOptions) (*Client, error) {
	w, err := NewWriter(nc, WriterOptions{Bucket: o.Bucket, Domain: o.Domain, APIPrefix: o.APIPrefix, Timeout: o.Timeout, Window: clientWindow})
	if err != nil {
		return nil, err
	}
	return &Client{api: w.link.api, writer: w}, nil
}

// Close ends what is under way. The connection stays open.
func (c *Client) Close() { c.writer.Close() }

// Writer returns what the client writes with, whose refusals a Watcher may heed.
func (c *Client) Writer() *Writer { return c.writer }

// Bucket reads the bucket's settings and state.
func (c *Client) Bucket(ctx context.Context) (Bucket, error) { return c.api.info(ctx) }

// Last reads the last message of a key; its revision is 0 if there is none.
func (c *Client) Last(ctx context.Context, b Bucket, key string) (Entry, error) {
	if b.Mirror {
		return Entry{}, ErrReadOnly
	}
	e, err := c.api.last(ctx, b.subjectPrefix, key)
	if errors.Is(err, errMessageNotFound) {
		return Entry{Key: key}, nil
	}
	return e, err
}

// History reads what the bucket still holds of a key, oldest first. It asks once for each message.
func (c *Client) History(ctx context.Context, b Bucket, key string) ([]Entry, error) {
	var history []Entry
	for next := uint64(1); ; {
		e, err := c.api.message(ctx, b.subjectPrefix, messageRequest{Sequence: next, Next: b.subjectPrefix + key})
		if errors.Is(err, errMessageNotFound) {
			return history, nil
		}
		if err != nil {
			return nil, err
		}
		history = append(history, e)
		next = e.Revision + 1
	}
}

// Put writes the value over base and returns its revision. A TTL of its own that the message before had is kept: without
// it, the key would never expire in a bucket without a TTL.
func (c *Client) Put(ctx context.Context, b Bucket, key string, value []byte, base Entry) (uint64, error) {
	m := nats.NewMsg("")
	m.Data = value
	if base.Operation == Put && base.TTL != 0 && b.MessageTTL {
		m.Header.Set(headerTTL, ttlHeader(base.TTL))
	}
	return c.publish(ctx, b, key, m, base.Revision)
}

func ttlHeader(ttl time.Duration) string {
	if ttl < 0 {
		return "never"
	}
	return strconv.FormatInt(int64(ttl/time.Second), 10)
}

// Delete writes a removal over base. The revision of a removal is never 0: that would remove whatever is there.
func (c *Client) Delete(ctx context.Context, b Bucket, key string, base Entry) error {
	if base.Revision == 0 {
		return ErrNotRegistered
	}
	m := nats.NewMsg("")
	m.Header.Set(headerOperation, operationDelete)
	_, err := c.publish(ctx, b, key, m, base.Revision)
	return err
}

// publish stores m as the key's message after that revision, or returns ErrOvertaken. If it isn't clear whether the
// message was stored, the stream's leader tells.
func (c *Client) publish(ctx context.Context, b Bucket, key string, m *nats.Msg, after uint64) (uint64, error) {
	if b.Mirror {
		return 0, ErrReadOnly
	}
	m.Header.Set(headerExpected, strconv.FormatUint(after, 10))
	revision, err := c.publishInTurn(ctx, key, m)
	if ctx.Err() != nil || !errors.Is(err, ErrNoAnswer) {
		return revision, err
	}
	return c.readBack(ctx, b, key, m, after, err)
}

const (
	// unheardRetries is how often a write is sent again that nobody has taken: a cluster may be electing the stream's leader.
	unheardRetries = 2
	// unheardPause is how long to wait before that.
	unheardPause = 250 * time.Millisecond
)

// publishInTurn publishes m, again and again while an earlier write of the key stands in its way.
func (c *Client) publishInTurn(ctx context.Context, key string, m *nats.Msg) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.api.timeout)
	defer cancel()
	unheard := 0
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		revision, err := c.publishOnce(ctx, key, m)
		wait := backoff.Jitter(pause)
		switch {
		case errors.Is(err, nats.ErrNoResponders) && unheard < unheardRetries:
			unheard++
			wait = unheardPause
		case !errors.Is(err, ErrBusy):
			return revision, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return 0, err
		}
	}
}

func (c *Client) publishOnce(ctx context.Context, key string, m *nats.Msg) (uint64, error) {
	type result struct {
		revision uint64
		err      error
	}
	ended := make(chan result, 1)
	// The writer gives the message its subject and where to answer.
	once := &nats.Msg{Header: m.Header, Data: m.Data}
	c.writer.send(key, once, func(revision uint64, err error) { ended <- result{revision, err} })
	select {
	case r := <-ended:
		return r.revision, r.err
	case <-ctx.Done():
		return 0, classify(ctx.Err())
	}
}

// readBack finds out whether the leader has stored m although it didn't say so.
func (c *Client) readBack(ctx context.Context, b Bucket, key string, m *nats.Msg, after uint64, unclear error) (uint64, error) {
	last, err := c.Last(ctx, b, key)
	switch {
	case err != nil:
		return 0, unclear
	case last.Revision == after:
		return 0, unclear
	case last.Revision > after && last.Operation == operationOf(m.Header) && bytes.Equal(last.Value, m.Data):
		return last.Revision, nil
	}
	return 0, ErrOvertaken
}
