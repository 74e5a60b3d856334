package noderegistry

import (
	"context"
	"maps"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// farewell is how long everything stays as it is after a NodeRegistry was deleted. To delete a config object is not the death
// of a fleet: kubectl replace --force, GitOps and a reinstallation delete it and create it again within seconds.
const farewell = 10 * time.Second

// Departures knows which NodeRegistries are gone, and which of those may still come back. It is safe for concurrent use.
type Departures struct {
	reader client.Reader
	clock  clock.Clock

	mu sync.Mutex
	// led is when this process began to lead; zero: it does not yet.
	led time.Time
	// since is when each NodeRegistry that is gone was found to be.
	since map[types.NamespacedName]time.Time
}

// NewDepartures returns Departures for the NodeRegistries that the reader, a cache, shows.
func NewDepartures(reader client.Reader, clk clock.Clock) *Departures {
	return &Departures{reader: reader, clock: clk, since: map[types.NamespacedName]time.Time{}}
}

// Await notes that this process leads, and calls f once a NodeRegistry that has been gone all the time does not come back.
func (d *Departures) Await(ctx context.Context, f func()) error {
	d.mu.Lock()
	d.led = d.clock.Now()
	d.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-d.clock.After(farewell):
		f()
	}
	return nil
}

// Present reports whether there is a NodeRegistry of that name, or there may be again; without a name, whether there may be one again
// that nobody knows of any more. It does not block.
func (d *Departures) Present(name types.NamespacedName) bool {
	found := &rollcallv1alpha1.NodeRegistry{}
	err := d.reader.Get(context.Background(), name, found)
	switch {
	case err == nil && found.DeletionTimestamp.IsZero():
		return true
	case err != nil && !apierrors.IsNotFound(err):
		// Whatever else the error may be, it does not say that there is no such registry.
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rest(name) > 0
}

// note notes that the NodeRegistry is gone, and returns for how much longer it may come back; zero or less: it does not.
func (d *Departures) note(name types.NamespacedName) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.since[name]; !known {
		// Whoever has been gone for long is not asked about any more.
		maps.DeleteFunc(d.since, func(_ types.NamespacedName, since time.Time) bool { return d.clock.Since(since) > time.Hour })
		d.since[name] = d.clock.Now()
	}
	return d.rest(name)
}

// rest returns for how much longer a NodeRegistry that is gone may come back. One that was gone when this process began to
// lead may have been deleted the moment before.
func (d *Departures) rest(name types.NamespacedName) time.Duration {
	since, known := d.since[name]
	switch {
	case !known && d.led.IsZero():
		return farewell
	case !known:
		since = d.led
	}
	return farewell - d.clock.Since(since)
}

// back notes that the NodeRegistry exists.
func (d *Departures) back(name types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.since, name)
}
