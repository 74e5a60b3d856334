package hostile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/hostile"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

const (
	// mostMemory is how much more memory the manager may take than without hostile servers, in MiB.
	mostMemory = 100
	// longest is for how long another tenant's registry may take, as a multiple of what it takes alone. That is measured at the
	// same time, with a manager that nobody attacks: the servers, the API server and other tests share the machine.
	longest = 3
	// allowance is how much longer it may take besides: by so much differs, on two busy processors, what two managers take that
	// nobody attacks. Until a registry is ready ten messages go between processes, and each may wait for a time slice.
	allowance = 100 * time.Millisecond
	// attackTime is how long an attack lasts at least once all servers have begun.
	attackTime = 2 * time.Second
)

// Whatever ten servers do at once, the manager lives, stays small and serves another tenant; nobody is dialled that nobody has
// named, and what the status says of it fits.
func TestHostileServers(t *testing.T) {
	for _, kind := range hostile.Kinds() {
		scripts := hostile.Of(kind)
		if *each {
			for _, script := range scripts {
				t.Run(kind+"/"+script.Name, func(t *testing.T) { attack(t, slices.Repeat([]hostile.Script{script}, together)) })
			}
			continue
		}
		for i, some := range slices.Collect(slices.Chunk(scripts, most)) {
			t.Run(fmt.Sprintf("%s/%d", kind, i+1), func(t *testing.T) { attack(t, filled(some)) })
		}
	}
}

// filled repeats scripts until there are as many as have to be at once.
func filled(scripts []hostile.Script) []hostile.Script {
	return slices.Repeat(scripts, together/len(scripts)+1)[:max(together, len(scripts))]
}

func attack(t *testing.T, scripts []hostile.Script) {
	t.Helper()
	t.Parallel()
	r, quiet := newRig(t), newRig(t)
	pid := r.process.Process.Pid
	floor, _ := testrig.Memory(t, pid)
	testrig.ForgetMemory(t, pid)
	servers := make([]*hostile.Server, len(scripts))
	for i, script := range scripts {
		servers[i] = hostile.Start(t, script)
		r.Create(servers[i].Registry(r.Namespace, nameOf(i)))
	}
	for i, server := range servers {
		r.Within(patience, "an attack: "+scripts[i].Name, func() bool {
			r.alive()
			return server.Struck() > 0
		})
	}
	began := time.Now()
	beside, alone := besideAndAlone(r, quiet)
	versions := map[string]bool{}
	r.Throughout(attackTime, "statuses that fit", func() bool {
		r.alive()
		return r.statuses(versions)
	})
	_, peak := testrig.Memory(t, pid)
	t.Logf("%d MiB, at most %d MiB more; another registry is ready after %s, alone after %s", floor, peak-floor, beside, alone)
	if peak-floor >= mostMemory {
		t.Errorf("the manager took %d MiB more than %d MiB", peak-floor, floor)
	}
	if limit := longest*alone + allowance; beside > limit {
		t.Errorf("another registry was ready after %s, alone after %s", beside, alone)
	}
	for i, server := range servers {
		if caught := server.Caught(); len(caught) > 0 {
			t.Errorf("%s: dialled was %q", scripts[i].Name, caught)
		}
	}
	// A burst of ten each, and one in ten seconds.
	if len(versions) > 12*len(servers) {
		t.Errorf("the statuses were written %d times in %s", len(versions), time.Since(began))
	}
}

// besideAndAlone returns what a registry of another takes beside an attack, and alone. What holds it back for as long as the attack lasts
// does so each time; what the machine does besides may last for as long as one measurement.
func besideAndAlone(r, quiet *rig) (beside, alone time.Duration) {
	r.Helper()
	for range 3 {
		if beside, alone = medians(r, quiet); beside <= longest*alone+allowance {
			break
		}
		r.Logf("another registry was ready after %s, alone after %s: once more", beside, alone)
	}
	return beside, alone
}

func nameOf(i int) string { return fmt.Sprintf("hostile-%d", i) }

// statuses notes the versions of the hostile registries, and returns false if a status has a message that does not fit.
func (r *rig) statuses(versions map[string]bool) bool {
	r.Helper()
	list := &rollcallv1alpha1.NodeRegistryList{}
	must(r, r.API.List(r.Context(), list, client.InNamespace(r.Namespace)))
	for _, registry := range list.Items {
		if !strings.HasPrefix(registry.Name, "hostile-") {
			continue
		}
		versions[registry.ResourceVersion] = true
		for _, c := range registry.Status.Conditions {
			if len(c.Message) > 1024 || strings.ContainsFunc(c.Message, func(r rune) bool { return !unicode.IsPrint(r) }) {
				r.Logf("%s: %s has a message of %d bytes: %.80q", registry.Name, c.Type, len(c.Message), c.Message)
				return false
			}
		}
	}
	return true
}
