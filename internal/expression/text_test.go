package expression

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// podWith returns a pod in its JSON shape.
func podWith(t *testing.T, annotations map[string]string) map[string]any {
	t.Helper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-0", Labels: map[string]string{"app": "web"}, Annotations: annotations},
	})
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// TestPodText evaluates expressions over a pod with annotations that are too long to be seen.
func TestPodText(t *testing.T) {
	annotations := map[string]string{
		corev1.LastAppliedConfigAnnotation: strings.Repeat("{", 100<<10), "long": strings.Repeat("x", MaxString+1), "short": strings.Repeat("x", MaxString),
	}
	for expression, want := range map[string]string{
		"pod.metadata.name": "web-0",
		"pod.metadata.annotations.transformList(k, v, k).join(',')":                  "short",
		"string(pod.metadata.annotations.all(k, pod.metadata.annotations[k] != ''))": "true",
		"pod.metadata.?annotations.?long.orValue('none')":                            "none",
		"string(pod == pod)": "true",
		"string(pod.metadata.annotations.exists(k, v, v.matches('^x*$')))": "true",
		"pod.metadata.labels.?none":                                        "",
	} {
		p, err := CompilePodText("spec.nodeID", expression)
		if err != nil {
			t.Error(err)
			continue
		}
		for range 2 {
			got, found, err := p.Evaluate(podWith(t, annotations))
			if err != nil || got != want || found != (want != "") {
				t.Errorf("%s gives %q, %v: %v", expression, got, found, err)
			}
		}
	}
}

// TestPodBombs has expressions over a pod that must not cost more than any other.
func TestPodBombs(t *testing.T) {
	annotations := map[string]string{"a": strings.Repeat("a", MaxString), "b": strings.Repeat("b", MaxString)}
	for _, expression := range []string{
		"pod.metadata.annotations.a.replace('', pod.metadata.annotations.b)",
		"pod.metadata.annotations.a.split('').map(x, pod.metadata.annotations.a).join()",
		"pod.metadata.annotations.a.findAll('a.*b|a').join()",
		"string(lists.range(9000).map(x, pod) == lists.range(9000).map(x, pod))",
	} {
		p, err := CompilePodText("spec.nodeID", expression)
		if err != nil {
			t.Fatal(err)
		}
		pod := podWith(t, annotations)
		size, took := allocated(func() { _, _, err = p.Evaluate(pod) })
		if err == nil || size > mostAllocated || took > mostTime {
			t.Errorf("%s allocates %d bytes, takes %s, and ends with %v", expression, size, took, err)
		}
	}
	if _, err := CompilePodText("spec.nodeID", "quantity('1e250000000').sign() == 0 ? 'a' : 'b'"); err == nil {
		t.Error("there are quantities")
	}
}
