package faults

import (
	"context"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rollcall-dev/rollcall/internal/testrig"
)

func faultsOfAdmission() []fault {
	return []fault{
		{name: "admission refuses five addresses, manager killed", run: func(r *rig) { refuseSome(r, times(1, 10)) }},
		{name: "admission refuses all slices for 5 s", run: func(r *rig) { refuseSlices(r, times(1, 5)) }},
		{name: "quota: no slice can be created", long: true, run: func(r *rig) { refuseCreation(r, 10) }},
	}
}

// probeSlice returns a slice of nobody.
func (r *rig) probeSlice(address string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: r.namespace, Name: "probe"},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address}}},
	}
}

// refused returns true if the API server refuses to create a slice, in those words.
func (r *rig) refused(probe *discoveryv1.EndpointSlice, words string) bool {
	err := r.api.Create(r.Context(), probe.DeepCopy(), client.DryRunAll)
	return err != nil && strings.Contains(err.Error(), words)
}

// admit has the API server refuse slices for which the expression is false, as it does the probe, until the end.
func (r *rig) admit(expression string, probe *discoveryv1.EndpointSlice, operations ...admissionv1.OperationType) (end func()) {
	r.Helper()
	objects := testrig.Policy(r.namespace, expression, operations...)
	for _, o := range objects {
		must(r, r.api.Create(r.Context(), o))
	}
	remove := func() {
		for _, o := range objects {
			must(r, client.IgnoreNotFound(r.api.Delete(context.Background(), o)))
		}
	}
	r.Cleanup(remove)
	poll(r.T, patience, "the policy to be in force", func() bool { return r.refused(probe, testrig.Refusal) })
	return func() {
		remove()
		poll(r.T, patience, "the policy to be gone", func() bool { return !r.refused(probe, testrig.Refusal) })
	}
}

// intrude registers nodes at those addresses that are no part of the fleet, until the test ends.
func (r *rig) intrude(addresses []string) {
	r.Helper()
	beat := func() error {
		for n, address := range addresses {
			id := fmt.Sprintf("intruder-%d", n)
			if err := r.fleet.attempt(func(ctx context.Context) error { return r.fleet.publish(ctx, id, r.fleet.value(id, address)) }); err != nil {
				return err
			}
		}
		return nil
	}
	must(r, beat())
	r.fleet.working.Go(func() {
		ticker := time.NewTicker(r.fleet.interval)
		defer ticker.Stop()
		for {
			select {
			case <-r.fleet.ctx.Done():
				return
			case <-ticker.C:
				_ = beat() // The next one is soon.
			}
		}
	})
}

// refuseSome lets five nodes register that admission refuses: all others have to come and go as if those were not there, also where a
// manager starts. The DiscoveredNodes of the five are there, so only the endpoints are judged.
func refuseSome(r *rig, n int) {
	r.set(usual())
	addresses := []string{"10.250.0.1", "10.250.0.2", "10.250.0.3", "10.250.1.1", "10.250.2.1"}
	end := r.admit(fmt.Sprintf("!has(object.endpoints) || object.endpoints.all(e, !(e.addresses[0] in ['%s']))", strings.Join(addresses, "','")),
		r.probeSlice(addresses[0]), admissionv1.Create, admissionv1.Update)
	defer end()
	r.intrude(addresses)
	stop := r.fleet.churn(busy)
	for range n {
		r.row.tried++
		pass(3 * time.Second)
		w := r.down()
		must(r, r.manager.kill())
		since := time.Now()
		r.mend(w, r.begin)
		r.started(w, since, startBound)
	}
	pass(3 * time.Second)
	stop()
	poll(r.T, patience, "all endpoints", func() bool { return r.shown(r.observer.endpoints) })
	endpoints, _ := limits()
	r.verdictOn("endpoint", r.observer.endpoints, r.concerning(false), endpoints)
}

// refuseSlices has admission refuse whatever is written: nothing is lost, and all is right a few seconds after that is over.
func refuseSlices(r *rig, n int) {
	const lasts = 5 * time.Second
	r.set(usual())
	stop := r.fleet.churn(busy)
	for range n {
		r.row.tried++
		// The tries are twice as far apart each time, so what is refused for so long waits for no longer than that.
		w := r.broken(window{settle: 2*lasts + allowance()})
		end := r.admit("false", r.probeSlice("10.250.0.1"), admissionv1.Create, admissionv1.Update, admissionv1.Delete)
		pass(lasts)
		end()
		r.mended(w, time.Now())
		pass(2*lasts + allowance())
		r.over(nil)
	}
	stop()
	r.judge()
}

// refuseCreation allows no more slices than there are, and lets many nodes leave and others join: there is room for them in those.
func refuseCreation(r *rig, n int) {
	const size = 150
	s := usual()
	s.nodes = size
	r.set(s)
	slices := &discoveryv1.EndpointSliceList{}
	must(r, r.api.List(r.Context(), slices, client.InNamespace(r.namespace)))
	limit := corev1.ResourceList{"count/endpointslices.discovery.k8s.io": *resource.NewQuantity(int64(len(slices.Items)), resource.DecimalSI)}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "few"}, Spec: corev1.ResourceQuotaSpec{Hard: limit}}
	must(r, r.api.Create(r.Context(), quota))
	quota.Status = corev1.ResourceQuotaStatus{Hard: limit, Used: limit} // As kube-controller-manager would have it.
	must(r, r.api.Status().Update(r.Context(), quota))
	poll(r.T, patience, "the quota to be in force", func() bool { return r.refused(r.probeSlice("10.250.0.1"), "exceeded quota") })
	for range n {
		r.row.tried++
		ids := r.fleet.ids()
		for range size / 3 {
			at := r.fleet.random(len(ids))
			must(r, r.fleet.unregister(ids[at]))
			ids = append(ids[:at], ids[at+1:]...)
		}
		r.fleet.join(size / 3)
		pass(time.Second)
	}
	r.judge()
}
