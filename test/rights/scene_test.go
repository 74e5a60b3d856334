package rights

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/natstest"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// broker is a NATS server that demands TLS and a password.
type broker struct {
	*natstest.Server
	ca    string
	trust *tls.Config
	login nats.Option
}

const password = "the-right-password"

func newBroker(t testing.TB, change ...func(*server.Options)) *broker {
	t.Helper()
	// Its certificate for 127.0.0.1 is as good as any.
	https := httptest.NewTLSServer(nil)
	https.Close()
	b := &broker{
		ca:    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: https.Certificate().Raw})),
		trust: &tls.Config{RootCAs: x509.NewCertPool()},
		login: nats.UserInfo("rollcall", password),
	}
	b.trust.RootCAs.AddCert(https.Certificate())
	b.Server = natstest.Start(t, func(o *natstest.Options) {
		o.Configure = func(so *server.Options) {
			so.TLSConfig, so.TLS, so.TLSTimeout = https.TLS.Clone(), true, 10
			so.Username, so.Password = "rollcall", password
			for _, f := range change {
				f(so)
			}
		}
	})
	return b
}

// jetStream connects to the server.
func (b *broker) jetStream(t testing.TB) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(b.Connect(t, b.login, nats.Secure(b.trust)))
	must(t, err)
	return js
}

// scene is a namespace of its own with one of everything, and a manager whose service account has the rights that the
// test leaves it.
type scene struct {
	*testrig.Rig
	broker  *broker
	js      jetstream.JetStream
	kv      jetstream.KeyValue
	user    string
	metrics string
	count   atomic.Int32
	options manager.Options
	config  *rest.Config
	stop    func()
}

const (
	account  = "manager"
	registry = "catga"
)

func newScene(t *testing.T, b *broker) *scene {
	t.Helper()
	s := &scene{Rig: testrig.New(t, env), broker: b}
	s.user = "system:serviceaccount:" + s.Namespace + ":" + account
	s.js = b.jetStream(t)
	var err error
	s.kv, err = s.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: s.Namespace, TTL: time.Hour, History: 5, LimitMarkerTTL: time.Hour})
	must(t, err)
	s.metrics = natstest.FreeAddress(t)
	s.options = manager.Options{
		LeaderElect: true, LeaderElectionNamespace: s.Namespace, Namespaces: []string{s.Namespace},
		MetricsAddress: s.metrics, MetricsSecure: true, ProbeAddress: "0",
		AllowedServers: testrig.Loopback(),
		Controller:     config.Controller{SkipNameValidation: new(true)},
	}
	s.config = rest.AnonymousClientConfig(env.Config)
	s.config.BearerToken = s.token(account)
	s.fill()
	s.Cleanup(func() {
		// The managers of other tests have nothing to do with it any more.
		if err := s.API.DeleteAllOf(context.Background(), &rollcallv1alpha1.NodeRegistry{}, client.InNamespace(s.Namespace)); err != nil {
			s.Error(err)
		}
	})
	return s
}

// token creates a service account and returns a token of it.
func (s *scene) token(name string) string {
	s.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: s.meta(name)}
	s.Create(sa)
	request := &authenticationv1.TokenRequest{}
	must(s, s.API.SubResource("token").Create(s.Context(), sa, request))
	return request.Status.Token
}

func (s *scene) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.Namespace, Name: name}
}

// name returns a name that has not been used in the scene.
func (s *scene) name(prefix string) string { return fmt.Sprintf("%s-%d", prefix, s.count.Add(1)) }

// allow gives the manager those rights in the scene's namespace, and those that are cluster-wide in the cluster; instead
// of those that it had.
func (s *scene) allow(rules []rbacv1.PolicyRule) {
	s.Helper()
	role := &rbacv1.Role{ObjectMeta: s.meta(account)}
	clusterRole := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: s.Namespace}}
	for _, rule := range rules {
		if clusterWide(rule) {
			clusterRole.Rules = append(clusterRole.Rules, rule)
		} else {
			role.Rules = append(role.Rules, rule)
		}
	}
	s.put(role)
	s.put(clusterRole)
	s.put(&rbacv1.RoleBinding{
		ObjectMeta: s.meta(account),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.Namespace, Name: account}},
	})
	s.bind(clusterRole.Name, account)
}

// allowEverywhere gives the manager what config/rbac does: the ClusterRoles in the whole cluster, and what electing a
// leader takes in the namespace of its own.
func (s *scene) allowEverywhere() {
	s.Helper()
	s.allow(rules(s, leaderRole))
	for _, file := range []string{managerRole, metricsAuthRole} {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: s.Namespace + "-" + file}, Rules: rules(s, file)}
		s.put(role)
		s.bind(role.Name, account)
	}
}

// bind binds a ClusterRole to a service account.
func (s *scene) bind(role, account string) {
	s.Helper()
	s.put(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: s.Namespace + "-" + account + "-" + role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.Namespace, Name: account}},
	})
}

// put creates or replaces an object.
func (s *scene) put(o client.Object) {
	s.Helper()
	if err := s.API.Create(s.Context(), o); err != nil {
		must(s, s.API.Update(s.Context(), o))
	}
}

// start runs a manager, and another one when it ends, as a Deployment does.
func (s *scene) start() {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			if m, err := manager.New(ctx, s.config, s.options); err == nil {
				_ = m.Start(ctx)
			}
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	}()
	s.stop = func() {
		cancel()
		<-done
	}
	s.Cleanup(func() { s.stop() })
}

// fill creates what there is in every scene: a registry whose connection needs a Secret and a ConfigMap, a node, a
// Service, and a pod that is registered.
func (s *scene) fill() {
	s.Helper()
	s.Create(&corev1.Secret{ObjectMeta: s.meta("login"), StringData: map[string]string{"username": "rollcall", "password": password}})
	s.Create(&corev1.Secret{ObjectMeta: s.meta("bystander"), StringData: map[string]string{"password": "nobody asked for this"}})
	s.Create(&corev1.ConfigMap{ObjectMeta: s.meta("ca"), Data: map[string]string{"ca.crt": s.broker.ca}})
	s.Create(&corev1.ConfigMap{ObjectMeta: s.meta("bystander"), Data: map[string]string{"ca.crt": s.broker.ca}})
	s.registry(registry)
	s.Create(&rollcallv1alpha1.PodRegistration{
		ObjectMeta: s.meta("pods"),
		Spec: rollcallv1alpha1.PodRegistrationSpec{
			RegistryName: registry, NodeID: "pod.metadata.name", Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	})
	s.service("web", "base")
	s.node("base", "10.1.0.1", "base")
	s.pod("base-pod")
}

func (s *scene) registry(name string) *rollcallv1alpha1.NodeRegistry {
	s.Helper()
	r := s.draft(name)
	s.Create(r)
	return r
}

// draft returns a NodeRegistry of the scene's bucket, which does not exist yet.
func (s *scene) draft(name string) *rollcallv1alpha1.NodeRegistry {
	r := &rollcallv1alpha1.NodeRegistry{
		ObjectMeta: s.meta(name),
		Spec: rollcallv1alpha1.NodeRegistrySpec{
			Connection: rollcallv1alpha1.Connection{
				Servers: []string{s.broker.URL()},
				Auth:    &rollcallv1alpha1.Auth{UserPassword: &rollcallv1alpha1.SecretReference{Name: "login"}},
				TLS:     &rollcallv1alpha1.TLS{CA: &rollcallv1alpha1.CAReference{Kind: rollcallv1alpha1.CAConfigMap, Name: "ca", Key: "ca.crt"}},
			},
			Labels: map[string]string{"role": "role"},
		},
	}
	r.Spec.Bucket.Name = s.Namespace
	return r
}

// node writes the record of a node.
func (s *scene) node(id, address, role string) {
	s.Helper()
	_, err := s.kv.PutString(s.Context(), "node."+id, fmt.Sprintf(
		`{"NodeId":%q,"Endpoint":"http://%s:8080","Metadata":{"role":%q}}`, id, address, role))
	must(s, err)
}

// service creates a Service that takes the nodes of a role.
func (s *scene) service(name, role string) *corev1.Service {
	s.Helper()
	service := &corev1.Service{ObjectMeta: s.meta(name), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	service.Annotations = map[string]string{
		rollcallv1alpha1.AnnotationNodeSelector: "role=" + role,
		// What an endpoint leads to is said, so that it can be looked at.
		rollcallv1alpha1.AnnotationTargetRef: rollcallv1alpha1.TargetRefDiscoveredNode,
	}
	s.Create(service)
	return service
}

// pod creates a pod whose containers are ready, and that waits for its readiness gate.
func (s *scene) pod(name string) {
	s.Helper()
	pod := &corev1.Pod{
		ObjectMeta: s.meta(name),
		Spec: corev1.PodSpec{
			Containers:     []corev1.Container{{Name: "main", Image: "example.com/web:1", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}},
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: rollcallv1alpha1.ReadinessGateRegistered}},
		},
	}
	pod.Labels = map[string]string{"app": "web"}
	s.Create(pod)
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.2.0.1", PodIPs: []corev1.PodIP{{IP: "10.2.0.1"}}, Conditions: []corev1.PodCondition{
		{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionTrue},
	}}
	must(s, s.API.Status().Update(s.Context(), pod))
}

// must ends the test if there is an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
