package podregistration

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/controllers/podregistration/roster"
	"github.com/rollcall-dev/rollcall/discovery"
)

func name(n string) types.NamespacedName { return types.NamespacedName{Namespace: "fleet", Name: n} }

func TestSettled(t *testing.T) {
	l := newLedger()
	registry := name("catga")
	check := func(when string, want bool) {
		t.Helper()
		if got := l.settledFor(registry); got != want {
			t.Errorf("%s: settled is %v", when, got)
		}
	}
	check("before the PodRegistrations are listed", false)
	l.reconciled(name("early"))
	l.expect([]types.NamespacedName{name("early"), name("web")})
	check("before all of them are reconciled", false)
	_, before := l.plansOf("fleet")
	l.put(name("web"), &plan{name: name("web"), registry: registry, deferred: true}, []types.NamespacedName{name("pod")})
	l.reconciled(name("web"))
	_, deferred := l.plansOf("fleet")
	l.looked(name("pod"), deferred)
	check("while a plan is deferred", false)
	l.put(name("web"), &plan{name: name("web"), registry: registry}, []types.NamespacedName{name("pod")})
	l.looked(name("pod"), before)
	l.looked(name("pod"), deferred)
	check("while a pod has been looked at with older plans only", false)
	_, now := l.plansOf("fleet")
	l.looked(name("pod"), now)
	check("once it has been looked at", true)
}

func TestStanding(t *testing.T) {
	l := newLedger()
	registry := name("catga")
	for uid, p := range map[types.UID]*plan{
		"good": {registry: registry}, "other": {registry: name("other")}, "refused": {registry: registry, refused: true},
	} {
		p.name, p.uid = name(string(uid)), uid
		l.put(p.name, p, nil)
	}
	l.exchange(name("pod"), &account{uid: "here"})
	l.exchange(types.NamespacedName{Namespace: "elsewhere", Name: "pod"}, &account{uid: "there"})
	for owner, want := range map[discovery.Owner]roster.Standing{
		{UID: "x", Registration: "good"}:       roster.Ours,
		{UID: "here", Registration: "other"}:   roster.Elsewhere,
		{UID: "here", Registration: "refused"}: roster.Elsewhere,
		{UID: "here", Registration: "x"}:       roster.Ours,
		{UID: "there"}:                         roster.Elsewhere,
		{UID: "x", Registration: "x"}:          roster.Unknown,
		{}:                                     roster.Unknown,
	} {
		if got := l.standing(registry, &owner); got != want {
			t.Errorf("%+v stands as %d, want %d", owner, got, want)
		}
	}
}
