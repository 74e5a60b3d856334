package endpointslice

import (
	"cmp"
	"maps"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// fill places the endpoints that are wanted and in no slice. It touches as few slices as can be: first those that the pass
// changes anyway fill up, then a slice that would be deleted takes the rest, then the fullest slice with room for it, then
// new ones.
func (r *pass) fill(keys []endpointKey) {
	homeless := map[*group][]endpointKey{}
	for _, key := range keys {
		if w, wanted := r.wants[key]; wanted && r.placed[key] == nil {
			homeless[w.group] = append(homeless[w.group], key)
		}
	}
	if len(homeless) == 0 {
		return
	}
	groups := slices.SortedFunc(maps.Keys(homeless), compareGroups)
	touched := r.touchedByGroup()
	for _, g := range groups {
		for _, s := range touched[g] {
			homeless[g] = r.pour(homeless[g], s)
		}
	}
	spares := map[discoveryv1.AddressType][]*slice{}
	for _, s := range r.touched {
		if s.size == 0 {
			spares[s.group.key.family] = append(spares[s.group.key.family], s)
		}
	}
	for _, g := range groups {
		for rest := homeless[g]; len(rest) > 0; {
			rest = r.pour(rest, r.home(g, len(rest), spares))
		}
	}
}

// touchedByGroup returns the slices that the pass changes, the fullest of each group first.
func (r *pass) touchedByGroup() map[*group][]*slice {
	touched := map[*group][]*slice{}
	for _, s := range r.touched {
		touched[s.group] = append(touched[s.group], s)
	}
	for _, list := range touched {
		slices.SortStableFunc(list, func(a, b *slice) int { return cmp.Compare(b.size, a.size) })
	}
	return touched
}

// pour puts endpoints into a slice until it is full, and returns the rest.
func (r *pass) pour(keys []endpointKey, s *slice) []endpointKey {
	n := min(len(keys), maxEndpoints-s.size)
	for _, key := range keys[:n] {
		r.put(key, s)
	}
	return keys[n:]
}

// home returns a slice for some of so many endpoints. A slice that exists is taken only if it saves a new one.
func (r *pass) home(g *group, endpoints int, spares map[discoveryv1.AddressType][]*slice) *slice {
	list := spares[g.key.family]
	if i := slices.IndexFunc(list, func(s *slice) bool { return r.convertible(s, g) }); i >= 0 {
		s := list[i]
		spares[g.key.family] = slices.Delete(list, i, i+1)
		regroup(s, g)
		return s
	}
	unused := (maxEndpoints - endpoints%maxEndpoints) % maxEndpoints
	if s := g.fullest(1, unused); s != nil {
		return s
	}
	s := &slice{known: &known{}}
	g.join(s, 0)
	return s
}

// fullest returns the slice with the most endpoints of those that the pass does not touch and that have at least and at
// most so many; nil if there is none.
func (g *group) fullest(least, most int) *slice {
	for size := most; size >= least; size-- {
		for _, s := range g.bySize[size] {
			if s.draft == nil {
				return s
			}
		}
	}
	return nil
}

// merge does away with slices that hold little. Two slices that are written anyway become one where they fit. One that
// lost endpoints joins another only if both together are at most half full: that costs two writes more, so it must not
// happen again soon.
func (r *pass) merge() {
	for _, list := range r.touchedByGroup() {
		for i, s := range slices.Backward(list) {
			if s.size == 0 {
				continue
			}
			into := roomiest(list[:i], s.size)
			if into == nil && len(s.draft.left) > 0 {
				into = s.group.fullest(1, maxEndpoints/2-s.size)
			}
			if into != nil {
				r.move(s, into)
			}
		}
	}
}

// roomiest returns the first slice of the list that has room for so many endpoints.
func roomiest(list []*slice, endpoints int) *slice {
	for _, s := range list {
		if s.size > 0 && s.size+endpoints <= maxEndpoints {
			return s
		}
	}
	return nil
}

// move puts all endpoints of a slice into another one.
func (r *pass) move(from, into *slice) {
	source, target := from.draft, r.touch(into)
	for i := range source.endpoints {
		name, _ := r.shape.nodeOf(&source.endpoints[i])
		key := endpointKey{node: name, family: from.group.key.family}
		r.placed[key] = into
		if !source.regrouped {
			source.left = append(source.left, departure{key, source.endpoints[i]})
		}
	}
	target.endpoints = append(target.endpoints, source.endpoints...)
	target.gained, target.cause = true, earliest(target.cause, source.cause)
	into.resize(len(target.endpoints))
	source.endpoints = nil
	from.resize(0)
}
