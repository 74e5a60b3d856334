package natsconn

import (
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/nats-io/nats.go"
	clocktesting "k8s.io/utils/clock/testing"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/dial"
)

// hour lets a loop live through an hour whose attempts are answered by try, and counts how often the Secrets were read and
// how often what they hold was tried. hold changes what they hold.
type hour struct {
	*loop
	clock *clocktesting.FakeClock
	holds byte
	reads int
	tried []time.Time
}

func newHour() *hour {
	clock := clocktesting.NewFakeClock(time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC))
	l := &Link{log: logr.Discard(), view: newView(State{})}
	return &hour{
		clock: clock, holds: 1,
		loop: &loop{link: l, clock: clock, connector: &connector{link: l, o: &Options{}}},
	}
}

// pass lets that much time pass.
func (h *hour) pass(d time.Duration, try func(holds byte) error) {
	for end := h.clock.Now().Add(d); ; {
		if h.tries.look.After(end) {
			h.clock.SetTime(end)
			return
		}
		if h.tries.look.After(h.clock.Now()) {
			h.clock.SetTime(h.tries.look)
		}
		h.attempt(try)
	}
}

func (h *hour) attempt(try func(holds byte) error) {
	o := h.order(h.clock.Now())
	m := o.inHand
	if m == nil {
		h.reads++
		m = &credentials{digest: [32]byte{h.holds}}
	}
	switch {
	case o.current != nil && o.current.digest == m.digest:
		h.attempted(result{outcome: unchanged, credentials: m})
	case o.skips && o.skip == m.digest:
		h.attempted(result{outcome: waiting})
	default:
		h.take(try(m.digest[0]), m)
	}
}

func (h *hour) take(err error, m *credentials) {
	h.tried = append(h.tried, h.clock.Now())
	if err != nil {
		h.attempted(result{outcome: failed, credentials: m, err: err})
		return
	}
	h.conn, h.state.Connected, h.trouble = &Conn{digest: m.digest}, true, nil
	h.tries.look = h.clock.Now().Add(h.rest(h.clock.Now()))
}

func refuseAll(byte) error { return nats.ErrAuthorization }

// A server logs each login that it refuses. A changed Secret is tried nevertheless within five seconds.
func TestARefusedLoginIsTriedRarely(t *testing.T) {
	for name, connected := range map[string]bool{"without a connection": false, "beside one that stands": true} {
		h := newHour()
		if connected {
			h.pass(0, func(byte) error { return nil })
			h.holds, h.tries.look, h.tried = 2, h.clock.Now(), nil
		}
		h.pass(time.Hour, refuseAll)
		if n := len(h.tried); n < 55 || n > 140 {
			t.Errorf("%s: %d attempts in an hour", name, n)
		}
		if longest := h.tried[len(h.tried)-1].Sub(h.tried[len(h.tried)-2]); longest > refusedRetry+troubleInterval {
			t.Errorf("%s: the last pause took %s", name, longest)
		}
		changed := h.clock.Now()
		h.holds = 3
		h.pass(5*time.Second, func(holds byte) error {
			if holds == 3 {
				return nil
			}
			return nats.ErrAuthorization
		})
		if !h.state.Connected || h.conn.digest[0] != 3 {
			t.Errorf("%s: %s after the Secret was changed it was not tried", name, h.clock.Since(changed))
		}
	}
}

// The API server is asked rarely where nothing is wrong, and where another content would not help.
func TestSecretsAreReadRarely(t *testing.T) {
	well := func(byte) error { return nil }
	h := newHour()
	h.pass(time.Hour, well)
	if len(h.tried) != 1 || h.reads < 6 || h.reads > 10 {
		t.Errorf("while all is well, the Secret is read %d times in an hour and tried %d times", h.reads, len(h.tried))
	}
	h = newHour()
	h.pass(time.Hour, func(byte) error { return &dial.Error{Class: dial.Unreachable, Err: errors.New("connection refused")} })
	if h.reads > 50 || len(h.tried) < 7000 {
		t.Errorf("while no server answers, the Secret is read %d times in an hour for %d attempts", h.reads, len(h.tried))
	}
	if again := h.tried[len(h.tried)-1].Sub(h.tried[len(h.tried)-2]); again > 2*firstRetry {
		t.Errorf("a server that does not answer is tried after %s", again)
	}
}

// Many connections do not read at the same time.
func TestReadsAreSpread(t *testing.T) {
	var first, last time.Time
	for range 1000 {
		h := newHour()
		h.pass(0, func(byte) error { return nil })
		look := h.tries.look
		if first.IsZero() || look.Before(first) {
			first = look
		}
		if look.After(last) {
			last = look
		}
	}
	if spread := last.Sub(first); spread < 2*time.Minute {
		t.Errorf("a thousand reads are within %s", spread)
	}
}

func TestRenewal(t *testing.T) {
	now := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]time.Duration{
		time.Hour: healthyInterval, 10 * time.Minute: 5 * time.Minute, 30 * time.Second: 15 * time.Second, time.Second: time.Second, -time.Minute: troubleInterval,
	} {
		if got := renewal(now.Add(left), healthyInterval, now); got != want {
			t.Errorf("with %s left it is read after %s, want %s", left, got, want)
		}
	}
	if got := renewal(time.Time{}, healthyInterval, now); got != healthyInterval {
		t.Errorf("without an end it is read after %s", got)
	}
}

// A subscription that stays denied costs one connection a minute, and a changed user is tried within five seconds.
func TestADeniedSubscriptionIsTriedRarely(t *testing.T) {
	var d deaf
	now := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	reconnects := 0
	subscribe := Denial{Subscribe: true, Subject: "_INBOX.>"}
	d.denied(subscribe, now)
	for end := now.Add(time.Hour); now.Before(end); now = now.Add(time.Second) {
		if d.due(now) {
			reconnects++
			d.denied(subscribe, now)
		}
		if !d.recent(now) {
			t.Fatal("the denial is forgotten")
		}
	}
	if reconnects < 55 || reconnects > 90 {
		t.Errorf("%d connections in an hour", reconnects)
	}
	h := newHour()
	h.pass(0, func(byte) error { return nil })
	h.denied(Denial{Subject: "$JS.API.STREAM.INFO.KV_b", Bucket: "b"})
	if in := h.tries.look.Sub(h.clock.Now()); in > 5*time.Second {
		t.Errorf("after a denial the Secret is read after %s", in)
	}
}

func TestClassify(t *testing.T) {
	at := func(class dial.Class, text string) error {
		return &dial.Error{Server: "nats://n:4222", Class: class, Err: errors.New(text)}
	}
	for name, test := range map[string]struct {
		err         error
		lost, login bool
		want        string
		answer      bool
	}{
		"nothing":                         {nil, false, true, rollcallv1alpha1.ReasonConnecting, false},
		"lost":                            {nil, true, true, rollcallv1alpha1.ReasonConnectionLost, false},
		"not allowed":                     {at(dial.NotAllowed, "no"), false, true, rollcallv1alpha1.ReasonServerNotAllowed, true},
		"no longer allowed":               {at(dial.NotAllowed, "no"), true, true, rollcallv1alpha1.ReasonServerNotAllowed, true},
		"no server":                       {&SpecError{Reason: rollcallv1alpha1.ReasonServersInvalid}, false, true, rollcallv1alpha1.ReasonServersInvalid, true},
		"not found":                       {at(dial.NotFound, "no such host"), false, true, rollcallv1alpha1.ReasonServerNotFound, false},
		"refused":                         {at(dial.Unreachable, "connection refused"), false, true, rollcallv1alpha1.ReasonServerUnreachable, false},
		"refused after it was up":         {at(dial.Unreachable, "connection refused"), true, true, rollcallv1alpha1.ReasonConnectionLost, false},
		"TLS":                             {at(dial.TLS, "unknown authority"), true, true, rollcallv1alpha1.ReasonTLSFailed, true},
		"WebSocket":                       {at(dial.Handshake, "404"), false, true, rollcallv1alpha1.ReasonWebSocketFailed, true},
		"no NATS server":                  {at(dial.Protocol, "a line of 70000 bytes"), false, true, rollcallv1alpha1.ReasonProtocolError, true},
		"the farthest counts":             {errors.Join(at(dial.NotAllowed, "no"), at(dial.Unreachable, "x"), at(dial.TLS, "y")), false, true, rollcallv1alpha1.ReasonTLSFailed, true},
		"some are not allowed":            {errors.Join(at(dial.NotAllowed, "no"), at(dial.Unreachable, "x")), false, true, rollcallv1alpha1.ReasonServerUnreachable, false},
		"login":                           {nats.ErrAuthorization, false, true, rollcallv1alpha1.ReasonAuthenticationFailed, true},
		"a login is demanded":             {nats.ErrAuthorization, false, false, rollcallv1alpha1.ReasonAuthenticationRequired, true},
		"connections":                     {nats.ErrMaxConnectionsExceeded, false, true, rollcallv1alpha1.ReasonLimitReached, true},
		"other words":                     {errors.New("nats: 'go away'"), false, true, rollcallv1alpha1.ReasonConnectionFailed, false},
		"a Secret is missing":             {&SpecError{Reason: rollcallv1alpha1.ReasonSecretNotFound}, false, true, rollcallv1alpha1.ReasonSecretNotFound, true},
		"lost, since a Secret is missing": {&SpecError{Reason: rollcallv1alpha1.ReasonSecretNotFound}, true, true, rollcallv1alpha1.ReasonSecretNotFound, true},
	} {
		if got := Classify(test.err, test.lost, test.login); got.Reason != test.want || got.Answer != test.answer {
			t.Errorf("%s is %+v, want %s, answer %t", name, got, test.want, test.answer)
		}
	}
}

// A server that lets in and refuses in turn is no better than one that refuses.
func TestAServerThatLetsInAndRefuses(t *testing.T) {
	h := newHour()
	for end := h.clock.Now().Add(time.Hour); h.clock.Now().Before(end); {
		h.pass(max(0, h.tries.look.Sub(h.clock.Now())), func(byte) error { return nil })
		if h.conn == nil {
			continue
		}
		h.tries.failed(h.conn.digest, nats.ErrAuthorization, h.clock.Now())
		h.conn, h.state.Connected, h.trouble, h.tries.look = nil, false, nats.ErrAuthorization, h.clock.Now()
	}
	if n := len(h.tried); n < 50 || n > 140 {
		t.Errorf("it was tried %d times in an hour", n)
	}
}
