package connections

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

const ownInbox = "_INBOX_rollcall"

// documented returns the permissions of a user in the server configuration of docs/security.md.
func documented(t *testing.T, user string) *server.Permissions {
	t.Helper()
	page, err := os.ReadFile("../../docs/security.md")
	must(t, err)
	_, rest, _ := strings.Cut(string(page), "```\nreading: {")
	block, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/security.md has no configuration of a server")
	}
	file := filepath.Join(t.TempDir(), "server.conf")
	must(t, os.WriteFile(file, []byte("reading: {"+block), 0o600))
	options, err := server.ProcessConfigFile(file)
	must(t, err)
	at := slices.IndexFunc(options.Users, func(u *server.User) bool { return u.Username == user })
	if at < 0 {
		t.Fatalf("docs/security.md has no user %q", user)
	}
	return options.Users[at].Permissions
}

// inDomain returns the permissions for the JetStream domain hub, changed as docs/security.md says.
func inDomain(p *server.Permissions) *server.Permissions {
	changed := &server.Permissions{Publish: &server.SubjectPermission{}, Subscribe: p.Subscribe}
	for _, subject := range p.Publish.Allow {
		subject = strings.Replace(subject, "$JS.API.", "$JS.hub.API.", 1)
		if strings.HasPrefix(subject, "$KV.") {
			subject = "$JS.hub.API." + subject
		}
		changed.Publish.Allow = append(changed.Publish.Allow, subject)
	}
	return changed
}

// withoutSubject returns the permissions without one subject.
func withoutSubject(p *server.Permissions, subject string) *server.Permissions {
	less := func(allowed *server.SubjectPermission) *server.SubjectPermission {
		rest := slices.DeleteFunc(slices.Clone(allowed.Allow), func(s string) bool { return s == subject })
		if len(rest) == 0 {
			// None at all would mean all.
			rest = []string{"nothing"}
		}
		return &server.SubjectPermission{Allow: rest}
	}
	return &server.Permissions{Publish: less(p.Publish), Subscribe: less(p.Subscribe)}
}

// permitted is a rig whose NATS user has those permissions, with the NodeRegistry catga. With a domain, the bucket is on
// another server, which is reached through the user's one as a leaf node.
func permitted(t *testing.T, p *server.Permissions, domain string) *permittedRig {
	t.Helper()
	r := &permittedRig{}
	var hub *natstest.Server
	if domain != "" {
		hub = natstest.Start(t, func(o *natstest.Options) {
			o.Domain = domain
			o.Configure = func(so *server.Options) {
				so.ServerName = domain
				so.LeafNode = server.LeafNodeOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT}
			}
		})
	}
	r.rig = newRig(t, func(o *server.Options) {
		users(&server.User{Username: "rollcall", Password: "the-right-password", Permissions: p})(o)
		if hub != nil {
			o.ServerName, o.JetStreamDomain = "leaf", "leaf"
			o.LeafNode = server.LeafNodeOpts{Remotes: []*server.RemoteLeafOpts{{URLs: hub.LeafURL(t)}}, ReconnectInterval: 50 * time.Millisecond}
		}
	})
	nc := r.nats.Connect(t, nats.UserInfo("admin", adminPassword))
	if hub != nil {
		nc = hub.Connect(t)
	}
	var err error
	r.admin, err = jetstream.New(nc)
	must(t, err)
	r.secret("login", basic("the-right-password"))
	r.domain = domain
	return r
}

type permittedRig struct {
	*rig
	domain string
	admin  jetstream.JetStream
}

func (r *permittedRig) start() {
	r.Helper()
	r.registry("catga", userPassword("login"), func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Connection.InboxPrefix, s.Connection.JetStreamDomain = ownInbox, r.domain
	})
}

// newBucket makes the bucket anew, with nodes, and so much more that reading it takes flow control. Behind a leaf node,
// there are no more than the nodes.
func (r *permittedRig) newBucket(nodes ...string) {
	r.Helper()
	if err := r.admin.DeleteKeyValue(r.Context(), bucket); err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		r.Fatal(err)
	}
	var kv jetstream.KeyValue
	// A server that is still deleting the bucket of that name refuses the new one for a moment.
	r.Within(patience, "the server to create the bucket", func() (created bool) {
		var err error
		kv, err = r.admin.CreateKeyValue(r.Context(), jetstream.KeyValueConfig{
			Bucket: bucket, TTL: 5 * time.Minute, History: 5, LimitMarkerTTL: 5 * time.Minute,
		})
		return err == nil
	})
	for i := range 40 {
		if r.domain != "" {
			break
		}
		_, err := kv.PutString(r.Context(), fmt.Sprintf("node.large-%d", i), strings.Repeat("x", 500<<10))
		must(r, err)
	}
	r.put(r.admin.Conn(), nodes...)
}

// mishaps are what a bucket goes through: the server restarts, and another bucket takes its place, where one node is missing
// and another one new.
func (r *permittedRig) mishaps() {
	r.Helper()
	r.await("catga", "Ready", "True/Ready")
	must(r, r.nats.Restart())
	r.Within(patience, "the connection of the administrator", r.admin.Conn().IsConnected)
	r.await("catga", "Ready", "True/Ready")
	r.newBucket("web-1", "web-3")
	r.Within(patience, "the new node", func() bool {
		node := &rollcallv1alpha1.DiscoveredNode{}
		return r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: "catga.web-3"}, node) == nil
	})
}

// unrestricted returns what Degraded says of the bucket of newBucket where no subject is denied: its large entries are no records.
func (r *permittedRig) unrestricted() string {
	if r.domain == "" {
		return "True/RecordsRefused"
	}
	return "False/AsExpected"
}

func (r *permittedRig) suspend() {
	r.Helper()
	r.change("catga", func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Suspend = true })
	r.await("catga", "Connected", "False/Suspended")
}

// consumers returns how many consumers the bucket has.
func (r *permittedRig) consumers() int {
	r.Helper()
	stream, err := r.admin.Stream(r.Context(), "KV_"+bucket)
	must(r, err)
	return stream.CachedInfo().State.Consumers
}

// registerPod creates a Ready pod and a PodRegistration for it.
func (r *rig) registerPod() *corev1.Pod {
	r.Helper()
	r.Create(&rollcallv1alpha1.PodRegistration{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "pods"},
		Spec: rollcallv1alpha1.PodRegistrationSpec{
			RegistryName: "catga", NodeID: "pod.metadata.name", Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "api"}},
		},
	})
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "api-0", Labels: map[string]string{"app": "api"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.com/api:1", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}},
	}
	r.Create(pod)
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.2.0.1", PodIPs: []corev1.PodIP{{IP: "10.2.0.1"}}, Conditions: []corev1.PodCondition{
		{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionTrue},
	}}
	must(r, r.API.Status().Update(r.Context(), pod))
	return pod
}

// says waits until the NodeRegistry or the PodRegistration says that a subject is denied.
func (r *rig) says(subject string) {
	r.Helper()
	var seen []metav1.Condition
	holds := func() bool {
		seen = slices.Clone(r.get("catga").Status.Conditions)
		p := &rollcallv1alpha1.PodRegistration{}
		if err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: "pods"}, p); err == nil {
			r.show(p)
			seen = append(seen, p.Status.Conditions...)
		}
		return slices.ContainsFunc(seen, func(c metav1.Condition) bool { return strings.Contains(c.Message, `"`+subject) })
	}
	defer func() {
		if r.Failed() {
			r.Logf("the conditions are %+v", seen)
		}
	}()
	r.Within(patience, "the status to name "+subject, holds)
}

// With what is documented for reading, a bucket is mirrored, through all that can happen to it. Pods can't be registered,
// and the status says why.
func TestReadingTakesNoMore(t *testing.T) {
	t.Parallel()
	for domain, change := range map[string]func(*server.Permissions) *server.Permissions{"": same, "hub": inDomain} {
		t.Run("domain "+domain, func(t *testing.T) {
			t.Parallel()
			r := permitted(t, change(documented(t, "reader")), domain)
			r.newBucket("web-1", "web-2")
			r.start()
			r.service()
			r.await("catga", "Ready", "True/Ready")
			r.Within(patience, "two endpoints", func() bool { return r.endpoints() == 2 })
			r.mishaps()
			r.await("catga", "Degraded", r.unrestricted())
			r.registerPod()
			r.says(change(&server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"$KV.catga_nodes."}}}).Publish.Allow[0])
			r.suspend()
			r.Within(patience, "no consumer to be left", func() bool { return r.consumers() == 0 })
		})
	}
}

func same(p *server.Permissions) *server.Permissions { return p }

// With what is documented for writing, the bucket is created, and pods are registered in it.
func TestWritingTakesNoMore(t *testing.T) {
	t.Parallel()
	for domain, change := range map[string]func(*server.Permissions) *server.Permissions{"": same, "hub": inDomain} {
		t.Run("domain "+domain, func(t *testing.T) {
			t.Parallel()
			r := permitted(t, change(documented(t, "writer")), domain)
			r.start()
			r.await("catga", "Ready", "True/Ready")
			kv, err := r.admin.KeyValue(t.Context(), bucket)
			must(t, err)
			registered := func() bool {
				_, err := kv.Get(t.Context(), "node.api-0")
				return err == nil
			}
			pod := r.registerPod()
			r.Within(patience, "the pod to be registered", registered)
			must(t, r.API.Delete(t.Context(), pod, client.GracePeriodSeconds(0)))
			r.Within(patience, "the pod to be unregistered", func() bool { return !registered() })
			r.await("catga", "Degraded", "False/AsExpected")
		})
	}
}

// Without any one of the subjects something does not work, and but for one the status names it.
func TestEachSubjectIsNeeded(t *testing.T) {
	t.Parallel()
	reading, writing := documented(t, "reader"), documented(t, "writer")
	for _, subject := range slices.Concat(reading.Publish.Allow, reading.Subscribe.Allow) {
		t.Run("reading/"+subject, func(t *testing.T) {
			t.Parallel()
			r := permitted(t, withoutSubject(reading, subject), "")
			r.newBucket("web-1", "web-2")
			r.start()
			switch {
			case strings.Contains(subject, "CONSUMER.DELETE"):
				// All goes well, but the server has to keep what nobody reads.
				r.await("catga", "Ready", "True/Ready")
				r.suspend()
				r.Throughout(time.Second, "a consumer left behind", func() bool { return r.consumers() == 1 })
			case strings.Contains(subject, "MSG.GET"):
				r.mishaps()
				r.says(subject)
			default:
				r.says(subject)
			}
		})
	}
	for _, subject := range writing.Publish.Allow {
		if slices.Contains(reading.Publish.Allow, subject) {
			continue
		}
		t.Run("writing/"+subject, func(t *testing.T) {
			t.Parallel()
			r := permitted(t, withoutSubject(writing, subject), "")
			r.start()
			r.registerPod()
			r.says(strings.TrimSuffix(subject, "node.>"))
		})
	}
}

// What is documented for reading can be had for writing too.
func TestWritingIncludesReading(t *testing.T) {
	t.Parallel()
	reading, writing := documented(t, "reader"), documented(t, "writer")
	for _, subject := range reading.Publish.Allow {
		if !slices.Contains(writing.Publish.Allow, subject) {
			t.Errorf("writing lacks %s", subject)
		}
	}
	if !slices.Equal(reading.Subscribe.Allow, writing.Subscribe.Allow) {
		t.Errorf("reading subscribes to %v, writing to %v", reading.Subscribe.Allow, writing.Subscribe.Allow)
	}
}
