package registry

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// denial is the server's refusal to let the user publish or subscribe to a subject.
type denial struct {
	// subscribe says that it is about subscribing.
	subscribe bool
	// subject is what would have to be granted: a name that is another one each time is left out.
	subject string
	// bucket is the one that the subject names; empty: none.
	bucket string
}

func (d denial) String() string {
	if d.subscribe {
		return fmt.Sprintf("subscribe to %q", d.subject)
	}
	return fmt.Sprintf("publish to %q", d.subject)
}

// optional reports whether the user may do without it: account info. Only a bucket that is to be created needs it.
func (d denial) optional() bool {
	return !d.subscribe && strings.HasPrefix(d.subject, "$JS.") && strings.HasSuffix(d.subject, "API.INFO")
}

var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"\s]+)"`)

// denialOf returns what the server denies with that error; false: it is no denial.
func denialOf(err error, inboxPrefix string) (denial, bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return denial{}, false
	}
	match := violation.FindStringSubmatch(err.Error())
	if match == nil {
		return denial{}, false
	}
	d := denial{subscribe: strings.EqualFold(match[1], "subscription"), subject: match[2]}
	if strings.HasPrefix(d.subject, inboxPrefix+".") {
		d.subject = inboxPrefix + ".>"
		return d, true
	}
	tokens := strings.Split(d.subject, ".")
	for i, t := range tokens {
		name, found := strings.CutPrefix(t, "KV_")
		if t == "$KV" && i+1 < len(tokens) {
			i++
			name, found = tokens[i], true
		}
		if found {
			d.bucket = name
			if i+1 < len(tokens) {
				d.subject = strings.Join(tokens[:i+1], ".") + ".>"
			}
			break
		}
	}
	return d, true
}

// denialMemory is for how long a denial counts that doesn't recur while the bucket can't be read: longer than it takes
// until everything that may be denied has been tried again.
const denialMemory = 15 * time.Second

// maxDenials is the greatest number of denials that are remembered: a server may deny as many subjects as it likes.
const maxDenials = 16

// denials are the denials that a session met, with the time of the last of each.
type denials map[denial]time.Time

// add returns d and one more denial, without those that are oldest.
func (d denials) add(one denial, at time.Time) denials {
	next := denials{}
	maps.Copy(next, d)
	next[one] = at
	for old, seen := range next {
		if at.Sub(seen) > time.Hour {
			delete(next, old)
		}
	}
	if len(next) > maxDenials {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(next)), func(a, b denial) int { return next[a].Compare(next[b]) })
		delete(next, oldest)
	}
	return next
}

// text says what is denied of those that choose accepts; empty if nothing is.
func (d denials) text(choose func(denial, time.Time) bool) string {
	var all []string
	for one, at := range d {
		if choose(one, at) {
			all = append(all, one.String())
		}
	}
	slices.Sort(all)
	return plainText(strings.Join(all, ", nor "))
}
