package endpointslice

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"sync"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
)

// tracker has the versions of one Service's slices, by name. It is safe for concurrent use.
type tracker struct {
	mu     sync.Mutex
	slices map[string]*tracked
	// external is true if a slice was changed externally since the last full pass began.
	external bool
	// gone are slices that were deleted externally, as we wrote them last or would write them again, until that is done.
	gone []*discoveryv1.EndpointSlice
}

// tracked is a tracked slice.
type tracked struct {
	// current is the version that plans start from; nil while the slice is being created. The watch replaces it by its own
	// copy of the same version, so that every slice is held in memory once.
	current *discoveryv1.EndpointSlice
	// changed is a newer version, changed externally; it becomes current with the next full pass.
	changed *discoveryv1.EndpointSlice
	phase   phase
	// writing is true while a write is under way.
	writing bool
	// foreign is true while current was changed externally and not put right; ours is what we sent last, or would send if it were time;
	// nil: nothing.
	foreign bool
	ours    *discoveryv1.EndpointSlice
	// altered is true if the API server's admission changed what we sent last.
	altered bool
	// partial is true while a write is under way that leaves the slice foreign.
	partial bool
}

// phase is what has become of a tracked slice; see the package's documentation.
type phase uint8

const (
	present phase = iota
	vanished
	deleted
)

func newTracker() *tracker { return &tracker{slices: map[string]*tracked{}} }

// newest returns the newest version observed.
func (s *tracked) newest() *discoveryv1.EndpointSlice {
	if s.changed != nil {
		return s.changed
	}
	return s.current
}

// newer returns true if the first version of a slice is newer than the second.
func newer(a, b *discoveryv1.EndpointSlice) bool {
	if b == nil {
		return true
	}
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err != nil || order > 0
}

// len returns how many slices are tracked.
func (t *tracker) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.slices)
}

// Current implements plan.Slices.
func (t *tracker) Current(name string) *discoveryv1.EndpointSlice {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.slices[name]; s != nil {
		return s.current
	}
	return nil
}

// fields returns who has written a slice.
func (t *tracker) fields(name string) []metav1.ManagedFieldsEntry {
	if current := t.Current(name); current != nil {
		return current.ManagedFields
	}
	return nil
}

// Reserve implements plan.Slices. The name is the first free one of a sequence that only the Service's UID decides, so whoever
// does not know of a slice yet tries to create it again rather than another one with the same endpoints.
func (t *tracker) Reserve(service string, uid types.UID) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ordinal := len(t.slices); ; ordinal++ {
		if name := sliceName(service, uid, ordinal); t.slices[name] == nil {
			t.slices[name] = &tracked{}
			return name
		}
	}
}

func sliceName(service string, uid types.UID, ordinal int) string {
	hash := fnv.New32a()
	_, _ = fmt.Fprintf(hash, "%s/%d", uid, ordinal)
	return service + "-" + rand.SafeEncodeString(strconv.FormatUint(uint64(hash.Sum32()), 10))
}

// observe records a version of a slice that the watch shows, and returns true if it was changed externally.
func (t *tracker) observe(slice *discoveryv1.EndpointSlice) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slices[slice.Name]
	if s == nil {
		s = &tracked{}
		t.slices[slice.Name] = s
	}
	if s.current != nil && s.current.ResourceVersion == slice.ResourceVersion {
		s.current = slice
	}
	if !newer(slice, s.newest()) || s.phase == deleted && slice.UID == s.current.UID {
		return false
	}
	s.changed, s.phase = slice, present
	return t.note(!s.writing)
}

// note returns whether a slice was changed externally, and remembers it if so.
func (t *tracker) note(external bool) bool {
	t.external = t.external || external
	return external
}

// behind returns true if a slice was changed externally since the last full pass began.
func (t *tracker) behind() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.external
}

// observeDeleted records that the watch no longer shows a slice, and returns true if it was deleted externally.
func (t *tracker) observeDeleted(slice *discoveryv1.EndpointSlice) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slices[slice.Name]
	if s == nil {
		return false
	}
	if newest := s.newest(); newest != nil && newest.UID != slice.UID {
		return false
	}
	if s.phase == deleted {
		delete(t.slices, slice.Name)
		return false
	}
	s.changed, s.phase = nil, vanished
	return t.note(!s.writing)
}

// writing notes that a write of a slice is under way, or that it is not known what became of it: the watch will show it, if
// anything did.
func (t *tracker) writing(name string, under bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.slices[name]; s != nil {
		s.writing = under
		s.partial = s.partial && under
	}
}

// adopt makes a version current that was changed externally.
func (s *tracked) adopt(slice *discoveryv1.EndpointSlice) {
	if !s.foreign {
		s.foreign, s.ours = true, s.current
	}
	s.current, s.changed, s.altered = slice, nil, false
}

// writingPart notes that a write of a slice is under way that does not put it right.
func (t *tracker) writingPart(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.slices[name]; s != nil {
		s.partial = true
	}
}

// alter records that the API server's admission has changed what was sent, of which the answer was recorded before.
func (t *tracker) alter(sent *discoveryv1.EndpointSlice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slices[sent.Name]
	if !s.foreign {
		s.foreign, s.ours = true, sent
	}
	s.altered = t.note(true)
}

// wrote records the API server's answer to a create or an update, and returns true if the slice was changed externally since.
func (t *tracker) wrote(result *discoveryv1.EndpointSlice) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slices[result.Name]
	if !s.partial {
		s.foreign, s.ours = false, nil
	}
	s.writing, s.partial, s.altered = false, false, false
	if s.changed != nil && s.changed.ResourceVersion == result.ResourceVersion {
		result = s.changed
	}
	s.current = result
	if s.changed != nil && !newer(s.changed, result) {
		s.changed = nil
	}
	return t.note(s.changed != nil || s.phase == vanished)
}

// removed records that the API server has deleted a slice.
func (t *tracker) removed(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slices[name]
	s.writing = false
	if s.phase == vanished {
		delete(t.slices, name)
		return
	}
	s.changed, s.phase = nil, deleted
}

// catchUp makes all that was changed externally current. It returns the slices that exist, and those that the watch lost sight of.
func (t *tracker) catchUp() (exist, lost []*discoveryv1.EndpointSlice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.external = false
	for name, s := range t.slices {
		switch {
		case s.phase == deleted:
		case s.newest() == nil:
			// Its creation failed.
			delete(t.slices, name)
		case s.phase == vanished:
			lost = append(lost, s.current)
		default:
			if s.changed != nil {
				s.adopt(s.changed)
			}
			exist = append(exist, s.current)
		}
	}
	return exist, lost
}

// resolve records what a read says of a slice, nil if it does not exist, and returns it if it is there and the Service's. One of
// that name which is not the Service's is left alone, but its name is taken.
func (t *tracker) resolve(name string, live *discoveryv1.EndpointSlice, service types.UID) *discoveryv1.EndpointSlice {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slices[name]
	if live == nil || s == nil {
		t.lose(s)
		delete(t.slices, name)
		return nil
	}
	s.writing = false
	owner := metav1.GetControllerOfNoCopy(live)
	if (s.current == nil || s.current.UID != live.UID) && (owner == nil || owner.UID != service) {
		s.current, s.changed, s.phase = live, nil, deleted
		return nil
	}
	s.phase = present
	if newer(live, s.newest()) {
		s.adopt(live)
	}
	return s.current
}

// lose remembers what a slice held that is gone and was not deleted by us.
func (t *tracker) lose(s *tracked) {
	if s == nil || s.phase == deleted {
		return
	}
	if ours := s.written(); ours != nil {
		t.gone = append(t.gone, ours)
	}
}

// written returns what we sent last; nil if that is not known.
func (s *tracked) written() *discoveryv1.EndpointSlice {
	if s.foreign {
		return s.ours
	}
	return s.current
}

// contested returns true if slices were changed externally and not put right.
func (t *tracker) contested() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.slices {
		if s.foreign {
			return true
		}
	}
	return len(t.gone) > 0
}

// snapshot is the slices of a Service as they are, and as we wrote them last, by name.
type snapshot struct {
	current map[string]*discoveryv1.EndpointSlice
	written []*discoveryv1.EndpointSlice
	// altered are the names of those that the API server's admission changed when they were written.
	altered sets.Set[string]
}

// snapshot returns the slices that exist.
func (t *tracker) snapshot() snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := snapshot{current: map[string]*discoveryv1.EndpointSlice{}, written: slices.Clone(t.gone), altered: sets.New[string]()}
	for name, s := range t.slices {
		if s.phase == deleted || s.current == nil {
			continue
		}
		all.current[name] = s.current
		if ours := s.written(); ours != nil {
			all.written = append(all.written, ours)
		}
		if s.altered {
			all.altered.Insert(name)
		}
	}
	return all
}

// intend records the operations that wait, so that what changes from then on can be told from what somebody else has changed. Slices that
// are neither among these nor being written are as they should be.
func (t *tracker) intend(waiting []plan.Operation, writing map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone = nil
	for name, s := range t.slices {
		if s.foreign && !writing[name] {
			s.ours = s.current
		}
	}
	for _, op := range waiting {
		if s := t.slices[op.Slice.Name]; s != nil && s.current != nil {
			s.foreign, s.ours = true, after(op)
		} else if op.Verb == plan.Create {
			t.gone = append(t.gone, op.Slice)
		}
	}
}

// settle records that all slices are as they should be, but for those that admission changed as we wrote them.
func (t *tracker) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone = nil
	for _, s := range t.slices {
		if !s.altered {
			s.foreign, s.ours = false, nil
		}
	}
}

// release returns the slices that exist. One that has lost our label is nobody's concern any more.
func (t *tracker) release() []*discoveryv1.EndpointSlice {
	exist, lost := t.catchUp()
	for _, slice := range lost {
		t.resolve(slice.Name, nil, "")
	}
	return exist
}
