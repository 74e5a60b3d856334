package discovery

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaFile = "../docs/reference/record.schema.json"

func readSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func conforms(t *testing.T, s *jsonschema.Schema, value []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

// What Encode writes conforms to the schema.
func TestSchemaDescribesWhatIsWritten(t *testing.T) {
	s := readSchema(t)
	for _, n := range []Node{
		{ID: "n", Endpoint: "10.0.0.5:80"},
		{ID: "n.a/b=c", Addresses: []string{"10.0.0.5"}, Ports: []Port{{Port: 1}}},
		{
			ID: "n", Name: "n", Endpoint: "http://10.0.0.5", Addresses: []string{"10.0.0.5"}, Ports: []Port{{"http", 80, "TCP"}}, Zone: "z",
			Metadata: map[string]string{"k": "v"}, Load: new(0.5), LastSeen: time.Now(), Draining: true, Owner: &Owner{Cluster: "c", UID: "u", Registration: "r"},
		},
	} {
		value, err := Encode(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := conforms(t, s, value); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// The schema and the codec accept and refuse the same records.
func TestSchemaAgreesWithTheCodec(t *testing.T) {
	s := readSchema(t)
	with := func(members string) string {
		return strings.TrimSuffix(`{"NodeId":"n","Endpoint":"10.0.0.5:80",`+members, ",") + "}"
	}
	for value, valid := range map[string]bool{
		`{"NodeId":"n1","Endpoint":"http://10.1.2.3:5001","Load":0.5,"LastSeen":"2025-10-11T08:00:00.1234567Z","Metadata":{"v":"1"}}`: true,
		`{"NodeId":"n","Addresses":["10.0.0.5"],"Ports":[{"Port":80}]}`:                                                               true,
		`{"NodeId":"n"}`:                         false,
		`{"NodeId":"n","Endpoint":""}`:           false,
		`{"NodeId":"n","Addresses":["1.2.3.4"]}`: false,
		`{"Endpoint":"10.0.0.5:80"}`:             false,
		`{"NodeId":"","Endpoint":"1.2.3.4:1"}`:   false,
		`{"NodeId":1,"Endpoint":"1.2.3.4:1"}`:    false,
		`[]`:                                     false,
		`null`:                                   false,
		with(`"Unknown":{"a":[1]}`):              true,
		with(`"Name":null,"Addresses":null,"Ports":null,"Zone":null,"Metadata":null,"Load":null,"LastSeen":null,"Draining":null,"Owner":null`): true,
		with(`"LastSeen":"2025-10-11T08:00:00"`):       true,
		with(`"LastSeen":"2025-10-11T08:00:00+02:00"`): true,
		with(`"LastSeen":"0001-01-01T00:00:00"`):       true,
		with(`"LastSeen":"yesterday"`):                 false,
		with(`"LastSeen":1760169600`):                  false,
		with(`"Load":"0.5"`):                           false,
		with(`"Metadata":{"v":null}`):                  true,
		with(`"Metadata":{"v":1}`):                     false,
		with(`"Metadata":[]`):                          false,
		with(`"Draining":"yes"`):                       false,
		with(`"Owner":{"Cluster":"c","UID":null}`):     true,
		with(`"Owner":"me"`):                           false,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Name":null,"Port":80,"Protocol":null}]`): true,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Port":0}]`):                              false,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Port":65536}]`):                          false,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Name":"http"}]`):                         false,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Port":1,"Protocol":"ICMP"}]`):            false,
		with(`"Addresses":["10.0.0.5"],"Ports":["80"]`):                                    false,
		with(`"Addresses":"10.0.0.5"`):                                                     false,
	} {
		if err := conforms(t, s, []byte(value)); (err == nil) != valid {
			t.Errorf("the schema says %v of %s", err, value)
		}
		n, _, err := Decode([]byte(value))
		if err == nil {
			_, _, err = n.Reach()
		}
		if (err == nil) != valid {
			t.Errorf("the codec says %v of %s", err, value)
		}
	}
}

// The schema names the members that the codec knows, in the same case.
func TestSchemaKnowsEveryMember(t *testing.T) {
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	var schema object
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	var port struct {
		Items object `json:"items"`
	}
	if err := json.Unmarshal(schema.Properties["Ports"], &port); err != nil {
		t.Fatal(err)
	}
	var owner object
	if err := json.Unmarshal(schema.Properties["Owner"], &owner); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		codec  reflect.Type
		schema object
	}{{reflect.TypeFor[record](), schema}, {reflect.TypeFor[recordPort](), port.Items}, {reflect.TypeFor[recordOwner](), owner}} {
		if tt.codec.NumField() != len(tt.schema.Properties) {
			t.Errorf("%s has %d members, the schema %d", tt.codec, tt.codec.NumField(), len(tt.schema.Properties))
		}
		for f := range tt.codec.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if _, ok := tt.schema.Properties[name]; !ok {
				t.Errorf("the schema doesn't know %s of %s", name, tt.codec)
			}
		}
	}
}
