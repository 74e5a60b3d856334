package mirror

import (
	"time"

	"k8s.io/utils/clock"
)

const (
	// maxChanges is how many changes of a node may follow each other at once. A machine that is replaced, with an end that is told, takes
	// three or four.
	maxChanges = 20
	// refill is after how long a node may change once more.
	refill = time.Second
)

// budget bounds how often each node of a registry changes, since a change may be a write for each Service. Every change that is published
// takes one from the budget of its key, and what takes traffic away is published even where there is nothing left. Only keys that changed
// lately are remembered.
type budget struct {
	clock    clock.PassiveClock
	began    time.Time
	accounts map[string]*account // by key
	checks   queue[*account]
	// flaps are the accounts of keys that had to wait since their budget was last full.
	flaps map[string]*account
	// stirred is true if an account may have to be looked at earlier than rest has said.
	stirred bool
}

// account is what a key has spent. Times are since the budget began.
type account struct {
	timed
	key string
	// full is when nothing of what was spent is missing any more.
	full time.Duration
	// waits is true while something of the node is not published.
	waits bool
}

func newBudget(c clock.PassiveClock) budget {
	return budget{clock: c, began: c.Now(), accounts: map[string]*account{}, flaps: map[string]*account{}}
}

func (b *budget) now() time.Duration { return b.clock.Since(b.began) }

// ready returns when the key may change.
func (a *account) ready() time.Duration { return a.full - (maxChanges-1)*refill }

// next returns when the account is to be looked at.
func (a *account) next() time.Duration {
	if a.waits {
		return a.ready()
	}
	return a.full
}

// allows returns true if a key may change.
func (b *budget) allows(key string) bool {
	a := b.accounts[key]
	return a == nil || a.ready() <= b.now()
}

// knows returns true if a key has changed lately.
func (b *budget) knows(key string) bool { return b.accounts[key] != nil }

// spend takes one change from the budget of a key, whether or not there is one left.
func (b *budget) spend(key string) {
	a := b.accounts[key]
	if a == nil {
		a = &account{key: key, timed: timed{index: unqueued}}
		b.accounts[key] = a
	}
	a.full = max(a.full, b.now()) + refill
	b.look(a)
}

// wait has refill name the key once it may change, and returns true if it did not wait since its budget was last full.
func (b *budget) wait(key string) (first bool) {
	a := b.accounts[key]
	first = b.flaps[key] == nil
	a.waits, b.flaps[key] = true, a
	b.look(a)
	return first
}

func (b *budget) look(a *account) {
	was := b.checks.next()
	b.checks.by(a, a.next())
	b.stirred = b.stirred || b.checks.next() < was
}

// refill returns the keys that wait and may change now. calmed is true if one of those that had to wait is steady.
func (b *budget) refill() (keys []string, calmed bool) {
	now := b.now()
	for a, due := b.checks.due(now); due; a, due = b.checks.due(now) {
		switch {
		case a.next() > now:
		case a.waits:
			a.waits = false
			keys = append(keys, a.key)
		default:
			calmed = calmed || b.flaps[a.key] != nil
			delete(b.accounts, a.key)
			delete(b.flaps, a.key)
			continue
		}
		b.checks.by(a, a.next())
	}
	if len(b.accounts) == 0 {
		b.accounts = map[string]*account{} // A map keeps the size that it had.
	}
	return keys, calmed
}

// rest returns how long it is until refill is to be called; false if there is nothing to refill.
func (b *budget) rest() (time.Duration, bool) {
	b.stirred = false
	next := b.checks.next()
	return next - b.now(), next != never
}

// flapping returns how many keys had to wait since their budgets were last full, and one of them.
func (b *budget) flapping() (n int, example string) {
	for key := range b.flaps {
		if example == "" || key < example {
			example = key
		}
	}
	return len(b.flaps), example
}
