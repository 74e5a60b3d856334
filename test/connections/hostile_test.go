package connections

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// hostile starts a server that lets everybody in, where it is kind, and then says an error, each time another one.
func hostile(t *testing.T, kind bool, words func(n int64) string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	var times atomic.Int64
	serve := func(c net.Conn) {
		defer func() { _ = c.Close() }()
		_, _ = fmt.Fprintf(c, "INFO {\"server_id\":\"X\",\"version\":%q,\"headers\":true,\"max_payload\":1048576,\"proto\":1}\r\n", strings.Repeat("9", 1000))
		pings := 0
		for lines := bufio.NewScanner(c); lines.Scan(); {
			if !strings.HasPrefix(lines.Text(), "PING") {
				continue
			}
			if pings++; kind && pings == 1 {
				_, _ = fmt.Fprint(c, "PONG\r\n")
			}
			_, _ = fmt.Fprintf(c, "-ERR '%s'\r\n", words(times.Add(1)))
			return
		}
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return "nats://" + listener.Addr().String()
}

// A server that refuses with endless texts, and other words each time, gets a status that says so, with few patches and Events.
func TestWordsOfAHostileServer(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("\x01\x1b[2Jü\u202e", 5_000)
	for name, test := range map[string]struct {
		kind  bool
		words func(int64) string
	}{
		"at the login":       {false, func(n int64) string { return fmt.Sprintf("Authorization Violation %d %s", n, long) }},
		"something new":      {true, func(n int64) string { return fmt.Sprintf("%s %d", long, n) }},
		"a pair of refusals": {false, func(n int64) string { return []string{"Authorization Violation", "Maximum Connections Exceeded"}[n%2] }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			url := hostile(t, test.kind, test.words)
			r.registry("catga", func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Connection.Servers = []string{url} })
			says := func() bool {
				return slices.ContainsFunc(r.get("catga").Status.Conditions, func(c metav1.Condition) bool { return c.Type == rollcallv1alpha1.ConditionReady })
			}
			r.Within(patience, "the status to say something", says)
			versions, began := map[string]bool{}, time.Now()
			r.Throughout(6*time.Second, "a status that fits", func() bool {
				registry := r.get("catga")
				versions[registry.ResourceVersion] = true
				for _, c := range registry.Status.Conditions {
					if len(c.Message) > 1024 || strings.ContainsFunc(c.Message, func(r rune) bool { return !unicode.IsPrint(r) }) {
						t.Logf("%s has a message of %d bytes: %.80q", c.Type, len(c.Message), c.Message)
						return false
					}
				}
				return true
			})
			// A burst of ten, and one in ten seconds of each: what is new, and what is told in other words.
			more := int(time.Since(began) / (10 * time.Second))
			if len(versions) > 12+more {
				t.Errorf("the status was written %d times in %s", len(versions), time.Since(began))
			}
			events := &eventsv1.EventList{}
			must(t, r.API.List(t.Context(), events, client.InNamespace(r.Namespace)))
			if len(events.Items) > 10+more {
				t.Errorf("there are %d Events", len(events.Items))
			}
		})
	}
}
