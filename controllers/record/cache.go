package record

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// Cache keeps the Mapping of every NodeRegistry, so that it is compiled once for each spec.record, and an unchanged spec
// gives the very same Mapping. It remembers the last one that compiled beyond an edit that does not. The zero value is ready
// for use; it is safe for concurrent use.
type Cache struct {
	mu       sync.Mutex
	compiled map[types.NamespacedName]compiled
}

// compiled is the last Mapping that compiled, nil for none, and the last spec that did not, with its error.
type compiled struct {
	good *Mapping
	bad  rollcallv1alpha1.Record
	err  error
}

// Mapping returns what is in force for the registry with that spec. With an error, which is that of Compile, it is the last
// one that compiled, nil for none.
func (c *Cache) Mapping(registry types.NamespacedName, spec rollcallv1alpha1.Record) (*Mapping, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.compiled[registry]
	switch {
	case known.good != nil && known.good.Spec == spec:
		return known.good, nil
	case known.err != nil && known.bad == spec:
		return known.good, known.err
	}
	m, err := Compile(spec)
	if err != nil {
		known.bad, known.err = spec, err
	} else {
		known.good = m
	}
	if c.compiled == nil {
		c.compiled = map[types.NamespacedName]compiled{}
	}
	c.compiled[registry] = known
	return known.good, err
}

// Forget drops what is known of a registry that is gone.
func (c *Cache) Forget(registry types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.compiled, registry)
}
