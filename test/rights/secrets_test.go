package rights

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// TestSecretsAreGotByNameAlone lets the manager do whatever it wants, and looks in the API server's audit log for what it
// wanted: no Secret and no ConfigMap but those that a NodeRegistry names, and never a list or a watch of them.
func TestSecretsAreGotByNameAlone(t *testing.T) {
	s := newScene(t, newBroker(t))
	s.options.Namespaces = nil
	s.bind("cluster-admin", account)
	s.Create(&corev1.Secret{ObjectMeta: s.meta("token"), StringData: map[string]string{"token": "no-such-token"}})
	other := s.draft("other")
	other.Spec.Connection.Auth = &rollcallv1alpha1.Auth{Token: &rollcallv1alpha1.SecretKeyReference{Name: "token", Key: "token"}}
	s.Create(other)
	s.start()
	s.Within(patience, "the connection", s.registryIs(registry, rollcallv1alpha1.ReasonConnected))
	s.Within(patience, "the refusal", s.registryIs("other", rollcallv1alpha1.ReasonAuthenticationFailed))
	for _, b := range behaviours {
		s.Within(patience, b.name, b.do(s))
		s.suspend(registry, false)
	}
	named := map[string]bool{"secrets login": false, "secrets token": false, "configmaps ca": false}
	for _, request := range log.of(s.user) {
		resource := request.right.resource
		if resource != "secrets" && resource != "configmaps" {
			continue
		}
		object := resource + " " + request.name
		if request.namespace != s.Namespace {
			t.Errorf("the manager sent: %s %s in %q", request.right, request.name, request.namespace)
		}
		if _, known := named[object]; !known || request.right.verb != "get" {
			t.Errorf("the manager sent: %s %s in %q", request.right, request.name, request.namespace)
		}
		named[object] = true
	}
	for object, read := range named {
		if !read {
			t.Errorf("%s was never read, so this test shows little", object)
		}
	}
	for _, rule := range rules(t, managerRole) {
		if r := rightOf(rule); (r.resource == "secrets" || r.resource == "configmaps") && r.verb != "get" {
			t.Errorf("the role gives the right to %s", r)
		}
	}
}
