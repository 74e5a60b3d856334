package endpointslice

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

const (
	// lookEvery is how often the slices of others are looked for, and lookAgain how often once there are some, so that a person who
	// deletes them sees that. Both are lengthened by up to a tenth, so that Services do not ask all at once.
	lookEvery = 10 * time.Minute
	lookAgain = time.Minute
	// lookSoon is how long after a full pass they are looked for: what it writes goes first, and so do other Services after a start.
	lookSoon = time.Second
	// lookPause is at least how long after a look the next one comes.
	lookPause = 10 * time.Second
	// lookTimeout bounds how long a look keeps the next change waiting.
	lookTimeout = time.Second
	// maxForeign is how many slices a look reads at most.
	maxForeign = 50
)

// foreign is what is known of the slices of others that serve a Service.
type foreign struct {
	// due is when to look for them; looked is when that was last done.
	due, looked time.Time
	remarks     []remark
}

// soon has the slices of others looked for shortly.
func (f *foreign) soon(now time.Time) {
	next := now.Add(lengthened(lookSoon))
	if pause := f.looked.Add(lookPause); next.Before(pause) {
		next = pause
	}
	if f.due.IsZero() || next.Before(f.due) {
		f.due = next
	}
}

func lengthened(d time.Duration) time.Duration { return d + rand.N(d/10) } //nolint:gosec // It spreads requests.

// look looks for the slices of others, if it is time: the cache has none of them. What can't be read stays as it was.
func (c *Controller) look(ctx context.Context, service *corev1.Service, f *foreign) {
	now := c.clock.Now()
	if now.Before(f.due) {
		return
	}
	f.looked = now
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	list := &discoveryv1.EndpointSliceList{}
	err := c.live.List(ctx, list, client.InNamespace(service.Namespace), client.Limit(maxForeign),
		client.MatchingLabelsSelector{Selector: foreignSlices(service.Name)})
	if err == nil {
		f.remarks = strangers(service, list.Items)
	}
	if err != nil || len(f.remarks) > 0 {
		f.due = now.Add(lengthened(lookAgain))
	} else {
		f.due = now.Add(lengthened(lookEvery))
	}
}

// foreignSlices selects the slices of a Service that are not Rollcall's.
func foreignSlices(service string) labels.Selector {
	of, _ := labels.NewRequirement(discoveryv1.LabelServiceName, selection.Equals, []string{service})
	others, _ := labels.NewRequirement(discoveryv1.LabelManagedBy, selection.NotEquals, []string{rollcallv1alpha1.ManagedBy})
	return labels.NewSelector().Add(*of, *others)
}

// The controllers of Kubernetes that write slices.
const (
	ofSelector = "endpointslice-controller.k8s.io"
	ofMirror   = "endpointslicemirroring-controller.k8s.io"
)

// strangers says which slices of others have endpoints that take traffic, and how to be rid of them: one remark for each kind.
func strangers(service *corev1.Service, found []discoveryv1.EndpointSlice) (all []remark) {
	type group struct {
		endpoints, slices  int
		slice, address, by string
	}
	groups := map[string]*group{}
	slices.SortFunc(found, func(a, b discoveryv1.EndpointSlice) int { return cmp.Compare(a.Name, b.Name) })
	for i := range found {
		slice := &found[i]
		first, n := serving(slice)
		if n == 0 {
			continue
		}
		reason := reasonOf(slice)
		if groups[reason] == nil {
			groups[reason] = &group{slice: slice.Name, address: first, by: author(slice)}
		}
		groups[reason].endpoints += n
		groups[reason].slices++
	}
	for _, reason := range []string{
		rollcallv1alpha1.ReasonSelectorSlicesLeft, rollcallv1alpha1.ReasonEndpointsMirrored, rollcallv1alpha1.ReasonForeignSlices,
	} {
		g := groups[reason]
		if g == nil {
			continue
		}
		count := (&words{one: "endpoint", many: "endpoints"}).of(g.endpoints)
		switch ns, name := service.Namespace, service.Name; reason {
		case rollcallv1alpha1.ReasonEndpointsMirrored:
			all = append(all, *written(reason, "%s (%s) of an Endpoints object that Kubernetes mirrors stay ready for ever beside the nodes: "+
				"kubectl -n %s delete endpoints %s.", count, g.address, ns, name))
		case rollcallv1alpha1.ReasonSelectorSlicesLeft:
			all = append(all, *written(reason, "%s (%s) that an earlier spec.selector left stay ready for ever beside the nodes: "+
				"kubectl -n %s delete endpointslices -l %s=%s,%s=%s.",
				count, g.address, ns, discoveryv1.LabelServiceName, name, discoveryv1.LabelManagedBy, ofSelector))
		default:
			all = append(all, *written(reason, "%s (%s) in EndpointSlices that are not Rollcall's take traffic beside the nodes; %s is managed by %s: "+
				"have that stop, or kubectl -n %s delete endpointslice %s.", count, g.address, g.slice, g.by, ns, g.slice))
		}
	}
	return all
}

// reasonOf says whose a slice is.
func reasonOf(slice *discoveryv1.EndpointSlice) string {
	switch slice.Labels[discoveryv1.LabelManagedBy] {
	case ofMirror:
		return rollcallv1alpha1.ReasonEndpointsMirrored
	case ofSelector:
		return rollcallv1alpha1.ReasonSelectorSlicesLeft
	}
	return rollcallv1alpha1.ReasonForeignSlices
}

// author says who writes a slice.
func author(slice *discoveryv1.EndpointSlice) string {
	if by := slice.Labels[discoveryv1.LabelManagedBy]; by != "" {
		return by
	}
	fields := slices.MaxFunc(append(slice.ManagedFields, metav1.ManagedFieldsEntry{}), func(a, b metav1.ManagedFieldsEntry) int {
		return ptr.Deref(a.Time, metav1.Time{}).Compare(ptr.Deref(b.Time, metav1.Time{}).Time)
	})
	if fields.Manager == "" {
		return "nobody that it names"
	}
	return record.Bounded(fields.Manager)
}

// serving returns the first address of a slice's endpoints that take traffic, and how many there are.
func serving(slice *discoveryv1.EndpointSlice) (first string, n int) {
	for i := range slice.Endpoints {
		e := &slice.Endpoints[i]
		if !ptr.Deref(e.Conditions.Ready, true) || len(e.Addresses) == 0 {
			continue
		}
		if n++; first == "" || strings.Compare(e.Addresses[0], first) < 0 {
			first = e.Addresses[0]
		}
	}
	return first, n
}
