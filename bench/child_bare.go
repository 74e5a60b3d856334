package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	discoveryclient "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rollcall-dev/rollcall/discovery"
)

// perSlice is how many endpoints a slice holds.
const perSlice = 100

// bareFlags are the flags of the children that do no more than what can't be left out.
type bareFlags struct {
	nats, bucket, kubeconfig, namespace string
	puts                                int
}

func parseBare(name string, args []string) (b bareFlags, err error) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&b.nats, "nats", "", "URL of the NATS server.")
	flags.StringVar(&b.bucket, "bucket", "", "The bucket to watch.")
	flags.StringVar(&b.kubeconfig, "kubeconfig", "", "The way to the API server.")
	flags.StringVar(&b.namespace, "namespace", "", "The namespace of the slices.")
	flags.IntVar(&b.puts, "puts", 0, "How many puts are one storm.")
	return b, flags.Parse(args)
}

// watchBare hands every put of the bucket from now on, decoded, to f. It does so with nothing but what nats.go offers.
func watchBare(ctx context.Context, b bareFlags, c *child, f func(discovery.Node) error) error {
	connection, err := nats.Connect(b.nats)
	if err != nil {
		return err
	}
	defer connection.Close()
	js, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	kv, err := js.KeyValue(ctx, b.bucket)
	if err != nil {
		return err
	}
	watcher, err := kv.WatchAll(ctx, jetstream.UpdatesOnly())
	if err != nil {
		return err
	}
	c.ready.Store(true)
	for entry := range watcher.Updates() {
		if entry == nil || entry.Operation() != jetstream.KeyValuePut {
			continue
		}
		node, _, err := discovery.Decode(entry.Value())
		if err != nil {
			return err
		}
		if err := f(node); err != nil {
			return err
		}
		c.seen.Add(1)
	}
	return errors.New("the watch has ended")
}

// runBareWatch is the floor of what a heartbeat costs: it is received and decoded.
func runBareWatch(ctx context.Context, args []string, c *child) error {
	b, err := parseBare(childWatch, args)
	if err != nil {
		return err
	}
	return watchBare(ctx, b, c, func(discovery.Node) error { return nil })
}

// slices returns a client for the slices that the child writes.
func (b bareFlags) slices() (discoveryclient.EndpointSliceInterface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", b.kubeconfig)
	if err != nil {
		return nil, err
	}
	kube, err := kubernetes.NewForConfig(protobuf(config))
	if err != nil {
		return nil, err
	}
	return kube.DiscoveryV1().EndpointSlices(b.namespace), nil
}

// runBareRelay is the floor of what a change takes: a watch of the bucket, and one raw update of one slice.
func runBareRelay(ctx context.Context, args []string, c *child) error {
	b, err := parseBare(childRelay, args)
	if err != nil {
		return err
	}
	client, err := b.slices()
	if err != nil {
		return err
	}
	slice, err := client.Create(ctx, bareSlice(bareService, 0, 0), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	places := map[string]int{}
	for i := range slice.Endpoints {
		places[*slice.Endpoints[i].Hostname] = i
	}
	return watchBare(ctx, b, c, func(node discovery.Node) error {
		addresses, _, err := node.Reach()
		if err != nil {
			return err
		}
		slice.Endpoints[places[node.ID]].Addresses = []string{addresses[0].String()}
		slice, err = client.Update(ctx, slice, metav1.UpdateOptions{})
		return err
	})
}

// runBareStorm is the floor of what a storm takes that comes through a bucket: a watch of it until the last change is in, and one raw
// update of each slice. It knows beforehand how many changes there are.
func runBareStorm(ctx context.Context, args []string, c *child) error {
	b, err := parseBare(childStorm, args)
	if err != nil {
		return err
	}
	client, err := b.slices()
	if err != nil {
		return err
	}
	places, final := map[string]*discoveryv1.Endpoint{}, []*discoveryv1.EndpointSlice{}
	for n := range b.puts / perSlice {
		slice, err := client.Create(ctx, bareSlice(watchedStorm, n, 0), metav1.CreateOptions{})
		if err != nil {
			return err
		}
		final = append(final, slice)
	}
	index(places, final)
	seen := 0
	return watchBare(ctx, b, c, func(node discovery.Node) error {
		addresses, _, err := node.Reach()
		if err != nil {
			return err
		}
		places[node.ID].Addresses = []string{addresses[0].String()}
		if seen++; seen < b.puts {
			return nil
		}
		seen = 0
		defer index(places, final)
		return updateAll(ctx, client, final)
	})
}

// index finds the endpoint of each node in the slices.
func index(places map[string]*discoveryv1.Endpoint, slices []*discoveryv1.EndpointSlice) {
	for _, slice := range slices {
		for i := range slice.Endpoints {
			places[*slice.Endpoints[i].Hostname] = &slice.Endpoints[i]
		}
	}
}

// updateAll writes the slices in a loop. They become what the API server answers.
func updateAll(ctx context.Context, client discoveryclient.EndpointSliceInterface, final []*discoveryv1.EndpointSlice) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sliceWriters)
	for i := range final {
		group.Go(func() (err error) {
			final[i], err = client.Update(ctx, final[i], metav1.UpdateOptions{})
			return err
		})
	}
	return group.Wait()
}

// bareService is the Service that bare slices are labelled with. There is no such Service, so nobody looks after them.
const bareService = "bare"

// bareSlice returns the nth slice of a fleet after so many moves, with all that Rollcall would write into it but the
// Service as its owner.
func bareSlice(service string, n, moves int) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%s-%04d", service, n),
			Labels: map[string]string{
				discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: "bench.rollcall.dev", corev1.IsHeadlessService: "",
			},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}},
	}
	for i := range perSlice {
		slice.Endpoints = append(slice.Endpoints, bareEndpoint(n*perSlice+i, moves))
	}
	return slice
}

func bareEndpoint(n, moves int) discoveryv1.Endpoint {
	node := recordOf(n, moves)
	return discoveryv1.Endpoint{
		Addresses:  []string{address(n, moves)},
		Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
		Hostname:   &node.ID,
		Zone:       &node.Zone,
	}
}
