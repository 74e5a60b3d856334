package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Limits of a DiscoveredNode. A record that breaks one of them becomes an Invalid node.
const (
	// MaxKeyLength is the greatest length of a key and of a node ID: NATS carries a key in a subject, whose length the
	// server's control line bounds.
	MaxKeyLength = 4096
	// MaxAddresses is the greatest number of addresses of one node.
	MaxAddresses = 64
	// MaxAddressLength is the greatest length of one address.
	MaxAddressLength = 253
	// MaxPorts is the greatest number of ports of one node.
	MaxPorts = 1000
	// MaxPortNameLength is the greatest length of the name of a port.
	MaxPortNameLength = 63
	// MaxDisplayNameLength is the greatest length of the display name.
	MaxDisplayNameLength = 1024
	// MaxZoneLength is the greatest length of the zone.
	MaxZoneLength = 253
	// MaxMetadataEntries is the greatest number of entries of the metadata.
	MaxMetadataEntries = 1024
	// MaxLoadLength is the greatest length of the load in the status.
	MaxLoadLength = 64
)

// NodePhase is the phase of a node.
// +kubebuilder:validation:Enum=Ready;Stale;Draining;Expired;Invalid
type NodePhase string

const (
	// NodeReady is the phase of a node that heartbeats in time.
	NodeReady NodePhase = "Ready"
	// NodeStale is the phase of a node whose last heartbeat is older than spec.liveness.staleAfter of its registry, and of one
	// that is silent and kept (reason Held) or replaced (reason Superseded).
	NodeStale NodePhase = "Stale"
	// NodeDraining is the phase of a node that asked for no new traffic.
	NodeDraining NodePhase = "Draining"
	// NodeExpired is the phase of a node whose last heartbeat is older than the bucket's TTL.
	NodeExpired NodePhase = "Expired"
	// NodeInvalid is the phase of a node whose record can't be used.
	NodeInvalid NodePhase = "Invalid"
)

// DiscoveredNodeSpec is what a node says of itself, and `cordoned`, which belongs to people.
type DiscoveredNodeSpec struct {
	// registryName is the name of the NodeRegistry in this namespace that the node comes from.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	RegistryName string `json:"registryName"`

	// key is the node's key in the bucket, with the prefix.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Key string `json:"key"`

	// nodeID is the ID of the node within its registry.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	NodeID string `json:"nodeID"`

	// displayName is the name that the node gives itself for people to read.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	DisplayName string `json:"displayName,omitempty"`

	// addresses are the IP addresses under which the node can be reached, the preferred one first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Addresses []string `json:"addresses,omitempty"`

	// ports are the ports on which the node serves.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	Ports []NodePort `json:"ports,omitempty"`

	// zone is the topology zone of the node. EndpointSlices carry it, so that traffic can stay within a zone.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Zone string `json:"zone,omitempty"`

	// metadata is what else the node says of itself. A NodeRegistry can turn entries into labels with spec.labels.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MaxProperties=1024
	Metadata map[string]string `json:"metadata,omitempty"`

	// cordoned takes the node out of rotation: it stays registered and visible, but takes no traffic. Its endpoints are
	// serving, and neither ready nor terminating. This field belongs to people; Rollcall never writes it.
	// +optional
	Cordoned bool `json:"cordoned,omitempty"`
}

// NodePort is one port on which a node serves.
type NodePort struct {
	// name is the name of the port, by which the targetPort of a Service finds it. A node with one port may leave it out.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// port is the number of the port.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`

	// protocol is the IP protocol of the port: TCP, UDP or SCTP.
	// +optional
	// +default="TCP"
	// +kubebuilder:validation:Enum=TCP;UDP;SCTP
	Protocol string `json:"protocol,omitempty"`
}

// DiscoveredNodeStatus is what Rollcall knows of a node.
type DiscoveredNodeStatus struct {
	// phase is the phase of the node: Ready (it heartbeats in time), Stale (its last heartbeat is older than staleAfter, or it
	// is silent and held or superseded), Draining (it asked for no new traffic), Expired (its TTL has passed) or Invalid (its
	// record can't be used).
	// +optional
	Phase NodePhase `json:"phase,omitempty"`

	// load is the load that the node reported last, a number in the node's own unit.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Load string `json:"load,omitempty"`

	// lastHeartbeatTime is the time at which the NATS server stored the node's last heartbeat. It is brought up to date
	// when something else changes, and otherwise every statusInterval of the registry.
	// +optional
	LastHeartbeatTime *metav1.Time `json:"lastHeartbeatTime,omitempty"`

	// revision is the revision of the key that lastHeartbeatTime belongs to.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Revision int64 `json:"revision,omitempty"`

	// conditions of the node: Ready says whether it takes traffic, and why not; RecordAccepted whether its last record was
	// accepted, and what is odd about it.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DiscoveredNode is one entry of a NodeRegistry's bucket: a machine or service that registered itself. Rollcall writes it
// and removes it again; only spec.cordoned and annotations are for people to set. It is a mirror
// with a single writer, so it has no status subresource.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=discoverednodes,scope=Namespaced,shortName=dn,categories=rollcall
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.nodeID`,description="The ID of the node within its registry."
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.spec.addresses[0]`,description="The preferred address of the node."
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`,description="The phase of the node."
// +kubebuilder:printcolumn:name="Cordoned",type=boolean,JSONPath=`.spec.cordoned`,description="Whether a person took the node out of rotation."
// +kubebuilder:printcolumn:name="Load",type=string,JSONPath=`.status.load`,description="The load that the node reported last."
// +kubebuilder:printcolumn:name="Last Heartbeat",type=date,JSONPath=`.status.lastHeartbeatTime`,description="How long ago the last heartbeat was."
// +kubebuilder:printcolumn:name="Registry",type=string,JSONPath=`.spec.registryName`,description="The NodeRegistry that the node comes from."
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,description="How long the node has been known."
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why the node takes traffic or not."
// +kubebuilder:printcolumn:name="Zone",type=string,priority=1,JSONPath=`.spec.zone`,description="The topology zone of the node."
// +kubebuilder:printcolumn:name="Ports",type=string,priority=1,JSONPath=`.spec.ports[*].port`,description="The ports on which the node serves."
// +kubebuilder:printcolumn:name="Key",type=string,priority=1,JSONPath=`.spec.key`,description="The key of the node in the bucket."
type DiscoveredNode struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard metadata of an object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the node says of itself, and `cordoned`, which belongs to people.
	// +required
	Spec DiscoveredNodeSpec `json:"spec"`

	// status is what Rollcall knows of the node.
	// +optional
	Status DiscoveredNodeStatus `json:"status,omitzero"`
}

// DiscoveredNodeList is a list of DiscoveredNodes.
//
// +kubebuilder:object:root=true
type DiscoveredNodeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	// Items are the nodes.
	Items []DiscoveredNode `json:"items"`
}
