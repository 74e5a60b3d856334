package rewind

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestSettled(t *testing.T) {
	const listed = 100
	none := version{}
	of := func(uid types.UID, revision uint64) version { return version{uid, revision} }
	for name, test := range map[string]struct {
		live, held version
		at         uint64
		differs    bool
	}{
		"the same":                            {live: of("a", 7), held: of("a", 7)},
		"none":                                {},
		"the informer is behind":              {live: of("a", 9), held: of("a", 7), at: 9, differs: true},
		"changed after the list":              {live: of("a", 9), held: of("a", 101)},
		"made after the list":                 {held: of("a", 101)},
		"deleted, and made after the list":    {live: of("a", 9), held: of("b", 101)},
		"the informer has one that never was": {live: of("a", 7), held: of("a", 9), at: 7, differs: true},
		"another of the name":                 {live: of("b", 7), held: of("a", 7), at: 7, differs: true},
		"deleted before the list":             {live: none, held: of("a", 7), at: listed, differs: true},
		"the informer has none":               {live: of("a", 7), held: none, at: 7, differs: true},
	} {
		if at, differs := settled(test.live, test.held, listed); at != test.at || differs != test.differs {
			t.Errorf("%s: differs %t, from %d on", name, differs, at)
		}
	}
}

// world is an API server, and an informer that follows it. It is safe for concurrent use.
type world struct {
	client.Reader
	cache.SharedIndexInformer

	mu       sync.Mutex
	revision int
	objects  map[string]*metav1.PartialObjectMetadata
	// listing is what was listed last, for the pages that follow.
	listing []metav1.PartialObjectMetadata
	listed  string
	lists   int
	err     error

	seen    string
	indexer cache.Indexer
	handler cache.ResourceEventHandler
}

// List implements client.Reader.
func (w *world) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lists++
	o := (&client.ListOptions{}).ApplyOptions(options)
	into := list.(*metav1.PartialObjectMetadataList)
	if o.Continue == "" {
		w.listing, w.listed = nil, strconv.Itoa(w.revision)
		for _, key := range slices.Sorted(maps.Keys(w.objects)) {
			if o.FieldSelector == nil || o.FieldSelector.String() == "metadata.name="+w.objects[key].Name {
				w.listing = append(w.listing, *w.objects[key])
			}
		}
	}
	from, _ := strconv.Atoi(o.Continue)
	until := len(w.listing)
	if o.Limit > 0 && from+int(o.Limit) < until {
		until = from + int(o.Limit)
		into.Continue = strconv.Itoa(until)
	}
	into.Items, into.ResourceVersion = w.listing[from:until], w.listed
	return w.err
}

// HasSynced, LastSyncResourceVersion, GetIndexer and AddEventHandler implement cache.SharedIndexInformer.
func (w *world) HasSynced() bool           { return true }
func (w *world) GetIndexer() cache.Indexer { return w.indexer }
func (w *world) LastSyncResourceVersion() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

func (w *world) AddEventHandler(handler cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	w.handler = handler
	return nil, nil
}

// set changes an object, or deletes it, and returns what the informer gets of it, later.
func (w *world) set(name string, gone bool) (observe func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revision++
	seen := strconv.Itoa(w.revision)
	uid := types.UID(name)
	if was := w.objects[name]; was != nil {
		uid = was.UID
	} else if w.revision > objects {
		uid = types.UID(seen)
	}
	object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet", Name: name, UID: uid, ResourceVersion: seen}}
	if w.objects[name] = object; gone {
		delete(w.objects, name)
	}
	return func() {
		if gone {
			_ = w.indexer.Delete(object)
		} else {
			_ = w.indexer.Update(object)
		}
		w.bookmark(seen)
	}
}

func (w *world) bookmark(revision string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = revision
}

// objects is how many there are at first.
const objects = 3 * page / 2

// newWorld returns a world whose informer is up to date, with its Check.
func newWorld(many bool) (w *world, check *Check, outages chan struct{}) {
	w = &world{objects: map[string]*metav1.PartialObjectMetadata{}, indexer: cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil)}
	for i := range objects {
		w.set(fmt.Sprintf("n%d", i), false)()
	}
	informers := NewInformers()
	informers.Know(func(cache.ListerWatcher, runtime.Object, time.Duration, cache.Indexers) cache.SharedIndexInformer {
		return w
	})(nil, &corev1.Service{}, 0, nil)
	outages = make(chan struct{}, 1)
	return w, New(Options{
		Log: logr.Discard(), Clock: clock.RealClock{}, Reader: w, Scheme: clientgoscheme.Scheme, Informers: informers, Outages: outages,
		Kinds: []Kind{{Object: &corev1.Service{}, Many: many}, {Object: &corev1.Pod{}}},
	}), outages
}

// runs returns for how long the Check has run, a day at most, and what it ended with.
func runs(t *testing.T, check *Check) (time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	defer cancel()
	began := time.Now()
	err := check.Start(ctx)
	return time.Since(began), err
}

// soonest is the longest that a Check may take after an outage where the informer has come as far as it can.
const soonest = 2*afterOutage + 4*again

func TestAStateThatWentBackEndsTheManager(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(*world)
		says    string
		many    bool
		within  time.Duration
	}{
		"the revision is older": {happens: func(w *world) { w.revision -= 10 }, says: "was at 750 before"},
		"the revision is older, of many objects": {
			happens: func(w *world) { w.revision -= 10 }, says: "was at 750 before", many: true,
		},
		"written past, an object is older": {says: "fleet/n7 has resource version 4, and 8", happens: func(w *world) {
			w.objects["n7"].ResourceVersion = "4"
			w.objects["n7"] = w.objects["n7"].DeepCopy()
			_ = w.indexer.Update(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet", Name: "n7", UID: "n7", ResourceVersion: "8"}})
			w.revision += 10
		}},
		"written past, a change is missed":   {says: "fleet/n7 has", happens: func(w *world) { w.set("n7", false); w.set("n8", false)() }},
		"written past, a deletion is missed": {says: "fleet/n7 has resource version 0", happens: func(w *world) { w.set("n7", true); w.set("n8", false)() }},
		"written past, a creation is missed": {says: "and 0 is the last", happens: func(w *world) { w.set("new", false); w.set("n8", false)() }},
		"and the informer hears of nothing for a minute": {says: "fleet/n7 has", within: time.Minute + soonest, happens: func(w *world) {
			w.set("n7", true)
			time.AfterFunc(time.Minute, func() { w.bookmark(strconv.Itoa(w.revision)) })
		}},
		"an informer shows it": {says: "went back from resource version 8 to 4", within: time.Nanosecond, happens: func(w *world) {
			older := &corev1.Service{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "4"}}
			w.handler.OnUpdate(&corev1.Service{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "8"}}, older)
			w.handler.OnUpdate(&corev1.Service{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "8"}}, older)
		}},
	} {
		for _, after := range []string{"an outage", "a time"} {
			t.Run(name+", after "+after, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, check, outages := newWorld(test.many)
					test.happens(w)
					within := max(test.within, soonest)
					if after == "an outage" {
						outages <- struct{}{}
					} else {
						within += 3 * interval / 2
					}
					took, err := runs(t, check)
					if err == nil || !strings.Contains(err.Error(), test.says) || took > within {
						t.Errorf("it ended after %s with %v", took, err)
					}
				})
			})
		}
	}
}

// Whatever changes, and however far behind the informer is.
func TestAnOrdinaryLifeEndsNoManager(t *testing.T) {
	for _, lag := range []time.Duration{0, time.Second, 40 * time.Second, 5 * time.Minute} {
		t.Run(lag.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, check, outages := newWorld(false)
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Minute)
				defer cancel()
				var changes sync.WaitGroup
				defer changes.Wait()
				changes.Go(func() {
					random := rand.New(rand.NewPCG(1, 2))
					for ctx.Err() == nil {
						// Each in its turn, as in a watch.
						time.AfterFunc(lag, w.set(fmt.Sprintf("n%d", random.IntN(objects)), random.IntN(3) == 0))
						<-time.After(time.Duration(1+random.IntN(200)) * time.Millisecond)
						if random.IntN(1000) == 0 {
							select {
							case outages <- struct{}{}:
							default:
							}
						}
					}
				})
				if err := check.Start(ctx); err != nil {
					t.Error(err)
				}
				if w.lists < 15 {
					t.Errorf("it has listed %d times", w.lists)
				}
			})
		})
	}
}

// An etcd that is slow makes many short outages, and lists would make it slower.
func TestManyOutagesMakeFewLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, check, outages := newWorld(false)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var slow sync.WaitGroup
		defer slow.Wait()
		slow.Go(func() {
			for ctx.Err() == nil {
				select {
				case outages <- struct{}{}:
				case <-ctx.Done():
				}
				<-time.After(afterOutage * 3)
			}
		})
		if err := check.Start(ctx); err != nil {
			t.Error(err)
		}
		const pages = objects/page + 1
		if most := int(10*time.Minute/pause+1) * (pages + 1); w.lists > most || w.lists < most/3 {
			t.Errorf("it has listed %d times in ten minutes, want at most %d", w.lists, most)
		}
	})
}

func TestWhereNothingCanBeListedNothingIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, check, _ := newWorld(false)
		w.err, w.revision = errors.New("forbidden"), 1
		if took, err := runs(t, check); err != nil || took < 24*time.Hour {
			t.Errorf("it ended after %s with %v", took, err)
		}
	})
}

func TestOfManyObjectsOneIsListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, check, _ := newWorld(true)
		w.set("n7", true) // It is not missed.
		if _, err := runs(t, check); err != nil || w.lists == 0 || w.lists > int(24*time.Hour/interval) {
			t.Errorf("it has listed %d times in a day, %v", w.lists, err)
		}
	})
}
