package pods

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

func TestIntervalOverAThirdOfTheTTLIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.ttl(10 * time.Second)
	r.registry()
	p := r.registration("web", func(s *rollcallv1alpha1.PodRegistrationSpec) { s.HeartbeatInterval = seconds(4) })
	r.start()
	pod := r.pod("web-0")
	r.mentions(r.reports("web", "1/0/0 False HeartbeatTooSlow"), "4s", "10s", "3.333s", "12s")
	r.Throughout(time.Second, "no entry", r.gone("web-0"))
	r.update(p, func() { p.Spec.HeartbeatInterval = seconds(3) })
	r.Within(patience, "the entry", r.registered("web-0", pod))
	r.reports("web", "1/1/0 True Registered")

	// What is refused later changes nothing.
	r.update(p, func() { p.Spec.HeartbeatInterval = seconds(5) })
	r.reports("web", "1/1/0 False HeartbeatTooSlow")
	r.beats("web-0", 1)
	r.update(p, func() { p.Spec.HeartbeatInterval, p.Spec.NodeID = seconds(1), "pod.metadata." })
	r.mentions(r.reports("web", "1/1/0 False InvalidExpression"), "spec.nodeID", "line 1")
	r.beats("web-0", 1)
}

func TestOnePodsTroubleIsItsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web", func(s *rollcallv1alpha1.PodRegistrationSpec) {
		s.NodeID = "pod.metadata.annotations['id']"
		s.Ports = []string{"http"}
		s.Metadata = map[string]string{
			"team": "pod.metadata.labels['team']",
			// Expressions do not see strings over 8 KiB.
			"odd": "string(pod.metadata.annotations.exists(k, pod.metadata.annotations[k].matches('x{50}b')))",
		}
	})
	r.start()
	with := func(id, team, port string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Annotations = map[string]string{"id": id}
			if team != "" {
				p.Labels["team"] = team
			}
			p.Spec.Containers[0].Ports[0].Name = port
		}
	}
	good := r.pod("good", with("good", "a", "http"), func(p *corev1.Pod) {
		p.Annotations[corev1.LastAppliedConfigAnnotation], p.Annotations["long"] = strings.Repeat("{", 100<<10), strings.Repeat("x", 100<<10)
	})
	r.pod("no-label", with("no-label", "", "http"))
	r.pod("bad-key", with("not a key", "a", "http"))
	r.pod("no-id", with("", "a", "http"))
	r.pod("no-port", with("no-port", "a", "web"))
	r.Within(patience, "the good pod", r.registered("good", good))
	r.mentions(r.reports("web", "5/1/0 False RegistrationFailed"), "4 pods", "bad-key", "not a key")
	r.told("no-label", "InvalidExpression", "spec.metadata[team]", "no such key: team")
	r.told("bad-key", "InvalidKey", "not a key", "letters, digits")
	r.told("no-id", "InvalidKey", "no node ID")
	r.told("no-port", "PortNotFound", "http", "spec.ports")
	r.beats("good", 2)
	if n := len(r.events("Pod", "no-label")); n != 1 {
		t.Errorf("the pod has %d Events", n)
	}
}

func TestValueOverTheBucketsLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.kv = r.bucket(r.nats.Connect(t), jetstream.KeyValueConfig{Bucket: bucket, TTL: time.Minute, History: 5, LimitMarkerTTL: time.Minute, MaxValueSize: 700})
	r.registry()
	r.registration("web", func(s *rollcallv1alpha1.PodRegistrationSpec) {
		s.Metadata = map[string]string{"note": "pod.metadata.?annotations['note'].orValue('')"}
	})
	r.start()
	large := r.pod("large", func(p *corev1.Pod) { p.Annotations = map[string]string{"note": strings.Repeat("x", 1000)} })
	small := r.pod("small")
	r.Within(patience, "the pod whose record fits", r.registered("small", small))
	r.mentions(r.reports("web", "2/1/0 False RegistrationFailed"), "large", "700 bytes", "less metadata")
	r.told("large", "RegistrationFailed", "700 bytes")
	r.update(large, func() { large.Annotations["note"] = "short" })
	r.Within(patience, "the record once it fits", r.registered("large", large))
	r.reports("web", "2/2/0 True Registered")
}

func TestFullBucket(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.kv = r.bucket(r.nats.Connect(t), jetstream.KeyValueConfig{Bucket: bucket, TTL: time.Minute, History: 1, LimitMarkerTTL: time.Minute, MaxBytes: 4096})
	r.registry()
	r.registration("web")
	r.start()
	if _, err := r.kv.Put(t.Context(), "filler", make([]byte, 3700)); err != nil {
		t.Fatal(err)
	}
	pod := r.pod("web-0")
	r.mentions(r.reports("web", "1/0/0 False RegistrationFailed"), "full", "raise the limits")
	r.told("web-0", "RegistrationFailed", "full")
	if err := r.kv.Purge(t.Context(), "filler"); err != nil {
		t.Fatal(err)
	}
	r.Within(2*patience, "the entry once there is room", r.registered("web-0", pod))
	r.reports("web", "1/1/0 True Registered")
}

func TestForbiddenKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.nats = natstest.Start(t, func(o *natstest.Options) {
		o.Configure = func(so *server.Options) {
			so.Users = []*server.User{
				{Username: "admin", Password: "admin"},
				{Username: "rollcall", Password: "rollcall", Permissions: &server.Permissions{
					Publish: &server.SubjectPermission{Allow: []string{"$JS.API.>", "$JS.FC.>", "$KV." + bucket + ".node.good"}},
				}},
			}
		}
	})
	r.kv = r.keyValue(r.nats.Connect(t, nats.UserInfo("admin", "admin")))
	r.Create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "nats"},
		StringData: map[string]string{"username": "rollcall", "password": "rollcall"},
	})
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Connection.Auth = &rollcallv1alpha1.Auth{UserPassword: &rollcallv1alpha1.SecretReference{Name: "nats"}}
	})
	r.registration("web")
	r.start()
	good := r.pod("good")
	r.pod("bad")
	r.Within(patience, "the key that is allowed", r.registered("good", good))
	r.mentions(r.reports("web", "2/1/0 False RegistrationFailed"), "bad", `allow the user to publish to "$KV.catga_nodes.node.bad"`)
	r.told("bad", "$KV.catga_nodes.node.bad")
	r.beats("good", 2)
}

func TestUnusableRegistry(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registration("web")
	r.start()
	pod := r.pod("web-0")
	r.mentions(r.reports("web", "1/0/0 False RegistryNotFound"), `NodeRegistry "catga"`)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Bucket.Name, s.Bucket.CreationPolicy = "missing", rollcallv1alpha1.CreateNever
	})
	r.mentions(r.reports("web", "1/0/0 False RegistryNotReady"), "its own conditions")
	r.kv = r.bucket(r.nats.Connect(t), jetstream.KeyValueConfig{Bucket: "missing", TTL: time.Minute})
	r.Within(patience, "the entry", r.registered("web-0", pod))
	r.reports("web", "1/1/0 True Registered")
}
