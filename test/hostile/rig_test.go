// Package hostile tests what servers can do that mean harm: the manager's own program, in a process of its own, follows ten
// of them at once. It has to live, to stay small, and to serve another tenant as if they were not there.
package hostile

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/hostile"
	"github.com/rollcall-dev/rollcall/internal/natstest"
	"github.com/rollcall-dev/rollcall/internal/testenv"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// each tries each script with a manager of its own.
var each = flag.Bool("hostile.each", false, "Try each script by itself, ten servers at once; else ten to fifteen scripts of a kind at once.")

var env *testenv.Env

func TestMain(m *testing.M) {
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	testenv.Main(m, &env)
}

const (
	// patience is how long anything may take that is no figure.
	patience = 30 * time.Second
	// together is how many hostile servers there are at once at least, and most how many.
	together = 10
	most     = 15
)

// rig is a manager in a process of its own, and an honest server.
type rig struct {
	*testrig.Rig

	nats    *natstest.Server
	log     string
	process *exec.Cmd
	exited  chan struct{}
	made    int
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// program builds the manager's program, once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rollcall")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "manager")
	out, err := exec.Command("go", "build", "-o", binary, "github.com/rollcall-dev/rollcall").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, nil
})

// newRig returns a rig whose manager works.
func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Rig: testrig.New(t, env), nats: natstest.Start(t), exited: make(chan struct{})}
	binary, err := program()
	must(t, err)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, env.WriteKubeconfig(kubeconfig))
	r.log = filepath.Join(t.TempDir(), "manager.log")
	log, err := os.Create(r.log)
	must(t, err)
	defer log.Close()
	args := []string{"--kubeconfig", kubeconfig, "--namespace", r.Namespace, "--cluster-name", r.Namespace,
		"--metrics-bind-address=0", "--health-probe-bind-address=0"}
	for _, server := range hostile.Allowed() {
		args = append(args, "--allowed-server="+server)
	}
	r.process = exec.Command(binary, args...)
	r.process.Stdout, r.process.Stderr = log, log
	must(t, r.process.Start())
	go func() {
		_ = r.process.Wait()
		close(r.exited)
	}()
	t.Cleanup(r.end)
	secrets, err := hostile.Secrets(r.Namespace)
	must(t, err)
	for _, secret := range secrets {
		r.Create(secret)
	}
	r.serve()
	return r
}

func (r *rig) end() {
	_ = r.process.Process.Kill()
	<-r.exited
	if r.Failed() {
		text, _ := os.ReadFile(r.log)
		if at := strings.Index(string(text), "panic: "); at >= 0 {
			text = text[at:min(len(text), at+1000)]
		}
		r.Logf("the end of the manager's log:\n%s", text[max(0, len(text)-1000):])
	}
}

// alive ends the test if the manager has ended.
func (r *rig) alive() {
	r.Helper()
	select {
	case <-r.exited:
		r.Fatal("the manager has ended")
	default:
	}
}

// serve has the manager follow another registry on the honest server, by a connection of its own, and returns how long that
// took.
func (r *rig) serve() time.Duration {
	r.Helper()
	r.made++
	name := "honest-" + strconv.Itoa(r.made)
	registry := &rollcallv1alpha1.NodeRegistry{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name}, Spec: rollcallv1alpha1.NodeRegistrySpec{
		Connection: rollcallv1alpha1.Connection{Servers: []string{r.nats.URL()}, InboxPrefix: "_INBOX_" + name},
	}}
	r.Create(registry)
	took := r.Within(patience, name+" to be ready", func() bool {
		r.alive()
		state, _ := r.Condition(name, rollcallv1alpha1.ConditionReady)
		return state == "True/Ready"
	})
	must(r, r.API.Delete(r.Context(), registry))
	return took
}

// medians returns the median of what serve takes with either manager, in turn.
func medians(a, b *rig) (ofA, ofB time.Duration) {
	a.Helper()
	var allA, allB []time.Duration
	for range 5 {
		allA, allB = append(allA, a.serve()), append(allB, b.serve())
	}
	slices.Sort(allA)
	slices.Sort(allB)
	return allA[len(allA)/2], allB[len(allB)/2]
}
