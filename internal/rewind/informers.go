package rewind

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/cache"
)

// version is one of an object; the zero value: there is no such object.
type version struct {
	uid      types.UID
	revision uint64
}

func versionOf(o metav1.Object) version {
	return version{o.GetUID(), revisionOf(o.GetResourceVersion())}
}

// revisionOf returns a resource version as a number: those of one resource grow. Zero is older than all.
func revisionOf(resourceVersion string) uint64 {
	revision, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return revision
}

// Constructor makes an informer, as cache.NewSharedIndexInformer does.
type Constructor = func(cache.ListerWatcher, runtime.Object, time.Duration, cache.Indexers) cache.SharedIndexInformer

// Informers knows the informers of a manager. It is safe for concurrent use.
type Informers struct {
	mu  sync.Mutex
	all map[reflect.Type]group
	// older holds what an informer saw first of an object that went back.
	older chan error
}

// NewInformers returns an Informers that knows none.
func NewInformers() *Informers {
	return &Informers{all: map[reflect.Type]group{}, older: make(chan error, 1)}
}

// Know returns next as one whose informers are known. It fits cache.Options.NewInformer of controller-runtime.
func (i *Informers) Know(next Constructor) Constructor {
	return func(lw cache.ListerWatcher, object runtime.Object, resync time.Duration, indexers cache.Indexers) cache.SharedIndexInformer {
		informer := next(lw, object, resync, indexers)
		// An informer that has not begun refuses no handler.
		_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{UpdateFunc: i.updated})
		i.mu.Lock()
		defer i.mu.Unlock()
		i.all[reflect.TypeOf(object)] = append(i.all[reflect.TypeOf(object)], informer)
		return informer
	}
}

// updated looks whether an object went back.
func (i *Informers) updated(before, after any) {
	was, err := meta.Accessor(before)
	if err != nil {
		return
	}
	is, err := meta.Accessor(after)
	if err != nil || revisionOf(is.GetResourceVersion()) >= revisionOf(was.GetResourceVersion()) {
		return
	}
	select {
	case i.older <- fmt.Errorf("%T %s/%s went back from resource version %s to %s", after, is.GetNamespace(), is.GetName(), was.GetResourceVersion(), is.GetResourceVersion()):
	default: // One is enough.
	}
}

// of returns the informers for objects of that type that have listed them.
func (i *Informers) of(object runtime.Object) (listed group) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, informer := range i.all[reflect.TypeOf(object)] {
		if informer.HasSynced() {
			listed = append(listed, informer)
		}
	}
	return listed
}

// group is the informers for one type: one, or one a namespace.
type group []cache.SharedIndexInformer

// reached returns the revisions up to which the informer that is the furthest has come, and the one that is the least far.
func (g group) reached() (most, least uint64) {
	for n, informer := range g {
		revision := revisionOf(informer.LastSyncResourceVersion())
		most = max(most, revision)
		if n == 0 || revision < least {
			least = revision
		}
	}
	return most, least
}

// version returns the version of the object that the informers hold.
func (g group) version(key string) version {
	for _, informer := range g {
		if object, found, err := informer.GetIndexer().GetByKey(key); err == nil && found {
			if o, err := meta.Accessor(object); err == nil {
				return versionOf(o)
			}
		}
	}
	return version{}
}

// keys returns the keys of the objects of a namespace that the informers hold; empty: of all.
func (g group) keys(namespace string) sets.Set[string] {
	keys := sets.New[string]()
	for _, informer := range g {
		for _, key := range informer.GetIndexer().ListKeys() {
			if namespace == "" || strings.HasPrefix(key, namespace+"/") {
				keys.Insert(key)
			}
		}
	}
	return keys
}
