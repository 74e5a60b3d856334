package endpointslice

import (
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/refusal"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// state is what is remembered of one Service. Of all Services that are annotated or have slices there is one.
type state struct {
	// The watches and the Mirror write to these; states.mu guards them.

	// selector selects the Service's nodes; nil while the Service takes none.
	selector labels.Selector
	// backlog has the nodes that changed.
	backlog backlog
	// full is true if the next pass must look at everything.
	full bool
	// settled is true if a registry was listed since the last pass began, or changed in another way that all may depend on.
	settled bool
	// slices and aside guard themselves. In aside is what the API server refuses.
	slices *tracker
	aside  *refusal.Aside

	// Only the reconcile of the Service, of which there is one at a time, uses these.

	// placement is nil before the first full pass. After a write that failed it is what was to be written.
	placement *plan.Placement
	reported  reported
	contest   contest
	foreign   foreign
	// unlisted are the registries of the last full pass that were not listed.
	unlisted []string
	// view is what all slices were written for last; nil: it is not known that they were.
	view *plan.View
	// tried is the Service as the API server was last asked for it.
	tried tried
}

// tried is all of a Service that the API server may judge a slice by.
type tried struct {
	view        *plan.View
	annotations map[string]string
}

// differs returns true if the Service is another than the last time, and remembers it.
func (t *tried) differs(view *plan.View, service *corev1.Service) bool {
	differs := t.view == nil || !t.view.Equal(view) || !maps.Equal(t.annotations, service.Annotations)
	t.view, t.annotations = view, service.Annotations
	return differs
}

// work is what a reconcile has to look at.
type work struct {
	// changed are nodes, each with the time of its earliest change that is not written yet.
	changed map[string]time.Time
	// latest are the same nodes as they are since. A full pass reads all nodes as they stand.
	latest map[string]*mirror.Node
	full   bool
	// settled is true if what was refused is to be tried again.
	settled bool
	// exist are the slices that a full pass starts from, vanished those that the watch no longer shows.
	exist, vanished []*discoveryv1.EndpointSlice
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
		st = &state{slices: newTracker(), aside: refusal.NewAside()}
		namespace[service.Name] = st
	}
	return st
}

// forget drops the state of a Service that takes no nodes, once the last of its slices is gone.
func (s *states) forget(service types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	namespace := s.services[service.Namespace]
	if st := namespace[service.Name]; st == nil || st.selector != nil || st.slices.len() > 0 {
		return
	}
	if delete(namespace, service.Name); len(namespace) == 0 {
		delete(s.services, service.Namespace)
	}
}

// begin takes what a reconcile has to look at. From now on the Service hears of the nodes that the selector selects, so
// nothing that changes after the reconcile has read it is missed.
func (s *states) begin(st *state, selector labels.Selector, full bool) work {
	s.mu.Lock()
	defer s.mu.Unlock()
	todo := work{changed: st.backlog.merged(), full: full || st.full || st.placement == nil || st.slices.behind()}
	if todo.full {
		todo.exist, todo.vanished = st.slices.catchUp()
	} else {
		todo.latest = st.backlog.latest()
	}
	todo.settled = st.settled
	st.selector, st.backlog, st.full, st.settled = selector, backlog{}, false, false
	return todo
}

// pause makes the Service hear of no nodes any more.
func (s *states) pause(st *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.selector, st.backlog, st.full, st.placement, st.view = nil, backlog{}, false, nil, nil
}

// retry makes the next reconcile a full pass, since a write of this one failed. What it had to look at is in the backlog again.
func (s *states) retry(st *state, failed work) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.full = true
	nodes := make(batch, 0, len(failed.changed))
	for name, at := range failed.changed {
		nodes = append(nodes, changed{name: name, at: at}) // The pass reads what the node is.
	}
	st.backlog.add(nodes)
}

// lookAgain makes the next reconcile of every Service of the namespaces a full pass, and returns those Services.
func (s *states) lookAgain(namespaces sets.Set[string]) []types.NamespacedName {
	s.mu.Lock()
	defer s.mu.Unlock()
	var affected []types.NamespacedName
	for namespace := range namespaces {
		for name, st := range s.services[namespace] {
			if st.selector != nil {
				st.full, st.settled = true, true
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

// tracked returns how many slices the Services have.
func (s *states) tracked(services sets.Set[types.NamespacedName]) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for service := range services {
		if st := s.services[service.Namespace][service.Name]; st != nil {
			n += st.slices.len()
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

// observe has the tracker of its Service observe a slice; see tracker.observe.
func (s *states) observe(service types.NamespacedName, slice *discoveryv1.EndpointSlice) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return service.Name != "" && s.ensure(service).slices.observe(slice)
}

// observeDeleted does so where the watch no longer shows the slice; see tracker.observeDeleted.
func (s *states) observeDeleted(service types.NamespacedName, slice *discoveryv1.EndpointSlice) bool {
	s.mu.Lock()
	st := s.services[service.Namespace][service.Name]
	external := st != nil && st.slices.observeDeleted(slice)
	s.mu.Unlock()
	s.forget(service)
	return external
}
