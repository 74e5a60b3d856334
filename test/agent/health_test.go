package agent

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// checked are the flags of a check that is made often and believed soon.
func checked(more ...string) []string {
	return append([]string{"--health-interval", "100ms", "--health-timeout", "1s", "--health-failures", "2"}, more...)
}

// gates checks that an agent registers its node while it is healthy, and at no other time.
func gates(t *testing.T, r *rig, agent *process, healthy func(bool)) {
	t.Helper()
	agent.says("node is not healthy yet")
	r.throughout(3*interval, "no entry before the node is healthy", func() bool {
		_, ok := r.node("web-1")
		return !ok
	})
	for range 2 {
		healthy(true)
		r.registered("web-1")
		healthy(false)
		r.gone("web-1")
		agent.says("node is unhealthy", "node unregistered")
	}
	healthy(true)
	r.registered("web-1")
	agent.signal(syscall.SIGTERM)
	agent.ends(0)
	r.gone("web-1")
}

func TestAnHTTPCheckGatesTheHeartbeat(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	var code atomic.Int32
	code.Store(http.StatusServiceUnavailable)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(code.Load())) }))
	t.Cleanup(s.Close)
	agent := r.agent(checked("--health-http", s.URL+"/healthz")...)
	gates(t, r, agent, func(healthy bool) {
		// A redirect is as good as an answer: it is not followed.
		code.Store(map[bool]int32{true: http.StatusFound, false: http.StatusInternalServerError}[healthy])
	})
	agent.says("answers 500 Internal Server Error")
}

func TestATCPCheckGatesTheHeartbeat(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	address := natstest.FreeAddress(t)
	var listener net.Listener
	agent := r.agent(checked("--health-tcp", address)...)
	gates(t, r, agent, func(healthy bool) {
		if !healthy {
			listener.Close()
			return
		}
		var err error
		if listener, err = net.Listen("tcp", address); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
	})
	agent.says("connection refused")
}

func TestACommandGatesTheHeartbeat(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	file := filepath.Join(t.TempDir(), "healthy")
	agent := r.agent(checked("--health-command", "test -e "+file+" || { echo it is broken >&2; exit 1; }")...)
	gates(t, r, agent, func(healthy bool) {
		if healthy {
			write(t, file, "")
			return
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	})
	agent.says("exit status 1: it is broken")
}

// A check that hangs is a check that fails, and what it has started does not outlive it.
func TestACheckThatHangsFails(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	pid := filepath.Join(t.TempDir(), "pid")
	agent := r.agent(checked("--health-timeout", "200ms", "--health-command", "sleep 3600 & echo $! >"+pid+"; wait")...)
	agent.says("node is not healthy yet", "the command did not end in time")
	r.within(patience, "the end of what the check started", func() bool {
		child := number(t, pid)
		// One that nobody has waited for has no command line any more.
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child))
		return child > 0 && (err != nil || len(line) == 0)
	})
	agent.signal(syscall.SIGTERM)
	agent.ends(0)
}

func TestAnUnhealthyNodeMayDrain(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	var code atomic.Int32
	code.Store(http.StatusOK)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(code.Load())) }))
	t.Cleanup(s.Close)
	// The heartbeats are so rare that a change must cause one of its own.
	agent := r.agent(checked("--health-http", s.URL, "--health-drain", "--heartbeat-interval", "20s")...)
	r.registered("web-1")
	for _, healthy := range []bool{false, true, false} {
		code.Store(map[bool]int32{true: http.StatusOK, false: http.StatusInternalServerError}[healthy])
		took := r.within(patience, "the record to say so", func() bool {
			n, ok := r.node("web-1")
			if !ok {
				t.Fatal("the node was unregistered")
			}
			return n.Draining == !healthy
		})
		if took > 10*time.Second {
			t.Errorf("draining is %v only after %s", !healthy, took)
		}
	}
	agent.signal(syscall.SIGTERM)
	agent.ends(0)
	r.gone("web-1")
}
