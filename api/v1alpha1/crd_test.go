package v1alpha1_test

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// minimal is the least that an object of each kind must say.
var minimal = map[string]string{
	"NodeRegistry": `
apiVersion: rollcall.dev/v1alpha1
kind: NodeRegistry
metadata: {name: catga}
spec:
  connection: {servers: ["nats://nats:4222"]}
`,
	"DiscoveredNode": `
apiVersion: rollcall.dev/v1alpha1
kind: DiscoveredNode
metadata: {name: catga.web-1}
spec: {registryName: catga, key: node.web-1, nodeID: web-1}
`,
	"PodRegistration": `
apiVersion: rollcall.dev/v1alpha1
kind: PodRegistration
metadata: {name: web}
spec: {registryName: catga, selector: {}}
`,
}

// rule is one thing that the API refuses: a field, a value that is refused with a message, and one close to it that is
// accepted. Values are YAML.
type rule struct {
	name     string
	field    string
	refused  string
	message  string
	accepted string
}

func TestNodeRegistryRules(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	run(t, "NodeRegistry", []rule{
		{"name with a dot", "metadata.name", "catga.eu", "metadata: Invalid value: the name must be at most 63 characters without '.'", "catga-eu"},
		{"long name", "metadata.name", long(64), "the name must be at most 63 characters", long(63)},

		{"no servers", "spec.connection.servers", `[]`, "spec.connection.servers in body should have at least 1 items", `["nats://a"]`},
		{"no server list", "spec.connection", `{}`, "spec.connection.servers: Required value", `{servers: ["nats://a"]}`},
		{"too many servers", "spec.connection.servers", servers(33), "must have at most 32 items", servers(32)},
		{"the same server twice", "spec.connection.servers", `["nats://a", "nats://a"]`, "Duplicate value", `["nats://a", "nats://b"]`},
		{"scheme http", "spec.connection.servers", `["http://a:4222"]`, `spec.connection.servers[0]: Invalid value: "http://a:4222": must be a URL with the scheme nats, tls, ws or wss`, `["nats://a:4222", "tls://a:4222"]`},
		{"no scheme", "spec.connection.servers", `["nats.example.com:4222"]`, "must be a URL with the scheme nats, tls, ws or wss", `["nats://[fd00::1]:4222"]`},
		{"no host", "spec.connection.servers", `["nats://:4222"]`, "must be a URL with the scheme nats", `["nats://10.0.0.5"]`},
		{"user in URL", "spec.connection.servers", `["nats://user:secret@a:4222"]`, "put them into a Secret and name it in spec.connection.auth", `["nats://a:4222"]`},
		{"token in URL", "spec.connection.servers", `["nats://secret@a:4222"]`, "put them into a Secret", `["nats://a:4222"]`},
		{"two servers in one", "spec.connection.servers", `["nats://a:4222,nats://b:4222"]`, "must be one server: give each an item of its own", `["nats://a:4222", "nats://b:4222"]`},
		{"two hosts in one", "spec.connection.servers", `["nats://a,b"]`, "must be one server", `["nats://a.b"]`},
		{"path", "spec.connection.servers", `["ws://a:80/admin"]`, "without a path, query or fragment", `["ws://a:80"]`},
		{"empty path", "spec.connection.servers", `["nats://a:4222/"]`, "without a path, query or fragment", `["nats://a:4222"]`},
		{"query", "spec.connection.servers", `["ws://a:80?x=y"]`, "without a path, query or fragment", `["ws://[::1]:80"]`},
		{"empty query", "spec.connection.servers", `["ws://a:80?"]`, "without a path, query or fragment", `["ws://a"]`},
		{"fragment", "spec.connection.servers", `["nats://a#b"]`, "without a path, query or fragment", `["tls://a"]`},
		{"port 0", "spec.connection.servers", `["nats://a:0"]`, "must be a scheme, a host and a port", `["nats://a:1"]`},
		{"port beyond the last", "spec.connection.servers", `["nats://a:65536"]`, "must be a scheme, a host and a port", `["nats://a:65535"]`},
		{"two ports", "spec.connection.servers", `["nats://a:1:2"]`, "must be a scheme, a host and a port", `["nats://[fd00::1]:2"]`},
		{"host that is no name", "spec.connection.servers", `["nats://*.a'b:1"]`, "must be a scheme, a host and a port", `["nats://a_b.c-d:1"]`},
		{"host in Unicode", "spec.connection.servers", `["nats://münchen.example:1"]`, "must be a scheme, a host and a port", `["nats://xn--mnchen-3ya.example:1"]`},
		{"WebSockets and others", "spec.connection.servers", `["nats://a:1", "WSS://b:1"]`, "must all be WebSockets, with ws or wss, or none", `["WS://a:1", "wss://b:1"]`},
		{"user without a password", "spec.connection.servers", `["nats://a,b@c:4222"]`, "must not hold a user or password", `["nats://c:4222"]`},
		{"API prefix with a wildcard", "spec.connection.apiPrefix", `fleet.>`, "must be a subject without wildcards that does not end with '.', such as fleet.API", `fleet.API`},
		{"API prefix that ends with a dot", "spec.connection.apiPrefix", `fleet.API.`, "must be a subject without wildcards that does not end with '.'", `$JS.hub.API`},
		{"API prefix and domain", "spec.connection", `{servers: ["nats://a"], apiPrefix: fleet.API, jetStreamDomain: hub}`, "spec.connection.apiPrefix: Invalid value: can't be given together with jetStreamDomain", `{servers: ["nats://a"], apiPrefix: fleet.API}`},
		{"unknown use of discovered servers", "spec.connection.discoveredServers", `Never`, `supported values: "Use", "Ignore"`, `Ignore`},
		{"unknown answer to a loss", "spec.connection.onSecretLoss", `Delete`, `supported values: "Keep", "Close"`, `Close`},

		{"domain with a dot", "spec.connection.jetStreamDomain", `hub.eu`, "must be the name of a JetStream domain", `hub-eu`},
		{"domain with a wildcard", "spec.connection.jetStreamDomain", `"*"`, "must be the name of a JetStream domain", `hub`},
		{"inbox with a wildcard", "spec.connection.inboxPrefix", `_INBOX.>`, "must be a subject without wildcards", `_INBOX.rollcall`},
		{"inbox that ends with a dot", "spec.connection.inboxPrefix", `_INBOX.`, "must be a subject without wildcards that does not end with '.'", `_INBOX`},

		{"two auth methods", "spec.connection.auth", `{token: {name: a, key: b}, userPassword: {name: a}}`, "at most one of credentials, nkey, token and userPassword can be given", `{userPassword: {name: a}}`},
		{"credentials and nkey", "spec.connection.auth", `{credentials: {name: a, key: b}, nkey: {name: a, key: b}}`, "at most one of", `{nkey: {name: a, key: b}}`},
		{"no key of the Secret", "spec.connection.auth.token", `{name: a}`, "spec.connection.auth.token.key: Required value", `{name: a, key: b}`},
		{"bad Secret name", "spec.connection.auth.userPassword.name", `Not_A_Name`, "must be the name of a Secret in this namespace", `a-name`},
		{"bad key", "spec.connection.auth.credentials", `{name: a, key: "a/b"}`, "must be a key of the Secret's data", `{name: a, key: a.b}`},
		{"CA of another kind", "spec.connection.tls.ca", `{kind: Pod, name: a}`, `supported values: "Secret", "ConfigMap"`, `{kind: ConfigMap, name: a}`},

		{"bucket with a dot", "spec.bucket.name", `a.b`, `spec.bucket.name: Invalid value: "a.b": must be the name of a bucket`, `a-b_C1`},
		{"no bucket", "spec.bucket.name", `""`, "must be the name of a bucket", `a`},
		{"long bucket", "spec.bucket.name", long(253), "may not be more than 252 bytes", long(252)},
		{"prefix that begins with a dot", "spec.bucket.keyPrefix", `.node`, "neither beginning with '.' nor with two of them in a row", `node`},
		{"prefix with two dots", "spec.bucket.keyPrefix", `a..b`, "neither beginning with '.' nor with two of them in a row", `a.b.`},
		{"prefix with a wildcard", "spec.bucket.keyPrefix", `node.*`, "must be the beginning of a key", `""`},
		{"unknown creation policy", "spec.bucket.creationPolicy", `Always`, `supported values: "IfMissing", "Never"`, `Never`},
		{"unknown storage", "spec.bucket.storage", `Disk`, `supported values: "File", "Memory"`, `Memory`},
		{"TTL under 2s", "spec.bucket.ttl", `1999ms`, `spec.bucket.ttl: Invalid value: "1999ms": must be a duration of at least 2s`, `2s`},
		{"negative TTL", "spec.bucket.ttl", `-5m`, "must be a duration of at least 2s", `1h5m`},
		{"TTL that is no duration", "spec.bucket.ttl", `5 minutes`, "must be a duration of at least 2s", `5m0s`},
		{"TTL without a unit", "spec.bucket.ttl", `"300"`, "must be a duration of at least 2s", `300s`},
		{"long TTL", "spec.bucket.ttl", `87601h`, "at most 87600h", `87600h`},
		{"markerTTL under 1s", "spec.bucket.markerTTL", `999ms`, `spec.bucket.markerTTL: Invalid value: "999ms": must be a duration of at least 1s`, `1s`},
		{"no history", "spec.bucket.history", `0`, "should be greater than or equal to 1", `1`},
		{"long history", "spec.bucket.history", `65`, "should be less than or equal to 64", `64`},
		{"no replicas", "spec.bucket.replicas", `0`, "should be greater than or equal to 1", `1`},
		{"many replicas", "spec.bucket.replicas", `6`, "should be less than or equal to 5", `5`},

		{"unknown format", "spec.record.format", `Consul`, `supported values: "Rollcall", "GoMicro"`, `Rollcall`},
		{"GoMicro with the prefix of Rollcall", "spec", `{connection: {servers: ["nats://a"]}, record: {format: GoMicro}}`, "spec.bucket.keyPrefix: Invalid value: keys of the format GoMicro have no prefix node.: set keyPrefix to an empty string", `{connection: {servers: ["nats://a"]}, record: {format: GoMicro}, bucket: {keyPrefix: ""}}`},
		{"empty expression", "spec.record.nodeID", `""`, "should be at least 1 chars long", `value.id`},
		{"long expression", "spec.record.metadata", long(4097), "may not be more than 4096 bytes", long(4096)},

		{"staleAfter that equals the TTL", "spec", `{connection: {servers: ["nats://a"]}, bucket: {ttl: 10s}, liveness: {staleAfter: 10s}}`, "spec.liveness.staleAfter: Invalid value: must be less than spec.bucket.ttl", `{connection: {servers: ["nats://a"]}, bucket: {ttl: 10s}, liveness: {staleAfter: 9999ms}}`},
		{"TTL that staleAfter exceeds", "spec", `{connection: {servers: ["nats://a"]}, bucket: {ttl: 10s}, liveness: {staleAfter: 11s}}`, "must be less than spec.bucket.ttl", `{connection: {servers: ["nats://a"]}, liveness: {staleAfter: 11h}}`},
		{"staleAfter under 1s", "spec.liveness.staleAfter", `999ms`, `spec.liveness.staleAfter: Invalid value: "999ms": must be a duration of at least 1s`, `1s`},
		{"staleAfter of nothing", "spec.liveness.staleAfter", `1ns`, "must be a duration of at least 1s", `1000000000ns`},
		{"long staleAfter", "spec.liveness.staleAfter", `87600h1ns`, "at most 87600h", `87600h`},
		{"retainExpired under 1s", "spec.liveness.retainExpired", `999ms`, "must be a duration of at least 1s", `1s`},
		{"long retainExpired", "spec.liveness.retainExpired", `87601h`, "at most 87600h", `87600h`},
		{"bad reconnectGrace", "spec.liveness.reconnectGrace", `soon`, "must be a duration of at least 1s", `1.5s`},
		{"reconnectGrace under 1s", "spec.liveness.reconnectGrace", `999ms`, "must be a duration of at least 1s", `1s`},
		{"reconnectGrace beyond all time", "spec.liveness.reconnectGrace", `9999999999h`, "at most 87600h", `87600h`},
		{"negative percent", "spec.liveness.maxSilentPercent", `-1`, "should be greater than or equal to 0", `0`},
		{"percent over 100", "spec.liveness.maxSilentPercent", `101`, "should be less than or equal to 100", `100`},
		{"no minNodes", "spec.liveness.minNodes", `0`, "should be greater than or equal to 1", `1`},

		{"address that is no CIDR", "spec.addressPolicy.allowedCIDRs", `["10.0.0.1"]`, `spec.addressPolicy.allowedCIDRs[0]: Invalid value: "10.0.0.1": must be a CIDR`, `["10.0.0.0/8", "fd00::/8"]`},
		{"bad CIDR", "spec.addressPolicy.deniedCIDRs", `["10.0.0.0/33"]`, "must be a CIDR", `["10.0.0.0/32"]`},

		{"bad label key", "spec.labels", `{"a b": c}`, "every key must be a label key", `{a-b: c}`},
		{"two slashes in a label key", "spec.labels", `{a/b/c: d}`, "every key must be a label key", `{example.com/b: d}`},
		{"label key of Rollcall's", "spec.labels", `{rollcall.dev/registry: a}`, "belong to Rollcall", `{rollcall.developers/registry: a}`},
		{"label key below Rollcall's", "spec.labels", `{x.rollcall.dev/registry: a}`, "belong to Rollcall", `{notrollcall.dev/registry: a}`},
		{"label without a metadata key", "spec.labels", `{a: ""}`, "every value must be a key of the record's metadata", `{a: "any key"}`},

		{"no statusInterval", "spec.statusInterval", `0s`, `spec.statusInterval: Invalid value: "0s": must be a duration of at least 1s`, `1s`},
		{"statusInterval under 1s", "spec.statusInterval", `999ms`, "must be a duration of at least 1s", `1s`},
		{"statusInterval of nothing", "spec.statusInterval", `1ns`, "must be a duration of at least 1s", `1m`},
		{"long statusInterval", "spec.statusInterval", `87601h`, "at most 87600h", `87600h`},
		{"an unknown view", "spec.view", `"Some"`, "supported values: \"All\", \"Problems\"", `"Problems"`},
		{"no nodes", "spec.maxNodes", `0`, "should be greater than or equal to 1", `1`},
		{"too many nodes", "spec.maxNodes", `100001`, "should be less than or equal to 100000", `100000`},
		{"unknown field", "spec.adress", `a`, `unknown field "spec.adress"`, ""},
	})
}

func TestDiscoveredNodeRules(t *testing.T) {
	run(t, "DiscoveredNode", []rule{
		{"no registry", "spec.registryName", `""`, "spec.registryName in body should be at least 1 chars long", `a`},
		{"no key", "spec.key", `""`, "spec.key in body should be at least 1 chars long", `a`},
		{"long key", "spec.key", strings.Repeat("k", 4097), "may not be more than 4096 bytes", strings.Repeat("k", 4096)},
		{"no node ID", "spec.nodeID", `""`, "spec.nodeID in body should be at least 1 chars long", `a`},
		{"port 0", "spec.ports", `[{port: 0}]`, "should be greater than or equal to 1", `[{port: 1}]`},
		{"port 65536", "spec.ports", `[{port: 65536}]`, "should be less than or equal to 65535", `[{port: 65535, name: http}]`},
		{"unknown protocol", "spec.ports", `[{port: 1, protocol: tcp}]`, `supported values: "TCP", "UDP", "SCTP"`, `[{port: 1, protocol: SCTP}]`},
		{"empty address", "spec.addresses", `[""]`, "should be at least 1 chars long", `["10.0.0.5", "10.0.0.5"]`},
		{"metadata that is no text", "spec.metadata", `{a: 1}`, "must be of type string", `{a: "1", "any key": ""}`},
		{"unknown phase", "status", `{phase: Gone}`, `supported values: "Ready", "Stale", "Draining", "Expired", "Invalid"`, `{phase: Ready}`},
	})
}

func TestPodRegistrationRules(t *testing.T) {
	run(t, "PodRegistration", []rule{
		{"no registry", "spec.registryName", `""`, "should be at least 1 chars long", `a`},
		{"no selector", "spec", `{registryName: a}`, "spec.selector: Required value", `{registryName: a, selector: {matchLabels: {app: web}}}`},
		{"empty node ID", "spec.nodeID", `""`, "should be at least 1 chars long", `pod.metadata.name`},
		{"bad port name", "spec.ports", `[HTTP]`, `spec.ports[0]: Invalid value: "HTTP": must be the name of a container port`, `[http, grpc-1]`},
		{"the same port twice", "spec.ports", `[http, http]`, "Duplicate value", `[http]`},
		{"empty metadata expression", "spec.metadata", `{role: ""}`, "every value must be a CEL expression", `{role: "'web'"}`},
		{"fast heartbeat", "spec.heartbeatInterval", `999ms`, `spec.heartbeatInterval: Invalid value: "999ms": must be a duration of at least 1s`, `1s`},
		{"heartbeat that is no duration", "spec.heartbeatInterval", `often`, "must be a duration of at least 1s", `1m30s`},
	})
}

// run checks every rule by creating, without storing them, an object with the refused and one with the accepted value.
func run(t *testing.T, kind string, rules []rule) {
	t.Helper()
	c := client.NewDryRunClient(strictClient(t))
	namespace := env.Namespace(t)
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			err := c.Create(t.Context(), with(t, kind, namespace, rule.field, rule.refused))
			switch {
			case err == nil:
				t.Errorf("%s: %s is accepted, want it refused", rule.field, rule.refused)
			case !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err):
				t.Errorf("%s: %s meets the error %v, want it refused as invalid", rule.field, rule.refused, err)
			case !strings.Contains(err.Error(), rule.message):
				t.Errorf("%s: %s is refused with\n%v\nwant a message with\n%s", rule.field, rule.refused, err, rule.message)
			}
			if rule.accepted == "" {
				return
			}
			if err := c.Create(t.Context(), with(t, kind, namespace, rule.field, rule.accepted)); err != nil {
				t.Errorf("%s: %s is refused: %v", rule.field, rule.accepted, err)
			}
		})
	}
}

// with returns the minimal object of a kind in a namespace, with one field set to a value in YAML.
func with(t *testing.T, kind, namespace, field, value string) *unstructured.Unstructured {
	t.Helper()
	object := parse(t, minimal[kind])
	object.SetNamespace(namespace)
	var parsed any
	if err := yaml.Unmarshal([]byte(value), &parsed); err != nil {
		t.Fatalf("parse %s: %v", value, err)
	}
	if err := unstructured.SetNestedField(object.Object, integers(parsed), strings.Split(field, ".")...); err != nil {
		t.Fatalf("set %s: %v", field, err)
	}
	return object
}

// parse reads an object from YAML.
func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	var object unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatalf("parse %s: %v", text, err)
	}
	return &object
}

// integers turns the numbers of a parsed YAML document, all of which are whole, into those of an unstructured object.
func integers(value any) any {
	switch value := value.(type) {
	case float64:
		return int64(value)
	case []any:
		for i := range value {
			value[i] = integers(value[i])
		}
	case map[string]any:
		for key := range value {
			value[key] = integers(value[key])
		}
	}
	return value
}

// servers returns a list of n servers in YAML.
func servers(n int) string {
	urls := make([]string, n)
	for i := range urls {
		urls[i] = "nats://a" + strings.Repeat("a", i)
	}
	return "[" + strings.Join(urls, ", ") + "]"
}
