package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// memory is a client of an API server that takes everything and answers at once.
type memory struct {
	client.Client
	registry *rollcallv1alpha1.NodeRegistry
	// services has a copy of service by default. Nobody writes to it.
	service  *corev1.Service
	services map[types.NamespacedName]*corev1.Service

	mu      sync.Mutex
	nodes   map[string]*rollcallv1alpha1.DiscoveredNode
	version int
	// moved has how many endpoints of each slice there are by the number of moves of their nodes.
	moved map[string]map[string]int
}

func newMemory() *memory {
	m := &memory{
		registry: &rollcallv1alpha1.NodeRegistry{ObjectMeta: metav1.ObjectMeta{Namespace: simulatedRegistry.Namespace, Name: simulatedRegistry.Name, UID: "registry"}},
		service: &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: simulatedService.Namespace, Name: simulatedService.Name, UID: "service", ResourceVersion: "1",
				Annotations: map[string]string{rollcallv1alpha1.AnnotationNodeSelector: rollcallv1alpha1.LabelRegistry + "=" + registryName + ",role=web"},
			},
			Spec: corev1.ServiceSpec{
				ClusterIP: "10.96.0.1", IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
				Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromString("http")}},
			},
		},
		nodes: map[string]*rollcallv1alpha1.DiscoveredNode{}, moved: map[string]map[string]int{},
	}
	m.services = map[types.NamespacedName]*corev1.Service{simulatedService: m.service}
	return m
}

// Get implements client.Client.
func (m *memory) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	switch into := into.(type) {
	case *corev1.Service:
		m.services[key].DeepCopyInto(into)
	case *rollcallv1alpha1.NodeRegistry:
		m.registry.DeepCopyInto(into)
	case *rollcallv1alpha1.DiscoveredNode:
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.nodes[key.Name] == nil {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "discoverednodes"}, key.Name)
		}
		m.nodes[key.Name].DeepCopyInto(into)
	default:
		return fmt.Errorf("get of a %T", into)
	}
	return nil
}

// List implements client.Client. Nobody else writes slices, and there is nothing to say of the registry.
func (*memory) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// Create implements client.Client.
func (m *memory) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	o.SetUID(types.UID(o.GetName()))
	return m.store(o)
}

// Update implements client.Client.
func (m *memory) Update(_ context.Context, o client.Object, _ ...client.UpdateOption) error {
	return m.store(o)
}

// store takes an object as the real client, the API server's answer and its echo in the manager's cache do: it is encoded
// once and decoded twice.
func (m *memory) store(o client.Object) error {
	m.mu.Lock()
	m.version++
	o.SetResourceVersion(strconv.Itoa(m.version))
	m.mu.Unlock()
	switch o := o.(type) {
	case *discoveryv1.EndpointSlice:
		sent, err := o.Marshal()
		if err != nil {
			return err
		}
		m.count(o)
		o.Reset()
		return errors.Join(o.Unmarshal(sent), new(discoveryv1.EndpointSlice).Unmarshal(sent))
	case *rollcallv1alpha1.DiscoveredNode:
		sent, err := json.Marshal(o)
		if err != nil {
			return err
		}
		echo := &rollcallv1alpha1.DiscoveredNode{}
		if err := errors.Join(json.Unmarshal(sent, o), json.Unmarshal(sent, echo)); err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.nodes[o.Name] = echo
		return nil
	default:
		return fmt.Errorf("write of a %T", o)
	}
}

// count notes how often the nodes in a slice have moved.
func (m *memory) count(slice *discoveryv1.EndpointSlice) {
	moved := map[string]int{}
	for i := range slice.Endpoints {
		moved[strings.Split(slice.Endpoints[i].Addresses[0], ".")[1]]++
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moved[slice.Name] = moved
}

// shown returns how many endpoints there are of nodes that have moved so often.
func (m *memory) shown(moves int) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, moved := range m.moved {
		n += moved[strconv.Itoa(moves&0xff)]
	}
	return n
}

// Status implements client.Client.
func (*memory) Status() client.SubResourceWriter { return statuses{} }

// statuses takes every status.
type statuses struct{ client.SubResourceWriter }

// Patch implements client.SubResourceWriter.
func (statuses) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return nil
}
