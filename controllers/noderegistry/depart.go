package noderegistry

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// depart waits for a NodeRegistry that is gone, or about to be. Its session and its Mirror go on meanwhile, and are adopted by
// one that is created again under its name. If none is, everything of it goes.
func (c *Controller) depart(ctx context.Context, name types.NamespacedName) (ctrl.Result, error) {
	if rest := c.departures.note(name); rest > 0 {
		return ctrl.Result{RequeueAfter: rest}, nil
	}
	if m := c.store.Mirror(name); m != nil {
		if err := c.mourn(ctx, name, m.Nodes()); err != nil {
			return ctrl.Result{}, err
		}
	}
	c.sessions.leave(name, nil)
	c.sessions.stop(name)
	c.store.Remove(name)
	c.written.forget(name)
	c.mappings.Forget(name)
	c.answers.forget(name)
	c.cordons.forget(name)
	return ctrl.Result{}, nil
}

// mourn records an Event on each Service that loses endpoints, since the NodeRegistry that could say so is gone.
func (c *Controller) mourn(ctx context.Context, registry types.NamespacedName, nodes []*mirror.Node) error {
	list := &corev1.ServiceList{}
	if err := c.client.List(ctx, list, client.InNamespace(registry.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range list.Items {
		service := &list.Items[i]
		text, annotated := service.Annotations[rollcallv1alpha1.AnnotationNodeSelector]
		selector, err := labels.Parse(text)
		if !annotated || err != nil || selector.Empty() {
			continue
		}
		lost := 0
		for _, node := range nodes {
			if node.Traffic() != mirror.TrafficNone && selector.Matches(labels.Set(node.Labels)) {
				lost++
			}
		}
		if lost > 0 {
			c.recorder.Eventf(service, nil, corev1.EventTypeWarning, rollcallv1alpha1.ReasonRegistryDeleted, "RemoveEndpoints",
				"the endpoints of %d nodes are removed: NodeRegistry %s was deleted and is not back after %s", lost, registry.Name, farewell)
		}
	}
	return nil
}
