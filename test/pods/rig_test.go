// Package pods tests PodRegistrations through the front door: the whole manager, on a real API server and a real NATS
// server. There is no kubelet, so the tests say in the status of their pods what one would.
package pods

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/natstest"
	"github.com/rollcall-dev/rollcall/internal/testenv"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

var env *testenv.Env

func TestMain(m *testing.M) {
	child()
	testrig.Main(m, &env)
}

const (
	// patience is how long anything may take that is to happen at once; it is generous for the sake of a loaded machine.
	patience = time.Minute
	// here is the name of the cluster of the managers that say nothing else.
	here   = "here"
	bucket = "catga_nodes"
)

// rig is a Rig with a NATS server of its own.
type rig struct {
	*testrig.Rig
	nats *natstest.Server
	kv   jetstream.KeyValue
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Rig: testrig.New(t, env), nats: natstest.Start(t)}
	r.kv = r.keyValue(r.nats.Connect(t))
	return r
}

// keyValue returns the bucket of the rig, created with a TTL of a minute if it is missing.
func (r *rig) keyValue(nc *nats.Conn) jetstream.KeyValue {
	r.Helper()
	return r.bucket(nc, jetstream.KeyValueConfig{Bucket: bucket, TTL: time.Minute, History: 5, LimitMarkerTTL: time.Minute})
}

func (r *rig) bucket(nc *nats.Conn, c jetstream.KeyValueConfig) jetstream.KeyValue {
	r.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		r.Fatal(err)
	}
	kv, err := js.CreateOrUpdateKeyValue(r.Context(), c)
	if err != nil {
		r.Fatal(err)
	}
	return kv
}

// ttl gives the rig's bucket another TTL.
func (r *rig) ttl(d time.Duration) {
	r.Helper()
	r.kv = r.bucket(r.nats.Connect(r.T), jetstream.KeyValueConfig{Bucket: bucket, TTL: d, History: 5, LimitMarkerTTL: d})
}

// start starts a manager of the cluster here, unless a change says otherwise.
func (r *rig) start(change ...func(*rest.Config, *manager.Options)) *testrig.Manager {
	r.Helper()
	cluster := func(_ *rest.Config, o *manager.Options) { o.ClusterName = here }
	return r.Start(append([]func(*rest.Config, *manager.Options){cluster}, change...)...)
}

func (r *rig) delete(o client.Object) {
	r.Helper()
	if err := r.API.Delete(r.Context(), o, client.GracePeriodSeconds(0)); err != nil {
		r.Fatal(err)
	}
}

// registry creates the NodeRegistry catga.
func (r *rig) registry(change ...func(*rollcallv1alpha1.NodeRegistrySpec)) *rollcallv1alpha1.NodeRegistry {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "catga"},
		Spec: rollcallv1alpha1.NodeRegistrySpec{
			Connection: rollcallv1alpha1.Connection{Servers: []string{r.nats.URL()}},
			Labels:     map[string]string{"role": "role"},
		},
	}
	for _, f := range change {
		f(&registry.Spec)
	}
	r.Create(registry)
	return registry
}

// registration creates a PodRegistration for the pods with the label app=<name>, with a heartbeat every second.
func (r *rig) registration(name string, change ...func(*rollcallv1alpha1.PodRegistrationSpec)) *rollcallv1alpha1.PodRegistration {
	r.Helper()
	p := &rollcallv1alpha1.PodRegistration{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name},
		Spec: rollcallv1alpha1.PodRegistrationSpec{
			RegistryName:      "catga",
			Selector:          metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			NodeID:            "pod.metadata.name",
			HeartbeatInterval: seconds(1),
			Metadata:          map[string]string{"role": "pod.metadata.labels['app']"},
		},
	}
	for _, f := range change {
		f(&p.Spec)
	}
	r.Create(p)
	return p
}

func seconds(n int) *metav1.Duration {
	return &metav1.Duration{Duration: time.Duration(n) * time.Second}
}

// podOf returns a pod with the label app=web and one port, which does not exist yet.
func (r *rig) podOf(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name, Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "main", Image: "example.com/web:1", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		}}},
	}
}

// pod creates a Ready pod with the address 10.2.0.1.
func (r *rig) pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	r.Helper()
	pod := r.podOf(name)
	for _, f := range change {
		f(pod)
	}
	r.Create(pod)
	r.status(pod, running("10.2.0.1"))
	return pod
}

// status changes a pod's status as a kubelet would.
func (r *rig) status(pod *corev1.Pod, change func(*corev1.PodStatus)) {
	r.Helper()
	before := pod.DeepCopy()
	change(&pod.Status)
	if err := r.API.Status().Patch(r.Context(), pod, client.StrategicMergeFrom(before)); err != nil {
		r.Fatal(err)
	}
}

// running returns the status of a pod that runs and is Ready.
func running(ips ...string) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.Phase, s.PodIP, s.PodIPs = corev1.PodRunning, ips[0], nil
		for _, ip := range ips {
			s.PodIPs = append(s.PodIPs, corev1.PodIP{IP: ip})
		}
		set(s, corev1.ContainersReady, corev1.ConditionTrue)
		set(s, corev1.PodReady, corev1.ConditionTrue)
	}
}

// conditioned returns a change of one condition.
func conditioned(kind corev1.PodConditionType, status corev1.ConditionStatus) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) { set(s, kind, status) }
}

func set(s *corev1.PodStatus, kind corev1.PodConditionType, status corev1.ConditionStatus) {
	for i := range s.Conditions {
		if s.Conditions[i].Type == kind {
			s.Conditions[i].Status = status
			return
		}
	}
	s.Conditions = append(s.Conditions, corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: metav1.Now()})
}

// update changes a pod's metadata.
func (r *rig) update(o client.Object, change func()) {
	r.Helper()
	before, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		r.Fatalf("%T is no object", o)
	}
	change()
	if err := r.API.Patch(r.Context(), o, client.MergeFrom(before)); err != nil {
		r.Fatal(err)
	}
}

type podSpec = rollcallv1alpha1.PodRegistrationSpec

func clientset(r *rig) *kubernetes.Clientset {
	r.Helper()
	c, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		r.Fatal(err)
	}
	return c
}

// ready3 returns the three counts of a PodRegistration.
func (r *rig) ready3(name string) (registered, matched, conflicts int) {
	r.Helper()
	s, _ := r.ready(name)
	return int(s.Registered), int(s.Matched), int(s.Conflicts)
}

// many creates so many Ready pods, several at a time.
func (r *rig) many(count int) {
	r.Helper()
	var g errgroup.Group
	g.SetLimit(16)
	for i := range count {
		g.Go(func() error {
			pod := r.podOf(fmt.Sprintf("web-%d", i))
			if err := r.API.Create(r.Context(), pod); err != nil {
				return err
			}
			before := pod.DeepCopy()
			running(fmt.Sprintf("10.2.%d.%d", i/250, i%250+1))(&pod.Status)
			return r.API.Status().Patch(r.Context(), pod, client.StrategicMergeFrom(before))
		})
	}
	if err := g.Wait(); err != nil {
		r.Fatal(err)
	}
}
