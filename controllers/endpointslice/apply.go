package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
	"github.com/rollcall-dev/rollcall/internal/outage"
)

// concurrentWrites is how many slices of one Service are written at once.
const concurrentWrites = 8

// errOutdated says that a slice was not what the plan took it for. What it is has been read meanwhile.
var errOutdated = errors.New("the endpoint slice was changed by somebody else")

// unansweredAfter is after how long without an answer the condition says so.
const unansweredAfter = 5 * time.Second

// writer writes the slices of one Service.
type writer struct {
	*Controller
	service types.NamespacedName
	// object is the Service, nil if it is gone.
	object *corev1.Service
	state  *state
	// uid is the Service's.
	uid types.UID
	// late gets something when a write has had no answer for long.
	late chan struct{}
}

// writer returns the writer of a Service; object is nil if the Service is gone.
func (c *Controller) writer(name types.NamespacedName, object *corev1.Service, st *state) *writer {
	w := &writer{Controller: c, service: name, object: object, state: st, late: make(chan struct{}, 1)}
	if object != nil {
		w.uid = object.UID
	}
	return w
}

// apply carries out the operations. Those that yield come last, and only if all others have succeeded; apart from that, one
// that fails stops no other.
func (w *writer) apply(ctx context.Context, operations []plan.Operation) error {
	var first, last []plan.Operation
	for _, op := range operations {
		if op.Yields {
			last = append(last, op)
		} else {
			first = append(first, op)
		}
	}
	if err := w.writeAll(ctx, first); err != nil {
		return err
	}
	for _, op := range last {
		if op.Verb == plan.Update {
			// It may have been written just now, without what it loses for good.
			if current := w.state.slices.Current(op.Slice.Name); current != nil {
				op.Slice.ResourceVersion = current.ResourceVersion
			}
		}
	}
	return w.writeAll(ctx, last)
}

// writeAll carries out operations in any order and returns one of their errors: always the same of the same ones, since it
// ends up in the condition. A write that gets no answer for long is told while it lasts.
func (w *writer) writeAll(ctx context.Context, operations []plan.Operation) error {
	done := make(chan error, 1)
	go func() { done <- w.writeEach(ctx, operations) }()
	select {
	case err := <-done:
		return err
	case <-w.late:
	}
	if w.object != nil {
		if _, err := w.report(ctx, w.object, w.state, unanswered()); err != nil {
			log.FromContext(ctx).V(1).Info("the condition does not say that a write gets no answer", "error", err.Error())
		}
	}
	return <-done
}

// writeEach carries out the operations. Those that it has not begun when the API server is found to be away it does not begin: what
// they would write grows old.
func (w *writer) writeEach(ctx context.Context, operations []plan.Operation) error {
	errs := make([]error, len(operations))
	var group errgroup.Group
	group.SetLimit(concurrentWrites)
	var away atomic.Pointer[error]
	for i, op := range operations {
		if err := away.Load(); err != nil {
			errs[i] = *err
			continue
		}
		group.Go(func() error {
			if errs[i] = w.carryOut(ctx, op); outage.Withheld(errs[i]) {
				away.Store(&errs[i])
			}
			return nil
		})
	}
	_ = group.Wait()
	return gravest(errs)
}

// timed sends an operation, and notes if it gets no answer for long.
func (w *writer) timed(ctx context.Context, op plan.Operation) (altered *discoveryv1.EndpointSlice, err error) {
	answered := make(chan struct{})
	defer close(answered)
	go func() {
		select {
		case <-answered:
		case <-w.clock.After(unansweredAfter):
			select {
			case w.late <- struct{}{}:
			default: // It was noted before.
			}
		}
	}()
	return w.send(ctx, op)
}

// gravest returns the error that says most: errOutdated only if there is no other.
func gravest(errs []error) error {
	var gravest error
	for _, err := range errs {
		switch {
		case err == nil:
		case gravest == nil, errors.Is(gravest, errOutdated):
			gravest = err
		case !errors.Is(err, errOutdated) && err.Error() < gravest.Error():
			gravest = err
		}
	}
	return gravest
}

// write carries out one operation and has the outcome tracked. It returns errOutdated if the slice was changed externally before.
func (w *writer) write(ctx context.Context, op plan.Operation) error {
	tracker := w.state.slices
	tracker.writing(op.Slice.Name, true)
	altered, err := w.timed(ctx, op)
	switch {
	case err == nil:
		w.wrote(op, altered)
		return nil
	case denied(err):
		tracker.writing(op.Slice.Name, false) // With whatever code: that of a conflict would be taken for one.
		return fmt.Errorf("%s endpoint slice %s: %w", op.Verb, op.Slice.Name, err)
	case op.Verb == plan.Delete && apierrors.IsNotFound(err):
		tracker.resolve(op.Slice.Name, nil, w.uid)
		return nil
	case apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err):
		if _, err := w.readAgain(ctx, op.Slice); err != nil {
			return err
		}
		return errOutdated
	default:
		tracker.writing(op.Slice.Name, false)
		return fmt.Errorf("%s endpoint slice %s: %w", op.Verb, op.Slice.Name, err)
	}
}

// wrote has a write tracked that succeeded.
func (w *writer) wrote(op plan.Operation, altered *discoveryv1.EndpointSlice) {
	if op.Verb == plan.Delete {
		w.state.slices.removed(op.Slice.Name)
	} else if w.state.slices.wrote(op.Slice) {
		w.queue.Add(w.service)
	}
	if altered != nil {
		w.state.slices.alter(altered)
		w.queue.Add(w.service)
	}
	if !op.Cause.IsZero() {
		w.metrics.SliceWritten(w.service.Namespace, op.Cause)
	}
}

// send carries out one operation. What a create or an update sends becomes what the API server answers; if its admission has changed
// that, send returns what was sent.
func (w *writer) send(ctx context.Context, op plan.Operation) (altered *discoveryv1.EndpointSlice, err error) {
	sent, owner := *op.Slice, client.FieldOwner(w.options.FieldOwner)
	sent.Labels = maps.Clone(sent.Labels)
	switch op.Verb {
	case plan.Create:
		err = w.client.Create(ctx, op.Slice, owner)
	case plan.Update:
		op.Slice.ManagedFields = w.state.contest.fields(w.state.slices.fields(op.Slice.Name), w.options.FieldOwner, w.clock.Now())
		err = w.client.Update(ctx, op.Slice, owner)
	default:
		return nil, w.client.Delete(ctx, op.Slice, client.Preconditions{UID: &op.Slice.UID})
	}
	if err != nil {
		return nil, err
	}
	slim(op.Slice)
	if !plan.Stored(&sent, op.Slice) {
		return &sent, nil
	}
	return nil, nil
}

// readAgain reads from the API server what has become of a slice, and returns it if it is there and the Service's.
func (w *writer) readAgain(ctx context.Context, slice *discoveryv1.EndpointSlice) (*discoveryv1.EndpointSlice, error) {
	live := &discoveryv1.EndpointSlice{}
	if err := w.live.Get(ctx, client.ObjectKeyFromObject(slice), live); apierrors.IsNotFound(err) {
		live = nil
	} else if err != nil {
		w.state.slices.writing(slice.Name, false)
		return nil, fmt.Errorf("read endpoint slice %s: %w", slice.Name, err)
	} else {
		slim(live)
	}
	return w.state.slices.resolve(slice.Name, live, w.uid), nil
}

// lookFor returns those of the slices that are still there although the watch no longer shows them: they have lost the
// label that it goes by.
func (w *writer) lookFor(ctx context.Context, vanished []*discoveryv1.EndpointSlice) ([]*discoveryv1.EndpointSlice, error) {
	var found []*discoveryv1.EndpointSlice
	for _, slice := range vanished {
		live, err := w.readAgain(ctx, slice)
		if err != nil {
			return nil, err
		}
		if live != nil {
			found = append(found, live)
		}
	}
	return found, nil
}

// creatable leaves out the slices that are to be created where the Service is about to go: the garbage collector may have
// looked for its slices already.
func creatable(service *corev1.Service, operations []plan.Operation) []plan.Operation {
	if service.DeletionTimestamp == nil {
		return operations
	}
	return slices.DeleteFunc(operations, func(op plan.Operation) bool { return op.Verb == plan.Create })
}

// terminating says whether the namespace is being deleted, so that nothing can be created in it any more.
func terminating(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}
