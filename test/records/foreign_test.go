package records

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/api/meta"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/gomicrotest"
)

// machines is the spec.record of a fleet that writes JSON of its own.
func machines(s *rollcallv1alpha1.NodeRegistrySpec) {
	s.Bucket.KeyPrefix = new("")
	s.Record = rollcallv1alpha1.Record{
		NodeID: "value.host", Addresses: "[value.net.ip]", Ports: "[{'name': 'http', 'port': value.net.port}]", Metadata: "value.tags",
	}
}

func TestForeignJSON(t *testing.T) {
	r := newRig(t, ordinary(), machines)
	stop := r.start()
	r.put("machine/1", `{"host":"m-1","net":{"ip":"10.0.0.1","port":80},"tags":{"rack":7},"name":{"no":"string"},"rack":"r7"}`)
	r.put("machine/2", `{"host":"m-2","net":{"ip":"10.0.0.2","port":"80"},"tags":{}}`)
	r.put("machine/3", `{"host":"m-2","net":{"ip":"10.0.0.3","port":80},"tags":{}}`)
	r.put("machine/4", `{"net":{"ip":"10.0.0.4","port":80},"tags":{}}`)
	r.Within(patience, "the two that are right", r.serves("10.0.0.1", "10.0.0.2"))
	r.Within(patience, "a node for each entry", func() bool { return len(r.nodes()) == 4 })
	nodes := r.nodes()
	if dn := nodes["machine/1"]; dn.Name != "fleet.m-1" || dn.Spec.NodeID != "m-1" || dn.Spec.Metadata["rack"] != "7" || dn.Spec.Ports[0].Name != "http" {
		t.Errorf("%s: %+v", dn.Name, dn.Spec)
	}
	for key, want := range map[string][2]string{
		"machine/3": {rollcallv1alpha1.ReasonDuplicateNodeID, `"m-2"`},
		"machine/4": {rollcallv1alpha1.ReasonExpressionFailed, "spec.record.nodeID: no such key: host"},
	} {
		if reason, message := r.says(key); reason != want[0] || !strings.Contains(message, want[1]) {
			t.Errorf("%s says %s: %s", key, reason, message)
		}
	}

	// Another mapping reads anew what is in the bucket, without a heartbeat.
	r.edit(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Record.Zone = "value.?rack" })
	r.Within(patience, "the zone", func() bool { return r.nodes()["machine/1"].Spec.Zone == "r7" })

	// One that does not compile is said, and takes nothing away, across a restart as well.
	r.edit(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Record.Zone = "valu.rack" })
	r.Within(patience, "the condition", r.is("Ready", "False/InvalidExpression"))
	if _, message := r.condition("Ready"); !strings.Contains(message, "spec.record.zone") || !strings.Contains(message, `"valu.rack"`) || !strings.Contains(message, "undeclared reference to 'valu'") {
		t.Errorf("the condition says %s", message)
	}
	stop()
	r.put("machine/5", `{"host":"m-5","net":{"ip":"10.0.0.5","port":80},"tags":{}}`)
	r.start()
	r.edit(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Record.Zone = "1" })
	r.Within(patience, "the other condition", func() bool {
		state, message := r.condition("Ready")
		return state == "False/InvalidExpression" && strings.Contains(message, "it gives int")
	})
	if !r.serves("10.0.0.1", "10.0.0.2")() || len(r.nodes()) != 4 {
		t.Errorf("served are %v", r.endpoints())
	}
	r.edit(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Record.Zone = "" })
	r.Within(patience, "what came meanwhile", r.serves("10.0.0.1", "10.0.0.2", "10.0.0.5"))
	r.Within(patience, "the registry to be Ready", r.is("Ready", "True/Ready"))
	r.Within(patience, "the zone to go", func() bool { return r.nodes()["machine/1"].Spec.Zone == "" })

	// The name goes to the next when the older is gone.
	r.remove("machine/2")
	r.Within(patience, "the heir's endpoint", r.serves("10.0.0.1", "10.0.0.3", "10.0.0.5"))
	r.Within(patience, "the heir's name", func() bool { return r.nodes()["machine/3"].Name == "fleet.m-2" })
}

// While an edit does not compile, the last mapping that did is in force, and everything else goes on.
func TestAnInvalidEditStopsNothing(t *testing.T) {
	r := newRig(t, ordinary(), machines)
	r.start()
	r.put("machine/1", `{"host":"m-1","net":{"ip":"10.0.0.1","port":80},"tags":{},"rack":"r7"}`)
	r.put("machine/2", `{"host":"m-2","net":{"ip":"10.0.0.2","port":80},"tags":{}}`)
	r.Within(patience, "both", r.serves("10.0.0.1", "10.0.0.2"))
	r.Within(patience, "the registry to be Ready", r.is("Ready", "True/Ready"))

	// The rest of the edit takes effect.
	r.edit(func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Record.Zone, s.Labels = "value.", map[string]string{"rack": "rack"}
	})
	r.Within(patience, "the condition", r.is("Ready", "False/InvalidExpression"))
	if _, message := r.condition("Ready"); !strings.Contains(message, "the last valid spec.record stays in force: spec.record.zone") {
		t.Errorf("the condition says %s", message)
	}
	for kind, want := range map[string]string{"Connected": "True/Connected", "Synced": "True/Listed", "Degraded": "True/InvalidExpression"} {
		if got, message := r.condition(kind); got != want {
			t.Errorf("%s is %s: %s", kind, got, message)
		}
	}
	r.remove("machine/2")
	r.Within(patience, "the one that stayed", r.serves("10.0.0.1"))
	r.put("machine/3", `{"host":"m-3","net":{"ip":"10.0.0.3","port":80},"tags":{"rack":"r8"}}`)
	r.Within(patience, "the new one", r.serves("10.0.0.1", "10.0.0.3"))
	r.Within(patience, "its label", func() bool { return r.nodes()["machine/3"].Labels["rack"] == "r8" })

	r.edit(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Record.Zone = "value.?rack" })
	r.Within(patience, "the registry to be Ready", r.is("Ready", "True/Ready"))
	r.Within(patience, "the zone", func() bool { return r.nodes()["machine/1"].Spec.Zone == "r7" })
}

func TestGoMicroRegistryAsItStands(t *testing.T) {
	entries, err := gomicrotest.Fixture()
	if err != nil {
		t.Fatal(err)
	}
	bucket := jetstream.KeyValueConfig{Bucket: "service-registry", Storage: jetstream.MemoryStorage, TTL: ordinary().TTL}
	r := newRig(t, bucket, func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Bucket.KeyPrefix = new("")
		s.Record.Format = rollcallv1alpha1.FormatGoMicro
		s.Labels = map[string]string{"service": "service"}
	})
	r.start()
	for _, e := range entries {
		if _, err := r.kv.Put(t.Context(), e.Key, e.Value); err != nil {
			t.Fatal(err)
		}
	}
	r.Within(patience, "a node for each entry", func() bool { return len(r.nodes()) == len(entries) })
	r.Within(patience, "the endpoints", r.serves(
		"10.42.0.11", "10.42.0.12", "10.42.0.14", "10.42.0.15", "10.42.0.21", "10.42.0.22", "fd00:10:42::13"))
	for _, dn := range r.nodes() {
		service := dn.Labels["service"]
		if service == "" || !strings.HasPrefix(dn.Name, "fleet."+service+"-") || dn.Spec.DisplayName != service {
			t.Errorf("%s has the labels %v", dn.Name, dn.Labels)
		}
		if refused := service == "com.owncloud.api.thumbnails"; refused != (dn.Status.Phase == rollcallv1alpha1.NodeInvalid) {
			t.Errorf("%s is %s", dn.Name, dn.Status.Phase)
		}
	}
}

func TestGoMicroEntryOfTwoNodes(t *testing.T) {
	r := newRig(t, ordinary(), func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Bucket.KeyPrefix = new("")
		s.Record.Format = rollcallv1alpha1.FormatGoMicro
	})
	r.start()
	data := base64.StdEncoding.EncodeToString([]byte(`{"name":"web","version":"1","nodes":[` +
		`{"id":"web-1","address":"10.42.0.1:80"},{"id":"web-2","address":"10.42.0.2:80"}]}`))
	r.put("NFXQ", `{"key":"web@web-1","data":"`+data+`"}`)
	r.Within(patience, "the first of them", r.serves("10.42.0.1"))
	r.Within(patience, "a remark that names the other", func() bool {
		dn := r.nodes()["NFXQ"]
		c := meta.FindStatusCondition(dn.Status.Conditions, rollcallv1alpha1.ConditionRecordAccepted)
		return c != nil && c.Reason == rollcallv1alpha1.ReasonAcceptedWithRemarks && strings.Contains(c.Message, `not "web-2"`)
	})
}
