package natsconn

import (
	"errors"
	"fmt"
	"strings"
	"time"

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
	return !d.Subscribe && d.Bucket == "" && strings.HasSuffix(d.Subject, ".INFO")
}

// Opening reports whether a bucket can't be opened without it.
func (d Denial) Opening() bool { return d.Subscribe || strings.Contains(d.Subject, ".STREAM.INFO.") }

const violation = "permissions violation for "

// cutViolation returns what a server says was done to which subject. A server may say it without end, so this has to be cheap.
func cutViolation(text string) (what, subject string, found bool) {
	for i := range len(text) - len(violation) {
		if !strings.EqualFold(text[i:i+len(violation)], violation) {
			continue
		}
		what, quoted, _ := strings.Cut(text[i+len(violation):], ` to "`)
		subject, _, closed := strings.Cut(quoted, `"`)
		known := strings.EqualFold(what, "publish") || strings.EqualFold(what, "subscription")
		return what, subject, known && closed && subject != "" && !strings.ContainsAny(subject, " \t\r\n")
	}
	return "", "", false
}

// denialOf returns what the server denies with that error; false: it is no denial.
func denialOf(err error, inboxPrefix string) (Denial, bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return Denial{}, false
	}
	what, subject, found := cutViolation(err.Error())
	if !found {
		return Denial{}, false
	}
	d := Denial{Subscribe: strings.EqualFold(what, "subscription"), Subject: subject}
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

const (
	// denialMatters is how long after a denial the Secrets are read often: a user that may more may be there any moment.
	denialMatters = 90 * time.Second
	// firstReconnect is how long a subscription stays denied before the connection is made again.
	firstReconnect = 5 * time.Second
)

// deaf is what a connection is denied. A subscription that was denied stays silent until the connection is made again.
type deaf struct {
	last        time.Time
	reconnectAt time.Time // zero: not needed
	reconnects  int
}

// denied takes in a denial.
func (s *deaf) denied(d Denial, now time.Time) {
	if now.Sub(s.last) > 2*refusedRetry {
		s.reconnects = 0
	}
	s.last = now
	if d.Subscribe && s.reconnectAt.IsZero() {
		s.reconnectAt = now.Add(spread(min(firstReconnect<<min(s.reconnects, 8), refusedRetry)))
		s.reconnects++
	}
}

// due reports whether the connection is to be made again, once each time.
func (s *deaf) due(now time.Time) bool {
	if s.reconnectAt.IsZero() || now.Before(s.reconnectAt) {
		return false
	}
	s.reconnectAt = time.Time{}
	return true
}

// recent reports whether something was denied lately.
func (s *deaf) recent(now time.Time) bool { return !s.last.IsZero() && now.Sub(s.last) < denialMatters }
