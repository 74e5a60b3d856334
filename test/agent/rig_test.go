// Package agent tests rollcall-agent as users run it: the process, with flags and environment, against a real NATS server,
// and with the whole manager behind it.
package agent

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/internal/agent"
	"github.com/rollcall-dev/rollcall/internal/natstest"
	"github.com/rollcall-dev/rollcall/internal/testenv"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

var env *testenv.Env

// asAgent is the variable with which this test program is an agent, so that the race detector sees it too.
const asAgent = "ROLLCALL_TEST_AS_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		os.Exit(agent.Main(os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
	}
	testrig.Main(m, &env)
}

const (
	// patience is how long anything may take that is to happen at once; it is generous for the sake of a loaded machine.
	patience = 20 * time.Second
	// interval is the heartbeat interval of the agents.
	interval = 200 * time.Millisecond
)

// rig is a NATS server with a bucket.
type rig struct {
	*testing.T
	nats *natstest.Server
	nc   *nats.Conn
	kv   jetstream.KeyValue
}

func newRig(t *testing.T, set ...func(*natstest.Options)) *rig {
	t.Helper()
	r := &rig{T: t, nats: natstest.Start(t, set...)}
	return r
}

// bucket creates the bucket, which the agent does not do by itself, as a user that may.
func (r *rig) bucket(ttl time.Duration, options ...nats.Option) {
	r.Helper()
	r.nc = r.nats.Connect(r.T, options...)
	js, err := jetstream.New(r.nc)
	if err != nil {
		r.Fatal(err)
	}
	r.kv, err = js.CreateKeyValue(r.Context(), jetstream.KeyValueConfig{
		Bucket: discovery.DefaultBucket, TTL: ttl, History: 5, Storage: jetstream.FileStorage, LimitMarkerTTL: ttl,
	})
	if err != nil {
		r.Fatal(err)
	}
}

// process is a running agent.
type process struct {
	*exec.Cmd
	rig  *rig
	log  *output
	done chan struct{}
}

// output is what a process writes. It is safe for concurrent use.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// agent starts an agent for the node web-1 with an address and a port that nobody uses; arguments that say otherwise come
// later and win.
func (r *rig) agent(arguments ...string) *process {
	r.Helper()
	return r.start(nil, append([]string{
		"--servers", r.nats.URL(), "--node-id", "web-1", "--endpoint", "http://10.1.0.1:8080", "--heartbeat-interval", interval.String(),
	}, arguments...)...)
}

// start starts an agent with nothing in its environment but that.
func (r *rig) start(environment []string, arguments ...string) *process {
	r.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], arguments...), rig: r, log: &output{}, done: make(chan struct{})}
	p.Env = append([]string{asAgent + "=1", "PATH=" + os.Getenv("PATH")}, environment...)
	p.Stdout, p.Stderr = p.log, p.log
	if err := p.Start(); err != nil {
		r.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.Wait()
	}()
	r.Cleanup(func() {
		// It fails if the process has ended already, as most have.
		_ = p.Process.Kill()
		<-p.done
		if r.Failed() {
			r.Logf("the agent said:\n%s", p.log)
		}
	})
	return p
}

// signal sends a signal.
func (p *process) signal(s os.Signal) {
	p.rig.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.rig.Fatal(err)
	}
}

// ends waits until the process has ended, and checks its exit code.
func (p *process) ends(code int) {
	p.rig.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.rig.Fatalf("the agent has not ended after %s", patience)
	}
	if got := p.ProcessState.ExitCode(); got != code {
		p.rig.Fatalf("the agent ended with %d, want %d", got, code)
	}
}

// says waits until the log holds all the texts, in upper case or lower: the client passes on a server's own words or its
// own, whichever come first.
func (p *process) says(texts ...string) {
	p.rig.Helper()
	p.rig.within(patience, fmt.Sprintf("the agent to say %q", texts), func() bool {
		log := strings.ToLower(p.log.String())
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(log, strings.ToLower(text)) })
	})
}

// count returns how many lines of the log hold the text.
func (p *process) count(text string) int { return strings.Count(p.log.String(), text) }

// within is testrig.Within.
func (r *rig) within(limit time.Duration, what string, holds func() bool) time.Duration {
	r.Helper()
	return testrig.Within(r.T, limit, what, holds)
}

// throughout is testrig.Throughout.
func (r *rig) throughout(d time.Duration, what string, holds func() bool) {
	r.Helper()
	testrig.Throughout(r.T, d, what, holds)
}

// node returns the record of a node, and false if there is none. A server that does not answer is asked again.
func (r *rig) node(id string) (discovery.Node, bool) {
	r.Helper()
	var entry jetstream.KeyValueEntry
	var err error
	r.within(patience, "the bucket to answer", func() bool {
		entry, err = r.kv.Get(r.Context(), "node."+id)
		return err == nil || errors.Is(err, jetstream.ErrKeyNotFound)
	})
	if err != nil {
		return discovery.Node{}, false
	}
	n, _, err := discovery.Decode(entry.Value())
	if err != nil {
		r.Fatal(err)
	}
	return n, true
}

// registered waits until the node is registered, and returns its record.
func (r *rig) registered(id string) discovery.Node {
	r.Helper()
	var n discovery.Node
	r.within(patience, id+" to be registered", func() (ok bool) {
		n, ok = r.node(id)
		return ok
	})
	return n
}

// gone waits until the node is not registered, and returns how long that took.
func (r *rig) gone(id string) time.Duration {
	r.Helper()
	return r.within(patience, id+" to be unregistered", func() bool {
		_, ok := r.node(id)
		return !ok
	})
}

// removal returns how the key was removed last: by a delete, or by the server as it expired.
func (r *rig) removal(id string) string {
	r.Helper()
	history, err := r.kv.History(r.Context(), "node."+id)
	if err != nil || len(history) == 0 {
		return fmt.Sprint("unknown: ", err)
	}
	return history[len(history)-1].Operation().String()
}

// status returns how a GET is answered, 0 if it is not.
func status(address, path string) int {
	response, err := http.Get("http://" + address + path)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
