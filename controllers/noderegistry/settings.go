package noderegistry

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// leastValueSize is the least MaxValueSize in bytes that leaves room for a short record. The server counts the headers
// as well, and its own markers need 72 bytes.
const leastValueSize = 128

// fields are the fields of spec.bucket, by the name that kv.Difference has for them.
var fields = map[string]string{
	"TTL": "ttl", "History": "history", "Storage": "storage", "Replicas": "replicas", "MarkerTTL": "markerTTL",
}

// bucketAsRequested compares the bucket, as it is now, with what spec.bucket sets. A bucket that exists is never altered.
func (o *observation) bucketAsRequested() metav1.Condition {
	const kind = rollcallv1alpha1.ConditionBucketAsRequested
	b := &o.mirror.Bucket
	if b.Name == "" {
		c := condition(kind, false, rollcallv1alpha1.ReasonBucketUnknown, "the bucket was not read yet")
		c.Status = metav1.ConditionUnknown
		return c
	}
	var parts []string
	for _, d := range bucketConfigOf(o.spec).Differences(*b) {
		text := fmt.Sprintf("spec.bucket.%s is %s, and the bucket's is %s", fields[d.Setting], d.Want, d.Got)
		if d.Setting == "MarkerTTL" && oldServer(b.ServerVersion) {
			text += " (servers older than 2.11 write no markers)"
		}
		parts = append(parts, text)
	}
	if stale := staleAfter(o.spec); b.TTL > 0 && stale >= b.TTL {
		parts = append(parts, fmt.Sprintf("spec.liveness.staleAfter is %s and never takes effect, since nodes expire after the bucket's TTL of %s", stale, b.TTL))
	}
	if len(parts) > 0 {
		return condition(kind, false, rollcallv1alpha1.ReasonBucketDiffers,
			strings.Join(parts, "; ")+": the bucket is used as it is; change it, for example with nats stream edit, or the spec")
	}
	return condition(kind, true, rollcallv1alpha1.ReasonAsRequested, "the bucket is what spec.bucket asks for")
}

// noExpiry finds that nothing takes a node out that dies without a word.
func (o *observation) noExpiry() restriction {
	b := &o.mirror.Bucket
	if b.Name == "" || b.TTL > 0 || staleAfter(o.spec) > 0 {
		return restriction{}
	}
	return restriction{rollcallv1alpha1.ReasonNoExpiry, "the bucket has no TTL and spec.liveness.staleAfter is not set, " +
		"so a node that dies without unregistering keeps its traffic until somebody deletes its key: set staleAfter, or give the bucket a TTL"}
}

// bucketUnfit finds that the bucket takes no records of an ordinary size.
func (o *observation) bucketUnfit() restriction {
	b := &o.mirror.Bucket
	if b.MaxValueSize <= 0 || b.MaxValueSize >= leastValueSize {
		return restriction{}
	}
	text := fmt.Sprintf("the bucket takes values of at most %d bytes, headers included: most records are larger, and the server refuses them", b.MaxValueSize)
	if b.Markers {
		text += "; it may refuse its own markers too, and then no key ever passes its TTL"
	}
	return restriction{rollcallv1alpha1.ReasonBucketUnfit, text + ": raise the bucket's limit of the size of a value"}
}

// oldServer reports whether a server of that version knows no markers. A version that can't be read counts as new.
func oldServer(version string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major < 2 || (major == 2 && minor < 11)
}
