package endpointslice

import (
	"context"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// surround returns what there is to know of the Service but for its nodes. Which registries are listed changes with full passes only.
func (c *Controller) surround(ctx context.Context, service types.NamespacedName, st *state, selector labels.Selector, full, empty bool) (*surroundings, error) {
	s := &surroundings{unlisted: st.unlisted, foreign: st.foreign.remarks}
	if !full && !empty {
		return s, nil
	}
	list := &rollcallv1alpha1.NodeRegistryList{}
	if err := c.client.List(ctx, list, client.InNamespace(service.Namespace)); err != nil {
		return nil, fmt.Errorf("list the registries: %w", err)
	}
	s.unlisted = nil
	for i := range list.Items {
		// What may be removed of a node that nobody knows is the same for all of a registry that is not listed.
		name := list.Items[i].Name
		if concerns(selector, name) && !c.nodes.Settled(service.Namespace, name+".") {
			s.unlisted = append(s.unlisted, name)
		}
	}
	slices.Sort(s.unlisted)
	st.unlisted = s.unlisted
	if empty {
		s.candidates = c.candidates(service.Namespace, selector)
		var err error
		if s.missing, err = c.missing(ctx, service.Namespace, selector); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// about returns what a selector requires of a label: one that selects everything if that is nothing.
func about(selector labels.Selector, label string) labels.Selector {
	all := labels.NewSelector()
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		if r.Key() == label {
			all = all.Add(r)
		}
	}
	return all
}

// concerns returns true if a node of the registry may be selected.
func concerns(selector labels.Selector, registry string) bool {
	return about(selector, rollcallv1alpha1.LabelRegistry).Matches(labels.Set{rollcallv1alpha1.LabelRegistry: registry})
}

// candidates says which nodes the registries have that the selector may select. A node whose records were all refused has no label
// but that of its registry.
func (c *Controller) candidates(namespace string, selector labels.Selector) candidates {
	found := noCandidate
	for node := range c.nodes.Select(namespace, about(selector, rollcallv1alpha1.LabelRegistry)) {
		if node.Phase != rollcallv1alpha1.NodeInvalid {
			return otherCandidates
		}
		found = refusedCandidates
	}
	return found
}

// missing returns the name of a NodeRegistry that the selector names and that does not exist; empty if there is none.
func (c *Controller) missing(ctx context.Context, namespace string, selector labels.Selector) (string, error) {
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		named := r.Operator() == selection.Equals || r.Operator() == selection.DoubleEquals || r.Operator() == selection.In
		if r.Key() != rollcallv1alpha1.LabelRegistry || !named {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(r.Values())) {
			err := c.client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &rollcallv1alpha1.NodeRegistry{})
			if apierrors.IsNotFound(err) {
				return name, nil
			} else if err != nil {
				return "", fmt.Errorf("get registry: %w", err)
			}
		}
	}
	return "", nil
}
