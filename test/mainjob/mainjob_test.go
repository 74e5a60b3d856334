package mainjob

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func TestRegisterUnregisterDie(t *testing.T) {
	t.Parallel()
	const ttl = 4 * time.Second
	r := newRig(t)
	r.bucket(ttl)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Liveness.RetainExpired = seconds(5) })
	r.service("web")
	r.startReady()
	r.shown(0, 3)
	r.Within(patience, "three nodes", r.keepTrying(0, 3, func() bool { return len(r.nodes()) == 3 }))

	dn := r.node(1)
	if dn.Spec.NodeID != "web-1" || dn.Spec.Key != "node.web-1" || dn.Spec.Addresses[0] != address(1) || dn.Spec.Ports[0].Name != "http" || dn.Labels["role"] != "web" {
		t.Errorf("the node is shown as %+v with the labels %v", dn.Spec, dn.Labels)
	}

	r.beatAll(0, 3)
	died := time.Now()
	r.unregister(0)
	took := r.Within(time.Second+allowance, "the node that unregistered to go from the slices", r.serves(1, 3))
	r.Within(patience, "its DiscoveredNode to go", func() bool { return r.node(0) == nil })
	t.Logf("unregistered, and out of the slices after %s", took)

	expired := map[int]bool{}
	r.Within(ttl+time.Second+allowance-time.Since(died), "the nodes that died to go from the slices", r.serves(0, 0))
	t.Logf("died, and out of the slices %s after the TTL", time.Since(died)-ttl)
	r.Within(patience, "them to be Expired, and forgotten", func() bool {
		for _, n := range []int{1, 2} {
			if r.phase(n) == rollcallv1alpha1.NodeExpired {
				expired[n] = true
			}
		}
		return len(expired) == 2 && len(r.nodes()) == 0
	})
}

func TestWhatIsEditedByHandIsPutBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	r.Start()
	r.beatAll(0, 2)
	r.Within(patience, "two nodes", func() bool { return len(r.nodes()) == 2 })
	r.Within(patience, "two endpoints", r.serves(0, 2))

	dn := r.node(0)
	want := dn.DeepCopy()
	// The manager may write its status meanwhile.
	dn.Spec.Addresses = []string{"10.9.9.9"}
	dn.Labels["role"] = "other"
	dn.Status.Phase = rollcallv1alpha1.NodeExpired
	dn.Annotations = map[string]string{"mine": "stays"}
	if err := r.API.Patch(t.Context(), dn, client.MergeFrom(want)); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "the edited node to be put back", func() bool {
		got := r.node(0)
		return got != nil && got.Spec.Addresses[0] == want.Spec.Addresses[0] && got.Labels["role"] == "web" &&
			got.Status.Phase == rollcallv1alpha1.NodeReady && got.Annotations["mine"] == "stays"
	})
	if err := r.API.Delete(t.Context(), r.node(1)); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "the deleted node to be put back", func() bool { return r.phase(1) == rollcallv1alpha1.NodeReady })

	fake := want.DeepCopy()
	fake.ObjectMeta = *want.ObjectMeta.DeepCopy()
	fake.Name, fake.ResourceVersion, fake.UID = "catga.web-99", "", ""
	fake.Spec.NodeID, fake.Spec.Key = "web-99", "node.web-99"
	r.Create(fake)
	r.Within(patience, "a node that nobody registered to go", func() bool { return len(r.nodes()) == 2 })
	r.Within(patience, "two endpoints", r.serves(0, 2))
}

func TestCordon(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	manager := r.Start()
	r.beatAll(0, 2)
	r.Within(patience, "two endpoints", r.serves(0, 2))
	r.Within(patience, "two nodes", func() bool { return len(r.nodes()) == 2 })

	cordon := func(on bool) {
		dn := r.node(0)
		before := dn.DeepCopy()
		dn.Spec.Cordoned = on
		if err := r.API.Patch(t.Context(), dn, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	cordon(true)
	r.Within(patience, "the cordoned node to be out of rotation", r.serves(1, 2))
	r.Within(patience, "the node to say so", func() bool {
		c := meta.FindStatusCondition(r.node(0).Status.Conditions, rollcallv1alpha1.ConditionReady)
		return c != nil && c.Reason == rollcallv1alpha1.ReasonCordoned && c.Status == "False"
	})
	manager.Stop()
	r.Start()
	r.beatAll(0, 2)
	r.Throughout(time.Second, "a cordon across a restart", r.serves(1, 2))
	cordon(false)
	r.Within(patience, "the node to be back", r.serves(0, 2))
}

func TestLabelsFollowTheSpec(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	registry := r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Labels = nil })
	r.service("web")
	r.Start()
	r.beatAll(0, 2)
	r.Within(patience, "two nodes", func() bool { return len(r.nodes()) == 2 })
	if got := r.ready("web"); len(got) != 0 {
		t.Fatalf("nodes without the label have endpoints: %v", got)
	}
	before := registry.DeepCopy()
	registry.Spec.Labels = map[string]string{"role": "role"}
	if err := r.API.Patch(t.Context(), registry, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "two endpoints", r.serves(0, 2))
	r.Within(patience, "the label on both nodes", func() bool {
		return r.node(0).Labels["role"] == "web" && r.node(1).Labels["role"] == "web"
	})
}
