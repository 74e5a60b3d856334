package v1alpha1_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func TestNodeRegistryDefaults(t *testing.T) {
	want := rollcallv1alpha1.NodeRegistrySpec{
		Connection: rollcallv1alpha1.Connection{
			Servers:           []string{"nats://nats:4222"},
			DiscoveredServers: rollcallv1alpha1.DiscoveredUse,
			OnSecretLoss:      rollcallv1alpha1.SecretLossKeep,
		},
		Bucket: rollcallv1alpha1.Bucket{
			Name:           "catga_nodes",
			KeyPrefix:      new("node."),
			CreationPolicy: rollcallv1alpha1.CreateIfMissing,
		},
		Record: rollcallv1alpha1.Record{Format: rollcallv1alpha1.FormatRollcall},
		Liveness: rollcallv1alpha1.Liveness{
			RetainExpired:    &metav1.Duration{Duration: 5 * time.Minute},
			MaxSilentPercent: new(int32(50)),
			MinNodes:         new(int32(10)),
		},
		StatusInterval: &metav1.Duration{Duration: 5 * time.Minute},
		View:           rollcallv1alpha1.ViewAll,
		MaxNodes:       new(int32(10000)),
	}
	for name, bucket := range map[string]rollcallv1alpha1.Bucket{
		"no bucket":      {},
		"part of bucket": {CreationPolicy: rollcallv1alpha1.CreateIfMissing},
	} {
		t.Run(name, func(t *testing.T) {
			var got rollcallv1alpha1.NodeRegistry
			decode(t, minimal["NodeRegistry"], &got)
			got.Spec.Bucket = bucket
			create(t, &got)
			if diff := cmp.Diff(want, got.Spec); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEmptyKeyPrefixIsKept(t *testing.T) {
	var registry rollcallv1alpha1.NodeRegistry
	decode(t, minimal["NodeRegistry"], &registry)
	registry.Spec.Bucket.KeyPrefix = new("")
	create(t, &registry)
	if got := registry.Spec.Bucket.KeyPrefix; got == nil || *got != "" {
		t.Errorf("keyPrefix is %v, want it empty", got)
	}
}

func TestPodRegistrationDefaults(t *testing.T) {
	var got rollcallv1alpha1.PodRegistration
	decode(t, minimal["PodRegistration"], &got)
	create(t, &got)
	want := rollcallv1alpha1.PodRegistrationSpec{
		RegistryName:      "catga",
		NodeID:            "pod.metadata.namespace + '.' + pod.metadata.name",
		HeartbeatInterval: &metav1.Duration{Duration: 10 * time.Second},
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}

func TestDiscoveredNodeDefaults(t *testing.T) {
	var got rollcallv1alpha1.DiscoveredNode
	decode(t, minimal["DiscoveredNode"], &got)
	got.Spec.Ports = []rollcallv1alpha1.NodePort{{Port: 8080}}
	create(t, &got)
	if protocol := got.Spec.Ports[0].Protocol; protocol != "TCP" {
		t.Errorf("the protocol of a port is %q, want TCP", protocol)
	}
}

// full has every field that the API has, as it is documented.
var full = map[string]string{
	"NodeRegistry": `
apiVersion: rollcall.dev/v1alpha1
kind: NodeRegistry
metadata: {name: catga}
spec:
  connection:
    servers: ["nats://nats.nats:4222"]
    jetStreamDomain: hub
    discoveredServers: Ignore
    onSecretLoss: Close
    inboxPrefix: _INBOX_rollcall
    auth:
      credentials: {name: nats-creds, key: user.creds}
    tls:
      ca: {kind: Secret, name: nats-ca, key: ca.crt}
      clientCertificate: {name: nats-client}
      serverName: nats.example.com
      handshakeFirst: true
  bucket:
    name: catga_nodes
    keyPrefix: "node."
    creationPolicy: IfMissing
    ttl: 5m
    history: 5
    storage: File
    replicas: 1
    markerTTL: 5m
  record:
    format: Rollcall
    nodeID: "value.id"
    addresses: "[value.net.ip]"
    ports: "[{'name': 'http', 'port': value.net.port}]"
    zone: "value.rack"
    metadata: "value.tags"
  liveness:
    staleAfter: 30s
    retainExpired: 5m
    reconnectGrace: 5m
    maxSilentPercent: 50
    minNodes: 10
  addressPolicy:
    allowedCIDRs: ["10.0.0.0/8"]
    deniedCIDRs: []
  labels: {role: role}
  includeLocalPods: false
  statusInterval: 5m
  view: Problems
  maxNodes: 10000
  suspend: false
status:
  conditions:
    - {type: Ready, status: "True", reason: Ready, message: "", lastTransitionTime: "2026-11-22T20:00:00Z", observedGeneration: 1}
  nodes: {total: 3, ready: 3, stale: 0, draining: 0, expired: 0, invalid: 0, refused: 1, superseded: 1, neverAccepted: 1, problems: 4, notShown: 2}
  bucket: {revision: 812, storage: File, ttl: 5m, history: 5, markers: true, serverVersion: 2.15.2}
  lastSyncTime: "2026-11-22T20:00:00Z"
  held: {since: "2026-11-22T20:00:00Z", reason: Guard, silent: 2, of: 3}
  observedGeneration: 1
`,
	"DiscoveredNode": `
apiVersion: rollcall.dev/v1alpha1
kind: DiscoveredNode
metadata:
  name: catga.web-1
  labels: {rollcall.dev/registry: catga, rollcall.dev/origin: external, role: web}
spec:
  registryName: catga
  key: node.web-1
  nodeID: web-1
  displayName: web 1
  addresses: ["10.0.0.5"]
  ports: [{name: http, port: 8080, protocol: TCP}]
  zone: eu-1a
  metadata: {role: web}
  cordoned: true
status:
  phase: Ready
  load: "0.42"
  lastHeartbeatTime: "2026-11-22T20:00:00Z"
  revision: 812
  conditions:
    - {type: Ready, status: "True", reason: Heartbeating, message: "", lastTransitionTime: "2026-11-22T20:00:00Z"}
`,
	"PodRegistration": `
apiVersion: rollcall.dev/v1alpha1
kind: PodRegistration
metadata: {name: web}
spec:
  registryName: catga
  selector: {matchLabels: {app: web}}
  nodeID: "pod.metadata.namespace + '.' + pod.metadata.name"
  ports: [http]
  metadata: {role: "pod.metadata.labels['app']"}
  heartbeatInterval: 10s
status:
  matched: 3
  registered: 3
  conflicts: 0
  observedGeneration: 1
  conditions:
    - {type: Ready, status: "True", reason: Registered, message: "", lastTransitionTime: "2026-11-22T20:00:00Z"}
`,
}

// TestEveryFieldIsKept writes an object with every field, spec and status, and reads back the same fields with the same
// values.
func TestEveryFieldIsKept(t *testing.T) {
	for kind, text := range full {
		t.Run(kind, func(t *testing.T) {
			want, got := parse(t, text), parse(t, text)
			create(t, got)
			if kind != "DiscoveredNode" {
				got.Object["status"] = runtime.DeepCopyJSON(want.Object)["status"]
				if err := strictClient(t).Status().Update(t.Context(), got); err != nil {
					t.Fatalf("update the status: %v", err)
				}
			}
			for _, part := range []string{"spec", "status"} {
				if diff := cmp.Diff(want.Object[part], got.Object[part]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", part, diff)
				}
			}
		})
	}
}

// TestTypesMatchTheSchema reads the objects that have every field into the Go types, which must know every field too.
func TestTypesMatchTheSchema(t *testing.T) {
	for kind, object := range map[string]client.Object{
		"NodeRegistry":    &rollcallv1alpha1.NodeRegistry{},
		"DiscoveredNode":  &rollcallv1alpha1.DiscoveredNode{},
		"PodRegistration": &rollcallv1alpha1.PodRegistration{},
	} {
		t.Run(kind, func(t *testing.T) {
			decode(t, full[kind], object)
		})
	}
}

func TestBucketNameIsImmutable(t *testing.T) {
	c := strictClient(t)
	var registry rollcallv1alpha1.NodeRegistry
	decode(t, minimal["NodeRegistry"], &registry)
	create(t, &registry)

	registry.Spec.Bucket.KeyPrefix = new("other.")
	registry.Spec.Bucket.TTL = &metav1.Duration{Duration: time.Minute}
	if err := c.Update(t.Context(), &registry); err != nil {
		t.Errorf("another prefix and TTL are refused: %v", err)
	}
	registry.Spec.Bucket.Name = "other"
	err := c.Update(t.Context(), &registry)
	if err == nil || !strings.Contains(err.Error(), "can't be changed: create another NodeRegistry for another bucket") {
		t.Errorf("another bucket meets %v, want it refused with the cure", err)
	}
}

// create stores an object in a namespace of its own.
func create(t *testing.T, object client.Object) {
	t.Helper()
	object.SetNamespace(env.Namespace(t))
	if err := strictClient(t).Create(t.Context(), object); err != nil {
		t.Fatalf("create: %v", err)
	}
}

// decode reads an object from YAML into its Go type, which must have every field of it.
func decode(t *testing.T, text string, object client.Object) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(parse(t, text).Object, object, true); err != nil {
		t.Fatalf("decode: %v", err)
	}
}
