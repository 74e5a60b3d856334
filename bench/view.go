package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
)

// view is what a client that watches the EndpointSlices of a namespace sees of them.
type view struct {
	mu sync.Mutex
	// services has the endpoints of each Service by the name of what they stand for.
	services map[string]map[string]endpoint
	// sizes has the number of endpoints in each slice of a Service.
	sizes   map[string]map[string]int
	waiters []*waiter
	ended   error
	cancel  context.CancelFunc
}

// endpoint is what there is to see of one endpoint.
type endpoint struct {
	slice, address string
	ready          bool
}

// waiter waits for something to be seen.
type waiter struct {
	holds func(v *view) bool
	seen  chan time.Time
}

// watchSlices opens a watch on the slices of a namespace.
func (g *rig) watchSlices(ctx context.Context, namespace string) (*view, error) {
	ctx, cancel := context.WithCancel(ctx)
	w, err := g.kube.DiscoveryV1().EndpointSlices(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		cancel()
		return nil, err
	}
	v := &view{services: map[string]map[string]endpoint{}, sizes: map[string]map[string]int{}, cancel: cancel}
	go v.follow(w)
	return v, nil
}

// close ends the watch.
func (v *view) close() { v.cancel() }

func (v *view) follow(w watch.Interface) {
	defer w.Stop()
	for event := range w.ResultChan() {
		now := time.Now()
		if slice, ok := event.Object.(*discoveryv1.EndpointSlice); ok {
			v.take(event.Type, slice, now)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = errors.New("the watch of the slices has ended")
	for _, w := range v.waiters {
		close(w.seen)
	}
	v.waiters = nil
}

// take takes in an event that arrived at that time.
func (v *view) take(kind watch.EventType, slice *discoveryv1.EndpointSlice, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	name := slice.Labels[discoveryv1.LabelServiceName]
	if v.services[name] == nil {
		v.services[name], v.sizes[name] = map[string]endpoint{}, map[string]int{}
	}
	delete(v.sizes[name], slice.Name)
	if kind != watch.Deleted {
		v.sizes[name][slice.Name] = len(slice.Endpoints)
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			v.services[name][standsFor(e)] = endpoint{
				slice: slice.Name, address: e.Addresses[0], ready: ptr.Deref(e.Conditions.Ready, true),
			}
		}
	}
	waiting := v.waiters[:0]
	for _, w := range v.waiters {
		if w.holds(v) {
			w.seen <- now
			continue
		}
		waiting = append(waiting, w)
	}
	v.waiters = waiting
}

// standsFor returns the name of the pod that an endpoint stands for, or else the ID of the node.
func standsFor(e *discoveryv1.Endpoint) string {
	if e.TargetRef != nil {
		return e.TargetRef.Name
	}
	return ptr.Deref(e.Hostname, "")
}

// expect has it noted when something is seen that is about to happen. holds is called with the view locked.
func (v *view) expect(holds func(v *view) bool) *waiter {
	w := &waiter{holds: holds, seen: make(chan time.Time, 1)}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended != nil {
		close(w.seen)
		return w
	}
	v.waiters = append(v.waiters, w)
	return w
}

// wait returns when the expected event arrived.
func (w *waiter) wait(ctx context.Context) (time.Time, error) {
	select {
	case at, ok := <-w.seen:
		if !ok {
			return at, errors.New("the watch of the slices has ended")
		}
		return at, nil
	case <-time.After(patience):
		return time.Time{}, fmt.Errorf("not seen within %s", patience)
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}

// all says whether so many endpoints of the Service are seen.
func all(service string, count int) func(*view) bool {
	return func(v *view) bool { return len(v.services[service]) >= count }
}

// size returns how many endpoints the slices of the Service hold now.
func (v *view) size(service string) (total int) {
	for _, size := range v.sizes[service] {
		total += size
	}
	return total
}

// at says whether the endpoint is seen with that address.
func at(service, name, address string) func(*view) bool {
	return func(v *view) bool { return v.services[service][name].address == address }
}

// created counts DiscoveredNodes as a watch shows that they were created. It does not decode them, to leave the machine
// to those that create them.
type created struct {
	cancel context.CancelFunc
	last   chan time.Time
}

// watchCreated notes when so many DiscoveredNodes have been created in the namespace.
func (g *rig) watchCreated(ctx context.Context, namespace string, count int) (*created, error) {
	rest, err := g.nodesClient()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := rest.Get().Namespace(namespace).Resource("discoverednodes").Param("watch", "true").Stream(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	c := &created{cancel: cancel, last: make(chan time.Time, 1)}
	go func() {
		defer close(c.last)
		defer stream.Close()
		lines := bufio.NewScanner(stream)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if bytes.HasPrefix(lines.Bytes(), []byte(`{"type":"ADDED"`)) {
				count--
			}
			if count == 0 {
				c.last <- time.Now()
				return
			}
		}
	}()
	return c, nil
}

// wait returns when the last of them was seen.
func (c *created) wait(ctx context.Context) (time.Time, error) {
	defer c.cancel()
	select {
	case at, ok := <-c.last:
		if !ok {
			return at, errors.New("the watch of the DiscoveredNodes has ended")
		}
		return at, nil
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	case <-time.After(patience):
		return time.Time{}, fmt.Errorf("not created within %s", patience)
	}
}
