package mainjob

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// generatedRules returns the rules of the generated role, without the one that is not about a namespace's objects.
func generatedRules(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	file, err := os.ReadFile("../../config/rbac/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict(file, role); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "namespaces") })
}

// restricted lets a manager work as a user who has nothing but the generated rules, in the rig's namespace alone.
func (r *rig) restricted() func(*rest.Config, *manager.Options) {
	r.Helper()
	user := "restricted-" + r.Namespace
	meta := metav1.ObjectMeta{Namespace: r.Namespace, Name: "rollcall"}
	r.Create(&rbacv1.Role{ObjectMeta: meta, Rules: generatedRules(r.T)})
	r.Create(&rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "rollcall"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: user}},
	})
	return func(c *rest.Config, _ *manager.Options) { c.Impersonate = rest.ImpersonationConfig{UserName: user} }
}

func TestNamespacedModeNeedsNoClusterWideRight(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(3 * time.Second)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Liveness.RetainExpired = seconds(1) })
	r.service("web")
	restricted := r.restricted()

	_, err := manager.New(t.Context(), impersonating(restricted), manager.Options{Namespaces: []string{r.Namespace}, MetricsAddress: "0"})
	if err == nil || !strings.Contains(err.Error(), "--cluster-name") {
		t.Errorf("without a cluster name and the right to find one, the manager says: %v", err)
	}

	forbidden := &refusals{}
	r.startReady(restricted, func(c *rest.Config, o *manager.Options) {
		o.ClusterName = "here"
		c.Wrap(forbidden.wrap)
	})
	r.shown(0, 2)
	r.Within(patience, "the nodes to expire", r.serves(0, 0))
	r.Within(patience, "the nodes to be forgotten", func() bool { return len(r.nodes()) == 0 })
	if all := forbidden.take(); len(all) > 0 {
		t.Errorf("refused: %v", all)
	}
}

func impersonating(change func(*rest.Config, *manager.Options)) *rest.Config {
	c := rest.CopyConfig(env.Config)
	change(c, nil)
	return c
}

// refusals collects the requests that the API server forbids. It is safe for concurrent use.
type refusals struct {
	mu  sync.Mutex
	all []string
}

func (f *refusals) wrap(next http.RoundTripper) http.RoundTripper {
	return testrig.RoundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil && response.StatusCode == http.StatusForbidden {
			f.mu.Lock()
			f.all = append(f.all, r.Method+" "+r.URL.Path)
			f.mu.Unlock()
		}
		return response, err
	})
}

func (f *refusals) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all
}

func TestEventsOnPhaseChangesOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(4 * time.Second)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.StatusInterval = seconds(1) })
	r.startReady()
	events := func() []string {
		list := &eventsv1.EventList{}
		if err := r.API.List(t.Context(), list, client.InNamespace(r.Namespace)); err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, e := range list.Items {
			if e.Regarding.Kind == "DiscoveredNode" {
				told = append(told, fmt.Sprintf("%s %s %s", e.Type, e.Regarding.Name, e.Reason))
			}
		}
		return told
	}
	r.Within(patience, "the node", r.keepTrying(0, 1, func() bool { return r.phase(0) == rollcallv1alpha1.NodeReady }))
	for range 4 {
		r.beat(0)
		r.Throughout(700*time.Millisecond, "no Event for a heartbeat", func() bool { return len(events()) == 0 })
	}
	r.Within(patience, "an Event for the expiry", func() bool {
		return slices.Equal(events(), []string{"Normal catga.web-0 Expired"})
	})
}

func TestLeaderHandsOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	elect := func(_ *rest.Config, o *manager.Options) {
		o.LeaderElect, o.LeaderElectionNamespace = true, r.Namespace
	}
	first := r.Start(elect)
	r.beatAll(0, 2)
	r.Within(patience, "two endpoints", r.serves(0, 2))
	second := r.Start(elect)
	second.Take()
	r.beat(2)
	r.Within(patience, "a third endpoint", r.serves(0, 3))
	if writes := second.Take(); len(writes) > 0 {
		t.Errorf("the replica that does not lead wrote %v", writes)
	}
	first.Stop()
	r.unregister(0)
	took := r.Within(patience, "the other replica to take over", r.serves(1, 3))
	r.Within(patience, "the view to follow", func() bool { return len(r.nodes()) == 2 })
	t.Logf("handed over after %s", took)
}

func TestServiceFollowsItsAnnotation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.Start()
	r.beatAll(0, 2)
	r.Within(patience, "two nodes", func() bool { return len(r.nodes()) == 2 })
	service := r.service("web", func(s *corev1.Service) { s.Annotations = nil })
	annotate := func(selector *string) {
		before := service.DeepCopy()
		service.Annotations = map[string]string{}
		if selector != nil {
			service.Annotations[rollcallv1alpha1.AnnotationNodeSelector] = *selector
		}
		if err := r.API.Patch(context.Background(), service, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	annotate(new("role=web"))
	r.Within(patience, "two endpoints", r.serves(0, 2))
	annotate(new("role=db"))
	r.Within(patience, "no endpoint", r.serves(0, 0))
	annotate(new("role in (web,db)"))
	r.Within(patience, "two endpoints", r.serves(0, 2))
	annotate(nil)
	r.Within(patience, "no endpoint", r.serves(0, 0))
}
