package kv

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// The server logs each violation, so what it refuses is tried once a minute at last. What it does not refuse is not held up.
func TestRefusalsAreSpacedOut(t *testing.T) {
	violation := func(what string) error {
		return fmt.Errorf("%w: Permissions Violation for %s", nats.ErrPermissionViolation, what)
	}
	for _, what := range []string{
		`Publish to "$JS.API.STREAM.INFO.KV_b"`, `Publish to "fleet.API.CONSUMER.CREATE.KV_b.rollcall_x.$KV.b.>"`,
		`Publish to "$JS.FC.KV_b.rollcall_x.y"`, `Subscription to "_INBOX.x.*"`,
	} {
		var f refusals
		attempts := 0
		for passed := time.Duration(0); passed < time.Hour; {
			last := f.rest(violation(what), "KV_b")
			attempts++
			passed += last
			if last <= 0 || last > time.Minute {
				t.Fatalf("%s: attempt %d is followed by a pause of %s", what, attempts, last)
			}
		}
		if attempts < 60 || attempts > 150 {
			t.Errorf("%s: %d attempts in an hour", what, attempts)
		}
		f.backoff.Reset()
		if first := f.rest(violation(what), "KV_b"); first > 250*time.Millisecond {
			t.Errorf("%s: the first pause is %s", what, first)
		}
	}
	var f refusals
	once := violation(`Publish to "$JS.API.STREAM.INFO.KV_b"`)
	if f.rest(once, "KV_b") <= 0 || f.rest(once, "KV_b") != 0 {
		t.Error("a violation does not count once")
	}
	for _, other := range []error{nil, nats.ErrTimeout, violation(`Publish to "$JS.API.STREAM.INFO.KV_bc"`), violation(`Publish to "$JS.API.STREAM.MSG.GET.KV_b"`)} {
		if rest := f.rest(other, "KV_b"); rest != 0 {
			t.Errorf("%v has it wait for %s", other, rest)
		}
	}
}
