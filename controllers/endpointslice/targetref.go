package endpointslice

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// invalidTargetRef returns what is wrong with the Service's annotation that asks for targets; empty if nothing is.
func invalidTargetRef(service *corev1.Service) string {
	value, found := service.Annotations[rollcallv1alpha1.AnnotationTargetRef]
	if !found || value == rollcallv1alpha1.TargetRefDiscoveredNode {
		return ""
	}
	return fmt.Sprintf("The annotation %s has the value %.63q, so the endpoints have no targetRef: set it to %s, or remove it.",
		rollcallv1alpha1.AnnotationTargetRef, value, rollcallv1alpha1.TargetRefDiscoveredNode)
}

// remarking returns the outcome with what is wrong with the Service's annotation, unless there is something worse to say.
func (o *outcome) remarking(service *corev1.Service) *outcome {
	if text := invalidTargetRef(service); text != "" && o.reason == rollcallv1alpha1.ReasonSynced {
		return &outcome{o.status, rollcallv1alpha1.ReasonInvalidTargetRef, text}
	}
	return o
}
