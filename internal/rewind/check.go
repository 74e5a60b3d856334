// Package rewind notices that the state of the API server went back: its etcd was restored from a backup under a running manager.
//
// An informer goes by resource versions, which grow. A restored etcd begins again at an older one. So the informer waits for one
// that will not come for long, or, where others have written past it meanwhile, goes on from one that stands for something else now.
// It shows what is not so, without an error, and whatever else remembers a version takes what is new for old.
//
//	sign                                                               seen
//	an informer gets an older version of an object than it has         at once
//	a list has an older version than an informer has come to           after an outage, and now and then
//	an object differs from the informer's, which is further than that  after an outage, and now and then
//
// None of them is ever so in an ordinary life, however much changes: the versions are compared, and not times. The cure is a start:
// Check ends with an error, and the manager with it.
package rewind

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

const (
	// interval is the least time between two comparisons; up to half of it is added at random.
	interval = 10 * time.Minute
	// afterOutage is the same after an outage: the informers have to be back first.
	afterOutage = 2 * time.Second
	// pause is the least time between a comparison and one after an outage: an outage may be one of many.
	pause = time.Minute
	// again is when to look again at what differs, looks how often: an informer that nothing reaches hears once a minute how far it is.
	again, looks = 2 * time.Second, 60
	// page is how many objects are listed at once.
	page = 500
	// readsAtOnce bounds how many objects are read one by one each time.
	readsAtOnce = 10
)

// Kind is one that informers hold.
type Kind struct {
	// Object is an empty one.
	Object client.Object
	// Options narrow its list as its informers do.
	Options []client.ListOption
	// Many has the list's version alone compared: the objects are too many for what they matter.
	Many bool
}

// Options are what a Check needs.
type Options struct {
	Log   logr.Logger
	Clock clock.Clock
	// Reader reads from the API server, not from a cache.
	Reader    client.Reader
	Scheme    *runtime.Scheme
	Informers *Informers
	// Outages gets something when an outage of the API server ends.
	Outages <-chan struct{}
	// Namespaces are those of the informers; none: all.
	Namespaces []string
	Kinds      []Kind
}

// Check compares what the informers hold with what the API server has. It is a manager.Runnable.
type Check struct{ Options }

// New returns a Check.
func New(o Options) *Check {
	if len(o.Namespaces) == 0 {
		o.Namespaces = []string{metav1.NamespaceAll}
	}
	return &Check{o}
}

// NeedLeaderElection lets a replica that does not lead check as well: it may lead next, with the informers that it has.
func (*Check) NeedLeaderElection() bool { return false }

// Start compares until ctx ends. It returns an error if the API server's state went back.
func (c *Check) Start(ctx context.Context) error {
	next := c.Clock.NewTimer(wait.Jitter(interval, 0.5))
	defer next.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-c.Informers.older:
			return restored(err)
		case <-c.Outages:
			next.Reset(max(wait.Jitter(afterOutage, 1), pause-c.Clock.Since(last)))
		case <-next.C():
			if err := c.compareAll(ctx); err != nil {
				return restored(err)
			}
			last = c.Clock.Now()
			next.Reset(wait.Jitter(interval, 0.5))
		}
	}
}

func restored(err error) error {
	return fmt.Errorf("the API server's state is not the one that this manager has read, so its etcd was restored from a backup; it ends, to start from what is so now: %w", err)
}

// compareAll returns an error if the state of any kind went back.
func (c *Check) compareAll(ctx context.Context) error {
	for i := range c.Kinds {
		for _, namespace := range c.Namespaces {
			one := &comparison{Check: c, kind: &c.Kinds[i], informers: c.Informers.of(c.Kinds[i].Object), namespace: namespace, differ: map[string]*difference{}}
			if len(one.informers) == 0 {
				continue
			}
			found, err := one.run(ctx)
			if err != nil {
				c.Log.V(1).Info("what the informers hold is not compared", "kind", fmt.Sprintf("%T", one.kind.Object), "error", err.Error())
			}
			if found != nil {
				return fmt.Errorf("%T %w", one.kind.Object, found)
			}
		}
	}
	return nil
}

// comparison is one of a kind in a namespace.
type comparison struct {
	*Check

	kind      *Kind
	informers group
	namespace string
	// listed is the revision that was listed.
	listed uint64
	differ map[string]*difference
}

// difference is an object that is another one in the list than in the informers.
type difference struct {
	live, held version
	// proved is true once the informers have come so far that they will not change any more what they hold.
	proved bool
}

// run returns in found how the state went back, and an error if nothing can be said.
func (c *comparison) run(ctx context.Context) (found, err error) {
	before, _ := c.informers.reached()
	if err := c.list(ctx); err != nil {
		return nil, err
	}
	for range looks {
		older := c.listed < before
		if !older && len(c.differ) == 0 {
			return nil, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case err := <-c.Informers.older:
			return err, nil
		case <-c.Clock.After(again):
		}
		if older {
			return c.older(ctx, before)
		}
		if found, err := c.look(ctx); found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

// list lists the objects, page by page, and notes which differ.
func (c *comparison) list(ctx context.Context) error {
	left, limit := c.informers.keys(c.namespace), client.Limit(page)
	if c.kind.Many {
		limit = 1
	}
	for next := ""; ; {
		list, err := c.read(ctx, limit, client.Continue(next))
		if err != nil {
			return err
		}
		if next == "" {
			c.listed = revisionOf(list.ResourceVersion)
		}
		if c.kind.Many {
			return nil
		}
		for i := range list.Items {
			key := cache.MetaObjectToName(&list.Items[i]).String()
			left.Delete(key)
			c.compare(key, versionOf(&list.Items[i]))
		}
		if next = list.Continue; next == "" {
			break
		}
	}
	for key := range left {
		c.compare(key, version{})
	}
	return nil
}

func (c *comparison) compare(key string, live version) {
	held := c.informers.version(key)
	if _, differs := settled(live, held, c.listed); differs {
		c.differ[key] = &difference{live: live, held: held}
	}
}

// settled says whether what is held of an object differs from what was live in a list of that revision, and if so, how far its
// informer has to be for that to be no matter of time.
func settled(live, held version, listed uint64) (at uint64, differs bool) {
	switch {
	case live == held, held.revision > listed:
		return 0, false // It has changed since.
	case live == version{}:
		return listed, true // It was deleted before.
	default:
		return live.revision, true
	}
}

// older looks again whether the list is older than what an informer has come to.
func (c *comparison) older(ctx context.Context, than uint64) (found, err error) {
	list, err := c.read(ctx, client.Limit(1))
	if err != nil || revisionOf(list.ResourceVersion) >= than {
		return nil, err
	}
	return fmt.Errorf("is listed at resource version %s, and was at %d before", list.ResourceVersion, than), nil
}

// look looks again at what differs, and returns in found what is proved to.
func (c *comparison) look(ctx context.Context) (found, err error) {
	reads := 0
	_, reached := c.informers.reached()
	for key, d := range c.differ {
		held := c.informers.version(key)
		at, differs := settled(d.live, held, c.listed)
		switch {
		case !differs:
			delete(c.differ, key)
		case held != d.held:
			d.held, d.proved = held, false
		case reached < at:
		case !d.proved:
			d.proved = true
		case reads < readsAtOnce:
			reads++
			live, err := c.now(ctx, key)
			if err != nil {
				return nil, err
			}
			if live == d.live && held == c.informers.version(key) {
				return fmt.Errorf("%s has resource version %d, and %d is the last that was watched; 0 is none", key, live.revision, held.revision), nil
			}
			delete(c.differ, key)
		}
	}
	return nil, nil
}

// now returns the version that an object has by now.
func (c *comparison) now(ctx context.Context, key string) (version, error) {
	name, err := cache.ParseObjectName(key)
	if err != nil {
		return version{}, err
	}
	list, err := c.read(ctx, client.InNamespace(name.Namespace), client.MatchingFields{"metadata.name": name.Name})
	if err != nil || len(list.Items) == 0 {
		return version{}, err
	}
	return versionOf(&list.Items[0]), nil
}

// read lists metadata of the kind. A list is also what one object is read by: the right to get is not needed for else.
func (c *comparison) read(ctx context.Context, options ...client.ListOption) (*metav1.PartialObjectMetadataList, error) {
	list := &metav1.PartialObjectMetadataList{}
	gvk, err := apiutil.GVKForObject(c.kind.Object, c.Scheme)
	if err != nil {
		return nil, err
	}
	list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	options = append(append([]client.ListOption{client.InNamespace(c.namespace)}, c.kind.Options...), options...)
	return list, c.Reader.List(ctx, list, options...)
}
