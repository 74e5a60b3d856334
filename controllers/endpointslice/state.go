package endpointslice

import (
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// state is what is remembered of one Service. Of all Services that are annotated or have slices there is one.
type state struct {
	// The watches and the Mirror write to these; states.mu guards them.

	// selector selects the Service's nodes; nil while the Service takes none.
	selector labels.Selector
	// dirty are the nodes that changed, with the time of the earliest change that is not written yet.
	dirty map[string]time.Time
	// full says that the next pass must look at everything.
	full   bool
	slices ledger

	// Only the reconcile of the Service, of which there is one at a time, uses these.

	// placement is nil while it must be built.
	placement *placement
	reported  reported
}

// batch is what a reconcile has to look at.
type batch struct {
	dirty map[string]time.Time
	full  bool
	// exist are the slices that a full pass starts from, vanished those that the watch no longer shows.
	exist, vanished []*known
}

// states has the state of every Service. It is safe for concurrent use.
type states struct {
	mu sync.Mutex
	// services is by namespace and name.
	services map[string]map[string]*state
}

func newStates() *states {
	return &states{services: map[string]map[string]*state{}}
}

func (s *states) get(service types.NamespacedName) *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ensure(service)
}

func (s *states) ensure(service types.NamespacedName) *state {
	namespace := s.services[service.Namespace]
	if namespace == nil {
		namespace = map[string]*state{}
		s.services[service.Namespace] = namespace
	}
	st := namespace[service.Name]
	if st == nil {
		st = &state{dirty: map[string]time.Time{}, slices: ledger{}}
		namespace[service.Name] = st
	}
	return st
}

// forget drops the state of a Service that takes no nodes, once the last of its slices is gone.
func (s *states) forget(service types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	namespace := s.services[service.Namespace]
	if st := namespace[service.Name]; st == nil || st.selector != nil || len(st.slices) > 0 {
		return
	}
	if delete(namespace, service.Name); len(namespace) == 0 {
		delete(s.services, service.Namespace)
	}
}

// begin takes what a reconcile has to look at. From now on the Service hears of the nodes that the selector selects, so
// nothing that changes after the reconcile has read it is missed.
func (s *states) begin(st *state, selector labels.Selector, full bool) batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := batch{dirty: st.dirty, full: full || st.full || st.placement == nil}
	if b.full {
		b.exist, b.vanished = st.slices.catchUp()
	}
	st.selector, st.dirty, st.full = selector, map[string]time.Time{}, false
	return b
}

// pause makes the Service hear of no nodes any more.
func (s *states) pause(st *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.selector, st.dirty, st.full, st.placement = nil, map[string]time.Time{}, false, nil
}

// release returns the Service's slices, all of which are to be deleted. One that has lost our label is nobody's concern
// any more.
func (s *states) release(st *state) []*known {
	s.pause(st)
	s.mu.Lock()
	defer s.mu.Unlock()
	exist, vanished := st.slices.catchUp()
	for _, k := range vanished {
		st.slices.drop(k)
	}
	return exist
}

// retry makes the next reconcile a full pass, since a write of this one failed. What was dirty stays so, with its times.
func (s *states) retry(st *state, b batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.placement, st.full = nil, true
	for node, cause := range b.dirty {
		st.dirty[node] = earliest(st.dirty[node], cause)
	}
}

// change makes changed nodes dirty in the Services that select them, and returns those Services.
func (s *states) change(changes map[types.NamespacedName]mirror.Change, now time.Time) []types.NamespacedName {
	s.mu.Lock()
	defer s.mu.Unlock()
	affected := sets.New[types.NamespacedName]()
	for name, change := range changes {
		// Nobody knows when a node that is gone was unregistered; it can't be long ago.
		cause := now
		if change.New != nil {
			cause = change.New.Changed
		}
		for service, st := range s.services[name.Namespace] {
			if selects(st.selector, change.Old) || selects(st.selector, change.New) {
				st.dirty[name.Name] = earliest(st.dirty[name.Name], cause)
				affected.Insert(types.NamespacedName{Namespace: name.Namespace, Name: service})
			}
		}
	}
	return affected.UnsortedList()
}

func selects(selector labels.Selector, node *mirror.Node) bool {
	return selector != nil && node != nil && selector.Matches(labels.Set(node.Labels))
}

// lookAgain makes the next reconcile of every Service of the namespaces a full pass, and returns those Services.
func (s *states) lookAgain(namespaces sets.Set[string]) []types.NamespacedName {
	s.mu.Lock()
	defer s.mu.Unlock()
	var affected []types.NamespacedName
	for namespace := range namespaces {
		for name, st := range s.services[namespace] {
			if st.selector != nil {
				st.full = true
				affected = append(affected, types.NamespacedName{Namespace: namespace, Name: name})
			}
		}
	}
	return affected
}

// namespaces returns the namespaces that have Services with a state.
func (s *states) namespaces() sets.Set[string] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sets.KeySet(s.services)
}

// tracked returns how many slices there are.
func (s *states) tracked() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, namespace := range s.services {
		for _, st := range namespace {
			n += len(st.slices)
		}
	}
	return n
}

// serviceOf returns the Service of a slice. The owner decides, so that a slice stays with its Service when somebody changes
// its label.
func serviceOf(slice *discoveryv1.EndpointSlice) types.NamespacedName {
	if owner := metav1.GetControllerOfNoCopy(slice); owner != nil && owner.Kind == "Service" {
		return types.NamespacedName{Namespace: slice.Namespace, Name: owner.Name}
	}
	return types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
}

// saw takes in what the watch shows of a slice. It returns the slice's Service, and whether somebody else changed it.
func (s *states) saw(slice *discoveryv1.EndpointSlice) (types.NamespacedName, bool) {
	service := serviceOf(slice)
	if service.Name == "" {
		return service, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.ensure(service)
	news := st.slices.saw(slice)
	st.full = st.full || news
	return service, news
}

// lost takes in that the watch no longer shows a slice. It returns the slice's Service, and whether that is somebody
// else's doing.
func (s *states) lost(slice *discoveryv1.EndpointSlice) (types.NamespacedName, bool) {
	service := serviceOf(slice)
	s.mu.Lock()
	st := s.services[service.Namespace][service.Name]
	news := st != nil && st.slices.lost(slice)
	if news {
		st.full = true
	}
	s.mu.Unlock()
	s.forget(service)
	return service, news
}

// writing notes that an operation is about to be carried out. A slice that is to be created gets its name.
func (s *states) writing(st *state, op operation, owner *metav1.OwnerReference) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if op.verb == create {
		st.slices.reserve(op.known, op.slice, owner)
	}
	op.known.writing = true
}

// wrote notes that an operation was carried out, and says whether somebody else has changed the slice again.
func (s *states) wrote(st *state, op operation) (overtaken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if op.verb == remove {
		st.slices.removed(op.known)
		return false
	}
	overtaken = op.known.wrote(op.slice)
	st.full = st.full || overtaken
	return overtaken
}

// failed notes that it is not known what became of an operation. The watch will show it, if anything did.
func (s *states) failed(op operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	op.known.writing = false
}

// resolve notes what a read says of a slice, nil if it does not exist, and returns whether the slice is there and the
// Service's.
func (s *states) resolve(st *state, k *known, live *discoveryv1.EndpointSlice, service types.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return st.slices.resolve(k, live, service)
}
