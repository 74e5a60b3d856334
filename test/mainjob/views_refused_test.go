package mainjob

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// saysOfViews waits until the NodeRegistry is Degraded for that reason, with those texts in the message.
func (r *rig) saysOfViews(reason string, texts ...string) {
	r.Helper()
	message := ""
	defer func() {
		if r.Failed() {
			r.Logf("the message is %q", message)
		}
	}()
	r.Within(patience, "the registry to say "+reason+" with "+strings.Join(texts, " and "), func() bool {
		var state string
		if state, message = r.Condition("catga", rollcallv1alpha1.ConditionDegraded); state != "True/"+reason {
			return false
		}
		for _, text := range texts {
			if !strings.Contains(message, text) {
				return false
			}
		}
		return true
	})
}

// wantFewWrites checks how much the manager writes to DiscoveredNodes in a while.
func (r *rig) wantFewWrites(m *testrig.Manager, d time.Duration, most int) {
	r.Helper()
	m.Take()
	var all []string
	r.Throughout(d, "few writes", func() bool {
		for _, write := range m.Take() {
			if strings.Contains(write, "/discoverednodes") {
				all = append(all, write)
			}
		}
		return len(all) <= most
	})
	r.Logf("%d writes in %s", len(all), d)
}

// move has nodes heartbeat from another zone.
func (r *rig) move(from, to int, zone string) {
	r.Helper()
	for n := from; n < to; n++ {
		value := fmt.Sprintf(`{"NodeId":%q,"Endpoint":"http://%s:8080","Zone":%q,"Metadata":{"role":"web"}}`, nodeID(n), address(n), zone)
		r.insist("a move", func() error {
			_, err := r.kv.PutString(r.Context(), "node."+nodeID(n), value)
			return err
		})
	}
}

// inZone counts the DiscoveredNodes of a zone.
func (r *rig) inZone(zone string) (n int) {
	r.Helper()
	for _, dn := range r.nodes() {
		if dn.Spec.Zone == zone {
			n++
		}
	}
	return n
}

// What the API server refuses is tried by one object a kind, said, and written once it is taken. Endpoints never wait for it.
func TestRefusedNodes(t *testing.T) {
	const count = 120
	for name, test := range map[string]struct {
		operation  admissionv1.OperationType
		expression string
		// refused counts the objects that are refused.
		refused int
		// before brings about what is there before the policy is, and then what is refused.
		before, then func(*rig)
		serves       func(*rig) func() bool
		// meanwhile is what is written nevertheless, and finally what is written when the policy is gone.
		meanwhile, finally func(*rig) bool
	}{
		"all creates": {
			operation: admissionv1.Create, expression: "false", refused: count,
			then:      func(r *rig) { r.beatAll(0, count) },
			serves:    func(r *rig) func() bool { return r.serves(0, count) },
			meanwhile: func(r *rig) bool { return len(r.nodes()) == 0 },
			finally:   func(r *rig) bool { return len(r.nodes()) == count },
		},
		"some creates": {
			operation: admissionv1.Create, expression: "!request.name.endsWith('7')", refused: count / 10,
			then:      func(r *rig) { r.beatAll(0, count) },
			serves:    func(r *rig) func() bool { return r.serves(0, count) },
			meanwhile: func(r *rig) bool { return len(r.nodes()) == count-count/10 },
			finally:   func(r *rig) bool { return len(r.nodes()) == count },
		},
		"updates": {
			operation: admissionv1.Update, expression: "false", refused: count / 2,
			before: func(r *rig) {
				r.move(0, count, "a")
				r.Within(patience, "all nodes", func() bool { return r.inZone("a") == count })
			},
			then:      func(r *rig) { r.move(0, count/2, "b"); r.beat(count) },
			serves:    func(r *rig) func() bool { return r.serves(0, count+1) },
			meanwhile: func(r *rig) bool { return r.inZone("a") == count && r.node(count) != nil },
			finally:   func(r *rig) bool { return r.inZone("b") == count/2 },
		},
		"deletes": {
			operation: admissionv1.Delete, expression: "false", refused: count / 2,
			before: func(r *rig) {
				r.beatAll(0, count)
				r.Within(patience, "all nodes", func() bool { return len(r.nodes()) == count })
			},
			then: func(r *rig) {
				for n := range count / 2 {
					r.unregister(n)
				}
			},
			serves:    func(r *rig) func() bool { return r.serves(count/2, count) },
			meanwhile: func(r *rig) bool { return len(r.nodes()) == count },
			finally:   func(r *rig) bool { return len(r.nodes()) == count/2 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.bucket(time.Hour)
			r.registry()
			r.service("web")
			m := r.startReady()
			if test.before != nil {
				test.before(r)
			}
			end := r.refusing(test.operation, test.expression, "no more nodes")
			test.then(r)
			r.Within(patience, "the endpoints", test.serves(r))
			r.saysOfViews(rollcallv1alpha1.ReasonViewsRefused, fmt.Sprintf("the writes of %d DiscoveredNodes", test.refused), "no more nodes",
				strings.ToLower(string(test.operation))+" catga.web-", "exempt Rollcall's service account")
			r.Within(patience, "the rest to be written", func() bool { return test.meanwhile(r) })
			if state := r.condition("Ready"); state != "True/Ready" {
				t.Errorf("the registry is %s", state)
			}
			r.wantFewWrites(m, 5*time.Second, 6)
			end()
			r.Within(patience, "all to be written", func() bool { return test.finally(r) })
			r.Within(patience, "the registry to say so", func() bool { return r.condition("Degraded") == "False/AsExpected" })
			m.Quiet(patience)
		})
	}
}

// keepEditing has somebody edit all DiscoveredNodes for as long as the test runs or until the function that it returns is called.
func (r *rig) keepEditing(edit func(*rollcallv1alpha1.DiscoveredNode) error) (end func()) {
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			list := &rollcallv1alpha1.DiscoveredNodeList{}
			// What fails is tried again at once.
			_ = r.API.List(ctx, list, client.InNamespace(r.Namespace))
			for i := range list.Items {
				_ = edit(&list.Items[i])
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	end = func() { cancel(); <-done }
	r.Cleanup(end)
	return end
}

// Somebody who changes back what Rollcall writes gets a write a minute and object, and is named.
func TestNobodyFightsOverNodes(t *testing.T) {
	const count = 20
	for name, test := range map[string]struct {
		edit func(*rig, *rollcallv1alpha1.DiscoveredNode) error
		says string
	}{
		"a label": {func(r *rig, dn *rollcallv1alpha1.DiscoveredNode) error {
			return r.editAs("argocd", dn, dn.Labels["role"] == "web", `{"metadata":{"labels":{"role":"db"}}}`)
		}, `the field managers "argocd" and `},
		"the spec": {func(r *rig, dn *rollcallv1alpha1.DiscoveredNode) error {
			return r.editAs("argocd", dn, dn.Spec.Ports[0].Port == 8080, `{"spec":{"ports":[{"name":"http","port":1}]}}`)
		}, `the field managers "argocd" and `},
		"the metadata": {func(r *rig, dn *rollcallv1alpha1.DiscoveredNode) error {
			return r.editAs("argocd", dn, dn.Spec.Metadata["role"] == "web", `{"spec":{"metadata":{"role":"db"}}}`)
		}, `the field managers "argocd" and `},
		"the status": {func(r *rig, dn *rollcallv1alpha1.DiscoveredNode) error {
			return r.editAs("argocd", dn, dn.Status.Phase == rollcallv1alpha1.NodeReady, `{"status":{"phase":"Stale"}}`)
		}, `the field managers "argocd" and `},
		"deletion": {func(r *rig, dn *rollcallv1alpha1.DiscoveredNode) error {
			return r.API.Delete(r.Context(), dn)
		}, "changes or deletes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.bucket(time.Hour)
			r.registry()
			r.service("web")
			m := r.startReady()
			r.beatAll(0, count)
			r.Within(patience, "all nodes", func() bool { return len(r.nodes()) == count })
			m.Quiet(patience)
			end := r.keepEditing(func(dn *rollcallv1alpha1.DiscoveredNode) error { return test.edit(r, dn) })
			r.saysOfViews(rollcallv1alpha1.ReasonViewsDisputed, fmt.Sprintf("%d DiscoveredNodes", count), test.says)
			r.wantEvent(rollcallv1alpha1.ReasonViewsDisputed, test.says)
			// By now each repair waits for 4 seconds at least.
			r.wantFewWrites(m, 4*time.Second, 2*count)
			if !r.serves(0, count)() {
				t.Errorf("%d endpoints are ready", len(r.ready("web")))
			}
			end()
			r.move(0, 1, "b")
			r.Within(10*time.Second, "a change of the node to be written at once", func() bool {
				dn := r.node(0)
				return dn != nil && dn.Spec.Zone == "b" && dn.Labels["role"] == "web" && dn.Spec.Ports[0].Port == 8080 &&
					dn.Spec.Metadata["role"] == "web" && dn.Status.Phase == rollcallv1alpha1.NodeReady
			})
		})
	}
}

func (r *rig) editAs(manager string, dn *rollcallv1alpha1.DiscoveredNode, needed bool, patch string) error {
	if !needed {
		return nil
	}
	return r.API.Patch(r.Context(), dn, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner(manager))
}

// wantEvent waits for an Event of the NodeRegistry catga.
func (r *rig) wantEvent(reason, text string) {
	r.Helper()
	r.Within(patience, "an Event "+reason, func() bool {
		list := &eventsv1.EventList{}
		if err := r.API.List(r.Context(), list, client.InNamespace(r.Namespace)); err != nil {
			r.Fatal(err)
		}
		for _, event := range list.Items {
			if event.Regarding.Name == "catga" && event.Reason == reason && strings.Contains(event.Note, text) {
				return true
			}
		}
		return false
	})
}
