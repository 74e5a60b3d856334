package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

func openRegistry(t testing.TB, nc *nats.Conn, o Options) *Registry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), natstest.Patience)
	defer cancel()
	r, err := Open(ctx, nc, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func register(t testing.TB, r *Registry, n Node) {
	t.Helper()
	if err := r.Register(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

// awaitIDs waits until the registry knows exactly those nodes.
func awaitIDs(t testing.TB, r *Registry, ids ...string) {
	t.Helper()
	natstest.Eventually(t, func() error {
		var got []string
		for _, n := range r.Nodes() {
			got = append(got, n.ID)
		}
		if diff := cmp.Diff(ids, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func awaitEvent(t testing.TB, events <-chan Event) Event {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the events have ended")
		}
		return e
	case <-time.After(natstest.Patience):
		t.Fatal("no event")
	}
	return Event{}
}

func TestRegistryRegistersAndDiscovers(t *testing.T) {
	s := natstest.Start(t)
	a, b := openRegistry(t, s.Connect(t), Options{}), openRegistry(t, s.Connect(t), Options{})
	if bucket := a.Bucket(); bucket.Name != "catga_nodes" || bucket.TTL != 5*time.Minute || bucket.History != 5 ||
		bucket.Storage != jetstream.FileStorage || !bucket.Markers || bucket.MarkerTTL != 5*time.Minute {
		t.Errorf("%+v", bucket)
	}
	if d := a.Differences(); len(d) != 0 {
		t.Errorf("a new bucket differs from what was wanted: %v", d)
	}
	node := Node{ID: "web-1", Endpoint: "http://10.0.0.5:8080", Metadata: map[string]string{"role": "web"}}
	register(t, a, node)
	awaitIDs(t, b, "web-1")
	got, ok := b.Node("web-1")
	if !ok || time.Since(got.LastSeen).Abs() > time.Minute {
		t.Errorf("%+v", got)
	}
	got.LastSeen = time.Time{}
	if diff := cmp.Diff(node, got); diff != "" {
		t.Error(diff)
	}
	if err := b.Heartbeat(t.Context(), "web-1", 0.25); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, func() error {
		if n, _ := a.Node("web-1"); n.Load == nil || *n.Load != 0.25 || n.Metadata["role"] != "web" {
			return fmt.Errorf("%+v", n)
		}
		return nil
	})
	if err := a.Unregister(t.Context(), "web-1"); err != nil {
		t.Fatal(err)
	}
	awaitIDs(t, b)
	if err := a.Unregister(t.Context(), "web-1"); err != nil {
		t.Errorf("a node that is gone: %v", err)
	}
	if err := a.Err(); err != nil {
		t.Error(err)
	}
}

func TestRegistryReadsAndKeepsForeignRecords(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	r := openRegistry(t, nc, Options{})
	bucket, err := mustJetStream(t, nc).KeyValue(t.Context(), DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Put(t, bucket, "node.n1", `{"NodeId":"n1","Endpoint":"http://10.1.2.3:5001","load":0.5,"lastSeen":"2025-10-11T08:00:00.1234567","Metadata":{"v":"1"},"IsOnline":true}`)
	natstest.Put(t, bucket, "node.broken", "{")
	natstest.Put(t, bucket, "unrelated", "{}")
	awaitIDs(t, r, "n1")
	if err := r.Heartbeat(t.Context(), "n1", 0.75); err != nil {
		t.Fatal(err)
	}
	e, err := bucket.Get(t.Context(), "node.n1")
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(e.Value(), &got); err != nil {
		t.Fatal(err)
	}
	if seen, err := time.Parse(time.RFC3339, fmt.Sprint(got["LastSeen"])); err != nil || time.Since(seen) > time.Minute {
		t.Errorf("LastSeen is %v", got["LastSeen"])
	}
	delete(got, "LastSeen")
	want := map[string]any{"NodeId": "n1", "Endpoint": "http://10.1.2.3:5001", "Load": 0.75, "Metadata": map[string]any{"v": "1"}, "IsOnline": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := r.Heartbeat(t.Context(), "broken", 1); reasonOf(err) != ReasonNotJSON {
		t.Errorf("a heartbeat on a broken record: %v", err)
	}
	natstest.Put(t, bucket, "node.null", "null")
	if err := r.Heartbeat(t.Context(), "null", 1); reasonOf(err) != ReasonNotObject {
		t.Errorf("a heartbeat on null: %v", err)
	}
}

func TestHeartbeatNeverRaisesTheDead(t *testing.T) {
	s := natstest.Start(t)
	a, b := openRegistry(t, s.Connect(t), Options{}), openRegistry(t, s.Connect(t), Options{})
	if err := a.Heartbeat(t.Context(), "never", 1); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("a node that never was: %v", err)
	}
	for i := range 20 {
		register(t, a, Node{ID: "n"})
		awaitIDs(t, a, "n")
		awaitIDs(t, b, "n")
		if err := b.Unregister(t.Context(), "n"); err != nil {
			t.Fatal(err)
		}
		// a may still have the node in memory.
		if err := a.Heartbeat(t.Context(), "n", 1); !errors.Is(err, ErrNotRegistered) {
			t.Fatalf("round %d: %v", i, err)
		}
	}
	awaitIDs(t, a)
}

func TestWritersDontOverwriteEachOther(t *testing.T) {
	s := natstest.Start(t)
	a, b := openRegistry(t, s.Connect(t), Options{}), openRegistry(t, s.Connect(t), Options{})
	register(t, a, Node{ID: "n", Metadata: map[string]string{"k": "v"}})
	var wg sync.WaitGroup
	for _, r := range []*Registry{a, b} {
		wg.Go(func() {
			for i := range 50 {
				if err := r.Heartbeat(t.Context(), "n", float64(i)); err != nil && !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	h, err := a.History(t.Context(), "n")
	if err != nil {
		t.Fatal(err)
	}
	if len(h) != 5 {
		t.Fatalf("%d revisions, want 5", len(h))
	}
	for _, rev := range h {
		if rev.Err != nil || rev.Node.Metadata["k"] != "v" || rev.Node.Load == nil {
			t.Errorf("%+v", rev)
		}
	}
}

func TestOwnersAreRespected(t *testing.T) {
	r := openRegistry(t, natstest.Start(t).Connect(t), Options{})
	mine, theirs := &Owner{Cluster: "c", UID: "1"}, &Owner{Cluster: "c", UID: "2"}
	register(t, r, Node{ID: "n", Owner: mine})
	register(t, r, Node{ID: "n", Owner: &Owner{Cluster: "c", UID: "1"}, Name: "again"})
	for name, o := range map[string]*Owner{"another owner": theirs, "no owner": nil} {
		if err := r.Register(t.Context(), Node{ID: "n", Owner: o}); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	register(t, r, Node{ID: "free"})
	if err := r.Register(t.Context(), Node{ID: "free", Owner: mine}); !errors.Is(err, ErrConflict) {
		t.Errorf("an entry of a node itself: got %v", err)
	}
	if err := r.Unregister(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	register(t, r, Node{ID: "n", Owner: theirs})
}

// In a bucket without a TTL a heartbeat must not make an entry permanent that had a TTL of its own.
func TestHeartbeatKeepsAMessagesOwnTTL(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	kv := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{LimitMarkerTTL: time.Minute})
	r := openRegistry(t, nc, Options{Bucket: "b"})
	if _, err := kv.Create(t.Context(), "node.n", []byte(`{"NodeId":"n"}`), jetstream.KeyTTL(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	awaitIDs(t, r, "n")
	if err := r.Heartbeat(t.Context(), "n", 1); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	awaitIDs(t, r)
	if took := time.Since(began); took > 3*time.Second+allowance {
		t.Errorf("the node left after %v", took)
	}
}

func TestHistory(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	r := openRegistry(t, nc, Options{History: 3})
	for i := range 3 {
		register(t, r, Node{ID: "n", Name: strconv.Itoa(i)})
		register(t, r, Node{ID: "n.other"})
	}
	if err := r.Unregister(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	h, err := r.History(t.Context(), "n")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rev := range h {
		got = append(got, fmt.Sprintf("%s %s %d", rev.Operation, rev.Node.Name, rev.Revision))
		if rev.Written.IsZero() || rev.Err != nil {
			t.Errorf("%+v", rev)
		}
	}
	if diff := cmp.Diff([]string{"Put 1 3", "Put 2 5", "Unregister  7"}, got); diff != "" {
		t.Error(diff)
	}
	if h, err := r.History(t.Context(), "unknown"); err != nil || len(h) != 0 {
		t.Errorf("%v, %v", h, err)
	}
}

func TestWatchTellsWhatHappens(t *testing.T) {
	r := openRegistry(t, natstest.Start(t).Connect(t), Options{})
	register(t, r, Node{ID: "before"})
	awaitIDs(t, r, "before")
	ctx, cancel := context.WithCancel(t.Context())
	events := r.Watch(ctx)
	if e := awaitEvent(t, events); e.Type != Joined || e.ID != "before" {
		t.Errorf("%+v", e)
	}
	register(t, r, Node{ID: "n"})
	if e := awaitEvent(t, events); e.Type != Joined || e.ID != "n" || e.Node.ID != "n" || e.Revision == 0 {
		t.Errorf("%+v", e)
	}
	if err := r.Heartbeat(t.Context(), "n", 1); err != nil {
		t.Fatal(err)
	}
	if e := awaitEvent(t, events); e.Type != Updated || *e.Node.Load != 1 {
		t.Errorf("%+v", e)
	}
	if err := r.Unregister(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	if e := awaitEvent(t, events); e.Type != Left || e.Reason != Unregistered || e.ID != "n" {
		t.Errorf("%+v", e)
	}
	cancel()
	if e, ok := <-events; ok {
		t.Errorf("%+v after the context has ended", e)
	}
	other := r.Watch(t.Context())
	awaitEvent(t, other)
	r.Close()
	if _, ok := <-other; ok {
		t.Error("the events go on after Close")
	}
	if _, ok := <-r.Watch(t.Context()); ok {
		t.Error("a closed registry has events")
	}
}

func mustJetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// putRaw writes a value under a node's key past the library.
func putRaw(t *testing.T, r *Registry, nc *nats.Conn, id, value string) {
	t.Helper()
	bucket, err := mustJetStream(t, nc).KeyValue(t.Context(), r.Bucket().Name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.PutString(t.Context(), DefaultKeyPrefix+id, value); err != nil {
		t.Fatal(err)
	}
}

// An owner that can't be read is somebody else, also for itself. Whoever may remove what others registered still can.
func TestAnOwnerThatCantBeReadIsSomebodyElse(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	r := openRegistry(t, nc, Options{})
	for i, value := range []string{
		`{"NodeId":"n","Owner":"me"}`, `{"NodeId":"n","Owner":NaN}`, `{"NodeId":"n","Owner":{"UID":7}}`, `{"NodeId":"n","Owner":{}}`,
		`{"NodeId":"n","Owner":{"Cluster":"c"}}`, `{"NodeId":7,"Owner":7}`, `{"NodeId":"n"`, `hello`, `[]`, `null`,
	} {
		id := strconv.Itoa(i)
		putRaw(t, r, nc, id, value)
		for name, o := range map[string]*Owner{"an owner": {Cluster: "c", UID: "1"}, "no owner": nil} {
			if err := r.Register(t.Context(), Node{ID: id, Owner: o}); !errors.Is(err, ErrConflict) {
				t.Errorf("%s, %s: got %v", value, name, err)
			}
		}
		if err := r.Unregister(t.Context(), id); err != nil {
			t.Errorf("%s: %v", value, err)
		}
		register(t, r, Node{ID: id})
	}
	for _, o := range []*Owner{{}, {Cluster: "c"}} {
		if err := r.Register(t.Context(), Node{ID: "x", Owner: o}); reasonOf(err) != ReasonWrongShape {
			t.Errorf("%v: got %v", o, err)
		}
		if err := r.KeepAlive(t.Context(), Node{ID: "x", Owner: o}, KeepAliveOptions{}); reasonOf(err) != ReasonWrongShape {
			t.Errorf("%v: got %v", o, err)
		}
	}
}

// What else is wrong with a record keeps nobody from writing who may.
func TestARefusedRecordHasAnOwner(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	r := openRegistry(t, nc, Options{})
	mine := &Owner{Cluster: "c", UID: "1"}
	for i, tt := range []struct {
		value      string
		mine, none bool
	}{
		{`{"NodeId":7,"Owner":{"Cluster":"c","UID":"1"}}`, true, false},
		{`{"NodeId":"n","Ports":[{"Port":"80"}],"Owner":{"Cluster":"c","UID":"2"}}`, false, false},
		{`{"NodeId":"n","Load":NaN}`, false, true},
		{`{"NodeId":7}`, false, true},
		{" ", true, true},
	} {
		for owner, may := range map[*Owner]bool{mine: tt.mine, nil: tt.none} {
			id := fmt.Sprintf("%d.%t", i, owner != nil)
			putRaw(t, r, nc, id, tt.value)
			err := r.Register(t.Context(), Node{ID: id, Owner: owner})
			if (err == nil) != may || err != nil && !errors.Is(err, ErrConflict) {
				t.Errorf("%s, %v: got %v", tt.value, owner, err)
			}
		}
	}
}

// A heartbeat over an odd record leaves it saying what it said, and its owner somebody else.
func TestHeartbeatOverAnOddRecord(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	r := openRegistry(t, nc, Options{})
	putRaw(t, r, nc, "n", "\uFEFF"+`{"NodeId":"n","Endpoint":"10.0.0.5:80","Zone":z,"Load":NaN,"Owner":NaN,"Extra":.5,}`)
	awaitIDs(t, r, "n")
	if err := r.Heartbeat(t.Context(), "n", 0.5); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, func() error {
		n, _ := r.Node("n")
		if n.Load == nil || *n.Load != 0.5 || n.Zone != "z" || n.Endpoint == "" || n.Owner == nil || n.Owner.UID != "" {
			return fmt.Errorf("%+v", n)
		}
		return nil
	})
}

func TestSameOwner(t *testing.T) {
	for _, tt := range []struct {
		a, b *Owner
		want bool
	}{
		{nil, nil, true},
		{nil, &Owner{UID: "1"}, false},
		{&Owner{Cluster: "c", UID: "1"}, &Owner{Cluster: "c", UID: "1", Registration: "r"}, true},
		{&Owner{Cluster: "c", UID: "1"}, &Owner{UID: "1"}, false},
		{&Owner{}, &Owner{}, false},
		{&Owner{Cluster: "c"}, &Owner{Cluster: "c"}, false},
		{&Owner{}, nil, false},
	} {
		if sameOwner(tt.a, tt.b) != tt.want || sameOwner(tt.b, tt.a) != tt.want {
			t.Errorf("%v and %v: want %t", tt.a, tt.b, tt.want)
		}
	}
}
