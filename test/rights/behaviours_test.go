package rights

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// behaviour is something that Rollcall does, and the rights without which it does not.
type behaviour struct {
	name   string
	rights []string
	// do sets it off, and returns whether it has happened. It works each time that it is called.
	do func(*scene) (happened func() bool)
	// once says that Rollcall does not try again what was refused, so that it has to be set off again.
	once bool
}

var behaviours = []behaviour{
	{"it starts, and knows its cluster by the UID of kube-system", []string{"get namespaces"}, theNodeIsShown, false},
	{"one replica leads, and goes on leading", []string{
		"get leases.coordination.k8s.io", "create leases.coordination.k8s.io", "update leases.coordination.k8s.io",
	}, theLeaseIsRenewed, false},
	{"that it leads is an Event of the Lease", []string{"create events"}, theLeaseHasAnEvent, true},
	{"the metrics are served to a token that may read them", []string{
		"create tokenreviews.authentication.k8s.io", "create subjectaccessreviews.authorization.k8s.io",
	}, theMetricsAreServed, false},
	{"a Secret logs in, a ConfigMap secures the way", []string{"get secrets", "get configmaps"}, theRegistryIsConnected, false},
	{"the conditions of a NodeRegistry are written", []string{"patch noderegistries.rollcall.dev/status"}, theRegistryIsConnected, false},
	{"a change of a NodeRegistry counts at once", []string{"watch noderegistries.rollcall.dev"}, aRegistryIsSuspended, false},
	{"a request to accept an expiry is answered and taken back", []string{"patch noderegistries.rollcall.dev"}, expiryIsAccepted, false},
	{"a change of condition is an Event", []string{"create events.events.k8s.io"}, anEventIsTold, true},
	{"an Event that recurs is counted", []string{"patch events.events.k8s.io"}, anEventIsCounted, true},
	{"a record becomes a DiscoveredNode", []string{
		"list noderegistries.rollcall.dev", "list discoverednodes.rollcall.dev", "create discoverednodes.rollcall.dev",
	}, theNodeIsShown, false},
	{"another record is another DiscoveredNode", []string{"update discoverednodes.rollcall.dev"}, aNodeChanges, false},
	{"a node that unregistered is no DiscoveredNode", []string{"delete discoverednodes.rollcall.dev"}, aNodeLeaves, false},
	{"a person cordons a DiscoveredNode", []string{"watch discoverednodes.rollcall.dev"}, aNodeIsCordoned, false},
	{"a Service gets its nodes as endpoints", []string{
		"list services", "list endpointslices.discovery.k8s.io", "create endpointslices.discovery.k8s.io", "update services/finalizers",
	}, theServiceHasEndpoints, false},
	{"a new Service gets them at once", []string{"watch services"}, aNewServiceHasEndpoints, false},
	{"a node's new address replaces the old one", []string{"update endpointslices.discovery.k8s.io"}, anAddressChanges, false},
	{"a Service that wants no nodes any more loses them", []string{"delete endpointslices.discovery.k8s.io", "get services"}, aServiceIsReleased, false},
	{"an EndpointSlice that somebody emptied is filled again", []string{"watch endpointslices.discovery.k8s.io"}, aSliceIsRestored, false},
	{"an EndpointSlice that lost its label gets it back", []string{"get endpointslices.discovery.k8s.io"}, aLabelIsRestored, false},
	{"a Service says that its EndpointSlices are as they should be", []string{"patch services/status"}, theServiceHasItsCondition, false},
	{"a Ready pod is in the bucket", []string{"list pods", "list podregistrations.rollcall.dev"}, thePodIsRegistered, false},
	{"a new pod is there at once", []string{"watch pods"}, aNewPodIsRegistered, false},
	{"a new PodRegistration counts at once", []string{"watch podregistrations.rollcall.dev"}, aNewRegistrationIsSeen, false},
	{"the status of a PodRegistration is written", []string{"patch podregistrations.rollcall.dev/status"}, theRegistrationHasItsStatus, false},
	{"a readiness gate is set", []string{"patch pods/status"}, theGateIsSet, false},
}

// get returns whether an object of the scene's namespace is there, and reads it.
func (s *scene) get(name string, o client.Object) bool {
	s.Helper()
	err := s.API.Get(s.Context(), client.ObjectKey{Namespace: s.Namespace, Name: name}, o)
	must(s, client.IgnoreNotFound(err))
	return err == nil
}

// edit changes an object as a person would.
func (s *scene) edit(o client.Object, change func()) {
	s.Helper()
	before, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		s.Fatalf("%T is no object", o)
	}
	change()
	must(s, s.API.Patch(s.Context(), o, client.MergeFrom(before)))
}

func (s *scene) shown(id string) func() bool {
	return func() bool { return s.get(registry+"."+id, &rollcallv1alpha1.DiscoveredNode{}) }
}

// addresses returns the addresses in the slices of a Service.
func (s *scene) addresses(service string) []string {
	s.Helper()
	var all []string
	for _, slice := range s.slices(service) {
		for _, e := range slice.Endpoints {
			all = append(all, e.Addresses...)
		}
	}
	return all
}

func (s *scene) slices(service string) []discoveryv1.EndpointSlice {
	s.Helper()
	list := &discoveryv1.EndpointSliceList{}
	must(s, s.API.List(s.Context(), list, client.InNamespace(s.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: service}))
	return list.Items
}

func (s *scene) serves(service string, want ...string) func() bool {
	return func() bool { return slices.Equal(s.addresses(service), want) }
}

// served creates a Service with one node and waits until it is served.
func (s *scene) served() (service *corev1.Service, address string) {
	s.Helper()
	name := s.name("served")
	// An address of its own: of two nodes with the same one, only the older is served.
	address = fmt.Sprintf("10.1.1.%d", s.count.Load())
	service = s.service(name, name)
	s.node(name, address, name)
	s.Within(patience, "the endpoint of "+name, s.serves(name, address))
	return service, address
}

func theNodeIsShown(s *scene) func() bool { return s.shown("base") }

func aNodeChanges(s *scene) func() bool {
	id := s.name("changing")
	s.node(id, "10.1.2.1", "before")
	s.Within(patience, id, s.shown(id))
	s.node(id, "10.1.2.2", "after")
	node := &rollcallv1alpha1.DiscoveredNode{}
	return func() bool {
		return s.get(registry+"."+id, node) && slices.Equal(node.Spec.Addresses, []string{"10.1.2.2"})
	}
}

func aNodeLeaves(s *scene) func() bool {
	id := s.name("leaving")
	s.node(id, "10.1.3.1", "leaving")
	s.Within(patience, id, s.shown(id))
	must(s, s.kv.Delete(s.Context(), "node."+id))
	return func() bool { return !s.shown(id)() }
}

func aNodeIsCordoned(s *scene) func() bool {
	s.Within(patience, "the node", s.shown("base"))
	node := &rollcallv1alpha1.DiscoveredNode{}
	s.get(registry+".base", node)
	s.edit(node, func() { node.Spec.Cordoned = true })
	return func() bool {
		condition := &metav1.Condition{}
		if s.get(registry+".base", node) {
			condition = meta.FindStatusCondition(node.Status.Conditions, rollcallv1alpha1.ConditionReady)
		}
		return condition.Reason == rollcallv1alpha1.ReasonCordoned
	}
}

func theRegistryIsConnected(s *scene) func() bool {
	return s.registryIs(registry, rollcallv1alpha1.ReasonConnected)
}

// registryIs says whether the condition Connected of a NodeRegistry has that reason.
func (s *scene) registryIs(name, reason string) func() bool {
	r := &rollcallv1alpha1.NodeRegistry{}
	return func() bool {
		s.get(name, r)
		c := meta.FindStatusCondition(r.Status.Conditions, rollcallv1alpha1.ConditionConnected)
		return c != nil && c.Reason == reason
	}
}

func (s *scene) suspend(name string, on bool) {
	s.Helper()
	r := &rollcallv1alpha1.NodeRegistry{}
	s.get(name, r)
	s.edit(r, func() { r.Spec.Suspend = on })
}

func aRegistryIsSuspended(s *scene) func() bool {
	s.Within(patience, "the connection", s.registryIs(registry, rollcallv1alpha1.ReasonConnected))
	s.suspend(registry, true)
	return s.registryIs(registry, rollcallv1alpha1.ReasonSuspended)
}

// expiryIsAccepted lets a new fleet die at once, which the disruption guard holds, and accepts that.
func expiryIsAccepted(s *scene) func() bool {
	bucket := s.name(s.Namespace)
	kv, err := s.js.CreateKeyValue(s.Context(), jetstream.KeyValueConfig{Bucket: bucket, TTL: 2 * time.Second})
	must(s, err)
	r := s.draft(s.name("held"))
	r.Spec.Bucket.Name, r.Spec.Bucket.TTL = bucket, &metav1.Duration{Duration: 2 * time.Second}
	r.Spec.Liveness.MinNodes = new(int32(3))
	s.Create(r)
	s.Within(patience, "the connection", s.registryIs(r.Name, rollcallv1alpha1.ReasonConnected))
	for n := range 3 {
		_, err := kv.PutString(s.Context(), fmt.Sprintf("node.%d", n), fmt.Sprintf(`{"NodeId":"%d","Endpoint":"10.3.0.%d:80"}`, n, n+1))
		must(s, err)
	}
	s.AcceptExpiry(patience, r.Name)
	return func() bool { return s.get(r.Name, r) && len(r.Annotations) == 0 }
}

func anEventIsTold(s *scene) func() bool {
	suspended := s.suspendedEvents(1)
	return func() bool { return len(suspended()) > 0 }
}

func anEventIsCounted(s *scene) func() bool {
	suspended := s.suspendedEvents(2)
	return func() bool {
		return slices.ContainsFunc(suspended(), func(e eventsv1.Event) bool { return e.Series != nil && e.Series.Count > 1 })
	}
}

// suspendedEvents suspends a new registry so many times, and returns the Events that say so.
func (s *scene) suspendedEvents(times int) func() []eventsv1.Event {
	s.Helper()
	name := s.registry(s.name("told")).Name
	for range times {
		s.suspend(name, false)
		s.Within(patience, "the connection", s.registryIs(name, rollcallv1alpha1.ReasonConnected))
		s.suspend(name, true)
		s.Within(patience, "the suspension", s.registryIs(name, rollcallv1alpha1.ReasonSuspended))
	}
	return func() []eventsv1.Event {
		list := &eventsv1.EventList{}
		must(s, s.API.List(s.Context(), list, client.InNamespace(s.Namespace)))
		return slices.DeleteFunc(list.Items, func(e eventsv1.Event) bool {
			return e.Regarding.Name != name || e.Reason != rollcallv1alpha1.ReasonSuspended
		})
	}
}

func theLeaseIsRenewed(s *scene) func() bool {
	return func() bool {
		lease := &coordinationv1.Lease{}
		return s.get("rollcall-manager", lease) && lease.Spec.RenewTime.After(lease.Spec.AcquireTime.Time)
	}
}

func theLeaseHasAnEvent(s *scene) func() bool {
	s.stop()
	before := s.leaseEvents()
	s.start()
	return func() bool { return s.leaseEvents() > before }
}

func (s *scene) leaseEvents() int {
	s.Helper()
	list := &corev1.EventList{}
	must(s, s.API.List(s.Context(), list, client.InNamespace(s.Namespace)))
	return len(slices.DeleteFunc(list.Items, func(e corev1.Event) bool { return e.InvolvedObject.Kind != "Lease" }))
}

func theMetricsAreServed(s *scene) func() bool {
	name := s.name("scraper")
	token := s.token(name)
	s.bind(s.metricsReader(), name)
	return func() bool { return s.scrape("https", token) == http.StatusOK }
}

// metricsReader creates the ClusterRole metrics-reader of config/rbac, and returns its name.
func (s *scene) metricsReader() string {
	s.Helper()
	role := readRole(s, "metrics_reader_role.yaml")
	role.Name = s.Namespace + "-" + role.Name
	s.put(role)
	return role.Name
}

// scrape returns the status of the answer to a request for the metrics; 0: there is none.
func (s *scene) scrape(scheme, token string) int {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, scheme+"://"+s.metrics+"/metrics", nil)
	must(s, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	// The certificate is self-signed: there is nothing to trust it by.
	scraper := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := scraper.Do(request)
	if err != nil {
		return 0
	}
	must(s, response.Body.Close())
	return response.StatusCode
}

func theServiceHasEndpoints(s *scene) func() bool { return s.serves("web", "10.1.0.1") }

func aNewServiceHasEndpoints(s *scene) func() bool {
	name := s.name("new")
	s.service(name, "base")
	return s.serves(name, "10.1.0.1")
}

func anAddressChanges(s *scene) func() bool {
	service, _ := s.served()
	s.node(service.Name, "10.1.4.1", service.Name)
	return s.serves(service.Name, "10.1.4.1")
}

func aServiceIsReleased(s *scene) func() bool {
	service, _ := s.served()
	s.edit(service, func() { service.Annotations = nil })
	return func() bool { return len(s.slices(service.Name)) == 0 }
}

func aSliceIsRestored(s *scene) func() bool {
	service, address := s.served()
	slice := s.slices(service.Name)[0]
	s.edit(&slice, func() { slice.Endpoints = nil })
	return s.serves(service.Name, address)
}

func aLabelIsRestored(s *scene) func() bool {
	service, _ := s.served()
	slice := s.slices(service.Name)[0]
	s.edit(&slice, func() { delete(slice.Labels, discoveryv1.LabelManagedBy) })
	return func() bool {
		return s.slices(service.Name)[0].Labels[discoveryv1.LabelManagedBy] == rollcallv1alpha1.ManagedBy
	}
}

func theServiceHasItsCondition(s *scene) func() bool {
	service := &corev1.Service{}
	return func() bool {
		return s.get("web", service) && meta.IsStatusConditionTrue(service.Status.Conditions, rollcallv1alpha1.ConditionEndpointsSynced)
	}
}

func (s *scene) registered(pod string) func() bool {
	return func() bool {
		_, err := s.kv.Get(s.Context(), "node."+pod)
		return err == nil
	}
}

func thePodIsRegistered(s *scene) func() bool { return s.registered("base-pod") }

func aNewPodIsRegistered(s *scene) func() bool {
	name := s.name("pod")
	s.pod(name)
	return s.registered(name)
}

func aNewRegistrationIsSeen(s *scene) func() bool {
	name := s.name("late")
	s.Create(&rollcallv1alpha1.PodRegistration{
		ObjectMeta: s.meta(name),
		Spec:       rollcallv1alpha1.PodRegistrationSpec{RegistryName: registry, Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}},
	})
	return s.registrationIsReady(name)
}

func theRegistrationHasItsStatus(s *scene) func() bool { return s.registrationIsReady("pods") }

func (s *scene) registrationIsReady(name string) func() bool {
	p := &rollcallv1alpha1.PodRegistration{}
	return func() bool {
		return s.get(name, p) && meta.IsStatusConditionTrue(p.Status.Conditions, rollcallv1alpha1.ConditionReady)
	}
}

func theGateIsSet(s *scene) func() bool {
	pod := &corev1.Pod{}
	return func() bool {
		return s.get("base-pod", pod) && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == rollcallv1alpha1.ReadinessGateRegistered && c.Status == corev1.ConditionTrue
		})
	}
}

// patience is how long anything may take that is to happen soon; it is generous for the sake of a loaded machine.
const patience = 60 * time.Second
