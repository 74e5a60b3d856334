package endpointslice

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// maxMessage bounds the API server's words in a condition.
const maxMessage = 1024

// namedNodes is how many nodes a message names at most. Beyond that it gives no more than an order of magnitude, so that
// a storm of nodes is not a storm of conditions.
const namedNodes = 5

// outcome is what the condition of a Service is to say; nil if there is to be none.
type outcome struct {
	status          metav1.ConditionStatus
	reason, message string
}

// outcome returns the outcome of a reconcile that wrote all it had to. An empty Service says which NodeRegistry it misses.
func (c *Controller) outcome(ctx context.Context, namespace string, selector labels.Selector, r plan.Report) *outcome {
	if r.Empty {
		if registry := c.missing(ctx, namespace, selector); registry != "" {
			return compose("", remark{metav1.ConditionFalse, rollcallv1alpha1.ReasonRegistryNotFound, fmt.Sprintf(
				"The Service has no endpoint: NodeRegistry %q, which the annotation %s selects, does not exist in this namespace.",
				registry, rollcallv1alpha1.AnnotationNodeSelector)})
		}
	}
	return synced(r)
}

// missing returns the name of a NodeRegistry that the selector names and that does not exist; empty if there is none.
func (c *Controller) missing(ctx context.Context, namespace string, selector labels.Selector) string {
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		named := r.Operator() == selection.Equals || r.Operator() == selection.DoubleEquals || r.Operator() == selection.In
		if r.Key() != rollcallv1alpha1.LabelRegistry || !named {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(r.Values())) {
			err := c.client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &rollcallv1alpha1.NodeRegistry{})
			if apierrors.IsNotFound(err) {
				return name
			}
		}
	}
	return ""
}

// synced returns the outcome of a reconcile that wrote all it had to.
func synced(r plan.Report) *outcome {
	switch {
	case len(r.Portless) > 0:
		return &outcome{metav1.ConditionFalse, rollcallv1alpha1.ReasonPortNotFound, portlessMessage(r.Portless)}
	case len(r.Conflicts) > 0:
		return &outcome{metav1.ConditionTrue, rollcallv1alpha1.ReasonAddressShared, conflictMessage(r.Conflicts)}
	}
	return &outcome{metav1.ConditionTrue, rollcallv1alpha1.ReasonSynced, "The EndpointSlices hold the nodes that the annotation selects."}
}

func portlessMessage(nodes []string) string {
	if len(nodes) <= namedNodes {
		return fmt.Sprintf("Nodes that have none of the Service's target ports, and so no endpoint: %s.", strings.Join(nodes, ", "))
	}
	return fmt.Sprintf("More than %d nodes have none of the Service's target ports, and so no endpoint.", magnitude(len(nodes)))
}

// conflictMessage says who lost which address and port to whom. What there is to do comes first, for the names may be longer than
// the message.
func conflictMessage(conflicts []plan.Conflict) string {
	if n := len(conflicts); n > namedNodes {
		return fmt.Sprintf("More than %d ports of nodes are shown for another node that gives the same address. "+
			"Give each node its own, unless they are one server.", magnitude(n))
	}
	var told []string
	for _, c := range conflicts {
		told = append(told, fmt.Sprintf("%s is shown for %s and not for %s", c.Claim, c.Winner, c.Loser))
	}
	slices.Sort(told)
	return record.Bounded(fitting("Several nodes give the same address and port; give each its own, unless they are one server: ", told))
}

// fitting returns the text followed by as many of the items as there is room for in a message, but at least one, and how many more
// there are.
func fitting(text string, items []string) string {
	const room = record.MaxMessage - len(", and 5 more.")
	for i, item := range items {
		switch {
		case i == 0:
		case len(text)+len(", ")+len(item) > room:
			return fmt.Sprintf("%s, and %d more.", text, len(items)-i)
		default:
			text += ", "
		}
		text += item
	}
	return text + "."
}

// magnitude returns the largest of namedNodes and the powers of ten that is less than n.
func magnitude(n int) int {
	floor := namedNodes
	for step := 10; step < n; step *= 10 {
		floor = step
	}
	return floor
}

// problem returns the outcome of a reconcile that could not do what the annotation asks for.
func problem(reason string, err error) *outcome {
	message := err.Error()
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return &outcome{metav1.ConditionFalse, reason, message}
}

// reported is the condition that was written last, and the version of the Service that has it: the cache may be behind.
type reported struct {
	revision  string
	condition *metav1.Condition
}

// report makes the Service's condition say the outcome, if it does not yet.
func (c *Controller) report(ctx context.Context, service *corev1.Service, st *state, o *outcome) error {
	found := meta.FindStatusCondition(service.Status.Conditions, rollcallv1alpha1.ConditionEndpointsSynced)
	if order, err := resourceversion.CompareResourceVersion(service.ResourceVersion, st.reported.revision); err == nil && order < 0 {
		found = st.reported.condition
	}
	change, next := c.difference(found, o)
	if change == nil {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []any{change}}})
	if err != nil {
		return fmt.Errorf("encode condition %s: %w", rollcallv1alpha1.ConditionEndpointsSynced, err)
	}
	err = c.client.Status().Patch(ctx, service, client.RawPatch(types.StrategicMergePatchType, patch),
		client.FieldOwner(rollcallv1alpha1.FieldOwner))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write condition %s: %w", rollcallv1alpha1.ConditionEndpointsSynced, err)
	}
	st.reported = reported{revision: service.ResourceVersion, condition: next}
	return nil
}

// difference returns the change that turns the condition found into one that says the outcome, and what it then is. The
// change is nil if there is none.
func (c *Controller) difference(found *metav1.Condition, o *outcome) (change any, next *metav1.Condition) {
	switch {
	case o == nil && found == nil:
		return nil, nil
	case o == nil:
		return map[string]string{"$patch": "delete", "type": rollcallv1alpha1.ConditionEndpointsSynced}, nil
	case found != nil && found.Status == o.status && found.Reason == o.reason && found.Message == o.message:
		return nil, found
	}
	next = &metav1.Condition{
		Type: rollcallv1alpha1.ConditionEndpointsSynced, Status: o.status, Reason: o.reason, Message: o.message,
		LastTransitionTime: metav1.NewTime(c.clock.Now()),
	}
	if found != nil && found.Status == o.status {
		next.LastTransitionTime = found.LastTransitionTime
	}
	return next, next
}
