package agent

import (
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery"
)

// Of two agents with one node ID, the first keeps it; the other one says so and follows it once it has left.
func TestTheFirstOfTwoKeepsTheID(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	first := r.agent("--owner", "one", "--endpoint", "http://10.1.0.1:8080")
	r.registered("web-1")
	second := r.agent("--owner", "two", "--endpoint", "http://10.1.0.2:8080")
	second.says("node can't heartbeat", "conflict with another writer", `\"one\"`)
	r.throughout(5*interval, "the entry of the first", func() bool {
		n, ok := r.node("web-1")
		return ok && n.Endpoint == "http://10.1.0.1:8080"
	})
	if n := second.count("node can't heartbeat"); n != 1 {
		t.Errorf("the second complained %d times", n)
	}
	first.signal(syscall.SIGTERM)
	first.ends(0)
	r.within(patience, "the second to follow", func() bool {
		n, ok := r.node("web-1")
		return ok && n.Endpoint == "http://10.1.0.2:8080"
	})
	second.says("node registered")
}

// An agent that ends does not take the entry of another one with it.
func TestOneThatHasLostItsIDRemovesNothing(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	agent := r.agent("--owner", "one")
	r.registered("web-1")
	value, err := discovery.Encode(discovery.Node{ID: "web-1", Endpoint: "http://10.1.0.2:8080", Owner: &discovery.Owner{Cluster: "there", UID: "two"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.kv.Put(t.Context(), "node.web-1", value); err != nil {
		t.Fatal(err)
	}
	agent.says("node can't heartbeat", "conflict with another writer")
	agent.signal(syscall.SIGTERM)
	agent.ends(0)
	if n, ok := r.node("web-1"); !ok || n.Owner.UID != "two" {
		t.Errorf("the entry is %+v", n)
	}
}

// After a crash the agent of the same machine takes over what it has left behind, whatever it now says of itself.
func TestItTakesOverWhatItLeftBehind(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	agent := r.agent()
	r.registered("web-1")
	agent.signal(syscall.SIGKILL)
	agent.ends(-1)
	began := time.Now()
	r.agent("--endpoint", "http://10.1.0.9:8080")
	r.within(patience, "the new endpoint", func() bool {
		n, _ := r.node("web-1")
		return n.Endpoint == "http://10.1.0.9:8080"
	})
	t.Logf("taken over after %s, with a TTL of a minute", time.Since(began))
}

func TestItWaitsForTheBucket(t *testing.T) {
	r := newRig(t)
	agent := r.agent()
	agent.says("the bucket can't be opened", "it does not exist: create it, or give --create-bucket")
	r.bucket(time.Minute)
	r.registered("web-1")
	if n := agent.count("can't be opened"); n != 1 {
		t.Errorf("it was said %d times that there is no bucket", n)
	}
}

func TestItCreatesTheBucketIfItMay(t *testing.T) {
	r := newRig(t)
	agent := r.agent("--create-bucket", "--bucket-ttl", "90s", "--bucket", "mine")
	agent.says("node registered")
	js, err := jetstream.New(r.nats.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "mine")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := kv.Status(t.Context()); err != nil || s.TTL() != 90*time.Second {
		t.Errorf("%v, %v", s, err)
	}
}

func TestAnIntervalOverAThirdOfTheTTLIsRefused(t *testing.T) {
	r := newRig(t)
	r.bucket(10 * time.Second)
	agent := r.agent("--heartbeat-interval", "4s")
	agent.ends(2)
	agent.says("--heartbeat-interval is 4s", `TTL of bucket "catga_nodes" is 10s`, "use 3.333333333s or less")
}
