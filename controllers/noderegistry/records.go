package noderegistry

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// recordOutdated finds that an edit of spec.record can't be used, and that the registry is read by the last one that could.
func (o *observation) recordOutdated() restriction {
	if o.suspended || o.record.err == nil || !o.record.survived {
		return restriction{}
	}
	return restriction{rollcallv1alpha1.ReasonInvalidExpression, "the last valid spec.record stays in force: " + o.record.err.Error()}
}

// expressionFailed finds the fields of spec.record that fail for all entries.
func (o *observation) expressionFailed() restriction {
	r := &o.mirror.Records
	var fields []string
	for _, field := range slices.Sorted(maps.Keys(r.Failing)) {
		if r.Entries > 0 && r.Failing[field] >= r.Entries {
			fields = append(fields, field)
		}
	}
	if len(fields) == 0 {
		return restriction{}
	}
	return restriction{rollcallv1alpha1.ReasonExpressionFailed, fmt.Sprintf(
		"%s can't be used for any of the %d entries%s: correct the expression, or the service that writes the entries",
		strings.Join(fields, " and "), r.Entries, o.example())}
}

// recordsRefused finds that nodes which had good records write others, or that most entries never held one. That a few entries
// are no nodes is only counted.
func (o *observation) recordsRefused() restriction {
	r := &o.mirror.Records
	var parts []string
	if r.Refused > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d nodes write records that are refused and live on their last good ones", r.Refused, max(r.Accepted, r.Refused)))
	}
	if 2*r.NeverAccepted > r.Entries {
		parts = append(parts, fmt.Sprintf("%d of %d entries never held a record that could be accepted", r.NeverAccepted, r.Entries))
	}
	if len(parts) == 0 {
		return restriction{}
	}
	return restriction{rollcallv1alpha1.ReasonRecordsRefused, fmt.Sprintf(
		"%s%s: correct the service that writes them, or spec.record", strings.Join(parts, ", and "), o.example())}
}

// example quotes one of the records that are refused.
func (o *observation) example() string {
	if o.mirror.Records.Example == "" {
		return ""
	}
	return ", for example " + record.Bounded(o.mirror.Records.Example)
}

func (o *observation) readingTooSlow() restriction {
	if o.suspended || o.invalid() != nil || !o.mirror.Records.TooSlow {
		return restriction{}
	}
	return restriction{rollcallv1alpha1.ReasonReadingTooSlow,
		"records come in faster than they can be read, and what is not read yet keeps its last good facts: make the expressions of spec.record cheaper, or have the nodes heartbeat less often"}
}

// flapping finds that nodes change more often than their budget allows.
func (o *observation) flapping() restriction {
	r := &o.mirror.Records
	if r.Flapping == 0 {
		return restriction{}
	}
	return restriction{rollcallv1alpha1.ReasonFlapping, fmt.Sprintf(
		"%d nodes change more often than once a second, for example that of the key %q, and what they gain waits until they are steady: look at what registers them, and at whether two machines write one key",
		r.Flapping, record.Bounded(r.Flaps))}
}

// staleAfterTooShort finds that one heartbeat which is late takes the traffic of most nodes.
func (o *observation) staleAfterTooShort() restriction {
	r := &o.mirror.Records
	if r.Sparse == 0 || 2*r.Sparse <= r.Accepted {
		return restriction{}
	}
	unit := time.Second
	if r.Interval < unit {
		unit = 100 * time.Millisecond
	}
	interval := r.Interval.Round(unit)
	return restriction{rollcallv1alpha1.ReasonStaleAfterTooShort, fmt.Sprintf(
		"spec.liveness.staleAfter is %s, and most nodes heartbeat about every %s, so one late heartbeat takes a node's traffic: set it to at least %s, or have them heartbeat more often",
		staleAfter(o.spec), interval, max(2*interval, leastDuration))}
}

// labelNotFound finds the labels that no node can have.
func (o *observation) labelNotFound() restriction {
	var labels []string
	for _, label := range o.mirror.Records.Missing {
		labels = append(labels, fmt.Sprintf("%s (%s)", label, o.spec.Labels[label]))
	}
	if len(labels) == 0 {
		return restriction{}
	}
	return restriction{rollcallv1alpha1.ReasonLabelNotFound, fmt.Sprintf(
		"no record has the metadata that spec.labels names for %s: correct spec.labels, or the services that write the entries",
		record.Bounded(strings.Join(labels, ", ")))}
}
