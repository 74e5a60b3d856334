package noderegistry

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// stations are the reasons that a registry passes on its way back to being ready. One that is not ready already tells
// nobody anything new with them.
var stations = map[string]bool{
	rollcallv1alpha1.ReasonConnecting:        true,
	rollcallv1alpha1.ReasonConnectionLost:    true,
	rollcallv1alpha1.ReasonConnectionFailed:  true,
	rollcallv1alpha1.ReasonServerUnreachable: true,
	rollcallv1alpha1.ReasonServerNotFound:    true,
	rollcallv1alpha1.ReasonNotListed:         true,
	rollcallv1alpha1.ReasonListing:           true,
	rollcallv1alpha1.ReasonBucketError:       true,
}

// changed returns the conditions of which an Event is to tell, at most one for each write of the status. Ready summarises the
// others, so it tells for them that the registry went down, why it stays down if that needs a person now, and that it is up.
// Degraded tells for itself while the registry is ready. A restart of NATS is one Event down and one up.
func changed(before, after []metav1.Condition) []metav1.Condition {
	was, is := pairOf(rollcallv1alpha1.ConditionReady, before, after)
	switch {
	case was == nil || is == nil:
		return nil
	case was.Status != is.Status:
		return []metav1.Condition{*is}
	case is.Status != metav1.ConditionTrue:
		if was.Reason != is.Reason && !stations[is.Reason] {
			return []metav1.Condition{*is}
		}
		return nil
	}
	was, is = pairOf(rollcallv1alpha1.ConditionDegraded, before, after)
	if was != nil && is != nil && was.Reason != is.Reason {
		return []metav1.Condition{*is}
	}
	return nil
}

// pairOf returns a condition as it was and is.
func pairOf(kind string, before, after []metav1.Condition) (was, is *metav1.Condition) {
	return meta.FindStatusCondition(before, kind), meta.FindStatusCondition(after, kind)
}
