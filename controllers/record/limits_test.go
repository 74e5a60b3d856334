package record_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
)

// properties reads the properties of the record's JSON Schema.
func properties(t *testing.T) map[string]apiextensionsv1.JSONSchemaProps {
	t.Helper()
	data, err := os.ReadFile("../../docs/reference/record.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]struct {
			MaxLength, MaxItems, MaxProperties *int64
			Items                              struct {
				Properties map[string]struct {
					MaxLength        *int64
					Minimum, Maximum *float64
				}
			}
		}
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	all := map[string]apiextensionsv1.JSONSchemaProps{}
	for name, p := range schema.Properties {
		all[name] = apiextensionsv1.JSONSchemaProps{MaxLength: p.MaxLength, MaxItems: p.MaxItems, MaxProperties: p.MaxProperties}
		for inner, i := range p.Items.Properties {
			all[name+"."+inner] = apiextensionsv1.JSONSchemaProps{MaxLength: i.MaxLength, Minimum: i.Minimum, Maximum: i.Maximum}
		}
	}
	return all
}

// spec reads the schema of a DiscoveredNode's spec.
func spec(t *testing.T) map[string]apiextensionsv1.JSONSchemaProps {
	t.Helper()
	data, err := os.ReadFile("../../config/crd/bases/rollcall.dev_discoverednodes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties
}

// reached reads a record with n addresses, m ports and a port name of that length, and returns whether it is accepted.
func reached(t *testing.T, addresses, ports, name int) bool {
	t.Helper()
	n := discovery.Node{ID: "n"}
	for i := range addresses {
		n.Addresses = append(n.Addresses, fmt.Sprintf("10.0.%d.%d", i/250, i%250))
	}
	for i := range ports {
		n.Ports = append(n.Ports, discovery.Port{Name: fmt.Sprintf("p%d", i), Port: i + 1})
	}
	n.Ports[0].Name = strings.Repeat("ä", name)
	value, err := discovery.Encode(n)
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err = discovery.Decode(value); err != nil {
		t.Fatal(err)
	}
	_, _, err = n.Reach()
	if err != nil && !errors.As(err, new(*discovery.RecordError)) {
		t.Fatal(err)
	}
	return err == nil
}

// The codec, the JSON Schema of the record and the DiscoveredNode have the same limits: what a node may write, its
// DiscoveredNode can hold.
func TestLimitsAgree(t *testing.T) {
	schema, node := properties(t), spec(t)
	port := node["ports"].Items.Schema.Properties
	for name, limit := range map[string]struct {
		constant     int
		schema, node *int64
	}{
		"Addresses":  {rollcallv1alpha1.MaxAddresses, schema["Addresses"].MaxItems, node["addresses"].MaxItems},
		"Ports":      {rollcallv1alpha1.MaxPorts, schema["Ports"].MaxItems, node["ports"].MaxItems},
		"Ports.Name": {rollcallv1alpha1.MaxPortNameLength, schema["Ports.Name"].MaxLength, port["name"].MaxLength},
		"Name":       {rollcallv1alpha1.MaxDisplayNameLength, schema["Name"].MaxLength, node["displayName"].MaxLength},
		"Zone":       {rollcallv1alpha1.MaxZoneLength, schema["Zone"].MaxLength, node["zone"].MaxLength},
		"Metadata":   {rollcallv1alpha1.MaxMetadataEntries, schema["Metadata"].MaxProperties, node["metadata"].MaxProperties},
	} {
		if limit.schema == nil || limit.node == nil || int(*limit.schema) != limit.constant || int(*limit.node) != limit.constant {
			t.Errorf("%s: %d, the schema of the record %v, that of the DiscoveredNode %v", name, limit.constant, limit.schema, limit.node)
		}
	}
	if a, b := schema["Ports.Port"], port["port"]; *a.Minimum != *b.Minimum || *a.Maximum != *b.Maximum {
		t.Errorf("Port is %v to %v in one schema, %v to %v in the other", *a.Minimum, *a.Maximum, *b.Minimum, *b.Maximum)
	}
	if most := schema["NodeId"].MaxLength; *most != discovery.MaxKeyLength || discovery.MaxKeyLength > rollcallv1alpha1.MaxKeyLength {
		t.Errorf("NodeId has at most %d characters, a key %d", *most, discovery.MaxKeyLength)
	}
	const addresses, ports, length = rollcallv1alpha1.MaxAddresses, rollcallv1alpha1.MaxPorts, rollcallv1alpha1.MaxPortNameLength
	if !reached(t, addresses, ports, length) {
		t.Error("the codec refuses what is within the limits")
	}
	if reached(t, addresses+1, ports, length) || reached(t, addresses, ports+1, length) || reached(t, addresses, ports, length+1) {
		t.Error("the codec accepts what is beyond the limits")
	}
}
