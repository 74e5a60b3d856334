package faults

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/hostile"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// faultsOfServers are servers that mean harm, ten at once, beside a registry of somebody else.
func faultsOfServers() []fault {
	all := []fault{{name: "hostile servers of all kinds", long: true, run: func(r *rig) { besideHostile(r, ofEachKind()) }}}
	for _, kind := range hostile.Kinds() {
		all = append(all, fault{name: "hostile servers: " + kind, long: true, alone: true, run: func(r *rig) { besideHostile(r, hostile.Of(kind)) }})
	}
	return all
}

const (
	// together is how many hostile servers there are at once at least, mostTogether how many, and attackTime for how long.
	together     = 10
	mostTogether = 15
	attackTime   = 10 * time.Second
	// mostMemory is how much more memory the manager may take than without them, in MiB.
	mostMemory = 100
	// mostTime is how long another registry may take until it is ready, as a multiple of what it takes without them.
	mostTime = 3
	// leastTime is what is too short to be compared: another request of the API server's makes a multiple of it.
	leastTime = 100 * time.Millisecond
)

// ofEachKind returns one script of each kind.
func ofEachKind() (scripts []hostile.Script) {
	for _, kind := range hostile.Kinds() {
		scripts = append(scripts, hostile.Of(kind)[0])
	}
	return scripts
}

// besideHostile lets a fleet come and go while other registries have hostile servers.
func besideHostile(r *rig, scripts []hostile.Script) {
	r.prepare()
	tenant := env.Namespace(r.T)
	secrets, err := hostile.Secrets(tenant)
	must(r, err)
	for _, secret := range secrets {
		must(r, r.api.Create(r.Context(), secret))
	}
	r.managerArgs, r.allowed = []string{"--namespace", tenant}, hostile.Allowed()
	r.set(usual())
	stop := r.fleet.churn(busy)
	floor, _ := testrig.Memory(r.T, r.manager.command.Process.Pid)
	for some := range slices.Chunk(scripts, mostTogether) {
		r.attack(tenant, floor, some)
	}
	stop()
	r.judge()
}

// attack attacks the manager by some scripts, at least ten servers at once. floor is what the manager takes without them.
func (r *rig) attack(tenant string, floor int, scripts []hostile.Script) {
	r.Helper()
	pid := r.manager.command.Process.Pid
	alone := r.another(tenant)
	testrig.ForgetMemory(r.T, pid)
	scripts = slices.Repeat(scripts, together/len(scripts)+1)[:max(together, len(scripts))]
	r.row.tried += len(scripts)
	servers := make([]*hostile.Server, len(scripts))
	for i, script := range scripts {
		servers[i] = hostile.Start(r.T, script)
		must(r, r.api.Create(r.Context(), servers[i].Registry(tenant, "hostile-"+strconv.Itoa(i))))
	}
	for i, server := range servers {
		poll(r.T, patience, "an attack: "+scripts[i].Name, func() bool { return server.Struck() > 0 })
	}
	beside := r.another(tenant)
	pass(attackTime)
	if !r.manager.alive() {
		r.Fatalf("the manager has ended: %v", names(scripts))
	}
	_, most := testrig.Memory(r.T, pid)
	r.Logf("at most %d MiB more than %d MiB; another registry is ready after %s, alone after %s: %v", most-floor, floor, beside, alone, names(scripts))
	if most-floor >= mostMemory {
		r.Errorf("the manager took %d MiB more than %d MiB: %v", most-floor, floor, names(scripts))
	}
	if beside > mostTime*max(alone, leastTime)+allowance() {
		r.Errorf("another registry was ready after %s, alone after %s: %v", beside, alone, names(scripts))
	}
	must(r, r.api.DeleteAllOf(r.Context(), &rollcallv1alpha1.NodeRegistry{}, client.InNamespace(tenant)))
	for i, server := range servers {
		if caught := server.Caught(); len(caught) > 0 {
			r.Errorf("%s: dialled was %q", scripts[i].Name, caught)
		}
		server.Stop()
	}
}

func names(scripts []hostile.Script) (all []string) {
	for _, s := range scripts {
		all = append(all, fmt.Sprintf("%s: %s", s.Kind, s.Name))
	}
	return all
}

// another returns how long a registry on the fleet's server takes until it is ready, by a connection of its own: the median
// of five.
func (r *rig) another(namespace string) time.Duration {
	r.Helper()
	var all []time.Duration
	for i := range 5 {
		registry := &rollcallv1alpha1.NodeRegistry{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "honest-" + strconv.Itoa(i)},
			Spec: rollcallv1alpha1.NodeRegistrySpec{
				Connection: rollcallv1alpha1.Connection{Servers: []string{r.nats.url()}, InboxPrefix: "_INBOX_" + strconv.Itoa(i)},
				Bucket:     rollcallv1alpha1.Bucket{Name: "another"},
			},
		}
		began := time.Now()
		must(r, r.api.Create(r.Context(), registry))
		poll(r.T, patience, "another registry to be ready", func() bool {
			must(r, r.api.Get(r.Context(), client.ObjectKeyFromObject(registry), registry))
			return slices.ContainsFunc(registry.Status.Conditions, func(c metav1.Condition) bool {
				return c.Type == rollcallv1alpha1.ConditionReady && c.Status == metav1.ConditionTrue
			})
		})
		all = append(all, time.Since(began))
		must(r, r.api.Delete(r.Context(), registry))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
