package registry

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// acceptExpiry lets go the nodes that the disruption guard holds if a person asked for it, once: the request is taken back
// with the answer, so that it is not still there at the next disruption.
func (c *Controller) acceptExpiry(ctx context.Context, registry *rollcallv1alpha1.NodeRegistry, m *mirror.Mirror) error {
	if _, asked := registry.Annotations[rollcallv1alpha1.AnnotationAcceptExpiry]; !asked {
		return nil
	}
	released := m.AcceptExpiry()
	before := registry.DeepCopy()
	delete(registry.Annotations, rollcallv1alpha1.AnnotationAcceptExpiry)
	if err := c.client.Patch(ctx, registry, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(err)
	}
	c.recorder.Eventf(registry, nil, "Normal", rollcallv1alpha1.ReasonExpiryAccepted, "AcceptExpiry", "%d held nodes may expire, as the annotation asked", released)
	return nil
}
