package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
)

const (
	// registryName is the name of the NodeRegistry of a fleet, and serviceName that of the Service over all its nodes.
	registryName = "catga"
	serviceName  = "web"
	keyPrefix    = discovery.DefaultKeyPrefix
	// ttl is out of the way: nobody dies here.
	ttl = time.Hour
)

// fleet is a bucket full of nodes, and the namespace that they are mirrored to.
type fleet struct {
	js                          jetstream.JetStream
	namespace, bucket, registry string
	service                     string
	size                        int
	// moves counts how often each node has changed its address.
	moves []int
	// counting has each node count its heartbeats in its metadata, which are in beats.
	counting bool
	beats    int
}

// newFleet makes the bucket and lets so many nodes register.
func (g *rig) newFleet(ctx context.Context, namespace, registry, service string, size int) (*fleet, error) {
	f := &fleet{js: g.js, namespace: namespace, bucket: namespace + "-" + registry, registry: registry, service: service, size: size}
	f.moves = make([]int, size)
	if _, err := g.newBucket(ctx, f.bucket); err != nil {
		return nil, err
	}
	return f, f.beatAll(ctx)
}

// newBucket makes a bucket as existing fleets have it.
func (g *rig) newBucket(ctx context.Context, name string) (jetstream.KeyValue, error) {
	return g.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: name, TTL: ttl, History: discovery.DefaultHistory, LimitMarkerTTL: time.Minute, Storage: jetstream.FileStorage,
	})
}

// nodeID returns the ID of the nth node.
func nodeID(n int) string { return fmt.Sprintf("web-%05d", n) }

// address returns the address of the nth node after so many moves.
func address(n, moves int) string {
	return netip.AddrFrom4([4]byte{byte(10 + n>>16), byte(moves), byte(n >> 8), byte(n)}).String()
}

// racks is how many racks the nodes are in, the nth in rack n%racks.
const racks = 50

func rack(n int) string { return "r" + nodeID(n%racks) }

// recordOf returns the nth node as it registers itself after so many moves.
func recordOf(n, moves int) discovery.Node {
	load := float64(n%100) / 100
	return discovery.Node{
		ID: nodeID(n), Name: "web " + nodeID(n), Endpoint: "http://" + address(n, moves) + ":8080", Zone: "eu-1" + string("abc"[n%3]),
		Metadata: map[string]string{"role": "web", "version": "1.4.2", "rack": rack(n)}, Load: &load, LastSeen: time.Now(),
	}
}

// current returns the nth node as it is now, in JSON.
func (f *fleet) current(n int) ([]byte, error) {
	node := recordOf(n, f.moves[n])
	if f.counting {
		f.beats++
		node.Metadata["requests"] = strconv.Itoa(f.beats)
	}
	return discovery.Encode(node)
}

func subject(bucket, id string) string { return "$KV." + bucket + "." + keyPrefix + id }

// put writes the record of a node and waits for the acknowledgement.
func (f *fleet) put(ctx context.Context, n int) error {
	messages, err := f.messages(n)
	if err != nil {
		return err
	}
	_, err = f.js.PublishMsg(ctx, messages[0])
	return err
}

// move gives a node another address and writes its record.
func (f *fleet) move(ctx context.Context, n int) error {
	f.moves[n]++
	return f.put(ctx, n)
}

// messages returns the records of the nodes as they are put.
func (f *fleet) messages(nodes ...int) ([]*nats.Msg, error) {
	all := make([]*nats.Msg, 0, len(nodes))
	for _, n := range nodes {
		value, err := f.current(n)
		if err != nil {
			return nil, err
		}
		all = append(all, &nats.Msg{Subject: subject(f.bucket, nodeID(n)), Data: value})
	}
	return all, nil
}

// publish puts the records without waiting for each acknowledgement: it waits for all at the end.
func (f *fleet) publish(ctx context.Context, messages []*nats.Msg) error {
	acknowledged := make([]jetstream.PubAckFuture, 0, len(messages))
	for _, m := range messages {
		future, err := f.js.PublishMsgAsync(m, jetstream.WithStallWait(patience))
		if err != nil {
			return err
		}
		acknowledged = append(acknowledged, future)
	}
	var errs []error
	for _, future := range acknowledged {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			errs = append(errs, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.Join(errs...)
}

// beat lets the nodes heartbeat at once.
func (f *fleet) beat(ctx context.Context, nodes ...int) error {
	messages, err := f.messages(nodes...)
	if err != nil {
		return err
	}
	return f.publish(ctx, messages)
}

// beatAll lets every node heartbeat once.
func (f *fleet) beatAll(ctx context.Context) error { return f.beat(ctx, upTo(f.size)...) }

// upTo returns the numbers from 0 to n-1.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// serve makes the Service over all nodes of the fleet.
func (f *fleet) serve(ctx context.Context, g *rig) error {
	return f.serveSelected(ctx, g, f.service, "role=web")
}

// serveSelected makes a Service over the nodes of the fleet that have that label.
func (f *fleet) serveSelected(ctx context.Context, g *rig, service, selected string) error {
	return g.api.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: service, Annotations: map[string]string{
			rollcallv1alpha1.AnnotationNodeSelector: rollcallv1alpha1.LabelRegistry + "=" + f.registry + "," + selected,
		}},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}},
	})
}

// mirror makes the NodeRegistry: from here on the manager lists the bucket.
func (f *fleet) mirror(ctx context.Context, g *rig, change ...func(*rollcallv1alpha1.NodeRegistrySpec)) error {
	registry := &rollcallv1alpha1.NodeRegistry{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: f.registry},
		Spec: rollcallv1alpha1.NodeRegistrySpec{
			Connection: rollcallv1alpha1.Connection{Servers: []string{g.natsURL()}},
			Bucket:     rollcallv1alpha1.Bucket{Name: f.bucket, TTL: &metav1.Duration{Duration: ttl}},
			Labels:     map[string]string{"role": "role"},
		},
	}
	for _, f := range change {
		f(&registry.Spec)
	}
	return g.api.Create(ctx, registry)
}
