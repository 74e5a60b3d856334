package faults

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func faultsOfPods() []fault {
	return []fault{
		{name: "pods registered, manager killed", run: func(r *rig) {
			breakPods(r, times(1, 6), func(r *rig) {
				must(r, r.manager.kill())
				r.begin()
			})
		}},
		{name: "pods registered, NATS killed and restarted", long: true, run: func(r *rig) {
			breakPods(r, 6, func(r *rig) {
				r.nats.kill()
				r.nats.launch()
			})
		}},
		{name: "pods registered, their keys purged", long: true, run: func(r *rig) {
			breakPods(r, times(3, 30), func(r *rig) {
				key := subject(fmt.Sprintf("pod-%d", r.fleet.random(pods)))
				must(r, r.stream().Purge(r.Context(), jetstream.WithPurgeSubject(key)))
			})
		}},
	}
}

const (
	pods = 20
	// podBeat is the interval of the heartbeats, podTTL the bucket's TTL: longer than a manager takes to start.
	podBeat = time.Second
	podTTL  = 15 * time.Second
)

// breakPods registers pods, breaks something again and again, and looks at the bucket all the time: the entry of a Ready pod
// must not be away for longer than a heartbeat takes, once everything is in order again.
func breakPods(r *rig, n int, fault func(*rig)) {
	r.set(setting{ttl: podTTL, registry: func(spec *rollcallv1alpha1.NodeRegistrySpec) { spec.IncludeLocalPods = true }})
	must(r, r.api.Create(r.Context(), &rollcallv1alpha1.PodRegistration{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "web"},
		Spec: rollcallv1alpha1.PodRegistrationSpec{
			RegistryName: registryName, NodeID: "pod.metadata.name", HeartbeatInterval: &metav1.Duration{Duration: podBeat},
			Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	}))
	for i := range pods {
		r.readyPod(i)
	}
	complete := func() bool {
		keys, ok := r.podKeys()
		return ok && len(keys) == pods
	}
	poll(r.T, patience, "all pods in the bucket", complete)
	removed := r.watchRemovals()
	for range n {
		r.row.tried++
		fault(r)
		began := time.Now()
		if !wait(patience, complete) {
			r.row.missed++
			keys, _ := r.podKeys()
			r.Errorf("only these pods are in the bucket: %v", keys)
		}
		r.row.blind = append(r.row.blind, time.Since(began))
		pass(time.Duration(r.fleet.random(2000)) * time.Millisecond)
	}
	pass(podTTL)
	var keys []string
	poll(r.T, patience, "NATS to tell the keys", func() (ok bool) {
		keys, ok = r.podKeys()
		return ok
	})
	if len(keys) != pods {
		r.row.missed += pods - len(keys)
		r.Errorf("after a TTL only these pods are in the bucket: %v", keys)
	}
	for _, key := range removed() {
		r.row.removed++
		r.Errorf("%s was unregistered or expired", key)
	}
}

// readyPod makes a pod, and says of it what a kubelet would.
func (r *rig) readyPod(n int) {
	r.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: fmt.Sprintf("pod-%d", n), Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "main", Image: "example.com/web:1", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		}}},
	}
	must(r, r.api.Create(r.Context(), pod))
	ip := addressOf(50_000 + n)
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, Conditions: []corev1.PodCondition{
		{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionTrue},
	}}
	must(r, r.api.Status().Update(r.Context(), pod))
}

// podKeys returns the subjects of all entries, sorted; ok is false if NATS does not answer.
func (r *rig) podKeys() (keys []string, ok bool) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	s, err := r.fleet.js.Stream(ctx, "KV_"+bucketName)
	if err != nil {
		return nil, false
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter("$KV."+bucketName+".>"))
	if err != nil {
		return nil, false
	}
	for key := range info.State.Subjects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys, true
}

// watchRemovals notes the entries that are removed from the bucket, until it is called.
func (r *rig) watchRemovals() (stop func() []string) {
	r.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	consumer, err := r.fleet.js.OrderedConsumer(ctx, "KV_"+bucketName, jetstream.OrderedConsumerConfig{})
	must(r, err)
	var mu sync.Mutex
	var removed []string
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		if m.Headers().Get("KV-Operation") != "" || m.Headers().Get("Nats-Marker-Reason") != "" {
			mu.Lock()
			removed = append(removed, m.Subject())
			mu.Unlock()
		}
	})
	must(r, err)
	return func() []string {
		consuming.Stop()
		cancel()
		mu.Lock()
		defer mu.Unlock()
		return removed
	}
}
