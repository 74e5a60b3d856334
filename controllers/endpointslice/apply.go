package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// concurrentWrites is how many slices of one Service are written at once.
const concurrentWrites = 8

// errOutdated says that a slice was not what the plan took it for. What it is has been read meanwhile.
var errOutdated = errors.New("the endpoint slice was changed by somebody else")

// writer writes the slices of one Service.
type writer struct {
	*Controller
	service types.NamespacedName
	state   *state
	// owner is the Service, as its slices name it.
	owner metav1.OwnerReference
}

// apply carries out the operations. Those that yield come last, and only if all others have succeeded; apart from that, one
// that fails stops no other.
func (w *writer) apply(ctx context.Context, operations []operation) error {
	var first, last []operation
	for _, op := range operations {
		if op.yields {
			last = append(last, op)
		} else {
			first = append(first, op)
		}
	}
	if err := w.writeAll(ctx, first); err != nil {
		return err
	}
	for _, op := range last {
		if op.verb == update {
			// It may have been written just now, without what it loses for good.
			op.slice.ResourceVersion = op.known.current.Load().ResourceVersion
		}
	}
	return w.writeAll(ctx, last)
}

// writeAll carries out operations in any order and returns one of their errors: always the same of the same ones, since it
// ends up in the condition.
func (w *writer) writeAll(ctx context.Context, operations []operation) error {
	errs := make([]error, len(operations))
	var group errgroup.Group
	group.SetLimit(concurrentWrites)
	for i, op := range operations {
		group.Go(func() error {
			errs[i] = w.write(ctx, op)
			return nil
		})
	}
	_ = group.Wait()
	return gravest(errs)
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

// write carries out one operation and enters the outcome in the ledger. It returns errOutdated if somebody else changed
// the slice before.
func (w *writer) write(ctx context.Context, op operation) error {
	w.states.writing(w.state, op, &w.owner)
	err := w.send(ctx, op)
	switch {
	case err == nil:
		if overtaken := w.states.wrote(w.state, op); overtaken {
			w.queue.Add(w.service)
		}
		if !op.cause.IsZero() {
			w.metrics.SliceWritten(w.service.Namespace, op.cause)
		}
		return nil
	case op.verb == remove && apierrors.IsNotFound(err):
		w.states.resolve(w.state, op.known, nil, w.owner.UID)
		return nil
	case apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err):
		if _, err := w.readAgain(ctx, op.known, op.slice); err != nil {
			return err
		}
		return errOutdated
	default:
		w.states.failed(op)
		return fmt.Errorf("%s endpoint slice %s: %w", op.verb, op.slice.Name, err)
	}
}

// send carries out one operation. What a create or an update sends becomes what the API server answers.
func (w *writer) send(ctx context.Context, op operation) (err error) {
	owner := client.FieldOwner(rollcallv1alpha1.FieldOwner)
	switch op.verb {
	case create:
		err = w.client.Create(ctx, op.slice, owner)
	case update:
		err = w.client.Update(ctx, op.slice, owner)
	default:
		return w.client.Delete(ctx, op.slice, client.Preconditions{UID: &op.slice.UID})
	}
	if err == nil {
		pack(op.slice.Endpoints)
	}
	return err
}

// readAgain reads from the API server what has become of a slice, and says whether it is there and the Service's.
func (w *writer) readAgain(ctx context.Context, k *known, slice *discoveryv1.EndpointSlice) (bool, error) {
	live := &discoveryv1.EndpointSlice{}
	if err := w.live.Get(ctx, client.ObjectKeyFromObject(slice), live); apierrors.IsNotFound(err) {
		live = nil
	} else if err != nil {
		w.states.failed(operation{known: k})
		return false, fmt.Errorf("read endpoint slice %s: %w", slice.Name, err)
	}
	return w.states.resolve(w.state, k, live, w.owner.UID), nil
}

// lookFor returns those of the slices that are still there although the watch no longer shows them: they have lost the
// label that it goes by.
func (w *writer) lookFor(ctx context.Context, vanished []*known) ([]*known, error) {
	var found []*known
	for _, k := range vanished {
		there, err := w.readAgain(ctx, k, k.current.Load())
		if err != nil {
			return nil, err
		}
		if there {
			found = append(found, k)
		}
	}
	return found, nil
}

// creatable leaves out the slices that are to be created where the Service is about to go: the garbage collector may have
// looked for its slices already.
func creatable(service *corev1.Service, operations []operation) []operation {
	if service.DeletionTimestamp == nil {
		return operations
	}
	return slices.DeleteFunc(operations, func(op operation) bool { return op.verb == create })
}

// terminating says whether the namespace is being deleted, so that nothing can be created in it any more.
func terminating(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// refused says whether the API server understood the write and will not have it.
func refused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsRequestEntityTooLargeError(err)
}
