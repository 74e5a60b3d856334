package noderegistry

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/types"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/kv"

	"github.com/rollcall-dev/rollcall/controllers/natsconn"
)

// Whatever a peer says, the status can be written, and an Event takes each message.
func TestWhatPeersSayFits(t *testing.T) {
	var all strings.Builder
	for r := range rune(40_000) {
		all.WriteRune(r)
	}
	for name, text := range map[string]string{
		"-ERR":          "nats: '" + strings.Repeat("x", 40_000) + "'",
		"wide":          strings.Repeat("\U0001F9EA", 40_000),
		"controls":      strings.Repeat("\x00\x1b[2J\r\n", 8_000),
		"invalid UTF-8": strings.Repeat("\xff\xc0\xaf", 14_000),
		"right to left": strings.Repeat("\u202e\u2066", 20_000),
		"everything":    all.String(),
	} {
		said := errors.New(text)
		answer := fmt.Errorf("requesting: %w", &jetstream.APIError{Code: 500, ErrorCode: 10999, Description: text})
		for _, state := range []func(*observation){
			func(o *observation) {
				o.session.link.Connected, o.session.link.Trouble = false, natsconn.Classify(said, true, true)
			},
			func(o *observation) {
				o.session.link.Connected, o.session.link.Trouble = false, natsconn.Classify(fmt.Errorf("%w: %w", nats.ErrAuthorization, said), true, true)
			},
			func(o *observation) { o.session.link.Trouble = natsconn.Classify(said, false, true) },
			func(o *observation) { o.mirror.Reading, o.session.bucketErr = false, answer },
			func(o *observation) { o.mirror.Reading, o.mirror.Err = false, answer },
			func(o *observation) { o.mirror.Bucket.Store = kv.Store{Refusal: kv.MirrorCut, Detail: text} },
			func(o *observation) { o.mirror.Bucket.Denied = text },
			func(o *observation) { o.mirror.Bucket.ServerVersion = text },
			func(o *observation) { o.mirror.Bucket.History, o.mirror.Bucket.Revision = -1, math.MaxUint64 },
			func(o *observation) { o.record.err = said },
			func(o *observation) { o.record = recordFault{err: said, survived: true} },
			func(o *observation) { o.mirror.Records.Refused, o.mirror.Records.Example = 1, text },
			func(o *observation) { o.mirror.Records.Missing = []string{text, text, text, text} },
			func(o *observation) {
				for i := range 100 {
					d := natsconn.Denial{Subject: text + strconv.Itoa(i), Bucket: "b"}
					o.session.denials = o.session.denials.add(d, o.now.Add(-time.Second))
				}
			},
		} {
			o := serving()
			state(o)
			checkFits(t, name, statusOf(&rollcallv1alpha1.NodeRegistry{}, o))
			if len(o.session.denials) > maxDenials {
				t.Errorf("%d denials are remembered", len(o.session.denials))
			}
		}
	}
}

func checkFits(t *testing.T, name string, status rollcallv1alpha1.NodeRegistryStatus) {
	t.Helper()
	for _, c := range status.Conditions {
		odd := strings.ContainsFunc(c.Message, func(r rune) bool { return !unicode.IsPrint(r) })
		if len(c.Message) > 1024 || !utf8.ValidString(c.Message) || odd {
			t.Errorf("%s: %s has a message of %d bytes: %.80q", name, c.Type, len(c.Message), c.Message)
		}
	}
	if b := status.Bucket; len(b.ServerVersion) > 64 || b.History < 0 || b.Revision < 0 {
		t.Errorf("%s: the bucket is %+v", name, b)
	}
}

// A server that is asked all the time costs few patches, whatever it makes of its words.
func TestPaceOfWrites(t *testing.T) {
	refuse := func(err error) func(*observation) {
		return func(o *observation) {
			o.session.link.Connected, o.session.link.Trouble, o.mirror.Reading = false, natsconn.Classify(err, true, true), false
		}
	}
	well := func(*observation) {}
	for name, test := range map[string]struct {
		state func(int) func(*observation)
		most  int // patches in ten minutes
	}{
		"one text": {func(int) func(*observation) { return refuse(nats.ErrAuthorization) }, 1},
		"random names": {func(i int) func(*observation) {
			return refuse(fmt.Errorf("%w for 10.0.0.1:%d", nats.ErrAuthorization, 40_000+i))
		}, 1},
		"other words": {func(i int) func(*observation) { return refuse(fmt.Errorf("%w number %d", nats.ErrAuthorization, i)) }, 61},
		"a pair of refusals": {func(i int) func(*observation) {
			return refuse([]error{nats.ErrAuthorization, nats.ErrMaxConnectionsExceeded}[i%2])
		}, 70},
		"refused and well": {func(i int) func(*observation) { return []func(*observation){refuse(nats.ErrAuthorization), well}[i%2] }, 70},
		"any of them": {func(int) func(*observation) {
			return []func(*observation){refuse(nats.ErrAuthorization), refuse(nats.ErrMaxConnectionsExceeded), refuse(errors.New(strconv.Itoa(rand.Int()))), well}[rand.N(4)]
		}, 131},
		"counts": {func(i int) func(*observation) {
			return func(o *observation) { o.mirror.Records.NeverAccepted = i % 10 }
		}, 301},
	} {
		var times writeTimes
		registry := &rollcallv1alpha1.NodeRegistry{}
		patches, quickly := 0, 0
		for i := range 3000 { // five a second
			o := serving()
			test.state(i)(o)
			o.now = epoch.Add(time.Duration(i) * 200 * time.Millisecond)
			o.mirror.LastSync = epoch
			status := statusOf(registry, o)
			rest, news := times.wait(types.NamespacedName{}, registry, status, o.now)
			if rest > 0 {
				continue
			}
			registry.Status = status
			times.set(types.NamespacedName{}, news, o.now)
			if patches++; i < 5 {
				quickly++
			}
		}
		if patches > test.most || quickly == 0 {
			t.Errorf("%s: %d patches in ten minutes, want at most %d; %d in the first second", name, patches, test.most, quickly)
		}
	}
}

// What follows from an edit is told at once, however much was told before.
func TestNewsAfterAnEdit(t *testing.T) {
	var times writeTimes
	name := types.NamespacedName{}
	for range 100 {
		times.set(name, true, epoch)
	}
	registry, o := &rollcallv1alpha1.NodeRegistry{}, serving()
	o.now = epoch
	if rest, _ := times.wait(name, registry, statusOf(registry, o), o.now); rest <= 0 {
		t.Error("a hundred news at once have no end")
	}
	times.edited(name)
	if rest, news := times.wait(name, registry, statusOf(registry, o), o.now); rest > 0 || !news {
		t.Errorf("after an edit it waits for %s", rest)
	}
}

// A status that says something else is told at once after a time of rest.
func TestNewsAfterARest(t *testing.T) {
	var times writeTimes
	name := types.NamespacedName{}
	for range 100 {
		times.set(name, true, epoch)
	}
	if written := times.get(name, false, epoch); !written.paid.Equal(epoch.Add(100 * newsPace)) {
		t.Errorf("it is paid until %s", written.paid)
	}
	times.forget(name)
	for i := range newsBurst {
		times.set(name, true, epoch.Add(time.Duration(i)*time.Millisecond))
	}
	registry := &rollcallv1alpha1.NodeRegistry{}
	status := statusOf(registry, serving())
	if rest, news := times.wait(name, registry, status, epoch.Add(time.Second)); rest <= 0 || rest > newsPace || !news {
		t.Errorf("after a burst the rest is %s, news %t", rest, news)
	}
	if rest, _ := times.wait(name, registry, status, epoch.Add(newsBurst*newsPace)); rest != 0 {
		t.Errorf("after a while the rest is %s", rest)
	}
}

// Two managers that do not agree about a registry do not write its status in turn for ever.
func TestAStatusThatSomebodyChangesBack(t *testing.T) {
	var times writeTimes
	name, now, writes := types.NamespacedName{Name: "catga"}, epoch, 0
	o := healthy()
	theirs := &rollcallv1alpha1.NodeRegistry{}
	theirs.Status = statusOf(theirs, o)
	theirs.Status.Nodes.Invalid = 1
	for now.Before(epoch.Add(time.Hour)) {
		o.now = now
		registry := theirs.DeepCopy()
		status := statusOf(registry, o)
		rest, news := times.wait(name, registry, status, now)
		if rest <= 0 {
			times.set(name, news, now)
			times.say(name, status, false, now)
			writes++
			rest = time.Second
		}
		now = now.Add(rest)
	}
	if writes < 60 || writes > 70 {
		t.Errorf("%d writes in an hour, want one a minute", writes)
	}
}
