package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of Rollcall.
const GroupName = "rollcall.dev"

var (
	// GroupVersion is the group and version of the types of this package.
	GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}

	// SchemeGroupVersion is GroupVersion, by the name that generated code knows it by.
	SchemeGroupVersion = GroupVersion

	// SchemeBuilder collects the functions that add the types of this package to a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds the types of this package to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&NodeRegistry{}, &NodeRegistryList{},
		&DiscoveredNode{}, &DiscoveredNodeList{},
		&PodRegistration{}, &PodRegistrationList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
