package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

const (
	// What failed is tried again after retryFirst, then after twice as long each time, at most after retryLast.
	retryFirst, retryLast = 5 * time.Millisecond, time.Second
)

// Nodes is what the controller reads of the Store. Its methods answer at once, and with nothing older than what was taken from
// the Cursor.
type Nodes interface {
	// Node returns the node whose DiscoveredNode has that name; nil if it is not known.
	Node(namespace, name string) *mirror.Node

	// Select returns every node of the namespace whose labels match.
	Select(namespace string, selector labels.Selector) iter.Seq[*mirror.Node]

	// Settled says whether an endpoint of the node of that name may be removed because the node is not known: true once
	// its registry has been listed completely since start, and where there is no such NodeRegistry.
	Settled(namespace, name string) bool

	// Unsettled returns the registries of the namespace of which the selector may select nodes that are not known yet. While
	// there are any, no endpoint may be removed because nobody knows whose it is.
	Unsettled(namespace string, selector labels.Selector) sets.Set[string]
}

// SetupWithManager makes the manager run the controller. Its cache needs to hold no EndpointSlices but those with the
// label endpointslice.kubernetes.io/managed-by=rollcall.dev.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	// The workers start once the handler has seen every slice that exists: the trackers are complete by then.
	slices := source.Kind(mgr.GetCache(), &discoveryv1.EndpointSlice{}, c.sliceEvents())
	return ctrl.NewControllerManagedBy(mgr).
		Named("endpointslice").
		For(&corev1.Service{}, builder.WithPredicates(concerned())).
		WatchesRawSource(slices).
		WatchesRawSource(c.Changes()).
		WatchesRawSource(c.queue).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			// A Service is on its way to a worker at once: the queue with priorities hands it on twice before.
			UsePriorityQueue: new(false),
			RateLimiter:      workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFirst, retryLast),
		}).
		Complete(c)
}

type (
	sliceHandler = handler.TypedFuncs[*discoveryv1.EndpointSlice, reconcile.Request]
	requests     = workqueue.TypedRateLimitingInterface[reconcile.Request]
)

// sliceEvents has the trackers observe what the watch shows of our slices, and those Services reconciled whose slices were changed
// externally.
func (c *Controller) sliceEvents() sliceHandler {
	observe := func(q requests, slice *discoveryv1.EndpointSlice) {
		if service := serviceOf(slice); c.states.observe(service, slice) {
			q.Add(reconcile.Request{NamespacedName: service})
		}
	}
	observeDeleted := func(q requests, slice *discoveryv1.EndpointSlice) {
		if service := serviceOf(slice); c.states.observeDeleted(service, slice) {
			q.Add(reconcile.Request{NamespacedName: service})
		}
	}
	return sliceHandler{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*discoveryv1.EndpointSlice], q requests) {
			if ours(e.Object) {
				observe(q, e.Object)
			}
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*discoveryv1.EndpointSlice], q requests) {
			if ours(e.ObjectOld) && (!ours(e.ObjectNew) || serviceOf(e.ObjectOld) != serviceOf(e.ObjectNew)) {
				observeDeleted(q, e.ObjectOld)
			}
			if ours(e.ObjectNew) {
				observe(q, e.ObjectNew)
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*discoveryv1.EndpointSlice], q requests) {
			if ours(e.Object) {
				observeDeleted(q, e.Object)
			}
		},
	}
}

func ours(slice *discoveryv1.EndpointSlice) bool {
	return slice.Labels[discoveryv1.LabelManagedBy] == rollcallv1alpha1.ManagedBy
}

// concerned lets through the Services that are annotated, that just were, and that still say so in their status.
func concerned() predicate.Predicate {
	is := func(o client.Object) bool {
		service, ok := o.(*corev1.Service)
		return ok && (annotated(service) ||
			meta.FindStatusCondition(service.Status.Conditions, rollcallv1alpha1.ConditionEndpointsSynced) != nil)
	}
	return predicate.Funcs{
		CreateFunc:  func(e event.CreateEvent) bool { return is(e.Object) },
		UpdateFunc:  func(e event.UpdateEvent) bool { return is(e.ObjectOld) || is(e.ObjectNew) },
		DeleteFunc:  func(e event.DeleteEvent) bool { return is(e.Object) },
		GenericFunc: func(e event.GenericEvent) bool { return is(e.Object) },
	}
}

func annotated(service *corev1.Service) bool {
	_, found := service.Annotations[rollcallv1alpha1.AnnotationNodeSelector]
	return found
}

// unsupported returns why an annotated Service can't have endpoints from Rollcall, nil if it can.
func unsupported(service *corev1.Service) error {
	switch {
	case service.Spec.Type == corev1.ServiceTypeExternalName:
		return errors.New("a Service of type ExternalName has no endpoints")
	case len(service.Spec.Selector) > 0:
		return errors.New("the Service has a selector of its own, so its endpoints are pods")
	}
	return nil
}

func parseSelector(service *corev1.Service) (labels.Selector, error) {
	selector, err := labels.Parse(service.Annotations[rollcallv1alpha1.AnnotationNodeSelector])
	if err != nil {
		return nil, fmt.Errorf("annotation %s: %w", rollcallv1alpha1.AnnotationNodeSelector, err)
	}
	if selector.Empty() {
		return nil, fmt.Errorf("annotation %s is empty and would select every node", rollcallv1alpha1.AnnotationNodeSelector)
	}
	return selector, nil
}
