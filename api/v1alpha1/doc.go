// Package v1alpha1 is the API of Rollcall, group rollcall.dev, version v1alpha1.
//
// A NodeRegistry names a NATS JetStream Key-Value bucket in which machines outside the cluster register themselves. Every
// entry of the bucket appears as a DiscoveredNode, which is a mirror: Rollcall writes it, people and other controllers
// read it. A PodRegistration works the other way round and registers pods in the bucket.
//
// The package imports nothing but k8s.io/apimachinery, so that the authors of other controllers can depend on it at no
// cost. The apply configurations, which need client-go, are the package applyconfiguration/api/v1alpha1.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package="../../applyconfiguration"
// +groupName=rollcall.dev
package v1alpha1
