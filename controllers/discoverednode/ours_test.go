package discoverednode

import (
	"maps"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// The labels of others stay, those that were Rollcall's go, whoever has changed them since.
func TestWhoseLabels(t *testing.T) {
	type labels = map[string]string
	written := func(text string) labels { return labels{rollcallv1alpha1.AnnotationLabels: text} }
	for name, test := range map[string]struct {
		annotations, before labels
		spec, node, want    labels
		wantWritten         string
	}{
		"of a new object":                      {nil, nil, labels{"role": "role"}, labels{"role": "web"}, labels{"role": "web"}, "role=web"},
		"somebody else's":                      {written("role=web"), labels{"role": "web", "team": "a"}, labels{"role": "role"}, labels{"role": "web"}, labels{"role": "web", "team": "a"}, "role=web"},
		"ours, changed":                        {written("role=web"), labels{"role": "db"}, labels{"role": "role"}, labels{"role": "web"}, labels{"role": "web"}, "role=web"},
		"ours, removed":                        {written("role=web"), nil, labels{"role": "role"}, labels{"role": "web"}, labels{"role": "web"}, "role=web"},
		"no value any more":                    {written("role=web"), labels{"role": "web"}, labels{"role": "role"}, nil, labels{}, ""},
		"no value any more, changed":           {written("role=web"), labels{"role": "db"}, labels{"role": "role"}, nil, labels{}, ""},
		"never a value, and somebody else's":   {written(""), labels{"role": "db"}, labels{"role": "role"}, nil, labels{"role": "db"}, ""},
		"a value at last":                      {written(""), labels{"role": "db"}, labels{"role": "role"}, labels{"role": "web"}, labels{"role": "web"}, "role=web"},
		"another key":                          {written("role=web"), labels{"role": "web"}, labels{"zone": "zone"}, labels{"zone": "a"}, labels{"zone": "a"}, "zone=a"},
		"no key any more":                      {written("role=web"), labels{"role": "web", "team": "a"}, nil, nil, labels{"team": "a"}, "-"},
		"no key any more, not applied yet":     {written("role=web"), labels{"role": "web"}, nil, labels{"role": "web"}, labels{"role": "web"}, "role=web"},
		"somebody else's, spec.labels are new": {nil, labels{"role": "web", "team": "a"}, labels{"role": "role"}, nil, labels{"role": "web", "team": "a"}, ""},
		"somebody else's, without spec.labels": {nil, labels{"team": "a"}, nil, nil, labels{"team": "a"}, "-"},
		"an annotation that is none":           {written("=,role,,=x,role=web"), labels{"role": "web", "team": "a"}, labels{"role": "role"}, nil, labels{"team": "a"}, ""},
	} {
		n, registry := healthy(), registryOf(time.Minute)
		n.Labels, registry.Spec.Labels = test.node, test.spec
		existing := &rollcallv1alpha1.DiscoveredNode{ObjectMeta: metav1.ObjectMeta{Annotations: test.annotations, Labels: test.before}}
		got := project(n, registry, existing)
		if !maps.Equal(got.Labels, test.want) {
			t.Errorf("%s: the labels are %v, want %v", name, got.Labels, test.want)
		}
		text, is := got.Annotations[rollcallv1alpha1.AnnotationLabels]
		if is != (test.wantWritten != "-") || is && text != test.wantWritten {
			t.Errorf("%s: the annotation is %q", name, text)
		}
		if again := project(n, registry, got); compare(got, again) != none {
			t.Errorf("%s: it is never what it should be", name)
		}
	}
}

func TestWhoseOwnerReferences(t *testing.T) {
	registry := registryOf(time.Minute)
	other := func(controller *bool) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "d", UID: "d", Controller: controller}
	}
	ours := func(controller *bool) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: rollcallv1alpha1.GroupVersion.String(), Kind: "NodeRegistry", Name: "catga", UID: "u", Controller: controller}
	}
	former := ours(new(true))
	former.UID, former.BlockOwnerDeletion = "v", new(true)
	for name, test := range map[string]struct{ before, want []metav1.OwnerReference }{
		"none":                           {nil, []metav1.OwnerReference{ours(new(true))}},
		"somebody else's":                {[]metav1.OwnerReference{other(nil)}, []metav1.OwnerReference{other(nil), ours(new(true))}},
		"somebody else's controller":     {[]metav1.OwnerReference{other(new(true))}, []metav1.OwnerReference{other(new(true)), ours(nil)}},
		"of the registry that was":       {[]metav1.OwnerReference{former, other(nil)}, []metav1.OwnerReference{ours(new(true)), other(nil)}},
		"of both":                        {[]metav1.OwnerReference{other(nil), ours(new(true)), former}, []metav1.OwnerReference{other(nil), ours(new(true))}},
		"something that is no reference": {[]metav1.OwnerReference{{APIVersion: "a/b/c", Kind: "NodeRegistry"}}, []metav1.OwnerReference{{APIVersion: "a/b/c", Kind: "NodeRegistry"}, ours(new(true))}},
	} {
		existing := project(healthy(), registry, nil)
		existing.OwnerReferences = test.before
		got := project(healthy(), registry, existing)
		want := got.DeepCopy()
		want.OwnerReferences = test.want
		if compare(got, want) != none {
			t.Errorf("%s: the owners are %v", name, got.OwnerReferences)
		}
		if compare(got, project(healthy(), registry, got)) != none {
			t.Errorf("%s: it is never what it should be", name)
		}
		if !owned(got) {
			t.Errorf("%s: it has no owner", name)
		}
	}
}
