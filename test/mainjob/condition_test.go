package mainjob

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// verdict returns the condition EndpointsSynced of a Service as "status/reason: message".
func (r *rig) verdict(name string) string {
	r.Helper()
	service := &corev1.Service{}
	if err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: name}, service); err != nil {
		r.Fatal(err)
	}
	c := meta.FindStatusCondition(service.Status.Conditions, rollcallv1alpha1.ConditionEndpointsSynced)
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s/%s: %s", c.Status, c.Reason, c.Message)
}

// toldOf waits until the condition of the Service begins like that, and returns all of it.
func (r *rig) toldOf(service, want string) (condition string) {
	r.Helper()
	defer func() { r.Logf("%s says %s", service, condition) }()
	r.Within(patience*3/2, fmt.Sprintf("%s to say %s", service, want), func() bool {
		condition = r.verdict(service)
		return strings.HasPrefix(condition, want)
	})
	return condition
}

// write writes a record into a bucket.
func (r *rig) write(kv jetstream.KeyValue, key, record string) {
	r.Helper()
	r.insist("a record", func() error {
		_, err := kv.PutString(r.Context(), key, record)
		return err
	})
}

// sibling creates a NodeRegistry over the keys of a bucket that begin with its name.
func (r *rig) sibling(name string, change ...func(*rollcallv1alpha1.NodeRegistrySpec)) {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name},
		Spec: rollcallv1alpha1.NodeRegistrySpec{
			Connection: rollcallv1alpha1.Connection{Servers: []string{r.nats.URL()}},
			Bucket:     rollcallv1alpha1.Bucket{KeyPrefix: new(name + ".")},
			Labels:     map[string]string{"role": "role"},
		},
	}
	for _, f := range change {
		f(&registry.Spec)
	}
	r.Create(registry)
}

// over has a Service select these nodes.
func over(selector string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Annotations[rollcallv1alpha1.AnnotationNodeSelector] = selector }
}

// TestTheServiceSaysWhatIsWrong: whatever leaves a Service without a ready endpoint, or spoils those that it has, is told at the Service.
func TestTheServiceSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	js, err := jetstream.New(r.nats.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	short, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "short", TTL: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r.registry()
	r.sibling("bad")
	r.sibling("old", func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Liveness.StaleAfter, s.Liveness.ReconnectGrace = seconds(2), seconds(1)
	})
	r.sibling("dead", func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Bucket.Name, s.Liveness.ReconnectGrace, s.Liveness.RetainExpired = "short", seconds(1), seconds(3600)
	})
	r.sibling("away", func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Connection.Servers = []string{"nats://127.0.0.1:1"} })
	r.beatAll(0, 2)
	const full = `{"NodeId":%q,"Endpoint":"http://10.3.0.1:8080"%s}`
	r.put("leaving", `"Endpoint":"http://10.2.0.1:8080","Draining":true,"Metadata":{"role":"leaving"}`)
	r.put("out", `"Endpoint":"http://10.2.0.2:8080","Metadata":{"role":"out"}`)
	r.write(r.kv, "bad.one", `{"NodeId":"one","Endpoint":7}`)
	r.write(r.kv, "old.one", fmt.Sprintf(full, "one", ""))

	tests := []struct {
		name, want string
		change     []func(*corev1.Service)
	}{
		{"well", "True/Synced: 2 ready, of 2 selected.", nil},
		{"typo", "True/NoNodes: 0 ready, of 0 selected. There are nodes, but none has the labels", []func(*corev1.Service){over("rollcall.dev/registry=catga,role=wbe")}},
		{"missing", "False/RegistryNotFound: 0 ready", []func(*corev1.Service){over("rollcall.dev/registry=catgo")}},
		{"unlisted", "False/RegistryNotListed: 0 ready, of 0 selected. NodeRegistry away", []func(*corev1.Service){over("rollcall.dev/registry=away,role=web")}},
		{"six", "True/AddressFamilyNotFound: 0 ready, of 2 selected: 2 have no IPv6 address (catga.web-0, catga.web-1). No endpoint is ready, since the Service is IPv6 only",
			[]func(*corev1.Service){func(s *corev1.Service) {
				s.Spec.ClusterIP, s.Spec.IPFamilies = corev1.ClusterIPNone, []corev1.IPFamily{corev1.IPv6Protocol}
				s.Spec.IPFamilyPolicy = new(corev1.IPFamilyPolicySingleStack)
			}}},
		{"port", "True/PortNotFound: 0 ready, of 2 selected: 2 lack port grpc (catga.web-0, catga.web-1). No endpoint is ready", []func(*corev1.Service){func(s *corev1.Service) {
			s.Spec.Ports[0].TargetPort = intstr.FromString("grpc")
		}}},
		{"protocol", "True/PortNotFound: 0 ready, of 2 selected: 2 lack port http/UDP (catga.web-0, catga.web-1), 2 have such a port with another protocol.", []func(*corev1.Service){
			func(s *corev1.Service) { s.Spec.Ports[0].Protocol = corev1.ProtocolUDP }}},
		{"local", "True/TrafficPolicyLocal: 2 ready, of 2 selected. internalTrafficPolicy", []func(*corev1.Service){func(s *corev1.Service) {
			s.Spec.InternalTrafficPolicy = new(corev1.ServiceInternalTrafficPolicyLocal)
		}}},
		{"outside", "True/TrafficPolicyLocal: 2 ready, of 2 selected. externalTrafficPolicy", []func(*corev1.Service){func(s *corev1.Service) {
			s.Spec.Type, s.Spec.ExternalTrafficPolicy = corev1.ServiceTypeNodePort, corev1.ServiceExternalTrafficPolicyLocal
		}}},
		{"zones", "True/ZoneHintsOff: 2 ready, of 2 selected: 2 have no zone (catga.web-0, catga.web-1).", []func(*corev1.Service){func(s *corev1.Service) {
			s.Spec.TrafficDistribution = new(corev1.ServiceTrafficDistributionPreferClose)
		}}},
		{"headless", "True/Synced: 2 ready, of 2 selected.", []func(*corev1.Service){func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.Ports = corev1.ClusterIPNone, nil }}},
		{"leaving", "True/AllDraining: 0 ready, 1 not, of 1 selected: 1 is draining.", []func(*corev1.Service){over("rollcall.dev/registry=catga,role=leaving")}},
		{"out", "True/AllCordoned: 0 ready, 1 not, of 1 selected: 1 is cordoned.", []func(*corev1.Service){over("rollcall.dev/registry=catga,role=out")}},
		{"refused", "True/AllRefused: 0 ready, of 1 selected: 1 has a record that is refused.", []func(*corev1.Service){over("rollcall.dev/registry=bad")}},
		{"hidden", "True/AllRefused: 0 ready, of 0 selected. Every record is refused", []func(*corev1.Service){over("rollcall.dev/registry=bad,role=web")}},
		{"stale", "True/AllStale: 0 ready, 1 not, of 1 selected: 1 is Stale.", []func(*corev1.Service){over("rollcall.dev/registry=old")}},
		{"expired", "True/AllExpired: 0 ready, of 1 selected: 1 is Expired.", []func(*corev1.Service){over("rollcall.dev/registry=dead")}},
	}
	for _, test := range tests {
		r.service(test.name, test.change...)
	}
	r.Start()
	r.Within(patience, "the node to be cordoned", func() bool {
		dn := &rollcallv1alpha1.DiscoveredNode{}
		if err := r.API.Get(t.Context(), client.ObjectKey{Namespace: r.Namespace, Name: "catga.out"}, dn); err != nil {
			return false
		}
		before := dn.DeepCopy()
		dn.Spec.Cordoned = true
		return r.API.Patch(t.Context(), dn, client.MergeFrom(before)) == nil
	})
	r.Within(patience, "the node to be known before it dies", func() bool {
		r.write(short, "dead.one", fmt.Sprintf(full, "one", ""))
		return slices.ContainsFunc(r.nodes(), func(dn rollcallv1alpha1.DiscoveredNode) bool { return dn.Name == "dead.one" })
	})
	for _, test := range tests {
		r.toldOf(test.name, test.want)
	}
}

// kubernetes starts kube-controller-manager with all of its controllers that write endpoints.
func (r *rig) kubernetes() {
	r.Helper()
	build := exec.CommandContext(r.Context(), "../../hack/controlplane/build.sh", "kube-controller-manager")
	build.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KUBEBUILDER_ASSETS=") })
	output, err := build.Output()
	if err != nil {
		r.Fatalf("build kube-controller-manager: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	command := exec.CommandContext(r.Context(), filepath.Join(lines[len(lines)-1], "kube-controller-manager"),
		"--kubeconfig="+r.kubeconfig(), "--leader-elect=false", "--secure-port=0",
		"--controllers=endpoints-controller,endpointslice-controller,endpointslice-mirroring-controller")
	var log bytes.Buffer
	command.Stdout, command.Stderr = &log, &log
	if err := command.Start(); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if r.Failed() {
			r.Logf("kube-controller-manager: %s", log.String())
		}
	})
}

func (r *rig) kubeconfig() string {
	r.Helper()
	path := filepath.Join(r.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(path); err != nil {
		r.Fatal(err)
	}
	return path
}

// cure runs the commands of the condition's message.
func (r *rig) cure(condition string) {
	r.Helper()
	kubeconfig := r.kubeconfig()
	for _, command := range strings.Split(condition, "kubectl ")[1:] {
		command, _, _ = strings.Cut(strings.TrimSuffix(command, "."), ". ")
		r.Logf("kubectl %s", command)
		arguments := append([]string{"--kubeconfig=" + kubeconfig}, strings.Fields(command)...)
		output, err := exec.CommandContext(r.Context(), env.Kubectl, arguments...).CombinedOutput()
		if err != nil {
			r.Fatalf("kubectl %s: %v: %s", command, err, output)
		}
	}
}

// pod creates a pod that runs and is Ready, as far as the API server knows.
func (r *rig) pod(name, ip string) *corev1.Pod {
	r.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: r.Namespace}}
	r.Create(node)
	r.Cleanup(func() { _ = r.API.Delete(r.Context(), node) })
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{NodeName: node.Name, Containers: []corev1.Container{{Name: "app", Image: "app", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}},
	}
	r.Create(pod)
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	if err := r.API.Status().Update(r.Context(), pod); err != nil {
		r.Fatal(err)
	}
	return pod
}

// TestTheServiceTellsOfOthersSlices: what other controllers left at the Service serves beside the nodes. It is told with the command that
// ends it, and nothing of it is deleted.
func TestTheServiceTellsOfOthersSlices(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.kubernetes()
	r.startReady()
	r.beatAll(0, 1)
	pod := r.pod("moved", "10.5.0.1")
	service := r.service("moved", func(s *corev1.Service) { s.Spec.Selector, s.Annotations = map[string]string{"app": "moved"}, nil })
	r.Within(patience, "the pod", func() bool { return slices.Equal(r.ready("moved"), []string{"10.5.0.1"}) })
	before := service.DeepCopy()
	service.Spec.Selector, service.Annotations = nil, map[string]string{rollcallv1alpha1.AnnotationNodeSelector: "role=web"}
	if err := r.API.Patch(t.Context(), service, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	if err := r.API.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}

	//nolint:staticcheck // People keep such objects, and our documentation had them do it.
	endpoints := &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "mirrored"},
		Subsets:    []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: "10.5.0.2"}}, Ports: []corev1.EndpointPort{{Name: "http", Port: 8080}}}},
	}
	r.Create(endpoints)
	byHand := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: r.Namespace, Name: "byhand-1", Labels: map[string]string{discoveryv1.LabelServiceName: "byhand"}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.5.0.3"}}},
	}
	r.Create(byHand)
	r.service("mirrored")
	r.service("byhand")

	// The Endpoints object that the selector left is mirrored as well.
	r.Within(patience, "Kubernetes to mirror what the selector left", func() bool {
		return strings.Contains(r.verdict("moved"), "an Endpoints object that Kubernetes mirrors")
	})
	for _, test := range []struct{ name, address, want string }{
		{"moved", "10.5.0.1", "True/SelectorSlicesLeft: 1 ready, of 1 selected. 1 endpoint (10.5.0.1) that an earlier spec.selector left"},
		{"mirrored", "10.5.0.2", "True/EndpointsMirrored: 1 ready, of 1 selected. 1 endpoint (10.5.0.2) of an Endpoints object that Kubernetes mirrors"},
		{"byhand", "10.5.0.3", "True/ForeignSlices: 1 ready, of 1 selected. 1 endpoint (10.5.0.3) in EndpointSlices that are not Rollcall's"},
	} {
		condition := r.toldOf(test.name, test.want)
		if got := slices.Compact(r.ready(test.name)); !slices.Equal(got, []string{address(0), test.address}) {
			t.Errorf("%s has %v", test.name, got)
		}
		r.cure(condition)
		r.Within(patience, "the address to go", func() bool { return slices.Equal(r.ready(test.name), []string{address(0)}) })
	}
	for _, name := range []string{"moved", "mirrored", "byhand"} {
		r.toldOf(name, "True/Synced: 1 ready, of 1 selected.")
		if got := r.ready(name); !slices.Equal(got, []string{address(0)}) {
			t.Errorf("in the end %s has %v", name, got)
		}
	}
}
