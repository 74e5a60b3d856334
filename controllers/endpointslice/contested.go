package endpointslice

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/rollcall-dev/rollcall/internal/todo"
)

// Disputes knows the Services whose slices somebody else changes back, and the NodeRegistries of their nodes. It is safe for concurrent
// use.
type Disputes struct {
	// registries has those looked at of which there is something else to say.
	registries *todo.List

	mu       sync.Mutex
	services map[types.NamespacedName]disputed
}

type disputed struct {
	registries sets.Set[string]
	remark     string
}

// NewDisputes returns Disputes that have the NodeRegistries looked at through the list.
func NewDisputes(registries *todo.List) *Disputes {
	return &Disputes{registries: registries, services: map[types.NamespacedName]disputed{}}
}

// Tell notes what there is to say of a Service whose nodes are those registries'.
func (d *Disputes) Tell(service types.NamespacedName, registries sets.Set[string], remark string) {
	d.mu.Lock()
	before := d.services[service].registries
	d.services[service] = disputed{registries, remark}
	d.mu.Unlock()
	d.wake(service.Namespace, registries.Union(before))
}

// Forget notes that there is nothing to say of a Service any more.
func (d *Disputes) Forget(service types.NamespacedName) {
	d.mu.Lock()
	before := d.services[service].registries
	delete(d.services, service)
	d.mu.Unlock()
	d.wake(service.Namespace, before)
}

func (d *Disputes) wake(namespace string, registries sets.Set[string]) {
	for name := range registries {
		d.registries.Add(types.NamespacedName{Namespace: namespace, Name: name})
	}
}

// Contested returns how many Services with nodes of the registry somebody else writes as well, one of them, and what there is to say
// of it. It does not block.
func (d *Disputes) Contested(registry types.NamespacedName) (services int, example, remark string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	byName := func(a, b types.NamespacedName) int { return strings.Compare(a.Name, b.Name) }
	for _, service := range slices.SortedFunc(maps.Keys(d.services), byName) {
		found := d.services[service]
		if service.Namespace != registry.Namespace || !found.registries.Has(registry.Name) {
			continue
		}
		if services++; services == 1 {
			example, remark = service.Name, found.remark
		}
	}
	return services, example, remark
}
