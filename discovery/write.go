package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// maxAttempts is how often a write is tried that others keep overtaking.
const maxAttempts = 5

// errOvertaken: the key's last revision isn't the one that the write was based on.
var errOvertaken = errors.New("overtaken by another write")

// ErrBusy says that an earlier write of the key, perhaps one of one's own, is neither stored nor refused yet. The stream's
// leader takes no other until it has replicated that one, or has lost its office: soon, or once there is a majority again.
var ErrBusy = errors.New("an earlier write of the key is not replicated yet")

// firstPause and lastPause bound the wait for an earlier write of the key.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 200 * time.Millisecond
)

// Register writes the node's record, with LastSeen set to now, and so makes the node known, or replaces what it said of
// itself before. An entry that has an owner is replaced by the same owner alone, and one without an owner only by a node
// without one: [ErrConflict].
//
// Other errors are [ErrInvalidID], those of [Encode], [ErrReadOnly], [ErrNoAnswer], [ErrBusy], [ErrUnavailable] and
// [ErrConnectionLost]. After an error the entry may or may not have been written, except after the first three.
func (r *Registry) Register(ctx context.Context, n Node) error {
	key, err := Key(r.prefix, n.ID)
	if err != nil {
		return err
	}
	return retry(n.ID, "registering", func() error {
		base, err := r.base(ctx, key)
		if err != nil {
			return err
		}
		_, err = r.register(ctx, key, n, base)
		return err
	})
}

// register writes the record over base.
func (r *Registry) register(ctx context.Context, key string, n Node, base Entry) (uint64, error) {
	if base.Operation == Put && base.Revision > 0 {
		if old, err := Decode(base.Value); err == nil && !sameOwner(old.Owner, n.Owner) {
			return 0, fmt.Errorf("%w: the entry is kept by %s", ErrConflict, old.Owner)
		}
	}
	n.LastSeen = time.Now()
	value, err := Encode(n)
	if err != nil {
		return 0, err
	}
	return r.put(ctx, key, value, base)
}

// Heartbeat sets the node's load and LastSeen, leaves the rest of its record as it is, unknown members included, and so
// refreshes its TTL. It is based on the revision that it has read: a heartbeat that comes after the node was unregistered,
// or has expired, doesn't bring it back: [ErrNotRegistered]. The load must be finite.
//
// Other errors are those of [Register].
func (r *Registry) Heartbeat(ctx context.Context, id string, load float64) error {
	key, err := Key(r.prefix, id)
	if err != nil {
		return err
	}
	if math.IsNaN(load) || math.IsInf(load, 0) {
		return recordError(ReasonWrongShape, "Load is %v, a finite number is expected", load)
	}
	var base Entry
	if c, ok := r.cache.get(key); ok {
		base = c.entry
	}
	return retry(id, "heartbeat of", func() error {
		if base.Revision == 0 {
			if base, err = r.base(ctx, key); err != nil {
				return err
			}
		}
		if base.Revision == 0 || base.Operation != Put {
			return ErrNotRegistered
		}
		value, err := refresh(base.Value, load, time.Now())
		if err != nil {
			return err
		}
		_, err = r.put(ctx, key, value, base)
		base = Entry{}
		return err
	})
}

// Unregister removes the node, whoever registered it. A node that isn't registered is no error. The errors are those of
// [Register], but for those of [Encode] and of owners.
func (r *Registry) Unregister(ctx context.Context, id string) error {
	key, err := Key(r.prefix, id)
	if err != nil {
		return err
	}
	return retry(id, "unregistering", func() error {
		base, err := r.base(ctx, key)
		if err != nil || base.Revision == 0 || base.Operation != Put {
			return err
		}
		return r.delete(ctx, key, base)
	})
}

// retry repeats f while others overtake it.
func retry(id, what string, f func() error) error {
	var err error
	for range maxAttempts {
		if err = f(); !errors.Is(err, errOvertaken) {
			break
		}
	}
	if errors.Is(err, errOvertaken) {
		err = fmt.Errorf("%w: %w", ErrConflict, err)
	}
	if err != nil {
		return fmt.Errorf("%s node %q: %w", what, id, err)
	}
	return nil
}

// base reads the key's last message from the stream's leader; its revision is 0 if there is none.
func (r *Registry) base(ctx context.Context, key string) (Entry, error) {
	b := r.cache.settings()
	if b.Mirror {
		return Entry{}, ErrReadOnly
	}
	e, err := r.api.last(ctx, b.subjectPrefix, key)
	if errors.Is(err, errMessageNotFound) {
		return Entry{Key: key}, nil
	}
	return e, err
}

// put writes the value over base and returns its revision. A TTL of its own that the message before had is kept: without
// it, the key would never expire in a bucket without a TTL.
func (r *Registry) put(ctx context.Context, key string, value []byte, base Entry) (uint64, error) {
	m := nats.NewMsg("")
	m.Data = value
	if base.Operation == Put && base.TTL != 0 && r.cache.settings().MessageTTL {
		m.Header.Set(headerTTL, ttlHeader(base.TTL))
	}
	return r.publish(ctx, key, m, base.Revision)
}

func ttlHeader(ttl time.Duration) string {
	if ttl < 0 {
		return "never"
	}
	return strconv.FormatInt(int64(ttl/time.Second), 10)
}

// delete writes a removal over base. The revision of a removal is never 0: that would remove whatever is there.
func (r *Registry) delete(ctx context.Context, key string, base Entry) error {
	if base.Revision == 0 {
		return ErrNotRegistered
	}
	m := nats.NewMsg("")
	m.Header.Set(headerOperation, operationDelete)
	_, err := r.publish(ctx, key, m, base.Revision)
	return err
}

// publish stores m as the key's message after that revision, or returns errOvertaken. If it isn't clear whether the
// message was stored, the stream's leader tells.
func (r *Registry) publish(ctx context.Context, key string, m *nats.Msg, after uint64) (uint64, error) {
	b := r.cache.settings()
	if b.Mirror {
		return 0, ErrReadOnly
	}
	m.Subject = b.subjectPrefix + key
	if r.o.Domain != "" {
		// The hub's domain is reached by way of its API, as nats.go does it for Key-Value.
		m.Subject = r.api.prefix + m.Subject
	}
	m.Header.Set(headerExpected, strconv.FormatUint(after, 10))
	revision, err := r.publishInTurn(ctx, m)
	if ctx.Err() != nil || !errors.Is(err, ErrNoAnswer) {
		return revision, err
	}
	return r.readBack(ctx, key, m, after, err)
}

// publishInTurn publishes m, again and again while an earlier write of the key stands in its way.
func (r *Registry) publishInTurn(ctx context.Context, m *nats.Msg) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, r.api.timeout)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		ack, err := r.js.PublishMsg(ctx, m)
		if err == nil {
			return ack.Sequence, nil
		}
		if err = classify(err); !errors.Is(err, ErrBusy) {
			return 0, err
		}
		select {
		case <-time.After(jitter(pause)):
		case <-ctx.Done():
			return 0, err
		}
	}
}

// readBack finds out whether the leader has stored m although it didn't say so.
func (r *Registry) readBack(ctx context.Context, key string, m *nats.Msg, after uint64, unclear error) (uint64, error) {
	last, err := r.base(ctx, key)
	switch {
	case err != nil:
		return 0, unclear
	case last.Revision == after:
		return 0, unclear
	case last.Revision > after && last.Operation == operationOf(m.Header) && bytes.Equal(last.Value, m.Data):
		return last.Revision, nil
	}
	return 0, errOvertaken
}

// refresh sets the load and the time in a record and leaves its other members as they are.
func refresh(value []byte, load float64, now time.Time) ([]byte, error) {
	if _, err := Decode(value); err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(value, &members); err != nil {
		return nil, decodeError(err)
	}
	for name := range members {
		if strings.EqualFold(name, "Load") || strings.EqualFold(name, "LastSeen") {
			delete(members, name)
		}
	}
	var err error
	if members["Load"], err = json.Marshal(load); err != nil {
		return nil, err
	}
	if members["LastSeen"], err = timestamp(now).MarshalJSON(); err != nil {
		return nil, err
	}
	return json.Marshal(members)
}
