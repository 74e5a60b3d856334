package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/refusal"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// refused returns true if the API server understood the write and will not have what is in it. What an admission webhook answers has
// a code of the webhook's own. That a right is missing is not about the slice, and an API server that is just starting says so too.
func refused(err error) bool {
	if err == nil || terminating(err) || strings.Contains(err.Error(), `" cannot `) && apierrors.IsForbidden(err) {
		return false
	}
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsRequestEntityTooLargeError(err) || denied(err)
}

// denied returns true if admission refused the write.
func denied(err error) bool {
	words := err.Error()
	return strings.Contains(words, `admission webhook "`) && strings.Contains(words, "denied the request") ||
		strings.Contains(words, "ValidatingAdmissionPolicy '") && strings.Contains(words, "denied request")
}

// wholesale returns true if the refusal does not depend on what is written.
func wholesale(err error) bool { return apierrors.IsForbidden(err) && refusal.Quota(err.Error()) }

// attempt is an operation that is carried out as far as the API server takes it.
type attempt struct {
	*writer
	op     plan.Operation
	base   *discoveryv1.EndpointSlice
	change *refusal.Change
	// parts are the new endpoints that are tried, grouped as they were put aside.
	parts [][]int
}

// carryOut carries out one operation as far as the API server takes it. What it refuses is put aside, and is no error.
func (w *writer) carryOut(ctx context.Context, op plan.Operation) error {
	if w.state.aside.Replaced(op.Slice.Name) {
		return nil // Another pass looks at the one in its place.
	}
	a := w.attempt(op)
	if a.waits() {
		return nil
	}
	if due := a.due(); len(due) < len(a.change.New()) {
		if a.change.Regroups() {
			return a.withoutRegrouping(ctx)
		}
		if a.op = a.as(a.change.With(due)); a.unchanged() {
			return nil
		}
	}
	err := w.write(ctx, a.op)
	if refused(err) {
		return a.without(ctx, err)
	}
	if err == nil {
		a.admitted(a.due())
	}
	return err
}

// attempt returns the attempt to carry out an operation.
func (w *writer) attempt(op plan.Operation) *attempt {
	a := &attempt{writer: w, op: op, base: w.state.slices.Current(op.Slice.Name)}
	if a.base == nil && op.Verb != plan.Create {
		a.base = op.Slice // It is gone, which the write will find out.
	}
	a.keep()
	a.change = refusal.NewChange(a.base, a.desired())
	a.parts = w.state.aside.Due(a.change)
	return a
}

// waits returns true if the operation changes no endpoint, and was refused not long ago.
func (a *attempt) waits() bool {
	return a.base != nil && len(a.change.New()) == 0 && !a.change.Loses() && a.state.aside.Waits(a.base.Name)
}

// without carries out what there is to do of an operation that was refused.
func (a *attempt) without(ctx context.Context, why error) error {
	switch {
	case a.op.Verb == plan.Create && a.state.aside.NoCreation(a.change):
		return nil
	case a.change.Regroups():
		return a.withoutRegrouping(ctx)
	}
	if lost, err := a.lose(ctx); err != nil || !lost {
		return err
	}
	if len(a.due()) == 0 {
		return a.leave(ctx, why)
	}
	return a.search(ctx, why)
}

// withoutRegrouping writes what a slice loses that can't be given other ports as a whole. The rest is planned otherwise.
func (a *attempt) withoutRegrouping(ctx context.Context) error {
	a.state.aside.NoRegrouping(a.change)
	_, err := a.lose(ctx)
	return err
}

// leave leaves for later what changes no endpoint: other labels, or that an empty slice goes.
func (a *attempt) leave(ctx context.Context, why error) error {
	if a.op.Verb == plan.Update {
		if err := a.replace(ctx, a.op.Slice); !refused(err) {
			return err
		}
	}
	a.state.aside.Stuck(a.change, answer(why))
	return nil
}

// keep has those endpoints stay in the slice that are to be shown elsewhere by then and are not.
func (a *attempt) keep() {
	if !a.op.Yields || a.base == nil {
		return
	}
	if slice := refusal.Staying(a.base, a.desired(), a.state.aside.Missing); len(slice.Endpoints) > 0 {
		a.op.Verb, a.op.Slice = plan.Update, slice
	}
}

// desired returns the slice as it is desired; nil if it is to be deleted.
func (a *attempt) desired() *discoveryv1.EndpointSlice {
	if a.op.Verb == plan.Delete {
		return nil
	}
	return a.op.Slice
}

// due returns the new endpoints that are tried.
func (a *attempt) due() []int { return slices.Concat(a.parts...) }

// as returns the operation that makes the slice what it should be: as it stands by now, in whatever version.
func (a *attempt) as(slice *discoveryv1.EndpointSlice) plan.Operation {
	op := plan.Operation{Verb: plan.Create, Slice: slice, Cause: a.op.Cause}
	if current := a.state.slices.Current(slice.Name); current != nil {
		op.Verb, slice.ResourceVersion, slice.UID = plan.Update, current.ResourceVersion, current.UID
		if len(slice.Endpoints) == 0 {
			op.Verb, op.Slice = plan.Delete, current
		}
	}
	return op
}

// unchanged returns true if the operation would change nothing.
func (a *attempt) unchanged() bool {
	if a.op.Verb != plan.Update {
		return a.op.Verb == plan.Create && len(a.op.Slice.Endpoints) == 0 || a.op.Verb == plan.Delete && len(a.base.Endpoints) == 0
	}
	next := a.op.Slice
	return maps.Equal(a.base.Labels, next.Labels) &&
		apiequality.Semantic.DeepEqual(a.base.OwnerReferences, next.OwnerReferences) &&
		apiequality.Semantic.DeepEqual(a.base.Endpoints, next.Endpoints) && !a.change.Regroups()
}

// admitted notes that the slice is written with those endpoints as they are desired.
func (a *attempt) admitted(items []int) {
	a.state.aside.Admitted(a.change, items)
	a.state.aside.Freed(a.op.Slice.Name)
	if a.op.Verb == plan.Create {
		a.state.aside.Created()
	}
}

// lose writes the slice without what is new in it. It returns false if what there is to do besides is left to another pass.
func (a *attempt) lose(ctx context.Context) (lost bool, err error) {
	if a.base == nil || !a.change.Loses() {
		return true, nil
	}
	losing := a.change.Losing()
	err = a.write(ctx, plan.Operation{Verb: plan.Update, Slice: losing, Cause: a.op.Cause})
	switch {
	case err == nil:
		a.state.aside.Freed(losing.Name)
		return true, nil
	case !refused(err):
		return false, err
	}
	return false, a.unstick(ctx, a.change.Losing(), err)
}

// search finds out which of the new endpoints are refused, and writes the others.
func (a *attempt) search(ctx context.Context, why error) error {
	if wholesale(why) {
		// Nothing is found out by trying.
		a.putAside(a.parts, why)
		return nil
	}
	s := refusal.NewSearch(a.parts)
	defer func() { a.putAside(s.Refused, why) }()
	for items := s.Next(); items != nil; items = s.Next() {
		if !a.state.aside.Try() {
			s.Refuse()
			s.Stop()
			break
		}
		err := a.write(ctx, a.as(a.change.With(append(slices.Clone(s.Admitted), items...))))
		switch {
		case err == nil:
			s.Accept()
			a.admitted(items)
		case refused(err):
			s.Refuse()
			why = err
		default:
			s.Refuse()
			s.Stop()
			return err
		}
	}
	if len(s.Admitted) == 0 && a.op.Verb == plan.Update && a.replace(ctx, a.op.Slice) == nil {
		s.Refused = nil
		a.admitted(a.due())
	}
	return nil
}

func (a *attempt) putAside(parts [][]int, why error) {
	for _, items := range parts {
		if len(items) > 0 {
			a.state.aside.Put(a.change, items, answer(why))
		}
	}
}

// answer returns what the API server says, as far as it is shown.
func answer(err error) string {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return record.Bounded(status.Status().Message)
	}
	return record.Bounded(err.Error())
}

// unstick tries other ways to take from a slice what must leave it, where it can't be written without: by another slice in its
// place, and without those endpoints that are the cause, as long as those are few.
func (a *attempt) unstick(ctx context.Context, losing *discoveryv1.EndpointSlice, why error) error {
	aside := a.state.aside
	if len(losing.Endpoints) > 0 && !aside.Waits(a.base.Name) {
		err := a.replace(ctx, losing)
		if refused(err) {
			err = a.expel(ctx, losing, err)
		}
		if !refused(err) {
			aside.Postpone(a.change)
			return err
		}
	}
	aside.Stuck(a.change, answer(why))
	a.putAside(a.parts, why)
	return nil
}

// replace creates a slice in the place of the one that there is, which it deletes. It does so only if that can be deleted.
func (a *attempt) replace(ctx context.Context, slice *discoveryv1.EndpointSlice) error {
	current := a.state.slices.Current(a.base.Name)
	if current == nil {
		return errOutdated
	}
	if err := a.client.Delete(ctx, current.DeepCopy(), client.DryRunAll); err != nil {
		return fmt.Errorf("delete endpoint slice %s: %w", current.Name, err)
	}
	next := &discoveryv1.EndpointSlice{AddressType: slice.AddressType, Endpoints: slice.Endpoints, Ports: slice.Ports}
	next.ObjectMeta = metav1.ObjectMeta{
		Namespace: slice.Namespace, Labels: slice.Labels, Annotations: slice.Annotations, OwnerReferences: slice.OwnerReferences,
		Name: a.state.slices.Reserve(a.service.Name, a.uid),
	}
	if err := a.write(ctx, plan.Operation{Verb: plan.Create, Slice: next, Cause: a.op.Cause}); err != nil {
		return err
	}
	a.state.aside.Replace(current.Name)
	return a.write(ctx, plan.Operation{Verb: plan.Delete, Slice: current})
}

// expel writes the slice without those of its endpoints that are the cause of the refusal, and puts them aside. It returns the
// refusal if they are more than the others, and not few beside those that must leave, or if it had to give up.
func (a *attempt) expel(ctx context.Context, losing *discoveryv1.EndpointSlice, why error) error {
	bare := *losing
	bare.Endpoints = nil
	c := refusal.NewChange(&bare, losing)
	s := refusal.NewSearch([][]int{c.New()})
	for items := s.Next(); items != nil; items = s.Next() {
		if !a.state.aside.Try() {
			return why
		}
		slice := c.With(append(slices.Clone(s.Admitted), items...))
		switch err := a.client.Update(ctx, slice, client.DryRunAll); {
		case err == nil:
			s.Accept()
		case refused(err):
			s.Refuse()
			why = err
		default:
			return fmt.Errorf("update endpoint slice %s: %w", slice.Name, err)
		}
	}
	if leaving := len(a.base.Endpoints) - len(losing.Endpoints); len(s.Refused) > max(len(s.Admitted), leaving/10) {
		return why
	}
	if err := a.write(ctx, plan.Operation{Verb: plan.Update, Slice: c.With(s.Admitted), Cause: a.op.Cause}); err != nil {
		return err
	}
	for _, items := range s.Refused {
		a.state.aside.Put(c, items, answer(why))
	}
	return nil
}
