package endpointslice

import (
	corev1 "k8s.io/api/core/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// targetRef says what is wrong with the annotation that asks for targets; nil: nothing.
func targetRef(service *corev1.Service) *remark {
	value, found := service.Annotations[rollcallv1alpha1.AnnotationTargetRef]
	if !found || value == rollcallv1alpha1.TargetRefDiscoveredNode {
		return nil
	}
	return written(rollcallv1alpha1.ReasonInvalidTargetRef, "The annotation %s has the value %.63q, so the endpoints have no targetRef: "+
		"set it to %s, or remove it.", rollcallv1alpha1.AnnotationTargetRef, value, rollcallv1alpha1.TargetRefDiscoveredNode)
}
