package pods

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// gate gives a pod the readiness gate.
func gate(p *corev1.Pod) {
	p.Spec.ReadinessGates = append(p.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: rollcallv1alpha1.ReadinessGateRegistered})
}

// gateOf returns a pod's readiness gate, nil if it has not been set.
func (r *rig) gateOf(pod *corev1.Pod) *corev1.PodCondition {
	r.Helper()
	now := &corev1.Pod{}
	if err := r.API.Get(r.Context(), client.ObjectKeyFromObject(pod), now); err != nil {
		r.Fatal(err)
	}
	for i := range now.Status.Conditions {
		if c := &now.Status.Conditions[i]; c.Type == rollcallv1alpha1.ReadinessGateRegistered {
			return c
		}
	}
	return nil
}

func (r *rig) gateIs(pod *corev1.Pod, status corev1.ConditionStatus) func() bool {
	return func() bool {
		c := r.gateOf(pod)
		return c != nil && c.Status == status
	}
}

func TestReadinessGate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web")
	manager := r.start()
	pod := r.podOf("web-0")
	gate(pod)
	pod.Spec.ReadinessGates = append(pod.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: "example.com/warm"})
	r.Create(pod)
	// The kubelet can't call the pod Ready before its gates are open.
	r.status(pod, func(s *corev1.PodStatus) {
		running("10.2.0.1")(s)
		set(s, corev1.PodReady, corev1.ConditionFalse)
	})
	r.reports("web", "1/0/0 True Registered")
	r.Throughout(time.Second, "no entry while another gate is closed", r.gone("web-0"))
	r.status(pod, conditioned("example.com/warm", corev1.ConditionTrue))
	r.Within(patience, "the entry", r.registered("web-0", pod))
	r.Within(patience, "the gate to open", r.gateIs(pod, corev1.ConditionTrue))
	since := r.gateOf(pod).LastTransitionTime
	r.status(pod, conditioned(corev1.PodReady, corev1.ConditionTrue))
	manager.Take()
	r.beats("web-0", 3)
	for _, write := range manager.Take() {
		if strings.Contains(write, "/pods/") {
			t.Errorf("heartbeats wrote %s", write)
		}
	}
	if now := r.gateOf(pod).LastTransitionTime; !now.Equal(&since) {
		t.Errorf("the gate changed at %s, and again at %s", since, now)
	}

	// Somebody takes the key: the registration is lost.
	revision := r.foreign("web-0", nil)
	r.Within(patience, "the gate to close", r.gateIs(pod, corev1.ConditionFalse))
	if c := r.gateOf(pod); c.Reason != rollcallv1alpha1.ReasonConflict || !strings.Contains(c.Message, "node.web-0") {
		t.Errorf("the gate says %s: %s", c.Reason, c.Message)
	}
	if r.revision("web-0") != revision {
		t.Error("the entry of the other was overwritten")
	}
	if err := r.kv.Delete(t.Context(), "node.web-0"); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "the gate to open again", r.gateIs(pod, corev1.ConditionTrue))
	r.status(pod, conditioned(corev1.ContainersReady, corev1.ConditionFalse))
	r.Within(patience, "the entry to go", r.gone("web-0"))
	r.Within(patience, "the gate to close", r.gateIs(pod, corev1.ConditionFalse))
}

func TestGateOutlivesARestart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web")
	first := r.start()
	pod := r.pod("web-0", gate)
	r.Within(patience, "the gate to open", r.gateIs(pod, corev1.ConditionTrue))
	first.Stop()
	second := r.start()
	r.beats("web-0", 2)
	for _, write := range second.Take() {
		if strings.Contains(write, "/pods/") {
			t.Errorf("the restart wrote %s", write)
		}
	}
}

func TestPodsWithoutTheGateAreNotWritten(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web")
	manager := r.start()
	pod := r.pod("web-0")
	r.Within(patience, "the entry", r.registered("web-0", pod))
	r.foreign("web-0", nil)
	r.told("web-0", "Conflict")
	r.delete(pod)
	for _, write := range manager.Take() {
		if strings.Contains(write, "/pods") {
			t.Errorf("the manager wrote %s", write)
		}
	}
}
