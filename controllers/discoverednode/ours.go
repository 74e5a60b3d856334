package discoverednode

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// setMeta sets what is Rollcall's of an object's metadata, and leaves the rest alone: labels, annotations and owner references of others
// are theirs. A label is Rollcall's if it follows from the record and spec.labels now, or did when it was written last; of the latter
// the annotation rollcall.dev/labels tells, over a restart as well.
func setMeta(dn *rollcallv1alpha1.DiscoveredNode, n *mirror.Node, registry *rollcallv1alpha1.NodeRegistry) {
	merged := make(map[string]string, len(n.Labels)+len(dn.Labels))
	maps.Copy(merged, n.Labels)
	for label, value := range dn.Labels {
		if _, is := merged[label]; !is && !formerly(dn, label) {
			merged[label] = value
		}
	}
	dn.Labels, dn.OwnerReferences = merged, owners(dn.OwnerReferences, registry)
	delete(dn.Annotations, rollcallv1alpha1.AnnotationLabels)
	if ours := record.FormatLabels(n.Labels); ours != "" || len(registry.Spec.Labels) > 0 {
		if dn.Annotations == nil {
			dn.Annotations = map[string]string{}
		}
		dn.Annotations[rollcallv1alpha1.AnnotationLabels] = ours
	}
}

// formerly returns true if the label was Rollcall's when it wrote the object last.
func formerly(dn *rollcallv1alpha1.DiscoveredNode, label string) bool {
	_, is := record.WrittenLabels(dn)[label]
	return is
}

// owners returns the owner references with the one that is Rollcall's in the place of the one that was. It is the controller's, unless
// somebody else's is: an object has one.
func owners(before []metav1.OwnerReference, registry *rollcallv1alpha1.NodeRegistry) []metav1.OwnerReference {
	ours := *metav1.NewControllerRef(registry, rollcallv1alpha1.GroupVersion.WithKind("NodeRegistry"))
	// A blocking owner reference needs a right on the owner's finalizers, and nothing here needs the owner to wait.
	ours.BlockOwnerDeletion = nil
	place := slices.IndexFunc(before, owns)
	after := slices.DeleteFunc(slices.Clone(before), owns)
	if metav1.GetControllerOfNoCopy(&metav1.ObjectMeta{OwnerReferences: after}) != nil {
		ours.Controller = nil
	}
	if place < 0 {
		place = len(after)
	}
	return slices.Insert(after, place, ours)
}

// owns returns true for the owner references that are Rollcall's: those to a NodeRegistry.
func owns(o metav1.OwnerReference) bool {
	version, err := schema.ParseGroupVersion(o.APIVersion)
	return err == nil && o.Kind == "NodeRegistry" && version.Group == rollcallv1alpha1.GroupVersion.Group
}

// owned returns true if the object goes when its NodeRegistry does, unless somebody else owns it as well.
func owned(dn *rollcallv1alpha1.DiscoveredNode) bool {
	return slices.ContainsFunc(dn.OwnerReferences, owns)
}
