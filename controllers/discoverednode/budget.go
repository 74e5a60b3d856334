package discoverednode

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

const (
	// burst is how many Events the nodes of a registry may have at once.
	burst = 10
	// refill is after how long they may have one more.
	refill = time.Minute
)

// budget bounds the Events about the nodes of each registry: a burst of them, then one in a while that counts what was left
// out. It is safe for concurrent use.
type budget struct {
	clock clock.PassiveClock

	mu       sync.Mutex
	accounts map[types.NamespacedName]*account
}

// account is what is left to a registry.
type account struct {
	left  int
	since time.Time // when the account was last full, or refilled
	// omitted counts the changes without an Event, by what the nodes did.
	omitted map[string]int
}

func newBudget(c clock.PassiveClock) *budget {
	return &budget{clock: c, accounts: map[types.NamespacedName]*account{}}
}

// spend asks for an Event about a node that did something, such as "became Stale". If there is none left, the change is counted,
// and the first to be counted gets the wait after which sum is to be asked.
func (b *budget) spend(registry types.NamespacedName, did string) (granted bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.account(registry)
	if len(a.omitted) == 0 && a.left > 0 {
		a.left--
		return true, 0
	}
	first := len(a.omitted) == 0
	if first {
		a.omitted = map[string]int{}
	}
	a.omitted[did]++
	if !first {
		return false, 0
	}
	return false, max(b.untilRefill(a), time.Second)
}

// sum returns what was left out, and an Event to say it with; empty if nothing was, or it is not time yet. An account that is
// full again is closed.
func (b *budget) sum(registry types.NamespacedName) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.accounts[registry] == nil {
		return ""
	}
	a := b.account(registry)
	switch {
	case len(a.omitted) == 0:
		if a.left == burst {
			delete(b.accounts, registry)
		}
		return ""
	case a.left == 0:
		return ""
	}
	a.left--
	text := describe(a.omitted)
	a.omitted = nil
	return text
}

// account returns the account of a registry as it is now.
func (b *budget) account(registry types.NamespacedName) *account {
	now := b.clock.Now()
	a := b.accounts[registry]
	if a == nil {
		a = &account{left: burst, since: now}
		b.accounts[registry] = a
	}
	if a.left == burst {
		a.since = now
	}
	if n := int(now.Sub(a.since) / refill); n > 0 {
		a.left, a.since = min(burst, a.left+n), a.since.Add(time.Duration(n)*refill)
	}
	return a
}

func (b *budget) untilRefill(a *account) time.Duration { return a.since.Add(refill).Sub(b.clock.Now()) }

// describe returns the counts in a fixed order.
func describe(omitted map[string]int) string {
	total := 0
	var parts []string
	for did, n := range omitted {
		total += n
		parts = append(parts, fmt.Sprintf("%d %s", n, did))
	}
	slices.Sort(parts)
	return fmt.Sprintf("nodes changed %d more times: %s", total, strings.Join(parts, ", "))
}
