package mirror

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

func TestTally(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	f.beat(1)
	f.beat(2)
	f.unregister(2)
	f.marker(1)
	f.list(kv.CauseReconnect, 1)
	f.list(kv.CausePeriodic)
	f.list(kv.CausePeriodic)
	got := f.Tally()
	for operation, want := range map[kv.Operation]uint64{kv.Put: 4, kv.Unregister: 1, kv.Expire: 1} {
		if got.Events[operation] != want {
			t.Errorf("%d events %s, want %d", got.Events[operation], operation, want)
		}
	}
	for cause, want := range map[kv.Cause]uint64{kv.CauseStart: 1, kv.CauseReconnect: 1, kv.CausePeriodic: 2} {
		if got.Listings[cause] != want {
			t.Errorf("%d listings %s, want %d", got.Listings[cause], cause, want)
		}
	}
	if n, there := got.Listings[kv.CausePurged]; n != 0 || !there {
		t.Errorf("what never occurred is counted as %d, %t", n, there)
	}
}

// TestAge: the server of a fleet is ten minutes ahead of this machine.
func TestAge(t *testing.T) {
	wantAge := func(f *fleet, changed time.Time, want time.Duration, live bool) {
		t.Helper()
		if age, ok := f.Age(changed); age != want || ok != live {
			t.Errorf("the age is %s, %t; want %s, %t", age, ok, want, live)
		}
	}
	f := newFleet(t, testPolicy)
	f.beat(1)
	changed := f.Node("reg.n1").Changed
	f.pass(2 * time.Second)
	f.beat(1)
	wantAge(f, changed, 2*time.Second, true)
	wantAge(f, changed.Add(3*time.Second), -time.Second, true)

	// A change from before the last complete listing may have been found by it.
	f.Listing(kv.CauseReconnect)
	f.put("node.n2", `{"NodeId":"n2","Endpoint":"http://10.0.0.2:80"}`)
	f.pass(time.Second)
	f.Synced(f.bucket(testTTL))
	wantAge(f, f.Node("reg.n2").Changed, time.Second, false)

	// Before the first listing nothing is known of the server's clock.
	fresh := &fleet{T: t, clock: f.clock}
	fresh.Mirror = newMirror(types.NamespacedName{}, testPolicy, nil, nil, f.clock, fresh)
	wantAge(fresh, f.clock.Now(), 0, false)
}

func TestAgeOfATimeOfThisMachine(t *testing.T) {
	f := &fleet{T: t, clock: clocktesting.NewFakeClock(time.Now())}
	f.Mirror = newMirror(types.NamespacedName{}, testPolicy, nil, nil, f.clock, f)
	f.list(kv.CauseStart)
	f.clock.Step(time.Second)
	changed := f.clock.Now()
	f.clock.Step(2 * time.Second)
	if age, ok := f.Age(changed); age != 2*time.Second || !ok {
		t.Errorf("the age is %s, %t", age, ok)
	}
}

func TestAgeInANamespaceWithTwoServers(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	store := NewStore(clock, nil)
	for name, ahead := range map[types.NamespacedName]time.Duration{
		{Namespace: "ns", Name: "a"}:    10 * time.Minute,
		{Namespace: "ns", Name: "b"}:    0,
		{Namespace: "other", Name: "c"}: 5 * time.Minute,
	} {
		m := store.Add(name, testPolicy, nil, nil)
		m.Listing(kv.CauseStart)
		m.Synced(kv.Bucket{Name: "b", ServerTime: clock.Now().Add(ahead), ReceivedAt: clock.Now()})
	}
	start := clock.Now()
	clock.Step(time.Hour)
	for _, ahead := range []time.Duration{0, 10 * time.Minute} {
		changed := start.Add(time.Hour + ahead - 20*time.Millisecond)
		if age, ok := store.Age("ns", changed); age != 20*time.Millisecond || !ok {
			t.Errorf("the age of a change on a server %s ahead is %s, %t", ahead, age, ok)
		}
	}
	if _, ok := store.Age("none", clock.Now()); ok {
		t.Error("a namespace without a registry has a clock")
	}
	found := map[string]bool{}
	for name, m := range store.All() {
		found[name.Name] = m != nil
	}
	if len(found) != 3 {
		t.Errorf("the registries are %v", found)
	}
}
