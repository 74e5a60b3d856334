package noderegistry

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// acceptExpiry lets the silent nodes go if a person asked for it by naming the time since when they are held. So a value
// that stays, in Git for example, accepts nothing the next time. An annotation that has accepted is removed.
func (c *Controller) acceptExpiry(ctx context.Context, registry *rollcallv1alpha1.NodeRegistry, m *mirror.Mirror) error {
	name := client.ObjectKeyFromObject(registry)
	value, asked := registry.Annotations[rollcallv1alpha1.AnnotationAcceptExpiry]
	if !asked {
		return nil
	}
	a, first := c.answers.of(name, value, func() answer { return answerTo(value, m) })
	switch {
	case a.accepted && !a.removed:
		return c.removeAcceptance(ctx, registry, a)
	case first && a.wanted != "":
		c.recorder.Eventf(registry, nil, corev1.EventTypeWarning, rollcallv1alpha1.ReasonExpiryNotAccepted, "AcceptExpiry",
			"the annotation %s has the value %.100q and lets no node go: set it to %s, the value of status.held.since",
			rollcallv1alpha1.AnnotationAcceptExpiry, value, a.wanted)
	}
	return nil
}

// removeAcceptance takes the annotation back, and says how many nodes it let go.
func (c *Controller) removeAcceptance(ctx context.Context, registry *rollcallv1alpha1.NodeRegistry, a answer) error {
	before := registry.DeepCopy()
	delete(registry.Annotations, rollcallv1alpha1.AnnotationAcceptExpiry)
	if err := c.client.Patch(ctx, registry, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(err)
	}
	c.answers.done(client.ObjectKeyFromObject(registry))
	c.recorder.Eventf(registry, nil, corev1.EventTypeNormal, rollcallv1alpha1.ReasonExpiryAccepted, "AcceptExpiry",
		"%d silent nodes were let go, as the annotation %s asked", a.released, rollcallv1alpha1.AnnotationAcceptExpiry)
	return nil
}

// answer is what became of one value of the annotation.
type answer struct {
	value string
	// accepted is true if the value let nodes go, released is how many.
	accepted bool
	released int
	// removed is true once the annotation was removed; the cache may show it for a moment longer.
	removed bool
	// wanted is the value that would have let nodes go; empty if none are held.
	wanted string
}

// answerTo lets the silent nodes go if the value is the one that does.
func answerTo(value string, m *mirror.Mirror) answer {
	a := answer{value: value}
	held := m.State().Held
	if held == nil {
		return a
	}
	a.wanted = printed(held.Since)
	if value == a.wanted {
		a.released, a.accepted = m.AcceptExpiry(held.Since)
	}
	return a
}

// answers has the last answer of each registry. It is safe for concurrent use for different registries.
type answers struct {
	mu  sync.Mutex
	all map[types.NamespacedName]answer
}

// of returns the answer to a value, and whether it is the first to it. A value that was refused is judged again: it may be
// right by now, and it is told anew only where it was refused while no node was held.
func (s *answers) of(registry types.NamespacedName, value string, judge func() answer) (a answer, first bool) {
	s.mu.Lock()
	last, known := s.all[registry]
	s.mu.Unlock()
	if known && last.value == value && last.accepted {
		return last, false
	}
	a = judge()
	first = !known || last.value != value || last.wanted == ""
	if !first && a.wanted == "" {
		a.wanted = last.wanted // It has been told once.
	}
	s.put(registry, a)
	return a, first
}

func (s *answers) done(registry types.NamespacedName) {
	s.mu.Lock()
	a := s.all[registry]
	s.mu.Unlock()
	a.removed = true
	s.put(registry, a)
}

func (s *answers) put(registry types.NamespacedName, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[types.NamespacedName]answer{}
	}
	s.all[registry] = a
}

func (s *answers) forget(registry types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, registry)
}
