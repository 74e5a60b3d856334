package podregistration

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Strip is a cache.TransformFunc that leaves of a Pod what a PodRegistration can use: metadata without managed fields,
// finalizers and the last applied configuration; of spec the containers' names, images and ports, the readiness gates and
// where the pod runs; the status without the containers'. It changes the pod that it is given.
func Strip(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	pod.ManagedFields, pod.Finalizers = nil, nil
	delete(pod.Annotations, corev1.LastAppliedConfigAnnotation)
	spec := &pod.Spec
	pod.Spec = corev1.PodSpec{
		Containers:         stripContainers(spec.Containers),
		InitContainers:     stripContainers(spec.InitContainers),
		ReadinessGates:     spec.ReadinessGates,
		NodeName:           spec.NodeName,
		NodeSelector:       spec.NodeSelector,
		HostNetwork:        spec.HostNetwork,
		Hostname:           spec.Hostname,
		Subdomain:          spec.Subdomain,
		ServiceAccountName: spec.ServiceAccountName,
		PriorityClassName:  spec.PriorityClassName,
		RestartPolicy:      spec.RestartPolicy,
	}
	status := &pod.Status
	pod.Status = corev1.PodStatus{
		Phase: status.Phase, Conditions: stripConditions(status.Conditions), StartTime: status.StartTime, QOSClass: status.QOSClass,
		PodIP: status.PodIP, PodIPs: status.PodIPs, HostIP: status.HostIP, HostIPs: status.HostIPs,
	}
	return pod, nil
}

func stripContainers(containers []corev1.Container) []corev1.Container {
	var stripped []corev1.Container
	for i := range containers {
		c := &containers[i]
		stripped = append(stripped, corev1.Container{Name: c.Name, Image: c.Image, Ports: c.Ports, RestartPolicy: c.RestartPolicy})
	}
	return stripped
}

// stripConditions drops the times, which nothing depends on.
func stripConditions(conditions []corev1.PodCondition) []corev1.PodCondition {
	for i := range conditions {
		conditions[i].LastProbeTime, conditions[i].LastTransitionTime = metav1.Time{}, metav1.Time{}
	}
	return conditions
}
