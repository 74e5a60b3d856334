package endpointslice

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// tracker has the versions of one Service's slices, by name. It is safe for concurrent use.
type tracker struct {
	mu     sync.Mutex
	slices map[string]*tracked
	// external is true if a slice was changed externally since the last full pass began.
	external bool
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
	}
}

// wrote records the API server's answer to a create or an update, and returns true if the slice was changed externally since.
func (t *tracker) wrote(result *discoveryv1.EndpointSlice) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slices[result.Name]
	s.writing = false
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
			s.current, s.changed = s.newest(), nil
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
		s.current, s.changed = live, nil
	}
	return s.current
}

// release returns the slices that exist. One that has lost our label is nobody's concern any more.
func (t *tracker) release() []*discoveryv1.EndpointSlice {
	exist, lost := t.catchUp()
	for _, slice := range lost {
		t.resolve(slice.Name, nil, "")
	}
	return exist
}
