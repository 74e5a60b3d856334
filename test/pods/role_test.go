package pods

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// restricted lets a manager work as a user who has nothing but the rules of the generated role that keep accepts, in the
// rig's namespace alone.
func (r *rig) restricted(keep func(rbacv1.PolicyRule) bool) func(*rest.Config, *manager.Options) {
	r.Helper()
	file, err := os.ReadFile("../../config/rbac/role.yaml")
	if err != nil {
		r.Fatal(err)
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict(file, role); err != nil {
		r.Fatal(err)
	}
	rules := slices.DeleteFunc(role.Rules, func(rule rbacv1.PolicyRule) bool {
		return slices.Contains(rule.Resources, "namespaces") || !keep(rule)
	})
	user := "restricted-" + r.Namespace
	meta := metav1.ObjectMeta{Namespace: r.Namespace, Name: "rollcall"}
	r.Create(&rbacv1.Role{ObjectMeta: meta, Rules: rules})
	r.Create(&rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "rollcall"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: user}},
	})
	return func(c *rest.Config, _ *manager.Options) { c.Impersonate = rest.ImpersonationConfig{UserName: user} }
}

// requests are those of a manager of one kind. It is safe for concurrent use.
type requests struct {
	mu  sync.Mutex
	all []string
}

func (q *requests) take() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.all
}

// refused collects the requests that the API server forbids.
func refused(into *requests) func(*rest.Config, *manager.Options) {
	return func(c *rest.Config, _ *manager.Options) {
		c.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return testrig.RoundTripper(func(r *http.Request) (*http.Response, error) {
				response, err := next.RoundTrip(r)
				if err == nil && response.StatusCode == http.StatusForbidden {
					into.mu.Lock()
					into.all = append(into.all, r.Method+" "+r.URL.Path)
					into.mu.Unlock()
				}
				return response, err
			})
		})
	}
}

func TestRoleIsEnough(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web")
	forbidden := &requests{}
	r.start(r.restricted(func(rbacv1.PolicyRule) bool { return true }), refused(forbidden))
	pod := r.pod("web-0", gate)
	r.Within(patience, "the entry", r.registered("web-0", pod))
	r.Within(patience, "the gate", r.gateIs(pod, corev1.ConditionTrue))
	r.reports("web", "1/1/0 True Registered")
	r.foreign("web-0", nil)
	r.told("web-0", "Conflict")
	if all := forbidden.take(); len(all) > 0 {
		t.Errorf("refused: %v", all)
	}
}

func TestPodsAreReadOnlyWithoutGates(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web")
	forbidden := &requests{}
	r.start(r.restricted(func(rule rbacv1.PolicyRule) bool {
		if slices.Contains(rule.Resources, "pods") && slices.ContainsFunc(rule.Verbs, func(v string) bool { return !slices.Contains([]string{"get", "list", "watch"}, v) }) {
			t.Errorf("the role lets pods be written: %v", rule.Verbs)
		}
		return !slices.Contains(rule.Resources, "pods/status")
	}), refused(forbidden))
	pod := r.pod("web-0")
	r.Within(patience, "the entry", r.registered("web-0", pod))
	r.delete(pod)
	r.Within(patience, "the entry to go", r.gone("web-0"))
	if all := forbidden.take(); len(all) > 0 {
		t.Errorf("refused: %v", all)
	}
}

func TestKubectlShowsTheCounts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web")
	r.foreign("taken", nil)
	r.start()
	r.pod("free")
	r.pod("taken")
	r.reports("web", "2/1/1 False Conflict")
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	shown, err := exec.Command(env.Kubectl, "--kubeconfig", kubeconfig, "-n", r.Namespace, "get", "podregistrations").CombinedOutput()
	if err != nil || !regexp.MustCompile(`NAME +MATCHED +REGISTERED +CONFLICTS +READY +AGE *\nweb +2 +1 +1 +False +\d+s`).Match(shown) {
		t.Errorf("kubectl shows, %v:\n%s", err, shown)
	}
}

func TestKubectlWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web")
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	wait := func(timeout time.Duration) ([]byte, error) {
		return exec.Command(env.Kubectl, "--kubeconfig", kubeconfig, "-n", r.Namespace, "wait", "--for=condition=Ready", "podregistration/web", "--timeout", timeout.String()).CombinedOutput()
	}
	if out, err := wait(time.Second); err == nil {
		t.Errorf("it is Ready without a manager: %s", out)
	}
	r.pod("web-0")
	r.start()
	if out, err := wait(patience); err != nil || string(out) != "podregistration.rollcall.dev/web condition met\n" {
		t.Errorf("%v: %s", err, out)
	}
}
