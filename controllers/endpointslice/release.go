package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
)

// release deletes the slices of a Service that takes no nodes, and says why it takes none; the Service does not exist if
// it is nil.
func (c *Controller) release(ctx context.Context, name types.NamespacedName, service *corev1.Service) (ctrl.Result, error) {
	defer c.states.forget(name)
	st := c.states.get(name)
	c.stop(name, st)
	if existing := st.slices.release(); len(existing) > 0 {
		mistaken, err := c.takesNodes(ctx, name)
		if err != nil {
			return ctrl.Result{}, err
		}
		if mistaken {
			return ctrl.Result{RequeueAfter: again}, nil
		}
		st.aside.Begin(c.clock.Now(), false)
		if err := c.writer(name, service, st).removeAll(ctx, existing); errors.Is(err, errOutdated) {
			return ctrl.Result{RequeueAfter: again}, nil
		} else if err != nil {
			return ctrl.Result{}, err
		}
		if rest := st.aside.End(); rest > 0 {
			return c.unreleased(ctx, service, st, rest)
		}
	}
	if service == nil {
		return ctrl.Result{}, nil
	}
	var why *outcome
	if annotated(service) {
		why = problem(rollcallv1alpha1.ReasonUnsupportedService, unsupported(service))
	}
	after, err := c.report(ctx, service, st, why)
	return ctrl.Result{RequeueAfter: after}, err
}

// unreleased says that the API server refuses to delete slices, and has that tried again after the rest.
func (c *Controller) unreleased(ctx context.Context, service *corev1.Service, st *state, rest time.Duration) (ctrl.Result, error) {
	r := refusals(st.aside.Summary())
	switch {
	case r == nil:
		return ctrl.Result{RequeueAfter: rest}, nil
	case service == nil:
		log.FromContext(ctx).Info("the slices of a Service that is gone can't be deleted", "reason", r.reason, "message", r.message)
		return ctrl.Result{RequeueAfter: rest}, nil
	}
	after, err := c.report(ctx, service, st, compose("", []remark{*r}))
	return ctrl.Result{RequeueAfter: sooner(rest, after)}, err
}

// takesNodes asks the API server itself whether the Service takes nodes: the cache may not have seen yet that there is
// such a Service, or that it has the annotation.
func (c *Controller) takesNodes(ctx context.Context, name types.NamespacedName) (bool, error) {
	live := &corev1.Service{}
	if err := c.live.Get(ctx, name, live); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("get service: %w", err)
	}
	return annotated(live) && unsupported(live) == nil, nil
}

func (w *writer) removeAll(ctx context.Context, existing []*discoveryv1.EndpointSlice) error {
	operations := make([]plan.Operation, 0, len(existing))
	for _, slice := range existing {
		operations = append(operations, plan.Operation{Verb: plan.Delete, Slice: slice})
	}
	return w.apply(ctx, operations)
}
