package outage

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// quietAfter is the least time after which Quiet tries again; up to half of it is added at random.
const quietAfter = 500 * time.Millisecond

// Reconciler returns r as one whose workers go through the gate. What gets no answer is no error then, which would be
// logged for each object: it is tried again. If g is nil, r remains as it is.
func (g *Gate) Reconciler(r reconcile.Reconciler) reconcile.Reconciler {
	if g == nil {
		return r
	}
	return reconcile.Func(func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
		leave, err := g.enter(ctx)
		if err != nil {
			return reconcile.Result{}, nil // The manager ends.
		}
		defer leave()
		result, err := r.Reconcile(ctx, request)
		if Unanswered(err) || Unserved(err) {
			g.saw(err)
			return reconcile.Result{RequeueAfter: pause()}, nil
		}
		return result, err
	})
}

// Quiet returns r as one for which it is no error, which would be logged for each object, that the API server does not
// answer: it is tried again. Its workers are not held back. If o is nil, r remains as it is.
func (o *Outage) Quiet(r reconcile.Reconciler) reconcile.Reconciler {
	if o == nil {
		return r
	}
	type asker struct {
		of      *reconcile.Reconciler
		request reconcile.Request
	}
	return reconcile.Func(func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
		result, err := r.Reconcile(ctx, request)
		if Unanswered(err) {
			o.failed(asker{&r, request}, err)
			return reconcile.Result{RequeueAfter: wait.Jitter(quietAfter, jitter)}, nil
		}
		o.answered(asker{&r, request})
		return result, err
	})
}

// Client returns c as one whose writes tell the gate whether the API server answers. Reads do not, since most of them come
// from a cache, and those of a status do not.
func (g *Gate) Client(c client.Client) client.Client { return writer{Client: c, gate: g} }

// writer is a client that tells the gate how its writes ended.
type writer struct {
	client.Client

	gate *Gate
}

// Create implements client.Writer.
func (w writer) Create(ctx context.Context, o client.Object, options ...client.CreateOption) error {
	return w.told(w.Client.Create(ctx, o, options...))
}

// Update implements client.Writer.
func (w writer) Update(ctx context.Context, o client.Object, options ...client.UpdateOption) error {
	return w.told(w.Client.Update(ctx, o, options...))
}

// Patch implements client.Writer.
func (w writer) Patch(ctx context.Context, o client.Object, patch client.Patch, options ...client.PatchOption) error {
	return w.told(w.Client.Patch(ctx, o, patch, options...))
}

// Delete implements client.Writer.
func (w writer) Delete(ctx context.Context, o client.Object, options ...client.DeleteOption) error {
	return w.told(w.Client.Delete(ctx, o, options...))
}

func (w writer) told(err error) error {
	w.gate.saw(err)
	return err
}
