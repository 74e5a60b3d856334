package faults

import (
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func faultsOfRecords() []fault {
	return []fault{
		{name: "odd members", run: func(r *rig) { spoilMembers(r, times(5, 60)) }},
		{name: "all records refused", run: func(r *rig) { refuseAll(r, times(1, 3)) }},
		{name: "mapping edited to one that fails", long: true, run: func(r *rig) { editMapping(r, times(1, 2)) }},
		{name: "key prefix edited", run: func(r *rig) { editPrefix(r, times(4, 40)) }},
		{name: "key prefix edited to one that nobody has", long: true, run: func(r *rig) { mistypePrefix(r, times(1, 3)) }},
		{name: "labels edited to what no record has", long: true, run: func(r *rig) { editLabels(r, times(2, 4)) }},
	}
}

// ofRegistry has the Service select all nodes of the registry, whatever their metadata, and by the port's number, whatever its name.
func ofRegistry(service *corev1.Service) {
	service.Annotations[rollcallv1alpha1.AnnotationNodeSelector] = rollcallv1alpha1.LabelRegistry + "=" + registryName
	service.Spec.Ports[0].TargetPort = intstr.FromInt32(8080)
}

// byRole has the Service select by the role as well, which comes from the metadata, and by the port's number, whatever its name.
func byRole(service *corev1.Service) { service.Spec.Ports[0].TargetPort = intstr.FromInt32(8080) }

// prompt has the DiscoveredNodes follow what nothing depends on as often as that is possible.
func prompt(spec *rollcallv1alpha1.NodeRegistrySpec) {
	spec.StatusInterval = &metav1.Duration{Duration: time.Second}
}

// discovered returns the DiscoveredNodes by node ID.
func (r *rig) discovered() map[string]*rollcallv1alpha1.DiscoveredNode {
	r.Helper()
	list := &rollcallv1alpha1.DiscoveredNodeList{}
	must(r, r.api.List(r.Context(), list, client.InNamespace(r.namespace)))
	all := map[string]*rollcallv1alpha1.DiscoveredNode{}
	for i := range list.Items {
		all[list.Items[i].Spec.NodeID] = &list.Items[i]
	}
	return all
}

// accepted waits until RecordAccepted of every node that lives has that status and reason.
func (r *rig) accepted(status metav1.ConditionStatus, reason string) {
	r.Helper()
	var odd string
	if !wait(patience, func() bool {
		odd = ""
		nodes := r.discovered()
		for _, id := range r.fleet.ids() {
			var c *metav1.Condition
			if nodes[id] != nil {
				c = meta.FindStatusCondition(nodes[id].Status.Conditions, rollcallv1alpha1.ConditionRecordAccepted)
			}
			if c == nil || c.Status != status || c.Reason != reason {
				odd = fmt.Sprintf("%s: %+v", id, c)
			}
		}
		return odd == ""
	}) {
		r.Errorf("after %s RecordAccepted is not %s/%s of %s", patience, status, reason, odd)
	}
}

// spoilMembers lets all nodes spoil their records for so many seconds, while some die and some unregister. Afterwards nothing is left of
// it. The Service selects by a label, so a role that can't be read must not cost traffic either.
func spoilMembers(r *rig, seconds int) {
	records := newSpoiler(*seed)
	records.behave(true)
	s := usual()
	s.write, s.interval, s.registry, s.service = writing{record: records.record}, 100*time.Millisecond, prompt, byRole
	r.set(s)
	before := r.discovered()
	records.behave(false)
	began := records.count()
	for range seconds {
		pass(time.Second)
		if ids := r.fleet.ids(); len(ids) > s.nodes/2 && r.fleet.random(3) == 0 {
			r.fleet.die(ids[r.fleet.random(len(ids))])
		} else if len(ids) > s.nodes/2 {
			must(r, r.fleet.unregister(ids[r.fleet.random(len(ids))]))
		}
	}
	r.row.tried += s.nodes
	r.Logf("%d records were written meanwhile", records.count()-began)
	r.settle()
	records.behave(true)
	r.accepted(metav1.ConditionTrue, rollcallv1alpha1.ReasonAccepted)
	r.wholeAgain(before)
	r.judge()
	records.tell(r.T, r.row.notes)
}

// wholeAgain waits until the nodes that live are what they were.
func (r *rig) wholeAgain(before map[string]*rollcallv1alpha1.DiscoveredNode) {
	r.Helper()
	var left string
	if !wait(patience, func() bool {
		left = ""
		now := r.discovered()
		for _, id := range r.fleet.ids() {
			if now[id] == nil || !equality.Semantic.DeepEqual(now[id].Spec, before[id].Spec) || !equality.Semantic.DeepEqual(now[id].Labels, before[id].Labels) {
				left = fmt.Sprintf("%s was %+v %v and is %+v", id, before[id].Spec, before[id].Labels, now[id])
			}
		}
		return left == ""
	}) {
		r.Errorf("something is left of odd records: %.2000s", left)
	}
}

// refuseAll lets the next release of all nodes write what must be refused. The manager is killed meanwhile, and then nodes die one by
// one: they live on their last good records, and no longer than they heartbeat.
func refuseAll(r *rig, n int) {
	s := usual()
	s.registry, s.service = prompt, ofRegistry
	r.set(s)
	for range n {
		r.row.tried++
		r.fleet.writes(writing{record: func(id, address string) []byte {
			return fmt.Appendf(nil, `{"NodeId":%q,"Addresses":[%q],"Ports":[{"Name":"http","Port":"8080"}]}`, id, address)
		}})
		r.says(rollcallv1alpha1.ReasonRecordsRefused, r.ttl)
		r.accepted(metav1.ConditionFalse, rollcallv1alpha1.ReasonInvalidRecord)
		w := r.down()
		must(r, r.manager.kill())
		since := time.Now()
		r.mend(w, r.begin)
		r.started(w, since, startBound)
		pass(r.ttl + time.Second)
		r.says(rollcallv1alpha1.ReasonRecordsRefused, r.ttl)
		r.accepted(metav1.ConditionFalse, rollcallv1alpha1.ReasonInvalidRecord)
		for _, id := range r.fleet.ids()[:4] {
			r.fleet.die(id)
			pass(r.ttl / 8)
		}
		must(r, r.fleet.unregister(r.fleet.ids()[0]))
		r.settle()
		r.fleet.writes(writing{})
		r.saysNoLonger(rollcallv1alpha1.ReasonRecordsRefused, patience)
		r.accepted(metav1.ConditionTrue, rollcallv1alpha1.ReasonAccepted)
		r.fleet.join(5)
		r.settle()
	}
	r.judge()
}

// foreign is how a fleet writes that never heard of Rollcall.
func foreign(id, address string) []byte {
	value, err := json.Marshal(map[string]any{
		"host": id, "ip": address, "port": 8080, "rack": "r1", "at": time.Now(), "tags": map[string]string{"role": "web"},
	})
	if err != nil {
		panic(err) // The record is this test's own.
	}
	return value
}

// mapping reads what foreign writes.
func mapping() rollcallv1alpha1.Record {
	return rollcallv1alpha1.Record{
		NodeID: "value.host", Addresses: "[value.ip]", Ports: "[{'name': 'http', 'port': value.port}]", Zone: "value.rack", Metadata: "value.tags",
	}
}

// relists edits what the bucket is read by, so that it is listed again. As after any gap a node may be given one grace more.
func (r *rig) relists(change func(*rollcallv1alpha1.NodeRegistrySpec)) {
	r.Helper()
	w := r.broken(window{holds: true, might: true, listening: true, grace: r.ttl, settle: 2*time.Second + allowance()})
	r.edit(change)
	r.mended(w, time.Now())
}

// editMapping edits the expressions to some that compile and fail for all records. Meanwhile nodes unregister, and some die.
func editMapping(r *rig, n int) {
	s := usual()
	s.write = writing{record: foreign}
	s.registry = func(spec *rollcallv1alpha1.NodeRegistrySpec) { spec.Record = mapping() }
	r.set(s)
	for range n {
		for i, change := range []func(*rollcallv1alpha1.Record){
			func(m *rollcallv1alpha1.Record) { m.Zone = "value.rack.row" },
			func(m *rollcallv1alpha1.Record) { m.NodeID = "value.nope" },
			func(m *rollcallv1alpha1.Record) { m.Ports, m.Metadata = "value.ports", "value.labels" },
			func(m *rollcallv1alpha1.Record) { m.Addresses = "[value.address]" },
		} {
			r.row.tried++
			wrong := mapping()
			change(&wrong)
			r.relists(func(spec *rollcallv1alpha1.NodeRegistrySpec) { spec.Record = wrong })
			r.says(rollcallv1alpha1.ReasonExpressionFailed, patience)
			must(r, r.fleet.unregister(r.fleet.ids()[0]))
			if i == 3 {
				r.fleet.die(r.fleet.ids()[0])
				pass(r.ttl)
			}
			r.settle()
			r.relists(func(spec *rollcallv1alpha1.NodeRegistrySpec) { spec.Record = mapping() })
			r.saysNoLonger(rollcallv1alpha1.ReasonExpressionFailed, patience)
			r.fleet.join(1)
		}
	}
	r.judge()
}

// editPrefix moves a fleet to another prefix: every node is under both for a while.
func editPrefix(r *rig, n int) {
	const other = "v2/node."
	s := usual()
	s.write = writing{prefixes: []string{keyPrefix, other}}
	r.set(s)
	stop := r.fleet.churn(busy)
	for i := range n {
		r.row.tried++
		prefix := []string{other, keyPrefix}[i%2]
		r.relists(func(spec *rollcallv1alpha1.NodeRegistrySpec) { spec.Bucket.KeyPrefix = &prefix })
		pass(time.Duration(r.fleet.random(1500)) * time.Millisecond)
	}
	stop()
	r.judge()
}

// mistypePrefix edits the prefix to one that no key has, for longer than the TTL: that is no unregistration of anybody, so the guard
// holds all.
func mistypePrefix(r *rig, n int) {
	r.set(usual())
	for range n {
		r.row.tried++
		typo, right := "x.", keyPrefix
		r.relists(func(spec *rollcallv1alpha1.NodeRegistrySpec) { spec.Bucket.KeyPrefix = &typo })
		r.says(rollcallv1alpha1.ReasonExpiryGuard, r.ttl+5*time.Second)
		pass(r.ttl)
		r.relists(func(spec *rollcallv1alpha1.NodeRegistrySpec) { spec.Bucket.KeyPrefix = &right })
		r.saysNoLonger(rollcallv1alpha1.ReasonExpiryGuard, patience)
		r.settle()
	}
	r.judge()
}

// editLabels edits the labels to members that no record has. The Service selects by the registry alone.
func editLabels(r *rig, n int) {
	s := usual()
	s.service = ofRegistry
	r.set(s)
	stop := r.fleet.churn(busy)
	labelled := func(member string) {
		r.edit(func(spec *rollcallv1alpha1.NodeRegistrySpec) { spec.Labels = map[string]string{"role": member} })
	}
	for range n {
		r.row.tried++
		labelled("rolle")
		r.says(rollcallv1alpha1.ReasonLabelNotFound, patience)
		labelled("role")
		r.saysNoLonger(rollcallv1alpha1.ReasonLabelNotFound, patience)
	}
	stop()
	r.judge()
	labelledAgain := func() bool {
		for _, node := range r.discovered() {
			if node.Labels["role"] != "web" {
				return false
			}
		}
		return true
	}
	if !wait(patience, labelledAgain) {
		r.Error("nodes lack the label again that was theirs")
	}
}
