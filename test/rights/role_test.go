// Package rights tests that the manager's rights are those that it needs, no fewer and no more: it runs as a service
// account with what config/rbac gives it, against an API server that enforces this and writes down every request.
package rights

import (
	"flag"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/rollcall-dev/rollcall/internal/testenv"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

var (
	env *testenv.Env
	log auditLog
)

func TestMain(m *testing.M) {
	// Most of the time, the tests wait for what is tried again after a while.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	testrig.Main(m, &env,
		testenv.Audit(policy),
		// With it on, as on OpenShift, only who may write an owner's finalizers can have its deletion wait.
		testenv.Flag("enable-admission-plugins", "OwnerReferencesPermissionEnforcement"),
		// An API server that streams lists, as those before 1.34 do not, needs no right to list.
		testenv.Flag("feature-gates", "WatchList=false"),
	)
}

// everyone is what every service account may do: ask what it may do.
var everyone = right{"create", "selfsubjectaccessreviews.authorization.k8s.io"}

// implied are the rights that no request of their own makes use of, with the request that is refused without them.
var implied = map[right]right{
	// To create what makes the deletion of its owner wait.
	{"update", "services/finalizers"}: {"create", "endpointslices.discovery.k8s.io"},
}

// TestTheRolesAreExact: with what config/rbac gives it, the manager does all that it is to do, in all namespaces; it is
// refused nothing, and makes use of every right.
func TestTheRolesAreExact(t *testing.T) {
	s := newScene(t, newBroker(t))
	s.options.Namespaces = nil
	s.allowEverywhere()
	s.start()
	for _, b := range behaviours {
		s.Within(patience, b.name, b.do(s))
		s.suspend(registry, false)
	}
	s.stop()
	for refused := range log.refusals(s.user) {
		t.Errorf("the manager was refused to %s", refused)
	}
	used := log.used(s.user)
	for _, r := range allRights(t) {
		if _, unseen := implied[r]; !used[r] && !unseen {
			t.Errorf("the manager never made use of the right to %s", r)
		}
		delete(used, r)
	}
	delete(used, everyone)
	for r := range used {
		t.Errorf("the manager could %s by another role", r)
	}
}

// TestEveryRightIsNeeded takes away one right at a time. What cannot be done without it is not done while it is missing,
// and is done once it is granted.
func TestEveryRightIsNeeded(t *testing.T) {
	b := newBroker(t)
	needs := map[right]behaviour{}
	for _, b := range behaviours {
		for _, text := range b.rights {
			needs[parse(text)] = b
		}
	}
	all := allRights(t)
	if extra := sets.KeySet(needs).Difference(sets.New(all...)); extra.Len() > 0 {
		t.Errorf("no role gives the right to %v", extra.UnsortedList())
	}
	for _, r := range all {
		t.Run(r.String(), func(t *testing.T) {
			behaviour, named := needs[r]
			if !named {
				t.Fatal("nothing is known that needs this right")
			}
			t.Parallel()
			newScene(t, b).missing(r, behaviour)
		})
	}
}

// missing lets the manager run without a right.
func (s *scene) missing(r right, b behaviour) {
	s.Helper()
	rules := slices.Concat(rules(s, managerRole), rules(s, leaderRole), rules(s, metricsAuthRole))
	s.allow(without(rules, r))
	s.start()
	asked := r
	if other, unseen := implied[r]; unseen {
		asked = other
	}
	refusals := func() int { return log.refusals(s.user)[asked] }
	var happened func() bool
	if r.verb == "watch" {
		// Without a watch it lists again, less and less often: by then it does so every six seconds at most.
		s.Within(patience, "the refusals", func() bool { return refusals() >= 8 })
		happened = s.unseen(r, b, refusals)
	} else {
		happened = b.do(s)
		s.Within(patience, "the refusal", func() bool { return !happened() && refusals() > 0 })
		s.Throughout(300*time.Millisecond, "without the right to "+r.String()+": not "+b.name, func() bool { return !happened() })
	}
	s.allow(rules)
	if b.once {
		happened = b.do(s)
	}
	s.Within(patience, b.name, happened)
}

// unseen sets the behaviour off, and checks that it does not happen before the manager lists again, and is refused again.
func (s *scene) unseen(r right, b behaviour, refusals func() int) (happened func() bool) {
	s.Helper()
	before := refusals()
	happened = b.do(s)
	began := time.Now()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for time.Since(began) < time.Second {
		now := happened()
		if refusals() > before {
			break
		}
		if now {
			s.Fatalf("without the right to %s: %s", r, b.name)
		}
		<-ticker.C
	}
	if time.Since(began) < 100*time.Millisecond {
		s.Fatal("it listed again too soon for anything to be seen")
	}
	return happened
}
