package faults

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
)

func faultsOfAddresses() []fault {
	return []fault{
		{name: "second address that all nodes share", long: true, run: func(r *rig) { shareSecondAddress(r, times(3, 30)) }},
		{name: "killed, and back under a new ID", long: true, run: func(r *rig) { comeBackAnew(r, times(3, 20)) }},
		{name: "13 nodes killed, 12 back under new IDs", long: true, run: func(r *rig) { powerCut(r, times(1, 4)) }},
		{name: "address taken over from a node that unregistered", long: true, run: func(r *rig) { reuseAddresses(r, times(10, 100)) }},
		{name: "blue and green at one address", run: func(r *rig) { blueGreen(r, times(6, 60)) }},
		{name: "two writers of one key", run: func(r *rig) { cloneNodes(r, times(1, 5)) }},
	}
}

// shareSecondAddress lets all nodes list an address besides their own that all of them have: of a bridge, or of IPv6.
func shareSecondAddress(r *rig, seconds int) {
	s := usual()
	s.write.record = func(id, address string) []byte {
		second := []string{"172.17.0.1", "fd00::1"}[int(id[len(id)-1])%2]
		return encoded(discovery.Node{
			ID: id, Addresses: []string{address, second}, Ports: []discovery.Port{{Name: "http", Port: 8080}}, Metadata: map[string]string{"role": "web"},
		})
	}
	r.set(s)
	stop := r.fleet.churn(busy)
	for range seconds {
		r.row.tried++
		pass(time.Second)
	}
	stop()
	r.judge()
}

// registerAt registers a new node at an address that another one has, or had. That one's DiscoveredNode may say so, or go, a moment before
// the new one's is there.
func (r *rig) registerAt(address string) (id string) {
	r.Helper()
	_, usual := limits()
	w := r.broken(window{nodesOnly: true, excused: true, settle: usual.arrive})
	id, _ = r.fleet.fresh()
	must(r, r.fleet.register(id, address))
	r.mended(w, time.Now())
	return id
}

// comeBackAnew kills nodes, which return at their addresses under other IDs, before or after they are stale. From then on the address is
// served, whether or not anybody knows yet that the one before is dead.
func comeBackAnew(r *rig, n int) {
	s := usual()
	s.ttl, s.interval, s.named = 9*time.Second, 500*time.Millisecond, byAddress
	r.silence = 2 * time.Second
	s.registry = func(spec *rollcallv1alpha1.NodeRegistrySpec) {
		spec.Liveness.StaleAfter = &metav1.Duration{Duration: r.silence}
	}
	r.set(s)
	for range n {
		r.row.tried++
		ids := r.fleet.ids()
		id := ids[r.fleet.random(len(ids))]
		address := r.fleet.addressOf(id)
		r.fleet.die(id)
		pass(time.Duration(r.fleet.random(int(2 * r.silence))))
		r.registerAt(address)
	}
	pass(r.silence)
	r.judge()
}

// powerCut kills a whole fleet, all but one of which return at their addresses under other IDs. Nobody misses those of before, so the
// guard neither counts nor holds them, and the one that stays away is no disruption.
func powerCut(r *rig, n int) {
	s := usual()
	s.nodes, s.named = 13, byAddress
	r.set(s)
	for range n {
		r.row.tried++
		var addresses []string
		for _, id := range r.fleet.ids() {
			addresses = append(addresses, r.fleet.addressOf(id))
			r.fleet.die(id)
		}
		pass(r.ttl / 8)
		for _, address := range addresses[1:] {
			r.registerAt(address)
		}
		pass(r.ttl + time.Second)
		r.settle()
		if reason := r.degraded(); reason != "" || len(r.toldOf(rollcallv1alpha1.ReasonExpiryGuard)) > 0 {
			r.Errorf("the guard has held those that were replaced; the registry is degraded: %q", reason)
		}
		pass(r.ttl) // With those that died within one TTL before, the next would be too many.
		r.fleet.join(1)
		r.settle()
	}
	r.judge()
}

// reuseAddresses lets nodes unregister whose addresses others take at once.
func reuseAddresses(r *rig, n int) {
	r.set(usual())
	for range n {
		r.row.tried++
		ids := r.fleet.ids()
		id := ids[r.fleet.random(len(ids))]
		address := r.fleet.addressOf(id)
		must(r, r.fleet.unregister(id))
		next, _ := r.fleet.fresh()
		must(r, r.fleet.register(next, address))
		pass(time.Duration(r.fleet.random(100)) * time.Millisecond)
	}
	r.judge()
}

// blueGreen lets two nodes live at one address and port, of which one leaves: the older, after it has drained or not, or the younger. The
// address is served all the time.
func blueGreen(r *rig, n int) {
	s := usual()
	s.named = byAddress
	r.set(s)
	for i := range n {
		r.row.tried++
		ids := r.fleet.ids()
		blue := ids[r.fleet.random(len(ids))]
		green := r.registerAt(r.fleet.addressOf(blue))
		pass(time.Duration(r.fleet.random(1000)) * time.Millisecond)
		switch i % 3 {
		case 0:
			must(r, r.fleet.drain(blue))
			pass(time.Duration(r.fleet.random(1000)) * time.Millisecond)
			must(r, r.fleet.remove(r.Context(), blue))
		case 1:
			must(r, r.fleet.unregister(blue))
		default:
			must(r, r.fleet.unregister(green))
		}
	}
	r.judge()
}

// cloneNodes lets two machines write the keys of three nodes in turn: each endpoint is always one of the two, and the node says why it jumps.
func cloneNodes(r *rig, n int) {
	const twins, own, other = 3, "10.1.", "10.99."
	s := usual()
	s.interval = s.ttl / 8
	s.registry = prompt
	s.named = func(id, address string) string { return entity(id, strings.Replace(address, other, own, 1)) }
	r.managerArgs = []string{"--metrics-secure=false", "--metrics-bind-address=" + r.metricsAddress()}
	r.set(s)
	cloned := r.fleet.ids()[:twins]
	for range n {
		r.row.tried++
		var others atomic.Int64
		r.fleet.writes(writing{record: func(id, address string) []byte {
			// With an odd number of them each has its turn and the other's.
			if slices.Contains(cloned, id) && others.Add(1)%2 == 0 {
				address = strings.Replace(address, own, other, 1)
			}
			return r.fleet.value(id, address)
		}})
		poll(r.T, patience, "the nodes to say that their keys are shared", func() bool { return r.remarked(cloned, "two writers") })
		poll(r.T, patience, "the Events", func() bool { return len(r.toldOf(rollcallv1alpha1.ReasonKeyShared)) == twins })
		poll(r.T, patience, "the metric", func() bool { return r.metric(sharedKeys) == strconv.Itoa(twins) })
		pass(r.ttl)
		r.fleet.writes(writing{})
		poll(r.T, patience, "the metric to be 0 again", func() bool { return r.metric(sharedKeys) == "0" })
		r.accepted(metav1.ConditionTrue, rollcallv1alpha1.ReasonAccepted)
	}
	r.judge()
}

// remarked says whether those nodes, and no others, have a remark.
func (r *rig) remarked(ids []string, remark string) bool {
	r.Helper()
	nodes, found := r.discovered(), 0
	for _, node := range nodes {
		c := meta.FindStatusCondition(node.Status.Conditions, rollcallv1alpha1.ConditionRecordAccepted)
		if c != nil && c.Reason == rollcallv1alpha1.ReasonAcceptedWithRemarks && strings.Contains(c.Message, remark) {
			found++
		}
	}
	return found == len(ids)
}

// toldOf returns the names of the objects that have an Event with that reason.
func (r *rig) toldOf(reason string) map[string]bool {
	r.Helper()
	list := &corev1.EventList{}
	must(r, r.api.List(r.Context(), list, client.InNamespace(r.namespace)))
	names := map[string]bool{}
	for _, event := range list.Items {
		if event.Reason == reason {
			names[event.InvolvedObject.Name] = true
		}
	}
	return names
}

// sharedKeys matches the metric that counts the keys with two writers.
var sharedKeys = regexp.MustCompile(`(?m)^rollcall_registry_shared_keys\{.*\} (\d+)$`)
