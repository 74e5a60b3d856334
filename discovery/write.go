package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// maxAttempts is how often a write is tried that others keep overtaking.
const maxAttempts = 5

// Register writes the node's record, with LastSeen set to now, and so makes the node known, or replaces what it said of
// itself before. An entry that has an owner is replaced by the same owner alone, and one without an owner only by a node
// without one: [ErrConflict]. An owner that can't be read, or a record of which nothing can, is somebody else's: remove it
// with [Registry.Unregister] if it may go.
//
// Other errors are [ErrInvalidID], those of [Encode], a [*RecordError] for an owner without a UID, [ErrReadOnly], [ErrNoAnswer], [ErrBusy], [ErrUnavailable] and
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

// register writes the record over base, which has no value if it is the caller's own.
func (r *Registry) register(ctx context.Context, key string, n Node, base kv.Entry) (uint64, error) {
	if err := checkOwner(n.Owner); err != nil {
		return 0, err
	}
	if base.Operation == kv.Put && len(bytes.TrimSpace(base.Value)) > 0 {
		if owner := OwnerOf(base.Value); !sameOwner(owner, n.Owner) {
			return 0, fmt.Errorf("%w: the entry is kept by %s", ErrConflict, owner)
		}
	}
	n.LastSeen = time.Now()
	value, err := Encode(n)
	if err != nil {
		return 0, err
	}
	return r.client.Put(ctx, r.cache.settings(), key, value, base)
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
	var base kv.Entry
	if c, ok := r.cache.get(key); ok {
		base = c.entry
	}
	return retry(id, "heartbeat of", func() error {
		if base.Revision == 0 {
			if base, err = r.base(ctx, key); err != nil {
				return err
			}
		}
		if base.Revision == 0 || base.Operation != kv.Put {
			return ErrNotRegistered
		}
		value, err := refresh(base.Value, load, time.Now())
		if err != nil {
			return err
		}
		_, err = r.client.Put(ctx, r.cache.settings(), key, value, base)
		base = kv.Entry{}
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
		if err != nil || base.Revision == 0 || base.Operation != kv.Put {
			return err
		}
		return r.client.Delete(ctx, r.cache.settings(), key, base)
	})
}

// retry repeats f while others overtake it.
func retry(id, what string, f func() error) error {
	var err error
	for range maxAttempts {
		if err = f(); !errors.Is(err, kv.ErrOvertaken) {
			break
		}
	}
	if errors.Is(err, kv.ErrOvertaken) {
		err = fmt.Errorf("%w: %w", ErrConflict, err)
	}
	if err != nil {
		return fmt.Errorf("%s node %q: %w", what, id, err)
	}
	return nil
}

// base reads the key's last message from the stream's leader; its revision is 0 if there is none.
func (r *Registry) base(ctx context.Context, key string) (kv.Entry, error) {
	return r.client.Last(ctx, r.cache.settings(), key)
}

// refresh sets the load and the time in a record and leaves its other members as they are. What isn't JSON in them is
// written as JSON.
func refresh(value []byte, load float64, now time.Time) ([]byte, error) {
	if _, _, err := Decode(value); err != nil {
		return nil, err
	}
	repaired, _, err := Repair(value)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(repaired, &members); err != nil {
		return nil, decodeError(err)
	}
	for name := range members {
		if strings.EqualFold(name, "Load") || strings.EqualFold(name, "LastSeen") {
			delete(members, name)
		}
	}
	if members["Load"], err = json.Marshal(load); err != nil {
		return nil, err
	}
	if members["LastSeen"], err = timestamp(now).MarshalJSON(); err != nil {
		return nil, err
	}
	return json.Marshal(members)
}
