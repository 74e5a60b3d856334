package mirror

// identities know for each node ID the entries that give it. A key says which entry it is, and the entry which node, so two
// keys may give the same ID: one of them, the holder, has the ID's name, and the others names after their keys.
type identities map[string]*identity

type identity struct {
	holder *entry
	all    []*entry
}

// join adds an entry that gives the ID, and returns the entry that was the holder if it is not any more.
func (ids identities) join(id string, e *entry) (former *entry) {
	i := ids[id]
	if i == nil {
		i = &identity{holder: e}
		ids[id] = i
	}
	e.at = len(i.all)
	i.all = append(i.all, e)
	if i.holder != e && e.outranks(i.holder) {
		former, i.holder = i.holder, e
	}
	return former
}

// part takes out an entry, and returns the holder that takes its place; nil if there is none, or it was no holder.
func (ids identities) part(id string, e *entry) (next *entry) {
	i := ids[id]
	if i == nil {
		return nil
	}
	last := len(i.all) - 1
	i.all[e.at] = i.all[last]
	i.all[e.at].at = e.at
	i.all[last] = nil
	i.all = i.all[:last]
	if last == 0 {
		delete(ids, id)
		return nil
	}
	if i.holder != e {
		return nil
	}
	i.holder = i.all[0]
	for _, o := range i.all[1:] {
		if o.outranks(i.holder) {
			i.holder = o
		}
	}
	i.holder.cordoned = i.holder.cordoned || e.cordoned // A person cordoned the name, which it takes over.
	return i.holder
}

// taken returns true if another entry has the ID, and keeps it.
func (ids identities) taken(id string, e *entry) bool {
	holder := ids.holder(id)
	return holder != nil && holder != e && holder.silence != expired && !holder.foreign
}

// holder returns the entry that has the ID's name; nil if nobody gives the ID.
func (ids identities) holder(id string) *entry {
	if i := ids[id]; i != nil {
		return i.holder
	}
	return nil
}
