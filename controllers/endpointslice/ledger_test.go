package endpointslice

import (
	"strconv"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func version(uid string, revision int) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Name: "web-1", UID: types.UID(uid), ResourceVersion: strconv.Itoa(revision),
	}}
}

// TestLedger tells what the watch shows apart: the echo of our own writes, and what somebody else did.
func TestLedger(t *testing.T) {
	tests := map[string]struct {
		run func(l ledger, k *known) (news bool)
		// want says whether it is news; revision is what the next full pass starts from, 0 for nothing.
		want     bool
		revision int
	}{
		"the same version":  {func(l ledger, _ *known) bool { return l.saw(version("a", 10)) }, false, 10},
		"an older version":  {func(l ledger, _ *known) bool { return l.saw(version("a", 9)) }, false, 10},
		"a newer version":   {func(l ledger, _ *known) bool { return l.saw(version("a", 11)) }, true, 11},
		"the same twice":    {func(l ledger, _ *known) bool { l.saw(version("a", 11)); return l.saw(version("a", 11)) }, false, 11},
		"no number":         {func(l ledger, _ *known) bool { v := version("a", 1); v.ResourceVersion = "x"; return l.saw(v) }, true, 0},
		"deleted by others": {func(l ledger, _ *known) bool { return l.lost(version("a", 12)) }, true, 0},
		"deletion of an earlier slice of the name": {
			func(l ledger, _ *known) bool { return l.lost(version("0", 9)) }, false, 10,
		},
		"our update, seen before its answer": {
			func(l ledger, k *known) bool {
				k.writing = true
				return l.saw(version("a", 11)) || k.wrote(version("a", 11))
			}, false, 11,
		},
		"our update, seen after its answer": {
			func(l ledger, k *known) bool {
				k.writing = true
				return k.wrote(version("a", 11)) || l.saw(version("a", 11))
			}, false, 11,
		},
		"an older version while we write": {
			func(l ledger, k *known) bool {
				k.writing = true
				k.wrote(version("a", 12))
				return l.saw(version("a", 11))
			}, false, 12,
		},
		"another update right after ours": {
			func(l ledger, k *known) bool {
				k.writing = true
				return !l.saw(version("a", 12)) && k.wrote(version("a", 11))
			}, true, 12,
		},
		"another update right before ours": {
			func(l ledger, k *known) bool {
				k.writing = true
				return l.saw(version("a", 11)) || k.wrote(version("a", 12))
			}, false, 12,
		},
		"deleted by others while we write": {
			func(l ledger, k *known) bool {
				k.writing = true
				return !l.lost(version("a", 12)) && k.wrote(version("a", 11))
			}, true, 0,
		},
		"our deletion, seen before its answer": {
			func(l ledger, k *known) bool {
				k.writing = true
				news := l.lost(version("a", 11))
				l.removed(k)
				return news || len(l) > 0
			}, false, 0,
		},
		"our deletion, seen after its answer": {
			func(l ledger, k *known) bool {
				k.writing = true
				l.removed(k)
				return len(l) == 0 || l.saw(version("a", 11)) || l.lost(version("a", 12)) || len(l) > 0
			}, false, 0,
		},
		"made anew by others after our deletion": {
			func(l ledger, k *known) bool { l.removed(k); return l.saw(version("b", 13)) }, true, 13,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k := &known{}
			k.current.Store(version("a", 10))
			l := ledger{"web-1": k}
			if got := test.run(l, k); got != test.want {
				t.Errorf("is news: %t, want %t", got, test.want)
			}
			exist, _ := l.catchUp()
			revision := 0
			if len(exist) == 1 {
				revision, _ = strconv.Atoi(exist[0].current.Load().ResourceVersion)
			}
			if revision != test.revision {
				t.Errorf("a full pass starts from revision %d, want %d", revision, test.revision)
			}
		})
	}
}

// TestLedgerCreate: a slice that is being created is not taken for somebody else's.
func TestLedgerCreate(t *testing.T) {
	owner := &metav1.OwnerReference{Name: "web", UID: "1"}
	l := ledger{}
	k, slice := &known{writing: true}, &discoveryv1.EndpointSlice{}
	l.reserve(k, slice, owner)
	seen := version("a", 11)
	seen.Name = slice.Name
	if l.saw(seen) || k.wrote(seen) {
		t.Error("the echo of a create is taken for news")
	}
	other := &discoveryv1.EndpointSlice{}
	l.reserve(&known{}, other, owner)
	if other.Name == slice.Name {
		t.Errorf("two slices have the name %s", slice.Name)
	}

	behind := ledger{}
	again := &discoveryv1.EndpointSlice{}
	behind.reserve(&known{}, again, owner)
	if again.Name != slice.Name {
		t.Errorf("whoever does not know of %s makes %s beside it", slice.Name, again.Name)
	}
	if exist, vanished := behind.catchUp(); len(exist)+len(vanished)+len(behind) > 0 {
		t.Error("a create that failed leaves something behind")
	}

	// The answer is lost, and somebody deletes what was created.
	behind.reserve(&known{writing: true}, again, owner)
	seen = version("b", 12)
	seen.Name = again.Name
	behind.saw(seen)
	behind.lost(seen)
	behind[again.Name].writing = false
	if exist, vanished := behind.catchUp(); len(exist)+len(vanished)+len(behind) > 0 {
		t.Error("a create that failed and was undone leaves something behind")
	}
}

func TestLedgerResolve(t *testing.T) {
	owned := func(v *discoveryv1.EndpointSlice, uid types.UID) *discoveryv1.EndpointSlice {
		v.OwnerReferences = []metav1.OwnerReference{{Kind: "Service", UID: uid, Controller: new(true)}}
		return v
	}
	tests := map[string]struct {
		known, live *discoveryv1.EndpointSlice
		want, taken bool
	}{
		"gone":                               {version("a", 10), nil, false, false},
		"changed":                            {version("a", 10), version("a", 11), true, true},
		"unknown, the Service's":             {nil, owned(version("a", 11), "1"), true, true},
		"unknown, of another Service":        {nil, owned(version("a", 11), "2"), false, true},
		"unknown, nobody's":                  {nil, version("a", 11), false, true},
		"made anew by nobody":                {version("a", 10), version("b", 11), false, true},
		"made anew, the Service's all right": {version("a", 10), owned(version("b", 11), "1"), true, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k := &known{gone: true, writing: true}
			if test.known != nil {
				k.current.Store(test.known)
			}
			l := ledger{"web-1": k}
			if got := l.resolve(k, test.live, "1"); got != test.want {
				t.Errorf("is there: %t, want %t", got, test.want)
			}
			if got := l["web-1"] != nil; got != test.taken {
				t.Errorf("the name is taken: %t, want %t", got, test.taken)
			}
			if exist, vanished := l.catchUp(); len(exist) == 1 != test.want || len(vanished) > 0 {
				t.Errorf("%d slices exist, %d vanished", len(exist), len(vanished))
			}
		})
	}
}
