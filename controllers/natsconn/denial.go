package natsconn

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/nats-io/nats.go"
)

// Denial is the server's refusal to let the user publish or subscribe to a subject.
type Denial struct {
	// Subscribe says that it is about subscribing.
	Subscribe bool
	// Subject is what would have to be granted: a name that is another one each time is left out.
	Subject string
	// Bucket is the one that the subject names; empty: none.
	Bucket string
}

// String implements fmt.Stringer.
func (d Denial) String() string {
	if d.Subscribe {
		return fmt.Sprintf("subscribe to %q", d.Subject)
	}
	return fmt.Sprintf("publish to %q", d.Subject)
}

// Optional reports whether the user may do without it: account info. Only a bucket that is to be created needs it.
func (d Denial) Optional() bool {
	return !d.Subscribe && strings.HasPrefix(d.Subject, "$JS.") && strings.HasSuffix(d.Subject, "API.INFO")
}

var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"\s]+)"`)

// denialOf returns what the server denies with that error; false: it is no denial.
func denialOf(err error, inboxPrefix string) (Denial, bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return Denial{}, false
	}
	match := violation.FindStringSubmatch(err.Error())
	if match == nil {
		return Denial{}, false
	}
	d := Denial{Subscribe: strings.EqualFold(match[1], "subscription"), Subject: match[2]}
	if strings.HasPrefix(d.Subject, inboxPrefix+".") {
		d.Subject = inboxPrefix + ".>"
		return d, true
	}
	tokens := strings.Split(d.Subject, ".")
	for i, t := range tokens {
		name, found := strings.CutPrefix(t, "KV_")
		if t == "$KV" && i+1 < len(tokens) {
			i++
			name, found = tokens[i], true
		}
		if found {
			d.Bucket = name
			if i+1 < len(tokens) {
				d.Subject = strings.Join(tokens[:i+1], ".") + ".>"
			}
			break
		}
	}
	return d, true
}
