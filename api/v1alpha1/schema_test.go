package v1alpha1_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// definitions reads the generated definitions, by kind.
func definitions(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob("../../config/crd/bases/*.yaml")
	if err != nil {
		t.Fatalf("list the definitions: %v", err)
	}
	byKind := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("read a definition: %v", err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &crd); err != nil {
			t.Fatalf("parse %s: %v", file, err)
		}
		byKind[crd.Spec.Names.Kind] = &crd
	}
	if kinds := slices.Sorted(maps.Keys(byKind)); !slices.Equal(kinds, []string{"DiscoveredNode", "NodeRegistry", "PodRegistration"}) {
		t.Fatalf("the kinds are %v", kinds)
	}
	return byKind
}

// TestSchema holds every field of the schema to what the API promises: a description, a type for every list, and
// bounds on what the API server checks with CEL.
func TestSchema(t *testing.T) {
	for kind, crd := range definitions(t) {
		for _, version := range crd.Spec.Versions {
			schema := version.Schema.OpenAPIV3Schema
			delete(schema.Properties, "metadata") // The API server describes it.
			walk(kind, *schema, func(path string, schema apiextensionsv1.JSONSchemaProps) {
				if schema.Description == "" {
					t.Errorf("%s has no description", path)
				}
				if schema.Type == "array" && schema.XListType == nil {
					t.Errorf("%s has no list type", path)
				}
				if schema.Type == "string" && len(schema.XValidations) > 0 && schema.MaxLength == nil {
					t.Errorf("%s has rules, but no greatest length", path)
				}
			})
		}
	}
}

// walk calls visit with every field of a schema, and with the schema itself. The elements of lists and maps count as one
// with the field that holds them.
func walk(path string, schema apiextensionsv1.JSONSchemaProps, visit func(string, apiextensionsv1.JSONSchemaProps)) {
	visit(path, schema)
	for schema.Items != nil || schema.AdditionalProperties != nil {
		if schema.Items != nil {
			schema = *schema.Items.Schema
		} else {
			schema = *schema.AdditionalProperties.Schema
		}
	}
	for name, property := range schema.Properties {
		walk(path+"."+name, property, visit)
	}
}

// TestLimits holds the constants that a record is checked against to the limits of the schema.
func TestLimits(t *testing.T) {
	root := definitions(t)["DiscoveredNode"].Spec.Versions[0].Schema.OpenAPIV3Schema
	spec := root.Properties["spec"].Properties
	for name, limit := range map[string]struct {
		schema *int64
		limit  int64
	}{
		"key":          {spec["key"].MaxLength, rollcallv1alpha1.MaxKeyLength},
		"nodeID":       {spec["nodeID"].MaxLength, rollcallv1alpha1.MaxKeyLength},
		"displayName":  {spec["displayName"].MaxLength, rollcallv1alpha1.MaxDisplayNameLength},
		"addresses":    {spec["addresses"].MaxItems, rollcallv1alpha1.MaxAddresses},
		"addresses[]":  {spec["addresses"].Items.Schema.MaxLength, rollcallv1alpha1.MaxAddressLength},
		"ports":        {spec["ports"].MaxItems, rollcallv1alpha1.MaxPorts},
		"ports[].name": {spec["ports"].Items.Schema.Properties["name"].MaxLength, rollcallv1alpha1.MaxPortNameLength},
		"zone":         {spec["zone"].MaxLength, rollcallv1alpha1.MaxZoneLength},
		"metadata":     {spec["metadata"].MaxProperties, rollcallv1alpha1.MaxMetadataEntries},
		"status.load":  {root.Properties["status"].Properties["load"].MaxLength, rollcallv1alpha1.MaxLoadLength},
	} {
		if limit.schema == nil || *limit.schema != limit.limit {
			t.Errorf("the limit of %s is %v in the schema, want %d", name, limit.schema, limit.limit)
		}
	}
}

// TestSubresources makes sure that only the mirror, which has a single writer, goes without a status subresource.
func TestSubresources(t *testing.T) {
	for kind, crd := range definitions(t) {
		subresources := crd.Spec.Versions[0].Subresources
		if has := subresources != nil && subresources.Status != nil; has != (kind != "DiscoveredNode") {
			t.Errorf("%s: a status subresource is %t", kind, has)
		}
	}
}
