package discoverednode

import (
	"container/list"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/internal/outage"
)

const (
	// leastProbe and mostProbe bound the time between two probes of a kind that is refused.
	leastProbe, mostProbe = time.Second, 5 * time.Minute
	// changesPace is the least time between two objects of a kind that are tried because their nodes changed.
	changesPace = time.Second
	// maxKinds bounds the kinds of a registry that are told apart, and maxCause the text that tells them.
	maxKinds, maxCause = 8, 200
)

// verb is what a write does.
type verb string

const (
	create verb = "create"
	update verb = "update"
	remove verb = "delete"
)

// refusals knows the objects whose write the API server refuses, each in the kind of its refusal: a registry, a verb and a cause.
//
//	an object that was not refused          is tried at once
//	the one of a kind that probes           is tried after 1 s, then after twice as long each time, up to 5 min
//	another one of the kind                 waits
//	two of the kind, when one was written   are tried: all go within moments, and few are tried if they are still refused
//	one whose node changed                  is tried at once, but one a second
//
// It is safe for concurrent use.
type refusals struct {
	counts Counts
	wake   func(...types.NamespacedName)

	mu         sync.Mutex
	registries map[types.NamespacedName][]*refusal
	objects    map[types.NamespacedName]*waiter
}

// refusal is a kind of write that the API server refuses.
type refusal struct {
	registry types.NamespacedName
	verb     verb
	cause    string
	// words are the API server's, and cure is what to do about them.
	words, cure string

	// objects counts those of the kind. Those that wait are in waiting, the next to probe in front.
	objects int
	waiting list.List
	// example is one of the objects, the same for as long as it is one.
	example types.NamespacedName
	// prober is who asks again when the next probe is due, and delay is the time between the last and the next.
	prober types.NamespacedName
	due    time.Time
	delay  time.Duration
	// changes is when the next object may be tried because its node changed.
	changes time.Time
}

// waiter is an object of a kind.
type waiter struct {
	name types.NamespacedName
	of   *refusal
	// element is its place in waiting; nil: it may be tried.
	element *list.Element
	probes  bool
}

func newRefusals(counts Counts, wake func(...types.NamespacedName)) *refusals {
	return &refusals{counts: counts, wake: wake, registries: map[types.NamespacedName][]*refusal{}, objects: map[types.NamespacedName]*waiter{}}
}

// may returns true if a write may be tried now, else how long the object has to ask again after; zero: it is woken.
func (r *refusals) may(name types.NamespacedName, does verb, now time.Time) (bool, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.objects[name]
	switch {
	case w == nil, w.element == nil:
		return true, 0
	case w.of.verb != does:
		r.drop(w)
		return true, 0
	case !now.Before(w.of.due):
		w.of.due, w.probes = now.Add(w.of.delay), true
		r.release(w)
		return true, 0
	case w.of.prober == name:
		return false, w.of.due.Sub(now)
	}
	return false, 0
}

// refuse notes that a write was refused, and returns how long the object has to ask again after; zero: it is woken.
func (r *refusals) refuse(name, registry types.NamespacedName, does verb, err error, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kind(registry, does, name.Name, err, now)
	w := r.objects[name]
	if w != nil && w.of != k {
		r.drop(w)
		w = nil
	}
	if w == nil {
		w = &waiter{name: name, of: k}
		r.objects[name] = w
		k.objects++
		r.counts.Add(registry)
	}
	if w.probes {
		k.delay, w.probes = min(2*k.delay, mostProbe), false
		k.due = now.Add(k.delay)
	}
	if w.element == nil {
		w.element = k.waiting.PushBack(w)
	}
	if e := r.objects[k.example]; e == nil || e.of != k {
		k.example = name
	}
	if r.choose(k); k.prober == name {
		return k.due.Sub(now)
	}
	return 0
}

// settle notes that an object needs no such write any more: it was written, or there is nothing to write.
func (r *refusals) settle(name types.NamespacedName, written bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.objects[name]
	if w == nil {
		return
	}
	k := w.of
	r.drop(w)
	if !written || k.objects == 0 {
		return
	}
	k.delay, k.due = leastProbe, now.Add(leastProbe)
	for range 2 {
		if e := k.waiting.Front(); e != nil {
			r.release(waiterIn(e))
			r.wake(waiterIn(e).name)
		}
	}
}

// change notes that an object's node changed: what is written of it now may not be refused.
func (r *refusals) change(name types.NamespacedName, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.objects[name]
	switch {
	case w == nil, w.element == nil:
	case now.Before(w.of.changes):
		w.of.waiting.MoveToFront(w.element)
	default:
		w.of.changes = now.Add(changesPace)
		r.release(w)
	}
}

// text says what is refused of a registry; empty: nothing.
func (r *refusals) text(registry types.NamespacedName) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var most *refusal
	total := 0
	for _, k := range r.registries[registry] {
		total += k.objects
		if most == nil || k.objects > most.objects {
			most = k
		}
	}
	if most == nil {
		return ""
	}
	return fmt.Sprintf("the API server refuses the writes of %d DiscoveredNodes, for example to %s %s: %s: %s. Endpoints do not depend on it",
		total, most.verb, record.Bounded(most.example.Name), most.words, most.cure)
}

// kind returns the kind of a refusal.
func (r *refusals) kind(registry types.NamespacedName, does verb, name string, err error, now time.Time) *refusal {
	known, cause := r.registries[registry], causeOf(err, name)
	same := func(k *refusal) bool { return k.verb == does && k.cause == cause }
	if i := slices.IndexFunc(known, same); i >= 0 {
		return known[i]
	}
	if len(known) >= maxKinds {
		// All others are one kind, so that there are few probes whatever the texts are.
		cause = ""
		if i := slices.IndexFunc(known, same); i >= 0 {
			return known[i]
		}
	}
	k := &refusal{
		registry: registry, verb: does, cause: cause, words: record.Bounded(without(name, err.Error())), cure: cureOf(err),
		delay: leastProbe, due: now.Add(leastProbe),
	}
	r.registries[registry] = append(known, k)
	return k
}

// drop forgets an object, and its kind if it was the last.
func (r *refusals) drop(w *waiter) {
	k := w.of
	r.release(w)
	delete(r.objects, w.name)
	k.objects--
	r.counts.Add(k.registry)
	if e := k.waiting.Front(); e != nil && k.example == w.name {
		k.example = waiterIn(e).name
	}
	if k.objects > 0 {
		return
	}
	left := slices.DeleteFunc(r.registries[k.registry], func(other *refusal) bool { return other == k })
	if r.registries[k.registry] = left; len(left) == 0 {
		delete(r.registries, k.registry)
	}
}

// release lets an object be tried.
func (r *refusals) release(w *waiter) {
	if w.element != nil {
		w.of.waiting.Remove(w.element)
		w.element = nil
	}
	r.choose(w.of)
}

// choose has another object probe next, unless the one that does still waits for it.
func (r *refusals) choose(k *refusal) {
	if w := r.objects[k.prober]; w != nil && w.of == k && w.element != nil {
		return
	}
	k.prober = types.NamespacedName{}
	if e := k.waiting.Front(); e != nil {
		k.prober = waiterIn(e).name
		r.wake(k.prober)
	}
}

func waiterIn(e *list.Element) *waiter {
	return e.Value.(*waiter) //nolint:errcheck // The lists hold nothing else.
}

// isRefusal returns true for an answer of the API server that says that it does not take a write. It is none that the cache is behind or
// that a namespace ends, nor that the API server is not ready.
func isRefusal(err error) bool {
	answer := apierrors.APIStatus(nil)
	if !errors.As(err, &answer) || outage.Unanswered(err) || outage.Unserved(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return false
	}
	return !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) && !apierrors.IsUnauthorized(err)
}

// causeOf returns what tells a refusal from others: its text without what is the object's own.
func causeOf(err error, name string) string {
	digits := false
	text := strings.Map(func(c rune) rune {
		before := digits
		digits = unicode.IsDigit(c)
		switch {
		case digits && before:
			return -1
		case digits:
			return '#'
		}
		return c
	}, without(name, err.Error()))
	return string(apierrors.ReasonForError(err)) + ": " + record.Cut(text, maxCause)
}

// without returns a text without the name of an object, which another would not have.
func without(name, text string) string { return strings.ReplaceAll(text, name, "…") }

// cureOf says what to do about a refusal. Admission answers with any code.
func cureOf(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, `webhook "`):
		return "look at the webhook, or exempt Rollcall's service account from it"
	case apierrors.IsTooManyRequests(err):
		return "give Rollcall's service account a priority level of its own"
	case strings.Contains(text, "exceeded quota"):
		return "raise the quota"
	case strings.Contains(text, `" cannot `):
		return "grant Rollcall's service account the right"
	case strings.Contains(text, "AdmissionPolicy"), apierrors.IsForbidden(err):
		return "exempt Rollcall's service account from the policy"
	}
	return "install the CustomResourceDefinitions of this version of Rollcall"
}
