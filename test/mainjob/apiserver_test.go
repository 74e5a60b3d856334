package mainjob

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
)

const (
	// outage is so long that the client library would wait for many seconds before it watches again.
	outage = 15 * time.Second
	// soon is when all goes on after an outage: a second, and the time that a loaded machine needs.
	soon = 5 * time.Second
	// handful is how many lines the log may have about one outage.
	handful = 6
)

// logged is what a manager logs. It is safe for concurrent use.
type logged struct {
	mu    sync.Mutex
	lines []string
}

// take lets a manager log to l.
func (l *logged) take(_ *rest.Config, o *manager.Options) {
	o.Logger = funcr.New(func(_, args string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lines = append(l.lines, args)
	}, funcr.Options{})
}

// since returns the lines after the first n.
func (l *logged) since(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[n:len(l.lines):len(l.lines)]
}

// staysQuiet waits for the length of an outage, in which the log has to have no more than a handful of lines after the first
// n, and something else has to hold.
func (l *logged) staysQuiet(r *rig, n int, holds func() bool) {
	r.Helper()
	r.Cleanup(func() {
		if r.Failed() {
			r.Logf("the log: %.5000s", strings.Join(l.since(n), "\n"))
		}
	})
	r.Throughout(outage, "a quiet log", func() bool { return len(l.since(n)) <= handful && holds() })
}

// tells waits until the lines after the first n say as often that the API server is back as that it is away: the last watch
// may be back after all that the test asks for. They have to be a handful.
func (l *logged) tells(r *rig, n int) {
	r.Helper()
	r.Within(patience, "the log to say that the API server is back", func() bool {
		all := strings.Join(l.since(n), "\n")
		away, back := strings.Count(all, "requests to the API server fail"), strings.Count(all, "the API server answers again")
		return away > 0 && away == back
	})
	if lines := l.since(n); len(lines) > handful {
		r.Errorf("the outage has %d lines in the log", len(lines))
	}
}

// downAPIServer kills the API server and returns what starts it again and waits until it is ready.
func (r *rig) downAPIServer() (up func()) {
	r.Helper()
	kube, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		r.Fatal(err)
	}
	server, err := env.APIServer()
	if err != nil {
		r.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		r.Fatal(err)
	}
	up = sync.OnceFunc(func() {
		if err := server.Start(); err != nil {
			r.Fatal(err)
		}
		r.Within(patience, "the API server to be ready", func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return kube.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
		})
	})
	r.Cleanup(up)
	return up
}

// startLogged starts a manager over so many nodes, and returns once all show, with its log and how long that is so far.
func startLogged(t *testing.T, count int) (r *rig, log *logged, before int) {
	t.Helper()
	r, log = newRig(t), &logged{}
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	manager := r.Start(log.take)
	r.beatAll(0, count)
	r.Within(patience, "all endpoints", r.serves(0, count))
	r.Within(patience, "all nodes", func() bool { return len(r.nodes()) == count })
	manager.Quiet(patience)
	return r, log, len(log.since(0))
}

func TestAfterAnOutageOfTheAPIServerAllGoesOnAtOnce(t *testing.T) {
	const count = 200
	r, log, before := startLogged(t, count)

	up := r.downAPIServer()
	for n := range count / 2 {
		r.unregister(n)
	}
	r.beatAll(count, count+count/2)
	log.staysQuiet(r, before, func() bool { return true })
	up()
	r.service("made-afterwards")
	took := r.Within(soon, "the endpoints of a Service made afterwards", func() bool { return len(r.ready("made-afterwards")) == count })
	t.Logf("a new Service had its endpoints after %s", took)
	r.Within(soon, "all endpoints", r.serves(count/2, count+count/2))
	took += r.Within(patience, "all nodes", func() bool {
		return len(r.nodes()) == count && r.node(0) == nil && r.node(count) != nil
	})
	t.Logf("all DiscoveredNodes were right after %s", took)
	log.tells(r, before)
}

// definition returns the definition of the DiscoveredNodes, nil if there is none.
func (r *rig) definition() *unstructured.Unstructured {
	r.Helper()
	found := &unstructured.Unstructured{}
	found.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	err := r.API.Get(context.Background(), client.ObjectKey{Name: "discoverednodes." + rollcallv1alpha1.GroupVersion.Group}, found)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		r.Fatal(err)
	}
	return found
}

func TestADefinitionThatIsPutBackHasItsNodesAtOnce(t *testing.T) {
	const count = 100
	r, log, before := startLogged(t, count)

	definition := r.definition()
	back := sync.OnceFunc(func() {
		again := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": definition.GetAPIVersion(), "kind": definition.GetKind(),
			"metadata": map[string]any{"name": definition.GetName()}, "spec": definition.Object["spec"],
		}}
		if err := r.API.Create(context.Background(), again); err != nil {
			t.Fatal(err)
		}
	})
	if err := r.API.Delete(t.Context(), definition); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(back)
	r.Within(patience, "the definition to go", func() bool { return r.definition() == nil })
	log.staysQuiet(r, before, r.serves(0, count))
	back()
	took := r.Within(2*soon, "all nodes", func() bool {
		list := &rollcallv1alpha1.DiscoveredNodeList{}
		return r.API.List(t.Context(), list, client.InNamespace(r.Namespace)) == nil && len(list.Items) == count
	})
	t.Logf("all DiscoveredNodes were back after %s", took)
	// A change by hand is undone only where there is a watch, which may be back a moment later: so there is one a second.
	changed, at := "", time.Time{}
	took += r.Within(2*soon, "a change by hand to be undone", func() bool {
		dn := r.node(1)
		if changed != "" && dn.Spec.DisplayName != changed {
			return true
		}
		if time.Since(at) < time.Second {
			return false
		}
		changed, at = "by hand, after version "+dn.ResourceVersion, time.Now()
		patch := client.MergeFrom(dn.DeepCopy())
		dn.Spec.DisplayName = changed
		if err := r.API.Patch(t.Context(), dn, patch); err != nil {
			t.Fatal(err)
		}
		return false
	})
	t.Logf("the watch was back after %s at most", took)
	if err := r.API.Delete(t.Context(), r.node(0)); err != nil {
		t.Fatal(err)
	}
	r.Within(soon, "a node that was deleted by hand", func() bool { return r.node(0) != nil })
	log.tells(r, before)
}
