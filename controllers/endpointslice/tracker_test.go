package endpointslice

import (
	"slices"
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

// TestTracker tells what the watch shows apart: the echo of our own writes, and what somebody else did.
func TestTracker(t *testing.T) {
	tests := map[string]struct {
		run func(t *tracker) (news bool)
		// want is true if the slice was changed externally; revision is what the next full pass starts from, 0 for nothing.
		want     bool
		revision int
	}{
		"the same version":  {func(t *tracker) bool { return t.observe(version("a", 10)) }, false, 10},
		"an older version":  {func(t *tracker) bool { return t.observe(version("a", 9)) }, false, 10},
		"a newer version":   {func(t *tracker) bool { return t.observe(version("a", 11)) }, true, 11},
		"the same twice":    {func(t *tracker) bool { t.observe(version("a", 11)); return t.observe(version("a", 11)) }, false, 11},
		"no number":         {func(t *tracker) bool { v := version("a", 1); v.ResourceVersion = "x"; return t.observe(v) }, true, 0},
		"deleted by others": {func(t *tracker) bool { return t.observeDeleted(version("a", 12)) }, true, 0},
		"deletion of an earlier slice of the name": {
			func(t *tracker) bool { return t.observeDeleted(version("0", 9)) }, false, 10,
		},
		"our update, seen before its answer": {
			func(t *tracker) bool {
				t.writing("web-1", true)
				return t.observe(version("a", 11)) || t.wrote(version("a", 11))
			}, false, 11,
		},
		"our update, seen after its answer": {
			func(t *tracker) bool {
				t.writing("web-1", true)
				return t.wrote(version("a", 11)) || t.observe(version("a", 11))
			}, false, 11,
		},
		"an older version while we write": {
			func(t *tracker) bool {
				t.writing("web-1", true)
				t.wrote(version("a", 12))
				return t.observe(version("a", 11))
			}, false, 12,
		},
		"another update right after ours": {
			func(t *tracker) bool {
				t.writing("web-1", true)
				return !t.observe(version("a", 12)) && t.wrote(version("a", 11))
			}, true, 12,
		},
		"another update right before ours": {
			func(t *tracker) bool {
				t.writing("web-1", true)
				return t.observe(version("a", 11)) || t.wrote(version("a", 12))
			}, false, 12,
		},
		"deleted by others while we write": {
			func(t *tracker) bool {
				t.writing("web-1", true)
				return !t.observeDeleted(version("a", 12)) && t.wrote(version("a", 11))
			}, true, 0,
		},
		"our deletion, seen before its answer": {
			func(t *tracker) bool {
				t.writing("web-1", true)
				external := t.observeDeleted(version("a", 11))
				t.removed("web-1")
				return external || t.len() > 0
			}, false, 0,
		},
		"our deletion, seen after its answer": {
			func(t *tracker) bool {
				t.writing("web-1", true)
				t.removed("web-1")
				return t.len() == 0 || t.observe(version("a", 11)) || t.observeDeleted(version("a", 12)) || t.len() > 0
			}, false, 0,
		},
		"made anew by others after our deletion": {
			func(t *tracker) bool { t.removed("web-1"); return t.observe(version("b", 13)) }, true, 13,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			slices := &tracker{slices: map[string]*tracked{"web-1": {current: version("a", 10)}}}
			if got := test.run(slices); got != test.want {
				t.Errorf("changed externally: %t, want %t", got, test.want)
			}
			exist, _ := slices.catchUp()
			revision := 0
			if len(exist) == 1 {
				revision, _ = strconv.Atoi(exist[0].ResourceVersion)
			}
			if revision != test.revision {
				t.Errorf("a full pass starts from revision %d, want %d", revision, test.revision)
			}
		})
	}
}

// TestTrackerCreate: a slice that is being created is not taken for somebody else's.
func TestTrackerCreate(t *testing.T) {
	named := func(uid, name string, revision int) *discoveryv1.EndpointSlice {
		v := version(uid, revision)
		v.Name = name
		return v
	}
	slices := newTracker()
	first := slices.Reserve("web", "1")
	slices.writing(first, true)
	if seen := named("a", first, 11); slices.observe(seen) || slices.wrote(seen) {
		t.Error("the echo of a create is taken for an external change")
	}
	if other := slices.Reserve("web", "1"); other == first {
		t.Errorf("two slices have the name %s", other)
	}

	behind := newTracker()
	if again := behind.Reserve("web", "1"); again != first {
		t.Errorf("whoever does not know of %s makes %s beside it", first, again)
	}
	if exist, lost := behind.catchUp(); len(exist)+len(lost)+behind.len() > 0 {
		t.Error("a create that failed leaves something behind")
	}

	// The answer is lost, and somebody deletes what was created.
	behind.writing(behind.Reserve("web", "1"), true)
	behind.observe(named("b", first, 12))
	behind.observeDeleted(named("b", first, 12))
	behind.writing(first, false)
	if exist, lost := behind.catchUp(); len(exist)+len(lost)+behind.len() > 0 {
		t.Error("a create that failed and was undone leaves something behind")
	}
}

func TestTrackerResolve(t *testing.T) {
	owned := func(v *discoveryv1.EndpointSlice, uid types.UID) *discoveryv1.EndpointSlice {
		v.OwnerReferences = []metav1.OwnerReference{{Kind: "Service", UID: uid, Controller: new(true)}}
		return v
	}
	tests := map[string]struct {
		current, live *discoveryv1.EndpointSlice
		want, taken   bool
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
			slices := &tracker{slices: map[string]*tracked{"web-1": {current: test.current, phase: vanished, writing: true}}}
			if got := slices.resolve("web-1", test.live, "1") != nil; got != test.want {
				t.Errorf("is there: %t, want %t", got, test.want)
			}
			if got := slices.slices["web-1"] != nil; got != test.taken {
				t.Errorf("the name is taken: %t, want %t", got, test.taken)
			}
			if exist, lost := slices.catchUp(); len(exist) == 1 != test.want || len(lost) > 0 {
				t.Errorf("%d slices exist, %d vanished", len(exist), len(lost))
			}
		})
	}
}

// TestTrackerRemembersOurs: what we wrote last is known while somebody else's change is not put right.
func TestTrackerRemembersOurs(t *testing.T) {
	tests := map[string]struct {
		run func(t *tracker)
		// ours are the revisions of what we wrote last, -1 for what was sent and altered.
		ours      []int
		contested bool
	}{
		"nobody changes it": {func(*tracker) {}, []int{10}, false},
		"changed twice":     {func(t *tracker) { t.observe(version("a", 11)); t.catchUp(); t.observe(version("a", 12)); t.catchUp() }, []int{10}, true},
		"put right":         {func(t *tracker) { t.observe(version("a", 11)); t.catchUp(); t.wrote(version("a", 12)) }, []int{12}, false},
		"found right":       {func(t *tracker) { t.observe(version("a", 11)); t.catchUp(); t.settle() }, []int{11}, false},
		"put right in part": {func(t *tracker) {
			t.observe(version("a", 11))
			t.catchUp()
			t.writingPart("web-1")
			t.writing("web-1", true)
			t.wrote(version("a", 12))
		}, []int{10}, true},
		"read": {func(t *tracker) { t.resolve("web-1", version("a", 11), "") }, []int{10}, true},
		"deleted": {func(t *tracker) {
			t.observeDeleted(version("a", 11))
			t.catchUp()
			t.resolve("web-1", nil, "")
		}, []int{10}, true},
		"deleted, and written again": {func(t *tracker) {
			t.observeDeleted(version("a", 11))
			t.resolve("web-1", nil, "")
			t.settle()
		}, nil, false},
		"altered by admission": {func(t *tracker) {
			t.wrote(version("a", 11))
			t.alter(version("a", -1))
			t.catchUp()
			t.settle()
		}, []int{-1}, true},
		"made by others": {func(t *tracker) {
			other := version("b", 12)
			other.Name = "web-2"
			t.observe(other)
			t.catchUp()
		}, []int{10}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			known := &tracker{slices: map[string]*tracked{"web-1": {current: version("a", 10)}}}
			test.run(known)
			var ours []int
			for _, slice := range known.snapshot().written {
				revision, _ := strconv.Atoi(slice.ResourceVersion)
				ours = append(ours, revision)
			}
			if !slices.Equal(ours, test.ours) || known.contested() != test.contested {
				t.Errorf("contested: %t; ours: %v, want %v", known.contested(), ours, test.ours)
			}
		})
	}
}
