package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	podsService    = "pods"
	kubeController = "kube-controller-manager"
)

// besideKubernetes measures the same as latency, but beside what Kubernetes' own EndpointSlice controller needs from a pod
// that becomes Ready, or not, to the slice that shows it.
func besideKubernetes(ctx context.Context, g *rig) ([]*figure, error) {
	f, v, err := g.watched(ctx)
	if err != nil {
		return nil, err
	}
	defer v.close()
	if err := f.shown(ctx, v); err != nil {
		return nil, err
	}
	p := &pods{rig: g, view: v, namespace: f.namespace}
	if err := p.create(ctx); err != nil {
		return nil, err
	}
	controller, err := p.control(ctx)
	if err != nil {
		return nil, err
	}
	q := newQuantiles("KV put → slice seen, beside kube-controller-manager", "status of a pod → slice seen, by kube-controller-manager with a Service of 100 pods", 1, 1)
	figures, err := q.compare(ctx, f.changed(v), p.flip)
	if err != nil {
		return nil, err
	}
	return figures, controller.stop()
}

// pods are a Service with as many pods as a slice holds. There is no kubelet: their status is written from here.
type pods struct {
	*rig
	view      *view
	namespace string
	turn      int
}

func podName(n int) string { return fmt.Sprintf("pod-%04d", n) }

func (p *pods) create(ctx context.Context) error {
	const machine = "bench"
	// A pod on a node that does not exist gets no endpoint.
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: machine}}
	if _, err := p.kube.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return err
	}
	for n := range perSlice {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: podName(n), Labels: map[string]string{"app": podsService}},
			Spec:       corev1.PodSpec{NodeName: machine, Containers: []corev1.Container{{Name: "app", Image: "app"}}},
		}
		pod, err := p.kube.CoreV1().Pods(p.namespace).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		pod.Status = corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: address(n, 0), PodIPs: []corev1.PodIP{{IP: address(n, 0)}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		}
		if _, err := p.kube.CoreV1().Pods(p.namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	_, err := p.kube.CoreV1().Services(p.namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: podsService},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": podsService}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	return err
}

// control starts kube-controller-manager with its EndpointSlice controller alone, and without the limits of its client,
// which would slow it down.
func (p *pods) control(ctx context.Context) (*process, error) {
	binary := filepath.Join(filepath.Dir(p.env.Kubectl), kubeController)
	controller, _, err := p.launch(ctx, kubeController, binary,
		"--kubeconfig="+p.kubeconfig, "--controllers=endpointslice-controller", "--leader-elect=false", "--secure-port=0",
		"--kube-api-qps=1000", "--kube-api-burst=1000")
	if err != nil {
		return nil, fmt.Errorf("start %s (hack/controlplane/build.sh %s builds it): %w", kubeController, kubeController, err)
	}
	return controller, until(ctx, "all pods in slices", func(context.Context) (bool, error) {
		p.view.mu.Lock()
		defer p.view.mu.Unlock()
		return all(podsService, perSlice)(p.view), p.view.ended
	})
}

// flip is a trial: it makes a Ready pod not Ready, or the other way round.
func (p *pods) flip(ctx context.Context) (time.Duration, error) {
	p.turn++
	name := podName(p.turn * 37 % perSlice)
	p.view.mu.Lock()
	ready := !p.view.services[podsService][name].ready
	p.view.mu.Unlock()
	condition := corev1.ConditionFalse
	if ready {
		condition = corev1.ConditionTrue
	}
	seen := p.view.expect(func(v *view) bool { return v.services[podsService][name].ready == ready })
	patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"Ready","status":%q}]}}`, condition)
	return timed(ctx, seen, func() error {
		_, err := p.kube.CoreV1().Pods(p.namespace).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		return err
	})
}
