package endpointslice

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// remark is one thing that there is to say of a Service: its status is False only if the slices are not what the annotation asks
// for. The same trouble is always the same remark.
type remark struct {
	status          metav1.ConditionStatus
	reason, message string
}

// compose returns the outcome of a pass: the counts, and after them what each remark says. The gravest remark comes first, and has
// the reason; without any, all is well.
func compose(counts string, remarks ...remark) *outcome {
	o := &outcome{status: metav1.ConditionTrue, reason: rollcallv1alpha1.ReasonSynced}
	if len(remarks) > 0 {
		o.status, o.reason = remarks[0].status, remarks[0].reason
	}
	var told []string
	if counts != "" {
		told = append(told, counts)
	}
	for _, r := range remarks {
		told = append(told, r.message)
	}
	o.message = record.Note(strings.Join(told, " "))
	return o
}
