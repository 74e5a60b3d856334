package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodeRegistrySpec says where the bucket is, how it is read, and how nodes that fall silent are treated.
//
// +kubebuilder:validation:XValidation:rule="!has(self.liveness.staleAfter) || !has(self.bucket.ttl) || duration(self.liveness.staleAfter) < duration(self.bucket.ttl)",fieldPath=".liveness.staleAfter",message="must be less than spec.bucket.ttl: a node that is silent for the TTL has expired, so it would never be stale"
// +kubebuilder:validation:XValidation:rule="self.record.format != 'GoMicro' || self.bucket.keyPrefix != 'node.'",fieldPath=".bucket.keyPrefix",message="keys of the format GoMicro have no prefix node.: set keyPrefix to an empty string"
type NodeRegistrySpec struct {
	// connection says how to reach NATS.
	// +required
	Connection Connection `json:"connection"`

	// bucket is the Key-Value bucket that the nodes register in.
	// +optional
	// +default={}
	Bucket Bucket `json:"bucket,omitzero"`

	// record says how an entry of the bucket is read. The default is Rollcall's own record.
	// +optional
	// +default={}
	Record Record `json:"record,omitzero"`

	// liveness says how nodes that fall silent are treated.
	// +optional
	// +default={}
	Liveness Liveness `json:"liveness,omitzero"`

	// addressPolicy says which addresses may take traffic.
	// +optional
	AddressPolicy *AddressPolicy `json:"addressPolicy,omitempty"`

	// labels turns metadata of the record into labels of the DiscoveredNode: the key is the label's key, the value is the
	// key of the metadata. Label keys of the domain rollcall.dev belong to Rollcall.
	// +optional
	// +mapType=granular
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !format.qualifiedName().validate(k).hasValue())",message="every key must be a label key: at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, with an optional DNS name and '/' in front"
	// +kubebuilder:validation:XValidation:rule="!self.exists(k, k.startsWith('rollcall.dev/') || k.contains('.rollcall.dev/'))",message="label keys of the domain rollcall.dev belong to Rollcall: choose another domain, or none"
	// +kubebuilder:validation:XValidation:rule="self.all(k, self[k].size() > 0 && self[k].size() <= 253)",message="every value must be a key of the record's metadata, of 1 to 253 characters"
	Labels map[string]string `json:"labels,omitempty"`

	// includeLocalPods also mirrors the entries that PodRegistrations of this cluster wrote.
	// +optional
	IncludeLocalPods bool `json:"includeLocalPods,omitempty"`

	// statusInterval is how often a DiscoveredNode is brought up to date while nothing changes that an endpoint, a label or the
	// status of a condition depends on: its heartbeat, load, display name, metadata and remarks. Everything else is written at
	// once.
	// +optional
	// +default="5m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('87600h')",message="must be a duration of at least 1s and at most 87600h, such as 30s or 5m"
	StatusInterval *metav1.Duration `json:"statusInterval,omitempty"`

	// view is which nodes have a DiscoveredNode: All, or with Problems only those that a person should look at, at most 1,000 of
	// them; the rest is counted in status.nodes. EndpointSlices do not depend on it. With Problems a node is cordoned by creating
	// its DiscoveredNode with cordoned set; nodes that are cordoned always have one.
	// +optional
	// +default="All"
	View View `json:"view,omitempty"`

	// maxNodes is the greatest number of entries that are mirrored, so that a runaway writer can't fill the cluster.
	// +optional
	// +default=10000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxNodes *int32 `json:"maxNodes,omitempty"`

	// suspend stops everything that this NodeRegistry does. What it has written stays as it is.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// View is which nodes have a DiscoveredNode.
// +kubebuilder:validation:Enum=All;Problems
type View string

const (
	// ViewAll is the view of all nodes.
	ViewAll View = "All"
	// ViewProblems is the view of the nodes that a person should look at.
	ViewProblems View = "Problems"
)

// MaxProblems is how many DiscoveredNodes a NodeRegistry with the view Problems has at most, unless more nodes are cordoned.
const MaxProblems = 1000

// Connection says how to reach NATS.
//
// +kubebuilder:validation:XValidation:rule="!has(self.apiPrefix) || !has(self.jetStreamDomain)",fieldPath=".apiPrefix",message="can't be given together with jetStreamDomain, which is the prefix $JS.<domain>.API"
type Connection struct {
	// servers are the URLs of the NATS servers, with the scheme nats, tls, ws or wss: a host and a port, and nothing else. One of
	// a cluster is enough, the others are learnt from it; those that are listed are tried first.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(s, s.matches('^[Ww][Ss]')) || !self.exists(s, s.matches('^[Ww][Ss]'))",message="must all be WebSockets, with ws or wss, or none"
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule="isURL(self) && url(self).getScheme() in ['nats', 'tls', 'ws', 'wss'] && url(self).getHostname() != ''",message="must be a URL with the scheme nats, tls, ws or wss, such as nats://nats.example.com:4222"
	// +kubebuilder:validation:items:XValidation:rule="!self.contains('@')",message="must not hold a user or password: put them into a Secret and name it in spec.connection.auth"
	// +kubebuilder:validation:items:XValidation:rule="!self.contains(',')",message="must be one server: give each an item of its own"
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[^/]*//([0-9A-Za-z_.-]+|[[][^/?#]+[]])(:0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$')",message="must be a scheme, a host and a port, without a path, query or fragment, such as nats://nats.example.com:4222"
	Servers []string `json:"servers"`

	// jetStreamDomain is the JetStream domain that holds the bucket, if it is not the one of the server.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^ \\t\\r\\n\\f.*>/]+$')",message="must be the name of a JetStream domain: one word without '.', '*', '>' and '/'"
	JetStreamDomain string `json:"jetStreamDomain,omitempty"`

	// apiPrefix is what the subjects of the JetStream API begin with, in place of $JS.API, for a bucket that is imported from
	// another account. Entries are written to the subjects of the bucket below it, such as fleet.API.$KV.catga_nodes.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^ \\t\\r\\n\\f.*>]+([.][^ \\t\\r\\n\\f.*>]+)*$')",message="must be a subject without wildcards that does not end with '.', such as fleet.API"
	APIPrefix string `json:"apiPrefix,omitempty"`

	// discoveredServers says what becomes of the servers that a server advertises: Use or Ignore. Use goes on to them where
	// none of servers answers.
	// +optional
	// +default="Use"
	DiscoveredServers DiscoveredServers `json:"discoveredServers,omitempty"`

	// inboxPrefix takes the place of _INBOX at the front of the subjects on which answers arrive, for users that may
	// subscribe to a part of the subjects only.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^ \\t\\r\\n\\f.*>]+([.][^ \\t\\r\\n\\f.*>]+)*$')",message="must be a subject without wildcards that does not end with '.', such as _INBOX_rollcall"
	InboxPrefix string `json:"inboxPrefix,omitempty"`

	// auth says how to authenticate. At most one method can be given.
	// +optional
	Auth *Auth `json:"auth,omitempty"`

	// tls says how to secure the connection, beyond what the scheme of the server asks for.
	// +optional
	TLS *TLS `json:"tls,omitempty"`

	// onSecretLoss says what becomes of the connection when a Secret or ConfigMap that it was made with is gone: Keep or Close.
	// Either way Degraded or Connected says what is missing. To take the right to log in away from somebody, revoke it on the
	// NATS server: that ends the connection at once.
	// +optional
	// +default="Keep"
	OnSecretLoss SecretLoss `json:"onSecretLoss,omitempty"`
}

// DiscoveredServers says what becomes of the servers that a server advertises.
// +kubebuilder:validation:Enum=Use;Ignore
type DiscoveredServers string

const (
	// DiscoveredUse connects to them where none of the given servers answers.
	DiscoveredUse DiscoveredServers = "Use"
	// DiscoveredIgnore connects to the given servers alone.
	DiscoveredIgnore DiscoveredServers = "Ignore"
)

// SecretLoss says what becomes of a connection whose Secret is gone.
// +kubebuilder:validation:Enum=Keep;Close
type SecretLoss string

const (
	// SecretLossKeep keeps the connection for as long as the server does.
	SecretLossKeep SecretLoss = "Keep"
	// SecretLossClose closes the connection when the loss is found.
	SecretLossClose SecretLoss = "Close"
)

// Auth says how to authenticate to NATS.
//
// +kubebuilder:validation:XValidation:rule="[has(self.credentials), has(self.nkey), has(self.token), has(self.userPassword)].filter(m, m).size() <= 1",message="at most one of credentials, nkey, token and userPassword can be given: keep the one that the server expects"
type Auth struct {
	// credentials names a credentials file (user JWT and seed) as `nsc` writes it.
	// +optional
	Credentials *SecretKeyReference `json:"credentials,omitempty"`

	// nkey names the seed of a user NKey.
	// +optional
	NKey *SecretKeyReference `json:"nkey,omitempty"`

	// token names a token.
	// +optional
	Token *SecretKeyReference `json:"token,omitempty"`

	// userPassword names a Secret with the keys `username` and `password`.
	// +optional
	UserPassword *SecretReference `json:"userPassword,omitempty"`
}

// TLS says how to secure the connection to NATS.
type TLS struct {
	// ca names the certificates of the authorities that sign the servers' certificates. The default is the system's.
	// +optional
	CA *CAReference `json:"ca,omitempty"`

	// clientCertificate names a Secret of the type kubernetes.io/tls with the certificate to present to the server.
	// +optional
	ClientCertificate *SecretReference `json:"clientCertificate,omitempty"`

	// serverName is the name that the server's certificate must be for. The default is the host of the URL.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServerName string `json:"serverName,omitempty"`

	// handshakeFirst begins with TLS, before the server has said anything. It is for servers whose configuration has
	// handshake_first; it has no effect on the schemes ws and wss.
	// +optional
	HandshakeFirst bool `json:"handshakeFirst,omitempty"`
}

// SecretReference names a Secret in the same namespace.
type SecretReference struct {
	// name is the name of the Secret.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a Secret in this namespace"
	Name string `json:"name"`
}

// SecretKeyReference names a key of a Secret in the same namespace.
type SecretKeyReference struct {
	// name is the name of the Secret.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a Secret in this namespace"
	Name string `json:"name"`

	// key is the key in the Secret's data.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="must be a key of the Secret's data: letters, digits, '-', '_' and '.'"
	Key string `json:"key"`
}

// CAKind is the kind of object that holds certificates of authorities.
// +kubebuilder:validation:Enum=Secret;ConfigMap
type CAKind string

const (
	// CASecret says that a Secret holds the certificates.
	CASecret CAKind = "Secret"
	// CAConfigMap says that a ConfigMap holds the certificates.
	CAConfigMap CAKind = "ConfigMap"
)

// CAReference names a key of a Secret or a ConfigMap in the same namespace.
type CAReference struct {
	// kind is the kind of the object: Secret or ConfigMap.
	// +optional
	// +default="Secret"
	Kind CAKind `json:"kind,omitempty"`

	// name is the name of the object.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a Secret or ConfigMap in this namespace"
	Name string `json:"name"`

	// key is the key in the object's data, which holds certificates in PEM.
	// +optional
	// +default="ca.crt"
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="must be a key of the object's data: letters, digits, '-', '_' and '.'"
	Key string `json:"key,omitempty"`
}

// CreationPolicy says whether Rollcall creates a bucket.
// +kubebuilder:validation:Enum=IfMissing;Never
type CreationPolicy string

const (
	// CreateIfMissing creates the bucket if it does not exist.
	CreateIfMissing CreationPolicy = "IfMissing"
	// CreateNever waits for somebody else to create the bucket.
	CreateNever CreationPolicy = "Never"
)

// Storage is the kind of storage that a bucket is kept in.
// +kubebuilder:validation:Enum=File;Memory
type Storage string

const (
	// StorageFile keeps a bucket on disk.
	StorageFile Storage = "File"
	// StorageMemory keeps a bucket in memory.
	StorageMemory Storage = "Memory"
)

// Bucket describes a Key-Value bucket. What is not set of ttl, history, storage, replicas and markerTTL is chosen when the
// bucket is created. A bucket that exists is never altered: the condition BucketAsRequested says where it differs from what is
// set.
type Bucket struct {
	// name is the name of the bucket. It can't be changed: make another NodeRegistry for another bucket.
	// +optional
	// +default="catga_nodes"
	// +kubebuilder:validation:MaxLength=252
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9_-]+$')",message="must be the name of a bucket: letters, digits, '-' and '_'"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="can't be changed: create another NodeRegistry for another bucket, and delete this one"
	Name string `json:"name,omitempty"`

	// keyPrefix is what the keys of nodes begin with; the rest of a key is the node ID. Keys that begin otherwise are left
	// alone. It may be empty.
	// +optional
	// +default="node."
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^([-/_=a-zA-Z0-9]+[.]?)*$')",message="must be the beginning of a key: letters, digits and '-', '/', '_', '=', '.', neither beginning with '.' nor with two of them in a row"
	KeyPrefix *string `json:"keyPrefix,omitempty"`

	// creationPolicy says whether Rollcall creates the bucket: IfMissing or Never.
	// +optional
	// +default="IfMissing"
	CreationPolicy CreationPolicy `json:"creationPolicy,omitempty"`

	// ttl is how long an entry lives after its last heartbeat, at least 2s. A bucket that Rollcall creates gets 5m if it is
	// not set.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) >= duration('2s') && duration(self) <= duration('87600h')",message="must be a duration of at least 2s and at most 87600h, such as 30s or 5m"
	TTL *metav1.Duration `json:"ttl,omitempty"`

	// history is the number of revisions that are kept of every key. A bucket that Rollcall creates gets 5 if it is not set.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	History *int32 `json:"history,omitempty"`

	// storage is where the bucket is kept: File or Memory. A bucket that Rollcall creates gets File if it is not set.
	// +optional
	Storage Storage `json:"storage,omitempty"`

	// replicas is the number of servers that keep the bucket. A bucket that Rollcall creates gets 1 if it is not set.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=5
	Replicas *int32 `json:"replicas,omitempty"`

	// markerTTL is how long the marker lives that the server writes when a key passes its TTL, at least 1s; servers older than
	// 2.11 write none. Rollcall does not need markers: they tell other readers of the bucket. If it is not set, a bucket that
	// Rollcall creates has no markers, so that other clients can declare the same bucket.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('87600h')",message="must be a duration of at least 1s and at most 87600h, such as 1m"
	MarkerTTL *metav1.Duration `json:"markerTTL,omitempty"`
}

// RecordFormat is the format of the entries of a bucket.
// +kubebuilder:validation:Enum=Rollcall;GoMicro
type RecordFormat string

const (
	// FormatRollcall is Rollcall's own record.
	FormatRollcall RecordFormat = "Rollcall"
	// FormatGoMicro is the record that go-micro's nats-js-kv registry keeps.
	FormatGoMicro RecordFormat = "GoMicro"
)

// Record says how an entry of a bucket is read. Each expression is CEL over `key`, the key of the entry, and `value`, the
// entry's JSON, and takes the place of what the format would read.
type Record struct {
	// format is the format of the entries: Rollcall, or GoMicro for the registry that go-micro's nats-js-kv store keeps.
	// +optional
	// +default="Rollcall"
	Format RecordFormat `json:"format,omitempty"`

	// nodeID is a CEL expression that gives the node ID, a string.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	NodeID string `json:"nodeID,omitempty"`

	// addresses is a CEL expression that gives the IP addresses, a list of strings.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Addresses string `json:"addresses,omitempty"`

	// ports is a CEL expression that gives the ports, a list of maps with `name`, `port` and `protocol`.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Ports string `json:"ports,omitempty"`

	// zone is a CEL expression that gives the topology zone, a string.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Zone string `json:"zone,omitempty"`

	// metadata is a CEL expression that gives the metadata, a map of strings.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Metadata string `json:"metadata,omitempty"`
}

// Liveness says how nodes that fall silent are treated.
type Liveness struct {
	// staleAfter takes a node out of the traffic when its last heartbeat is this old. It should be a few times the interval in
	// which the nodes heartbeat, and has no effect unless it is less than the bucket's TTL; the default is to wait for the TTL.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('87600h')",message="must be a duration of at least 1s and at most 87600h, such as 30s"
	StaleAfter *metav1.Duration `json:"staleAfter,omitempty"`

	// retainExpired is how long the DiscoveredNode of an expired node stays visible.
	// +optional
	// +default="5m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('87600h')",message="must be a duration of at least 1s and at most 87600h, such as 5m"
	RetainExpired *metav1.Duration `json:"retainExpired,omitempty"`

	// reconnectGrace is how long nodes have to heartbeat again after Rollcall could not read the bucket, before they may
	// expire. The default is the bucket's TTL.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('87600h')",message="must be a duration of at least 1s and at most 87600h, such as 5m"
	ReconnectGrace *metav1.Duration `json:"reconnectGrace,omitempty"`

	// maxSilentPercent is the disruption guard. If more than this percentage of at least minNodes nodes fall silent within one
	// TTL without unregistering, or all of at least 3 nodes do, none of them loses its endpoints: they stay ready until as many
	// nodes heartbeat as satisfy the limit, or until a person accepts with the annotation rollcall.dev/accept-expiry. 100
	// switches the guard off, both limits.
	// +optional
	// +default=50
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	MaxSilentPercent *int32 `json:"maxSilentPercent,omitempty"`

	// minNodes is the number of nodes from which on maxSilentPercent applies. A registry with fewer nodes is guarded against
	// the silence of all of them only.
	// +optional
	// +default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MinNodes *int32 `json:"minNodes,omitempty"`
}

// AddressPolicy says which addresses may take traffic. Loopback, link-local, multicast and unspecified addresses and those
// of the API server never may.
type AddressPolicy struct {
	// allowedCIDRs are the ranges that an address must be in. Empty means every range.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be a CIDR, such as 10.0.0.0/8 or fd00::/8"
	AllowedCIDRs []string `json:"allowedCIDRs,omitempty"`

	// deniedCIDRs are the ranges that an address must not be in, even if allowedCIDRs has it.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be a CIDR, such as 10.0.0.0/8 or fd00::/8"
	DeniedCIDRs []string `json:"deniedCIDRs,omitempty"`
}

// NodeRegistryStatus is the state of a NodeRegistry.
type NodeRegistryStatus struct {
	// conditions of the NodeRegistry: Connected, Synced, Degraded, Ready, which summarises them, and BucketAsRequested.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// nodes counts the nodes of the bucket.
	// +optional
	Nodes *NodeCounts `json:"nodes,omitempty"`

	// bucket is what the NATS server says of the bucket.
	// +optional
	Bucket *BucketStatus `json:"bucket,omitempty"`

	// lastSyncTime is when the bucket was last listed completely.
	// +optional
	LastSyncTime *metav1.Time `json:"lastSyncTime,omitempty"`

	// held is present while silence removes no node: the disruption guard holds the silent nodes, or the bucket takes no
	// heartbeats.
	// +optional
	Held *HeldStatus `json:"held,omitempty"`

	// observedGeneration is the generation of the spec that this status belongs to.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// HeldReason is why silence removes no node.
// +kubebuilder:validation:Enum=Guard;StoreFull;Sealed;MirrorCut;NobodyWrites
type HeldReason string

const (
	// HeldGuard is the reason of nodes that the disruption guard holds: too many fell silent at once.
	HeldGuard HeldReason = "Guard"
	// HeldStoreFull is the reason of nodes whose heartbeats a full bucket, account or disk may refuse.
	HeldStoreFull HeldReason = "StoreFull"
	// HeldSealed is the reason of the nodes of a bucket that is sealed.
	HeldSealed HeldReason = "Sealed"
	// HeldMirrorCut is the reason of nodes that come through a mirror or a source that does not reach its origin.
	HeldMirrorCut HeldReason = "MirrorCut"
	// HeldNobodyWrites is the reason of the nodes of a bucket whose stream does not take the subjects of its keys.
	HeldNobodyWrites HeldReason = "NobodyWrites"
)

// HeldStatus says since when and why silence removes no node, and how many are silent.
type HeldStatus struct {
	// since is when that began. The annotation rollcall.dev/accept-expiry with this value, as it is printed here, lets the
	// silent nodes go.
	// +required
	Since metav1.Time `json:"since"`

	// reason is Guard (too many nodes fell silent at once), StoreFull (the bucket, the account or the disk is full), Sealed
	// (the bucket is sealed), MirrorCut (a mirror or source does not reach its origin) or NobodyWrites (the stream does not take
	// the subjects of the bucket's keys).
	// +required
	Reason HeldReason `json:"reason"`

	// silent is the number of nodes that are kept although they are silent.
	// +required
	// +kubebuilder:validation:Minimum=0
	Silent int32 `json:"silent"`

	// of is the number of nodes that silent is a part of: those with an address that takes traffic.
	// +required
	// +kubebuilder:validation:Minimum=0
	Of int32 `json:"of"`
}

// NodeCounts counts nodes by phase.
type NodeCounts struct {
	// total is the number of all nodes.
	// +required
	// +kubebuilder:validation:Minimum=0
	Total int32 `json:"total"`

	// ready is the number of nodes in the phase Ready.
	// +required
	// +kubebuilder:validation:Minimum=0
	Ready int32 `json:"ready"`

	// stale is the number of nodes in the phase Stale.
	// +required
	// +kubebuilder:validation:Minimum=0
	Stale int32 `json:"stale"`

	// draining is the number of nodes in the phase Draining.
	// +required
	// +kubebuilder:validation:Minimum=0
	Draining int32 `json:"draining"`

	// expired is the number of nodes in the phase Expired.
	// +required
	// +kubebuilder:validation:Minimum=0
	Expired int32 `json:"expired"`

	// invalid is the number of nodes in the phase Invalid.
	// +required
	// +kubebuilder:validation:Minimum=0
	Invalid int32 `json:"invalid"`

	// refused is the number of nodes whose last record was refused, and that live on their last good one.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Refused int32 `json:"refused,omitempty"`

	// superseded is the number of silent nodes that a newer node has replaced at their addresses.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Superseded int32 `json:"superseded,omitempty"`

	// neverAccepted is the number of entries that never held a record which could be accepted.
	// +optional
	// +kubebuilder:validation:Minimum=0
	NeverAccepted int32 `json:"neverAccepted,omitempty"`

	// problems is the number of nodes that a person should look at. It is counted with the view Problems alone.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Problems int32 `json:"problems,omitempty"`

	// notShown is the number of those that have no DiscoveredNode, since as many others have one as there may be.
	// +optional
	// +kubebuilder:validation:Minimum=0
	NotShown int32 `json:"notShown,omitempty"`
}

// BucketStatus is what the NATS server says of a bucket.
type BucketStatus struct {
	// revision is the revision up to which the bucket was read when this status was written.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Revision int64 `json:"revision,omitempty"`

	// storage is where the bucket is kept.
	// +optional
	Storage Storage `json:"storage,omitempty"`

	// ttl is how long an entry lives after its last heartbeat. It is absent if entries live forever.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	TTL *metav1.Duration `json:"ttl,omitempty"`

	// history is the number of revisions that are kept of every key.
	// +optional
	// +kubebuilder:validation:Minimum=0
	History int32 `json:"history,omitempty"`

	// markers says whether the server writes a marker when a key passes its TTL. Without them Rollcall times the keys out
	// itself.
	// +optional
	Markers bool `json:"markers"`

	// serverVersion is the version of the NATS server.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ServerVersion string `json:"serverVersion,omitempty"`
}

// NodeRegistry names a NATS JetStream Key-Value bucket in which nodes outside of the cluster register themselves. Rollcall
// mirrors every entry into a DiscoveredNode of the same namespace, unless spec.view says Problems, and into the EndpointSlices
// of Services that select it.
// Its name has at most 63 characters and no dot.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=noderegistries,scope=Namespaced,shortName=nreg,categories=rollcall
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.contains('.') && self.metadata.name.size() <= 63",fieldPath=".metadata",message="the name must be at most 63 characters without '.', since the names of its nodes are <name>.<node ID>"
// +kubebuilder:printcolumn:name="Bucket",type=string,JSONPath=`.spec.bucket.name`,description="The bucket that the nodes register in."
// +kubebuilder:printcolumn:name="Nodes",type=integer,JSONPath=`.status.nodes.total`,description="The number of nodes."
// +kubebuilder:printcolumn:name="ReadyNodes",type=integer,JSONPath=`.status.nodes.ready`,description="The number of nodes that heartbeat in time."
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether the registry is connected, listed and watched."
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why the registry is or is not ready."
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,description="The age of the NodeRegistry."
// +kubebuilder:printcolumn:name="Degraded",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Degraded")].reason`,description="The restriction under which the registry works, if any."
// +kubebuilder:printcolumn:name="Held",type=string,priority=1,JSONPath=`.status.held.since`,description="Since when silent nodes are kept, if they are: the value that the annotation rollcall.dev/accept-expiry takes."
// +kubebuilder:printcolumn:name="Problems",type=integer,priority=1,JSONPath=`.status.nodes.problems`,description="The number of nodes that a person should look at, with the view Problems."
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,description="What stands in the way."
type NodeRegistry struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard metadata of an object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says where the bucket is, how it is read, and how nodes that fall silent are treated.
	// +required
	Spec NodeRegistrySpec `json:"spec"`

	// status is the state of the NodeRegistry.
	// +optional
	Status NodeRegistryStatus `json:"status,omitzero"`
}

// NodeRegistryList is a list of NodeRegistries.
//
// +kubebuilder:object:root=true
type NodeRegistryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	// Items are the NodeRegistries.
	Items []NodeRegistry `json:"items"`
}
