package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
)

const (
	namespace = "fleet"
	// ttl is far shorter than anybody's outside of a demo, so that nobody has to wait for a death.
	ttl       = 6 * time.Second
	heartbeat = time.Second
	// patience is how long anything but a death may take.
	patience = 30 * time.Second
)

// manifests are what a user writes.
const manifests = `apiVersion: v1
kind: Namespace
metadata:
  name: fleet
---
apiVersion: rollcall.dev/v1alpha1
kind: NodeRegistry
metadata:
  name: catga
  namespace: fleet
spec:
  connection:
    servers: ["%s"]
  bucket:
    ttl: %s
  liveness:
    retainExpired: 4s
  labels:
    role: role
---
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: fleet
  annotations:
    rollcall.dev/node-selector: rollcall.dev/registry=catga,role=web
spec:
  ports:
  - {name: http, port: 80, targetPort: http}
`

// demo is what the demonstration works with.
type demo struct {
	kubeconfig, kubectl, nats string
	api                       client.Client
	fleet                     fleet
}

func (d *demo) connect(config *rest.Config) error {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	if err := rollcallv1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	var err error
	d.api, err = client.New(config, client.Options{Scheme: scheme})
	return err
}

func (d *demo) show(ctx context.Context) error {
	for _, act := range []func(context.Context) error{d.register, d.unregister, d.die} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// register shows a fleet that comes up.
func (d *demo) register(ctx context.Context) error {
	say("writing a NodeRegistry and a Service:")
	manifest := fmt.Sprintf(manifests, d.nats, ttl)
	fmt.Println(manifest)
	if err := d.run(ctx, manifest, "apply", "-f", "-"); err != nil {
		return err
	}
	say("starting four machines that register and heartbeat every %s", heartbeat)
	for i := 1; i <= 4; i++ {
		load := float64(i) / 10
		node := discovery.Node{
			ID: fmt.Sprintf("web-%d", i), Endpoint: fmt.Sprintf("http://10.1.0.%d:8080", i), Zone: "eu-1" + string("ab"[i%2]),
			Metadata: map[string]string{"role": "web"}, Load: &load,
		}
		if err := d.fleet.start(ctx, d.nats, node); err != nil {
			return err
		}
	}
	all := []string{"10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4"}
	if _, err := d.await(ctx, patience, "four Ready nodes, and as many endpoints", func(s state) bool {
		return len(s.phases) == 4 && s.all(rollcallv1alpha1.NodeReady) && slices.Equal(s.endpoints, all) && s.counted == 4
	}); err != nil {
		return err
	}
	return d.print(ctx, "noderegistries", "discoverednodes", "endpointslices")
}

// unregister shows a machine that is shut down in good order.
func (d *demo) unregister(ctx context.Context) error {
	say("web-1 unregisters: it is gone at once")
	if err := d.fleet.shutDown("web-1"); err != nil {
		return err
	}
	took, err := d.await(ctx, patience, "web-1 out of the slices, and its DiscoveredNode gone", func(s state) bool {
		return s.phases["catga.web-1"] == "" && !slices.Contains(s.endpoints, "10.1.0.1")
	})
	if err != nil {
		return err
	}
	fmt.Printf("gone from both after %s\n", took.Round(time.Millisecond))
	return d.print(ctx, "discoverednodes", "endpointslices")
}

// die shows a machine that dies.
func (d *demo) die(ctx context.Context) error {
	say("web-2 dies without a word: it is out of the slices within its TTL (%s) + 1 s", ttl)
	d.fleet.pullThePlug("web-2")
	took, err := d.await(ctx, ttl+time.Second, "web-2 Expired and out of the slices", func(s state) bool {
		return s.phases["catga.web-2"] == rollcallv1alpha1.NodeExpired && !slices.Contains(s.endpoints, "10.1.0.2")
	})
	if err != nil {
		return err
	}
	fmt.Printf("out of the slices, and shown as Expired, after %s\n", took.Round(time.Millisecond))
	if err := d.print(ctx, "discoverednodes", "endpointslices"); err != nil {
		return err
	}
	if _, err := d.await(ctx, patience, "web-2 to be forgotten", func(s state) bool {
		return len(s.phases) == 2 && s.all(rollcallv1alpha1.NodeReady) && s.counted == 2
	}); err != nil {
		return err
	}
	fmt.Println("and after retainExpired its DiscoveredNode is gone")
	return d.print(ctx, "noderegistries", "discoverednodes")
}

// state is what the API server shows.
type state struct {
	phases    map[string]rollcallv1alpha1.NodePhase
	endpoints []string // addresses that are ready, sorted
	counted   int32    // nodes that the NodeRegistry says it has
}

func (s *state) all(phase rollcallv1alpha1.NodePhase) bool {
	for _, p := range s.phases {
		if p != phase {
			return false
		}
	}
	return true
}

func (d *demo) state(ctx context.Context) (s state, err error) {
	registry := &rollcallv1alpha1.NodeRegistry{}
	if err := d.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "catga"}, registry); err != nil {
		return s, err
	}
	if counts := registry.Status.Nodes; counts != nil {
		s.counted = counts.Total
	}
	nodes, endpoints := &rollcallv1alpha1.DiscoveredNodeList{}, &discoveryv1.EndpointSliceList{}
	if err := d.api.List(ctx, nodes, client.InNamespace(namespace)); err != nil {
		return s, err
	}
	if err := d.api.List(ctx, endpoints, client.InNamespace(namespace), client.MatchingLabels{discoveryv1.LabelServiceName: "web"}); err != nil {
		return s, err
	}
	s.phases = map[string]rollcallv1alpha1.NodePhase{}
	for _, n := range nodes.Items {
		s.phases[n.Name] = n.Status.Phase
	}
	for _, slice := range endpoints.Items {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				s.endpoints = append(s.endpoints, e.Addresses...)
			}
		}
	}
	slices.Sort(s.endpoints)
	return s, nil
}

// await waits until the API server shows what is wanted, and returns how long that took.
func (d *demo) await(ctx context.Context, within time.Duration, what string, shown func(state) bool) (time.Duration, error) {
	began := time.Now()
	var last state
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, within, true, func(ctx context.Context) (bool, error) {
		var err error
		last, err = d.state(ctx)
		return err == nil && shown(last), err
	})
	if err != nil && ctx.Err() == nil {
		return 0, fmt.Errorf("waited %s for %s; the API server shows the nodes %v and the endpoints %v: %w", within, what, last.phases, last.endpoints, err)
	}
	return time.Since(began), err
}

// print shows what kubectl gets.
func (d *demo) print(ctx context.Context, kinds ...string) error {
	for _, kind := range kinds {
		args := []string{"get", kind, "-n", namespace}
		fmt.Printf("\n$ kubectl %s\n", strings.Join(args, " "))
		if err := d.run(ctx, "", args...); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) run(ctx context.Context, stdin string, args ...string) error {
	command := exec.CommandContext(ctx, d.kubectl, append([]string{"--kubeconfig", d.kubeconfig}, args...)...) //nolint:gosec // The control plane's own kubectl.
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
