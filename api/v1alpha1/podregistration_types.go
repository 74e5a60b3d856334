package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodRegistrationSpec says which pods are registered in a bucket, and how.
type PodRegistrationSpec struct {
	// registryName is the name of the NodeRegistry in this namespace in whose bucket the pods are registered.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	RegistryName string `json:"registryName"`

	// selector picks the pods of this namespace. An empty selector picks all of them.
	// +required
	Selector metav1.LabelSelector `json:"selector"`

	// nodeID is a CEL expression over `pod` that gives the node ID, which must differ from pod to pod. The default is the
	// namespace and the name of the pod.
	// +optional
	// +default="pod.metadata.namespace + '.' + pod.metadata.name"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	NodeID string `json:"nodeID,omitempty"`

	// ports are the names of the container ports that are registered. The default is every port of the pod's containers.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",message="must be the name of a container port: lower case letters, digits and '-'"
	Ports []string `json:"ports,omitempty"`

	// metadata are CEL expressions over `pod`, one for every entry of the record's metadata.
	// +optional
	// +mapType=granular
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, self[k].size() > 0 && self[k].size() <= 4096)",message="every value must be a CEL expression over `pod` of 1 to 4096 characters; quote a constant, as in \"'web'\""
	Metadata map[string]string `json:"metadata,omitempty"`

	// heartbeatInterval is the time between two heartbeats of a pod, at least 1s and at most a third of the bucket's TTL.
	// +optional
	// +default="10s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) >= duration('1s')",message="must be a duration of at least 1s, such as 10s"
	HeartbeatInterval *metav1.Duration `json:"heartbeatInterval,omitempty"`
}

// PodRegistrationStatus is what became of a PodRegistration.
type PodRegistrationStatus struct {
	// matched is the number of pods that the selector picks.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Matched int32 `json:"matched"`

	// registered is the number of pods that are in the bucket.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Registered int32 `json:"registered"`

	// conflicts is the number of pods that can't be registered because somebody else wrote their key.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Conflicts int32 `json:"conflicts"`

	// observedGeneration is the generation of the spec that this status belongs to.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the PodRegistration: Ready says whether every pod that should be in the bucket is.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PodRegistration registers pods in the bucket of a NodeRegistry and heartbeats for them while they are Ready, so that
// everything outside of the cluster can find them. A pod that is not Ready, or gone, is unregistered at once.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=podregistrations,scope=Namespaced,shortName=podreg,categories=rollcall
// +kubebuilder:printcolumn:name="Matched",type=integer,JSONPath=`.status.matched`,description="The number of pods that the selector picks."
// +kubebuilder:printcolumn:name="Registered",type=integer,JSONPath=`.status.registered`,description="The number of pods that are in the bucket."
// +kubebuilder:printcolumn:name="Conflicts",type=integer,JSONPath=`.status.conflicts`,description="The number of pods whose key somebody else wrote."
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether every pod that should be in the bucket is."
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,description="The age of the PodRegistration."
// +kubebuilder:printcolumn:name="Registry",type=string,priority=1,JSONPath=`.spec.registryName`,description="The NodeRegistry in whose bucket the pods are registered."
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,description="What stands in the way."
type PodRegistration struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard metadata of an object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which pods are registered, and how.
	// +required
	Spec PodRegistrationSpec `json:"spec"`

	// status is what became of it.
	// +optional
	Status PodRegistrationStatus `json:"status,omitzero"`
}

// PodRegistrationList is a list of PodRegistrations.
//
// +kubebuilder:object:root=true
type PodRegistrationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	// Items are the PodRegistrations.
	Items []PodRegistration `json:"items"`
}
