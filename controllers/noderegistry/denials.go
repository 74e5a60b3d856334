package noderegistry

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-dev/rollcall/controllers/natsconn"
)

// denialMemory is for how long a denial counts that doesn't recur while the bucket can't be read: longer than it takes
// until everything that may be denied has been tried again.
const denialMemory = 75 * time.Second

// maxDenials is the greatest number of denials that are remembered: a server may deny as many subjects as it likes.
const maxDenials = 16

// denials are the denials that a session met, with the time of the last of each.
type denials map[natsconn.Denial]time.Time

// add returns d and one more denial, without those that are oldest.
func (d denials) add(one natsconn.Denial, at time.Time) denials {
	next := denials{}
	maps.Copy(next, d)
	next[one] = at
	for old, seen := range next {
		if at.Sub(seen) > time.Hour {
			delete(next, old)
		}
	}
	if len(next) > maxDenials {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(next)), func(a, b natsconn.Denial) int { return next[a].Compare(next[b]) })
		delete(next, oldest)
	}
	return next
}

// since reports whether the bucket could not be opened for a denial that was met at that time or later.
func (d denials) since(at time.Time) bool {
	for one, last := range d {
		if one.Opening() && !last.Before(at) {
			return true
		}
	}
	return false
}

// text says what is denied of those that choose accepts; empty if nothing is.
func (d denials) text(choose func(natsconn.Denial, time.Time) bool) string {
	var all []string
	for one, at := range d {
		if choose(one, at) {
			all = append(all, one.String())
		}
	}
	slices.Sort(all)
	return natsconn.PlainText(strings.Join(all, ", nor "))
}
