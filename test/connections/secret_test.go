package connections

import (
	"os"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func userPassword(secret string) func(*rollcallv1alpha1.NodeRegistrySpec) {
	return func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Connection.Auth = &rollcallv1alpha1.Auth{UserPassword: &rollcallv1alpha1.SecretReference{Name: secret}}
	}
}

func basic(password string) map[string]string {
	return map[string]string{"username": "rollcall", "password": password}
}

func TestMissingSecret(t *testing.T) {
	t.Parallel()
	r := newRig(t, users(&server.User{Username: "rollcall", Password: "the-right-password"}))
	r.registry("catga", userPassword("login"))
	r.await("catga", "Connected", "False/SecretNotFound", `Secret "login" does not exist`)
	r.await("catga", "Ready", "False/SecretNotFound", `Secret "login"`)
	r.await("catga", "Synced", "False/NotListed")

	r.secret("login", map[string]string{"username": "rollcall"})
	r.await("catga", "Connected", "False/SecretNotFound", `Secret "login" has no key "password"`)
	r.secret("login", map[string]string{"username": "", "password": "the-right-password"})
	r.await("catga", "Connected", "False/SecretInvalid", `Secret "login"`, `"username"`)
	r.secret("login", basic("the-wrong-password"))
	r.await("catga", "Connected", "False/AuthenticationFailed")
	r.secret("login", basic("the-right-password"))
	r.await("catga", "Ready", "True/Ready")
}

func TestUnusableMaterial(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.secret("junk", map[string]string{"seed": "SUAJUNKJUNKJUNK", "user.creds": "no-credentials-file", "token": "\n", "ca.crt": "no-certificate", "tls.crt": "none", "tls.key": "junk-is-no-key"})
	key := func(key string) *rollcallv1alpha1.SecretKeyReference {
		return &rollcallv1alpha1.SecretKeyReference{Name: "junk", Key: key}
	}
	tests := map[string]struct {
		connection rollcallv1alpha1.Connection
		want       string
	}{
		"nkey":        {rollcallv1alpha1.Connection{Auth: &rollcallv1alpha1.Auth{NKey: key("seed")}}, `key "seed" of Secret "junk"`},
		"credentials": {rollcallv1alpha1.Connection{Auth: &rollcallv1alpha1.Auth{Credentials: key("user.creds")}}, `key "user.creds" of Secret "junk"`},
		"token":       {rollcallv1alpha1.Connection{Auth: &rollcallv1alpha1.Auth{Token: key("token")}}, `key "token" of Secret "junk"`},
		"ca":          {rollcallv1alpha1.Connection{TLS: &rollcallv1alpha1.TLS{CA: secretCA("junk")}}, `key "ca.crt" of Secret "junk"`},
		"certificate": {rollcallv1alpha1.Connection{TLS: &rollcallv1alpha1.TLS{ClientCertificate: &rollcallv1alpha1.SecretReference{Name: "junk"}}}, `"tls.key" of Secret "junk"`},
	}
	for name, test := range tests {
		r.registry(name, func(s *rollcallv1alpha1.NodeRegistrySpec) {
			s.Connection.Auth, s.Connection.TLS = test.connection.Auth, test.connection.TLS
		})
	}
	for name, test := range tests {
		r.await(name, "Connected", "False/SecretInvalid", test.want)
	}
}

// The server takes another password while the fleet is served.
func TestAChangedSecretIsPickedUp(t *testing.T) {
	t.Parallel()
	user := &server.User{Username: "rollcall", Password: "the-first-password"}
	r := newRig(t, users(user))
	r.secret("login", basic("the-first-password"))
	r.registry("catga", userPassword("login"))
	r.service()
	r.await("catga", "Ready", "True/Ready")
	admin := r.nats.Connect(t, nats.UserInfo("admin", adminPassword))
	r.put(admin, "web-1", "web-2", "web-3")
	r.Within(patience, "three endpoints", func() bool { return r.endpoints() == 3 })
	end := r.keeps(3)

	user.Password = "the-second-password"
	must(t, r.nats.Restart())
	r.await("catga", "Connected", "False/AuthenticationFailed", "the server refuses the login")
	r.secret("login", basic("the-second-password"))
	r.await("catga", "Ready", "True/Ready")

	// And once more, so that the second connection is known to be replaced as well.
	user.Password = "the-third-password"
	must(t, r.nats.Restart())
	r.await("catga", "Connected", "False/AuthenticationFailed", "the server refuses the login")
	r.secret("login", basic("the-third-password"))
	r.await("catga", "Ready", "True/Ready")
	end()
	r.Within(patience, "the server to have this test and one connection", func() bool { return r.nats.NATS().NumClients() == 2 })
}

// as lets the manager be that user.
func as(user string) func(*rest.Config) {
	return func(c *rest.Config) { c.Impersonate = rest.ImpersonationConfig{UserName: user} }
}

// allow gives a user rights in the whole cluster.
func allow(t *testing.T, user string, rules []rbacv1.PolicyRule) {
	t.Helper()
	client, err := kubernetes.NewForConfig(env.Config)
	must(t, err)
	name := metav1.ObjectMeta{Name: user}
	_, err = client.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: name, Rules: rules}, metav1.CreateOptions{})
	must(t, err)
	_, err = client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: name,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}, metav1.CreateOptions{})
	must(t, err)
}

// With the role that is shipped, and nothing beyond it, everything works: no Secret is listed or watched.
func TestTheShippedRoleIsEnough(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../config/rbac/role.yaml")
	must(t, err)
	role := &rbacv1.ClusterRole{}
	must(t, yaml.UnmarshalStrict(text, role))
	for _, rule := range role.Rules {
		for _, resource := range rule.Resources {
			if (resource == "secrets" || resource == "configmaps") && (len(rule.Verbs) != 1 || rule.Verbs[0] != "get") {
				t.Errorf("the role allows %v of %s", rule.Verbs, resource)
			}
		}
	}
	allow(t, "rollcall-in-test", role.Rules)
	r := newRig(t, users(&server.User{Username: "rollcall", Password: "the-right-password"}), as("rollcall-in-test"))
	r.secret("login", basic("the-right-password"))
	r.secret("bystander", map[string]string{"password": "nobody-asked-for-this"})
	r.registry("catga", userPassword("login"))
	r.await("catga", "Ready", "True/Ready")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.touched) == 0 {
		t.Error("no Secret was read, so this test shows nothing")
	}
	for _, request := range r.touched {
		if want := "GET /api/v1/namespaces/" + r.Namespace + "/secrets/login"; request != want {
			t.Errorf("the manager sent %s, want nothing but %s", request, want)
		}
	}
}

// Without the right to get it, the Secret's name is all that can be told.
func TestForbiddenSecret(t *testing.T) {
	t.Parallel()
	allow(t, "rollcall-without-secrets", []rbacv1.PolicyRule{
		{APIGroups: []string{"rollcall.dev", "discovery.k8s.io", "events.k8s.io"}, Resources: []string{"*"}, Verbs: []string{"*"}},
		{APIGroups: []string{""}, Resources: []string{"services", "services/status", "pods", "namespaces"}, Verbs: []string{"*"}},
	})
	r := newRig(t, nil, as("rollcall-without-secrets"))
	r.secret("login", basic("the-right-password"))
	r.registry("catga", userPassword("login"))
	r.await("catga", "Ready", "False/SecretUnreadable", `no right to get Secret "login"`)
}
