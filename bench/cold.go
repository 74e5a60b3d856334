package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
)

const (
	// sliceWriters and nodeWriters are how many writes the controllers have under way at once, and so the floors.
	sliceWriters = 8
	nodeWriters  = 16
)

// cold has the figures of a cold start.
type cold struct {
	slices, writes, nodes, heap *figure
}

func newCold(nodes int) *cold {
	n := fmt.Sprintf("cold start of %d nodes: ", nodes)
	return &cold{
		slices: &figure{
			name: n + "bucket → all endpoints in slices", unit: milliseconds, by: absolute, target: atMost(1500),
			floor: "KeyWatcher until all keys are in, decode, then create the same slices, 8 at a time, until a watch has seen them all",
		},
		writes: &figure{
			name: n + "slice writes", unit: writes, by: absolute, target: atMost(110),
			floor: "nodes / 100 endpoints of a slice",
		},
		nodes: &figure{
			name: n + "DiscoveredNodes created", unit: perSecond, by: ratio, target: atLeast(0.95),
			floor: "client-go loop that creates the same objects, 16 at a time, until a watch has seen them all",
		},
		heap: &figure{
			name: "heap a node beyond the informer cache", unit: kibibytes, by: difference, target: atMost(4),
			floor: "heap of a process with a cache of the same objects and nothing else; both less what the process has without a node",
		},
	}
}

// coldStart measures how a fleet that exists comes into an empty cluster. The fleet and the manager of the last run stay
// for the steps that follow.
func coldStart(ctx context.Context, g *rig) ([]*figure, error) {
	c := newCold(g.nodes)
	empty, err := g.heaps(ctx, "empty")
	if err != nil {
		return nil, err
	}
	for run := range g.runs {
		if g.manager != nil {
			if err := g.manager.stop(); err != nil {
				return nil, err
			}
		}
		if err := c.run(ctx, g, run); err != nil {
			return nil, err
		}
		if err := c.measureHeap(ctx, g, empty); err != nil {
			return nil, err
		}
		if err := c.floors(ctx, g, run); err != nil {
			return nil, err
		}
	}
	return []*figure{c.slices, c.writes, c.nodes, c.heap}, nil
}

// run measures one cold start. The clock starts before the NodeRegistry is created, so that finding it, connecting to
// NATS and listing the bucket count as well.
func (c *cold) run(ctx context.Context, g *rig, run int) (err error) {
	namespace := fmt.Sprintf("fleet-%d", run)
	if err := g.namespace(ctx, namespace); err != nil {
		return err
	}
	if g.fleet, err = g.newFleet(ctx, namespace, registryName, serviceName, g.nodes); err != nil {
		return err
	}
	if g.manager, err = g.startManager(ctx, namespace); err != nil {
		return err
	}
	if err := g.fleet.serve(ctx, g); err != nil {
		return err
	}
	v, err := g.watchSlices(ctx, namespace)
	if err != nil {
		return err
	}
	defer v.close()
	nodes, err := g.watchCreated(ctx, namespace, g.nodes)
	if err != nil {
		return err
	}
	if err := g.manager.idle(ctx); err != nil {
		return err
	}
	before, err := g.requests(ctx)
	if err != nil {
		return err
	}
	slices := v.expect(all(serviceName, g.nodes))
	began := time.Now()
	if err := g.fleet.mirror(ctx, g); err != nil {
		return err
	}
	return c.note(ctx, g, before, began, slices, nodes)
}

// note waits for the end of a cold start and adds ours to the figures.
func (c *cold) note(ctx context.Context, g *rig, before requests, began time.Time, slices *waiter, nodes *created) error {
	served, err := slices.wait(ctx)
	if err != nil {
		return fmt.Errorf("endpoints: %w", err)
	}
	shown, err := nodes.wait(ctx)
	if err != nil {
		return fmt.Errorf("DiscoveredNodes: %w", err)
	}
	after, err := g.requests(ctx)
	if err != nil {
		return err
	}
	const resource = "endpointslices"
	c.slices.add(sample{ours: inMilliseconds(served.Sub(began))})
	c.writes.add(sample{ours: after[resource] - before[resource], floor: float64((g.nodes + perSlice - 1) / perSlice)})
	c.nodes.add(sample{ours: float64(g.nodes) / shown.Sub(began).Seconds()})
	return nil
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// floors adds the floors of the run to the figures.
func (c *cold) floors(ctx context.Context, g *rig, run int) error {
	namespace := fmt.Sprintf("bare-%d", run)
	if err := g.namespace(ctx, namespace); err != nil {
		return err
	}
	took, err := g.bareSlices(ctx, namespace)
	if err != nil {
		return err
	}
	c.slices.samples[run].floor = inMilliseconds(took)
	took, err = g.bareNodes(ctx, namespace)
	if err != nil {
		return err
	}
	c.nodes.samples[run].floor = float64(g.nodes) / took.Seconds()
	return nil
}

// bareSlices reads the bucket and writes the slices with as little as that takes.
func (g *rig) bareSlices(ctx context.Context, namespace string) (time.Duration, error) {
	v, err := g.watchSlices(ctx, namespace)
	if err != nil {
		return 0, err
	}
	defer v.close()
	kv, err := g.js.KeyValue(ctx, g.fleet.bucket)
	if err != nil {
		return 0, err
	}
	seen := v.expect(all(bareService, g.nodes))
	began := time.Now()
	watcher, err := kv.WatchAll(ctx)
	if err != nil {
		return 0, err
	}
	for entry := range watcher.Updates() {
		if entry == nil {
			break
		}
		if _, _, err := discovery.Decode(entry.Value()); err != nil {
			return 0, errors.Join(err, watcher.Stop())
		}
	}
	if err := errors.Join(watcher.Stop(), g.createSlices(ctx, namespace, g.nodes/perSlice)); err != nil {
		return 0, err
	}
	at, err := seen.wait(ctx)
	return at.Sub(began), err
}

// createSlices creates so many bare slices.
func (g *rig) createSlices(ctx context.Context, namespace string, count int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sliceWriters)
	for n := range count {
		group.Go(func() error {
			_, err := g.kube.DiscoveryV1().EndpointSlices(namespace).Create(ctx, bareSlice(bareService, n, 0), metav1.CreateOptions{})
			return err
		})
	}
	return group.Wait()
}

// nodesClient returns a bare client for DiscoveredNodes.
func (g *rig) nodesClient() (*rest.RESTClient, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	config := rest.CopyConfig(g.env.Config)
	config.APIPath, config.GroupVersion = "/apis", &rollcallv1alpha1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	return rest.RESTClientFor(config)
}

// bareNodes creates the DiscoveredNodes of the fleet once more, in another namespace, and returns how long it took until a
// watch had seen them all.
func (g *rig) bareNodes(ctx context.Context, namespace string) (time.Duration, error) {
	list := &rollcallv1alpha1.DiscoveredNodeList{}
	if err := g.api.List(ctx, list, client.InNamespace(g.fleet.namespace)); err != nil {
		return 0, err
	}
	rest, err := g.nodesClient()
	if err != nil {
		return 0, err
	}
	nodes, err := g.watchCreated(ctx, namespace, len(list.Items))
	if err != nil {
		return 0, err
	}
	began := time.Now()
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(nodeWriters)
	for i := range list.Items {
		group.Go(func() error {
			dn := &list.Items[i]
			dn.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: dn.Name, Labels: dn.Labels, OwnerReferences: dn.OwnerReferences}
			return rest.Post().Namespace(namespace).Resource("discoverednodes").Body(dn).Do(limited).Into(dn)
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	at, err := nodes.wait(ctx)
	return at.Sub(began), err
}
