package compat

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// controllerManager starts a kube-controller-manager with the controllers that know EndpointSlices. It lies beside kubectl.
func (r *rig) controllerManager() {
	r.Helper()
	binary := filepath.Join(filepath.Dir(env.Kubectl), "kube-controller-manager")
	command := exec.Command(binary, //nolint:noctx // It ends with the test, and not before what else the test stops.
		"--kubeconfig="+r.kubeconfig(), "--leader-elect=false", "--secure-port=0",
		"--controllers=endpointslice-controller,endpointslice-mirroring-controller,endpoints-controller")
	log := &bytes.Buffer{}
	command.Stderr = log
	if err := command.Start(); err != nil {
		r.Fatalf("start it, once make compat has built it: %v", err)
	}
	r.Cleanup(func() {
		if err := command.Process.Kill(); err != nil {
			r.Error(err)
		}
		_ = command.Wait() // It was killed, and says so.
		if r.Failed() {
			r.Logf("kube-controller-manager: %s", log)
		}
	})
}

// pod creates a pod that is Ready and has the address, on a cluster node of its own.
func (r *rig) pod(name, address string) {
	r.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: r.Namespace}} // The name of no other test's.
	r.Create(node)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name, Labels: map[string]string{"app": "pods"}},
		Spec:       corev1.PodSpec{NodeName: node.Name, Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	r.Create(pod)
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: address, PodIPs: []corev1.PodIP{{IP: address}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	if err := r.API.Status().Update(r.Context(), pod); err != nil {
		r.Fatal(err)
	}
}

// written returns who wrote the ready endpoints of a Service: "address by managed-by", sorted.
func (r *rig) written(service string) []string {
	r.Helper()
	var all []string
	for _, slice := range r.slices(service) {
		for _, endpoint := range slice.Endpoints {
			if ptr.Deref(endpoint.Conditions.Ready, true) {
				all = append(all, endpoint.Addresses[0]+" by "+slice.Labels[discoveryv1.LabelManagedBy])
			}
		}
	}
	slices.Sort(all)
	return all
}

// TestControllerManager: Kubernetes' own controllers write beside the manager, and neither touches what the other wrote.
func TestControllerManager(t *testing.T) {
	t.Parallel()
	const byPods, byMirror = "endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"
	r := newRig(t)
	r.controllerManager()
	r.service("machines")
	r.service("headless", headless)
	mirrored := r.service("mirrored")
	r.pod("pod", "10.2.0.1")
	pods := r.createService("pods", func(s *corev1.Service) {
		s.Annotations, s.Spec.Selector = nil, map[string]string{"app": "pods"}
		s.Spec.Ports = []corev1.ServicePort{{Port: 80}}
	})
	// A Service that somebody keeps Endpoints for by hand, as one does without Rollcall.
	r.Create(&corev1.Endpoints{ //nolint:staticcheck // Deprecated, and still mirrored.
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: mirrored.Name},
		Subsets: []corev1.EndpointSubset{{ //nolint:staticcheck // Likewise.
			Addresses: []corev1.EndpointAddress{{IP: "10.3.0.1"}}, Ports: []corev1.EndpointPort{{Name: "web", Port: 8080}},
		}},
	})
	ours := []string{"10.1.0.1 by rollcall.dev", "10.1.0.2 by rollcall.dev"}
	want := map[string][]string{
		"machines": ours, "headless": ours, "mirrored": append(slices.Clone(ours), "10.3.0.1 by "+byMirror), pods.Name: {"10.2.0.1 by " + byPods},
	}
	each := func() bool {
		for service, endpoints := range want {
			if !slices.Equal(r.written(service), endpoints) {
				return false
			}
		}
		return true
	}
	r.Within(patience, "each controller to have written its own", each)
	r.manager.Quiet(patience)
	r.Throughout(5*time.Second, "each controller's own", each)
	if writes := r.manager.Take(); len(writes) > 0 {
		t.Errorf("beside kube-controller-manager the manager wrote %q", writes)
	}
	// It goes on beside them: a node that unregisters leaves.
	if err := r.kv.Delete(t.Context(), "node."+webA); err != nil {
		t.Fatal(err)
	}
	for service, endpoints := range want {
		want[service] = slices.DeleteFunc(slices.Clone(endpoints), func(e string) bool { return e == ours[0] })
	}
	r.Within(patience, "the node to have left everywhere", each)
}
