package rights

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// everywhere starts a manager of the scene that works in all namespaces.
func (s *scene) everywhere() {
	s.Helper()
	s.options.Namespaces = nil
	s.allowEverywhere()
	s.start()
}

// tenant returns a client of somebody who may write NodeRegistries and Services in the scene's namespace, and no more.
func (s *scene) tenant() client.Client {
	s.Helper()
	s.Create(&rbacv1.Role{ObjectMeta: s.meta("tenant"), Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{rollcallv1alpha1.GroupVersion.Group}, Resources: []string{"noderegistries"}, Verbs: []string{"*"}},
		{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"*"}},
	}})
	s.Create(&rbacv1.RoleBinding{
		ObjectMeta: s.meta("tenant"),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tenant"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: "tenant-" + s.Namespace}},
	})
	c := rest.CopyConfig(env.Config)
	c.Impersonate.UserName = "tenant-" + s.Namespace
	tenant, err := client.New(c, client.Options{Scheme: s.API.Scheme()})
	must(s, err)
	// The API server learns of rights a moment later than of other objects.
	s.Within(patience, "the tenant's rights", func() bool {
		in := client.InNamespace(s.Namespace)
		return tenant.List(s.Context(), &rollcallv1alpha1.NodeRegistryList{}, in) == nil && tenant.List(s.Context(), &corev1.ServiceList{}, in) == nil
	})
	return tenant
}

// belongings returns what is in the scene's namespace as "kind name version".
func (s *scene) belongings() []string {
	s.Helper()
	var all []string
	for _, list := range []client.ObjectList{
		&rollcallv1alpha1.NodeRegistryList{}, &rollcallv1alpha1.DiscoveredNodeList{}, &corev1.ServiceList{},
		&discoveryv1.EndpointSliceList{}, &corev1.SecretList{}, &corev1.PodList{},
	} {
		must(s, s.API.List(s.Context(), list, client.InNamespace(s.Namespace)))
		must(s, meta.EachListItem(list, func(o runtime.Object) error {
			object, err := meta.Accessor(o)
			if err != nil {
				return err
			}
			all = append(all, fmt.Sprintf("%T %s %s", o, object.GetName(), object.GetResourceVersion()))
			return nil
		}))
	}
	return all
}

// TestATenantStaysInItsNamespace lets somebody with the right to write NodeRegistries and Services in one namespace
// try what could reach another one.
func TestATenantStaysInItsNamespace(t *testing.T) {
	b := newBroker(t)
	mine, theirs := newScene(t, b), newScene(t, b)
	theirs.Create(&corev1.Secret{ObjectMeta: theirs.meta("only-theirs"), StringData: map[string]string{"username": "rollcall", "password": password}})
	mine.everywhere()
	for _, s := range []*scene{mine, theirs} {
		for _, happened := range []func(*scene) func() bool{theServiceHasEndpoints, theServiceHasItsCondition, theRegistryIsConnected, theGateIsSet} {
			s.Within(patience, "the scene to be set", happened(s))
		}
	}
	theirs.calm()
	before := theirs.belongings()
	tenant := mine.tenant()

	for _, name := range []string{"../../" + theirs.Namespace + "/secrets/only-theirs", theirs.Namespace + "/only-theirs", "%2e%2e"} {
		r := mine.draft("path")
		r.Spec.Connection.Auth.UserPassword.Name = name
		if err := tenant.Create(t.Context(), r); !apierrors.IsInvalid(err) {
			t.Errorf("a NodeRegistry with the Secret %q: %v", name, err)
		}
	}
	thief := mine.draft("thief")
	thief.Spec.Connection.Auth.UserPassword.Name = "only-theirs"
	must(t, tenant.Create(t.Context(), thief))
	mine.Within(patience, "the refusal", mine.registryIs("thief", rollcallv1alpha1.ReasonSecretNotFound))

	// Their bucket, which the login allows: their nodes are seen here, under a registry of the same name as there.
	r := mine.draft("eavesdropper")
	r.Spec.Bucket.Name = theirs.Namespace
	must(t, tenant.Create(t.Context(), r))
	mine.Within(patience, "their node, mirrored here", func() bool { return mine.get("eavesdropper.base", &rollcallv1alpha1.DiscoveredNode{}) })

	// Every node there is.
	greedy := &corev1.Service{ObjectMeta: mine.meta("greedy"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	greedy.Annotations = map[string]string{
		rollcallv1alpha1.AnnotationNodeSelector: rollcallv1alpha1.LabelRegistry,
		rollcallv1alpha1.AnnotationTargetRef:    rollcallv1alpha1.TargetRefDiscoveredNode,
	}
	must(t, tenant.Create(t.Context(), greedy))
	mine.Within(patience, "the greedy Service to be served", func() bool { return len(mine.addresses("greedy")) > 0 })
	for _, name := range []string{registry, "eavesdropper"} {
		mine.Within(patience, "a suspension", func() bool {
			found := &rollcallv1alpha1.NodeRegistry{}
			must(t, tenant.Get(t.Context(), client.ObjectKey{Namespace: mine.Namespace, Name: name}, found))
			found.Spec.Suspend = true
			found.Annotations = map[string]string{rollcallv1alpha1.AnnotationAcceptExpiry: "yes"}
			return tenant.Update(t.Context(), found) == nil
		})
		mine.Within(patience, "the suspension of "+name, mine.registryIs(name, rollcallv1alpha1.ReasonSuspended))
	}

	if after := theirs.belongings(); !slices.Equal(before, after) {
		t.Errorf("what is theirs was\n%s\nand is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	mine.staysWithin(theirs)
	for _, request := range log.of(mine.user) {
		if request.right.resource == "secrets" && request.namespace == theirs.Namespace && request.name != "login" {
			t.Errorf("the manager read Secret %s of the other namespace", request.name)
		}
	}
}

// staysWithin checks that every EndpointSlice of Rollcall's is that of a Service of its namespace and names nodes of it.
func (s *scene) staysWithin(others ...*scene) {
	s.Helper()
	for _, scene := range append(others, s) {
		list := &discoveryv1.EndpointSliceList{}
		must(s, s.API.List(s.Context(), list, client.InNamespace(scene.Namespace)))
		for _, slice := range list.Items {
			owner := metav1.GetControllerOf(&slice)
			service := &corev1.Service{}
			if owner == nil || !scene.get(owner.Name, service) || service.UID != owner.UID {
				s.Errorf("the slice %s of %s has the owner %v", slice.Name, scene.Namespace, owner)
			}
			for _, e := range slice.Endpoints {
				if e.TargetRef == nil || e.TargetRef.Namespace != scene.Namespace {
					s.Errorf("the slice %s of %s leads to %v", slice.Name, scene.Namespace, e.TargetRef)
				}
			}
		}
	}
}

// calm waits until nothing has changed in the scene's namespace for a second.
func (s *scene) calm() {
	s.Helper()
	last, since := s.belongings(), time.Now()
	s.Within(patience, "the scene to be calm", func() bool {
		if now := s.belongings(); !slices.Equal(now, last) {
			last, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
}

// TestDeniedAddresses: what the manager is set to deny, no NodeRegistry can allow.
func TestDeniedAddresses(t *testing.T) {
	s := newScene(t, newBroker(t))
	s.options.DeniedCIDRs = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00::/8")}
	s.everywhere()
	r := &rollcallv1alpha1.NodeRegistry{}
	s.get(registry, r)
	s.edit(r, func() {
		r.Spec.AddressPolicy = &rollcallv1alpha1.AddressPolicy{AllowedCIDRs: []string{"10.0.0.0/8", "fd00::/8", "64:ff9b::/96"}}
	})
	for id, address := range map[string]string{"service": "10.96.0.10", "pod": "[fd00::1]", "translated": "[64:ff9b::10.96.0.10]"} {
		s.node(id, address, "base")
		node := &rollcallv1alpha1.DiscoveredNode{}
		var condition *metav1.Condition
		s.Within(patience, "the refusal of "+address, func() bool {
			s.get(registry+"."+id, node)
			condition = meta.FindStatusCondition(node.Status.Conditions, rollcallv1alpha1.ConditionReady)
			return condition != nil && condition.Reason == rollcallv1alpha1.ReasonAddressRefused
		})
		if !strings.Contains(condition.Message, "which Rollcall is set to deny") {
			t.Errorf("%s: %s", address, condition.Message)
		}
	}
	s.Within(patience, "the endpoint that is allowed", s.serves("web", "10.1.0.1"))
}

// TestTenantsShareNoLogin: two namespaces name the same server and the same Secret, which is another one in each. Neither
// sees what the other's login allows.
func TestTenantsShareNoLogin(t *testing.T) {
	b := newBroker(t, func(o *server.Options) {
		accounts := &server.Options{}
		must(t, accounts.ProcessConfigString(`accounts: {
			A: {jetstream: enabled, users: [{user: a, password: the-password-of-a}]}
			B: {jetstream: enabled, users: [{user: b, password: the-password-of-b}]}
		}`))
		o.Username, o.Password = "", ""
		o.Accounts, o.Users = accounts.Accounts, accounts.Users
	})
	scenes := map[string]*scene{}
	for _, name := range []string{"a", "b"} {
		b.login = nats.UserInfo(name, "the-password-of-"+name)
		s := newScene(t, b)
		s.put(&corev1.Secret{ObjectMeta: s.meta("login"), StringData: map[string]string{"username": name, "password": "the-password-of-" + name}})
		kv, err := s.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "fleet"})
		must(t, err)
		s.kv = kv
		s.node("of-"+name, "10.3.0.1", name)
		r := s.draft("fleet")
		r.Spec.Bucket.Name = "fleet"
		s.Create(r)
		scenes[name] = s
	}
	scenes["a"].everywhere()
	for name, s := range scenes {
		s.Within(patience, "the node of "+name, func() bool { return s.get("fleet.of-"+name, &rollcallv1alpha1.DiscoveredNode{}) })
		list := &rollcallv1alpha1.DiscoveredNodeList{}
		must(t, s.API.List(t.Context(), list, client.InNamespace(s.Namespace)))
		for _, node := range list.Items {
			if node.Spec.RegistryName == "fleet" && node.Spec.NodeID != "of-"+name {
				t.Errorf("%s sees %s", name, node.Spec.NodeID)
			}
		}
	}
}
