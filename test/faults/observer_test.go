package faults

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// view is what the observer sees of one kind of object, over time.
type view struct {
	mu sync.Mutex
	// objects holds the entities that each object shows.
	objects map[string][]string
	// shown counts in how many places an entity shows.
	shown map[string]int
	seen  map[string][]sighting
}

func newView() *view {
	return &view{objects: map[string][]string{}, shown: map[string]int{}, seen: map[string][]sighting{}}
}

// set notes what an object shows now.
func (v *view) set(name string, entities []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.change(map[string][]string{name: entities})
}

// reset notes what all objects show that there are.
func (v *view) reset(all map[string][]string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name := range v.objects {
		if _, ok := all[name]; !ok {
			all[name] = nil
		}
	}
	v.change(all)
}

// change notes what some objects show now. The caller holds the lock.
func (v *view) change(objects map[string][]string) {
	at := time.Now()
	touched := map[string]bool{}
	for name, entities := range objects {
		for _, e := range v.objects[name] {
			touched[e] = v.shown[e] > 0 || touched[e]
			v.shown[e]--
		}
		for _, e := range entities {
			if _, ok := touched[e]; !ok {
				touched[e] = v.shown[e] > 0
			}
			v.shown[e]++
		}
		if v.objects[name] = entities; len(entities) == 0 {
			delete(v.objects, name)
		}
	}
	for e, before := range touched {
		if now := v.shown[e] > 0; now != before {
			v.seen[e] = append(v.seen[e], sighting{at, now})
		}
		if v.shown[e] == 0 {
			delete(v.shown, e)
		}
	}
}

// present returns the entities that show.
func (v *view) present() map[string]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := map[string]bool{}
	for e := range v.shown {
		all[e] = true
	}
	return all
}

// count returns how many entities show.
func (v *view) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.shown)
}

// shows says whether the entity shows.
func (v *view) shows(entity string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.shown[entity] > 0
}

// sightings returns what was seen so far.
func (v *view) sightings() map[string][]sighting {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := maps.Clone(v.seen)
	for e := range all {
		all[e] = slices.Clone(all[e])
	}
	return all
}

// observer watches a namespace by itself: the EndpointSlices of the Service, and the DiscoveredNodes.
type observer struct {
	api       client.WithWatch
	namespace string
	named     naming
	endpoints *view
	nodes     *view
}

func observe(t *testing.T, api client.WithWatch, namespace string, named naming) *observer {
	t.Helper()
	o := &observer{api: api, namespace: namespace, named: named, endpoints: newView(), nodes: newView()}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		o.follow(ctx, o.endpoints, func() client.ObjectList { return &discoveryv1.EndpointSliceList{} })
	})
	done.Go(func() {
		o.follow(ctx, o.nodes, func() client.ObjectList { return &rollcallv1alpha1.DiscoveredNodeList{} })
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return o
}

// follow lists and watches until ctx ends; whatever fails is begun anew.
func (o *observer) follow(ctx context.Context, v *view, list func() client.ObjectList) {
	for ctx.Err() == nil {
		o.once(ctx, v, list())
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (o *observer) once(ctx context.Context, v *view, list client.ObjectList) {
	attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if o.api.List(attempt, list, client.InNamespace(o.namespace)) != nil {
		return
	}
	all := map[string][]string{}
	switch l := list.(type) {
	case *discoveryv1.EndpointSliceList:
		for i := range l.Items {
			all[l.Items[i].Name] = o.entities(&l.Items[i])
		}
	case *rollcallv1alpha1.DiscoveredNodeList:
		for i := range l.Items {
			all[l.Items[i].Name] = o.entities(&l.Items[i])
		}
	}
	v.reset(all)
	w, err := o.api.Watch(ctx, list, client.InNamespace(o.namespace), &client.ListOptions{Raw: rawVersion(list)})
	if err != nil {
		return
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		object, ok := event.Object.(client.Object)
		switch {
		case !ok || event.Type == watch.Error:
			return
		case event.Type == watch.Deleted:
			v.set(object.GetName(), nil)
		default:
			v.set(object.GetName(), o.entities(object))
		}
	}
}

// entities returns what an object shows as ready.
func (o *observer) entities(object client.Object) []string {
	switch object := object.(type) {
	case *discoveryv1.EndpointSlice:
		var all []string
		for _, e := range object.Endpoints {
			if ptr.Deref(e.Conditions.Ready, true) {
				all = append(all, o.named.of(ptr.Deref(e.Hostname, ""), e.Addresses[0]))
			}
		}
		return all
	case *rollcallv1alpha1.DiscoveredNode:
		serves := object.Status.Phase == rollcallv1alpha1.NodeReady || object.Status.Phase == rollcallv1alpha1.NodeStale // and held
		if serves && meta.IsStatusConditionTrue(object.Status.Conditions, rollcallv1alpha1.ConditionReady) && len(object.Spec.Addresses) > 0 {
			return []string{o.named.of(object.Spec.NodeID, object.Spec.Addresses[0])}
		}
	}
	return nil
}
