package record

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// Cache keeps the Mapping of every NodeRegistry, so that it is compiled once for each spec.record, and an unchanged spec
// gives the very same Mapping. The zero value is ready for use; it is safe for concurrent use.
type Cache struct {
	mu       sync.Mutex
	compiled map[types.NamespacedName]compiled
}

type compiled struct {
	spec    rollcallv1alpha1.Record
	mapping *Mapping
	err     error
}

// Mapping returns the registry's Mapping. Its error is that of Compile.
func (c *Cache) Mapping(registry types.NamespacedName, spec rollcallv1alpha1.Record) (*Mapping, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, found := c.compiled[registry]; found && known.spec == spec {
		return known.mapping, known.err
	}
	if c.compiled == nil {
		c.compiled = map[types.NamespacedName]compiled{}
	}
	m, err := Compile(spec)
	c.compiled[registry] = compiled{spec: spec, mapping: m, err: err}
	return m, err
}

// Forget drops the Mapping of a registry that is gone.
func (c *Cache) Forget(registry types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.compiled, registry)
}
