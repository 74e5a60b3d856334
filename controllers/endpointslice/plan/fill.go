package plan

import (
	"cmp"
	"maps"
	"slices"
)

// convert gives a slice that all endpoints leave for another group the ports of that. So endpoints whose ports changed
// together stay where they are, and a slice is updated where two would be written.
func (st *step) convert() {
	for _, s := range st.touched {
		moving := slices.DeleteFunc(s.draft.moving, func(d *desired) bool { return d.candidate.slice != nil })
		if len(moving) == 0 || s.size > 0 || !st.convertible(s, moving[0].group) {
			continue
		}
		st.regroup(s, moving[0].group)
		for _, d := range moving {
			if d.candidate.slice == nil && s.size < MaxEndpoints && d.group == s.group {
				st.place(d, s)
			}
		}
	}
}

// convertible returns true if an empty slice can have the ports of the group at once: nothing that leaves it has to stay until
// something else is written.
func (st *step) convertible(s *slice, g *group) bool {
	return !st.view.apart && !slices.ContainsFunc(s.draft.left, func(left departure) bool {
		c := left.candidate
		if c == nil || c.node == nil && c.kept == nil || !c.ready() {
			return false
		}
		return c.desired == nil || c.desired.group != g || len(st.winners(left, s.draft)) > 0
	})
}

// regroup gives an empty slice other ports.
func (st *step) regroup(s *slice, g *group) {
	st.part(s)
	s.join(g)
	s.draft.regrouped = true
}

// place puts an endpoint into a slice.
func (st *step) place(d *desired, s *slice) {
	into := st.touch(s)
	into.endpoints = append(into.endpoints, d.endpoint)
	into.cause = earliest(into.cause, d.cause)
	s.size++
	d.candidate.slice = s
}

// fill places the endpoints that are desired and in no slice. It touches as few slices as can be: first those that the step
// changes anyway fill up, then a slice that would be deleted takes the rest, then the fullest slice with room for it, then
// new ones.
func (st *step) fill() {
	unplaced := map[*group][]*desired{}
	for _, d := range st.desired {
		if d.group != nil && d.candidate.slice == nil {
			unplaced[d.group] = append(unplaced[d.group], d)
		}
	}
	if len(unplaced) == 0 {
		return
	}
	groups := slices.SortedFunc(maps.Keys(unplaced), (*group).compare)
	touched := st.touchedByGroup()
	for _, g := range groups {
		for _, s := range touched[g] {
			unplaced[g] = st.fillSlice(unplaced[g], s)
		}
	}
	spares := slices.DeleteFunc(slices.Clone(st.touched), func(s *slice) bool { return s.size > 0 })
	for _, g := range groups {
		for rest := unplaced[g]; len(rest) > 0; {
			rest = st.fillSlice(rest, st.room(g, len(rest), &spares))
		}
	}
}

// touchedByGroup returns the slices that the step changes, the fullest of each group first.
func (st *step) touchedByGroup() map[*group][]*slice {
	touched := map[*group][]*slice{}
	for _, s := range st.touched {
		touched[s.group] = append(touched[s.group], s)
	}
	for _, list := range touched {
		slices.SortStableFunc(list, func(a, b *slice) int { return cmp.Compare(b.size, a.size) })
	}
	return touched
}

// fillSlice puts endpoints into a slice until it is full, and returns the rest.
func (st *step) fillSlice(unplaced []*desired, s *slice) []*desired {
	n := min(len(unplaced), MaxEndpoints-s.size)
	for _, d := range unplaced[:n] {
		st.place(d, s)
		s.draft.gained = true
	}
	return unplaced[n:]
}

// room returns a slice for some of so many endpoints. A slice that exists is taken only if it saves a new one, or there can be none.
func (st *step) room(g *group, endpoints int, spares *[]*slice) *slice {
	if i := slices.IndexFunc(*spares, func(s *slice) bool { return st.convertible(s, g) }); i >= 0 {
		s := (*spares)[i]
		*spares = slices.Delete(*spares, i, i+1)
		st.regroup(s, g)
		return s
	}
	unused := (MaxEndpoints - endpoints%MaxEndpoints) % MaxEndpoints
	if st.view.sparing {
		unused = MaxEndpoints - 1
	}
	if s := g.fullest(unused); s != nil {
		return s
	}
	s := &slice{}
	s.join(g)
	return s
}

// merge does away with slices that hold little. Two slices that are written anyway become one where they fit. One that
// lost endpoints joins another only if both together are at most half full: that costs two writes more, so it must not
// happen again soon.
func (st *step) merge() {
	for _, list := range st.touchedByGroup() {
		for i, s := range slices.Backward(list) {
			if s.size == 0 {
				continue
			}
			var into *slice
			if at := slices.IndexFunc(list[:i], func(o *slice) bool { return o.size > 0 && o.size+s.size <= MaxEndpoints }); at >= 0 {
				into = list[at]
			} else if len(s.draft.left) > 0 {
				into = s.group.fullest(MaxEndpoints/2 - s.size)
			}
			if into != nil {
				st.move(s, into)
			}
		}
	}
}

// move puts all endpoints of a slice into another one.
func (st *step) move(from, into *slice) {
	source, target := from.draft, st.touch(into)
	for i := range source.endpoints {
		c := st.holder(from, &source.endpoints[i])
		c.slice = into
		if !source.regrouped {
			source.left = append(source.left, departure{c, &source.endpoints[i]})
		}
	}
	target.endpoints = append(target.endpoints, source.endpoints...)
	target.gained, target.cause = true, earliest(target.cause, source.cause)
	from.size, into.size = 0, len(target.endpoints)
	source.endpoints = nil
}
