package discovery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
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

// verdict is what becomes of a record: it conforms to the schema, or is odd, which the codec accepts all the same, or refused
// by both.
type verdict int

const (
	refused verdict = iota
	odd
	conforming
)

// accepted returns whether the codec takes the record for a node that can be reached.
func accepted(value []byte) error {
	n, _, err := Decode(value)
	if err == nil {
		_, _, err = n.Reach()
	}
	return err
}

// The schema and the codec agree.
func TestSchemaAgreesWithTheCodec(t *testing.T) {
	s := readSchema(t)
	with := func(members string) string {
		return strings.TrimSuffix(`{"NodeId":"n","Endpoint":"10.0.0.5:80",`+members, ",") + "}"
	}
	at := func(endpoint string) string { return fmt.Sprintf(`{"NodeId":"n","Endpoint":%q}`, endpoint) }
	many := func(n int, format string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = strings.ReplaceAll(format, "#", strconv.Itoa(i+1))
		}
		return strings.Join(items, ",")
	}
	for value, want := range map[string]verdict{
		`{"NodeId":"n1","Endpoint":"http://10.1.2.3:5001","Load":0.5,"LastSeen":"2025-10-11T08:00:00.1234567Z","Metadata":{"v":"1"}}`: conforming,
		`{"NodeId":"n","Addresses":["10.0.0.5"],"Ports":[{"Port":80}]}`:                                                               conforming,
		`{"NodeId":"n"}`:                                                             refused,
		`{"NodeId":"n","Endpoint":""}`:                                               refused,
		`{"NodeId":"n","Addresses":["1.2.3.4"]}`:                                     refused,
		`{"NodeId":"n","Ports":[{"Port":80}]}`:                                       refused,
		`{"NodeId":"n","Addresses":[],"Ports":[],"Endpoint":null}`:                   refused,
		`{"NodeId":"n","Addresses":[],"Ports":[],"Endpoint":"1.2.3.4:1"}`:            conforming,
		`{"NodeId":"n","Addresses":["1.2.3.4"],"Ports":[{"Port":1}],"Endpoint":"x"}`: conforming,
		`{"NodeId":"n","Addresses":["1.2.3.4"],"Ports":[{"Port":1}],"Endpoint":7}`:   odd,
		`{"NodeId":"n","Addresses":["1.2.3.4"],"Endpoint":"http://name.example"}`:    conforming,
		`{"NodeId":"n","Addresses":["1.2.3.4"],"Endpoint":"tcp://name.example"}`:     refused,
		`{"NodeId":"n","Addresses":["1.2.3.4"],"Endpoint":"name:80"}`:                conforming,
		`{"NodeId":"n","Ports":[{"Port":1}],"Endpoint":"1.2.3.4"}`:                   conforming,
		`{"NodeId":"n","Ports":[{"Port":1}],"Endpoint":"::1"}`:                       conforming,
		`{"NodeId":"n","Ports":[{"Port":1}],"Endpoint":"tcp://[2001:db8::5]"}`:       conforming,
		`{"NodeId":"n","Ports":[{"Port":1}],"Endpoint":"name"}`:                      refused,
		`{"Endpoint":"10.0.0.5:80"}`:                                                 refused,
		`{"NodeId":"","Endpoint":"1.2.3.4:1"}`:                                       refused,
		`{"NodeId":1,"Endpoint":"1.2.3.4:1"}`:                                        refused,
		`{"NodeId":"n","nodeid":1,"Endpoint":"1.2.3.4:1"}`:                           refused,
		`{"NodeId":"n","endpoint":"1.2.3.4:1"}`:                                      odd,
		`{"NodeId":"n","Addresses":["1.2.3.4"],"Ports":[{"Port":1,"port":"x"}]}`:     refused,
		"{\"NodeId\":\"n\",\"Endpoint\":\"1.2.3.4:1\",\"Port\u017f\":7}":             refused,
		`[]`:                        refused,
		`null`:                      refused,
		with(`"Unknown":{"a":[1]}`): conforming,
		with(`"Name":null,"Addresses":null,"Ports":null,"Zone":null,"Metadata":null,"Load":null,"LastSeen":null,"Draining":null,"Owner":null`): conforming,
		with(`"LastSeen":"2025-10-11T08:00:00"`):       conforming,
		with(`"LastSeen":"2025-10-11T08:00:00+02:00"`): conforming,
		with(`"LastSeen":"0001-01-01T00:00:00"`):       conforming,
		with(`"LastSeen":"yesterday"`):                 odd,
		with(`"LastSeen":"2025-99-11T08:00:00"`):       conforming,
		with(`"LastSeen":1760169600`):                  odd,
		with(`"Load":"0.5"`):                           odd,
		with(`"Load":1e400`):                           conforming,
		with(`"Metadata":{"v":null}`):                  conforming,
		with(`"Metadata":{"v":1}`):                     odd,
		with(`"Metadata":[]`):                          odd,
		with(`"Name":7`):                               odd,
		with(`"Draining":"yes"`):                       odd,
		with(`"Owner":{"Cluster":"c","UID":null}`):     odd,
		with(`"Owner":{"Cluster":null,"UID":"u"}`):     conforming,
		with(`"Owner":"me"`):                           odd,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Name":null,"Port":80,"Protocol":null}]`): conforming,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Port":0}]`):                              refused,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Port":65536}]`):                          refused,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Port":8080.0}]`):                         conforming,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Port":8.08e3}]`):                         conforming,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Port":80.5}]`):                           refused,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Port":80.00000000000000000001}]`):        refused,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Port":"80"}]`):                           refused,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Name":"http"}]`):                         refused,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Port":1,"Protocol":"ICMP"}]`):            refused,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Port":1,"Protocol":"tcp"}]`):             odd,
		with(`"Addresses":["10.0.0.5"],"Ports":[{"Port":1},{"Port":2}]`):                   refused,
		with(`"Addresses":["10.0.0.5"],"Ports":["80"]`):                                    refused,
		with(`"Addresses":["10.0.0.5"],"Ports":[null]`):                                    refused,
		with(`"Addresses":"10.0.0.5"`):                                                     refused,
		with(`"Addresses":[null]`):                                                         refused,
		with(`"Addresses":["name"]`):                                                       refused,
		with(`"Addresses":["010.0.0.5"]`):                                                  refused,
		with(`"Addresses":["fe80::1%eth0"]`):                                               refused,
		with(`"Addresses":["::ffff:10.0.0.5","2001:DB8::5","::","1::","1:2:3:4:5:6:7:8"]`): conforming,
		with(`"Addresses":["1:2:3:4:5:6:7:8:9"]`):                                          refused,
		with(`"Addresses":["1::2::3"]`):                                                    refused,
		with(`"Addresses":[` + many(64, `"10.0.0.#"`) + `]`):                               conforming,
		with(`"Addresses":[` + many(65, `"10.0.0.#"`) + `]`):                               refused,
		with(`"Ports":[` + many(1000, `{"Name":"p#","Port":#}`) + `]`):                     conforming,
		with(`"Ports":[` + many(1001, `{"Name":"p#","Port":#}`) + `]`):                     refused,
		with(`"Ports":[{"Port":1,"Name":"` + strings.Repeat("ä", 63) + `"}]`):              conforming,
		with(`"Ports":[{"Port":1,"Name":"` + strings.Repeat("ä", 64) + `"}]`):              refused,
		with(`"Name":"` + strings.Repeat("x", 1025) + `"`):                                 odd,
		with(`"Zone":"` + strings.Repeat("x", 254) + `"`):                                  odd,
		with(`"Metadata":{` + many(1025, `"#":""`) + `}`):                                  odd,
		at("http://10.0.0.5"):                                                              conforming,
		at("https://10.0.0.5/p@th?q=a@b#c@d"):                                              conforming,
		at("http://10.0.0.5:80/%41?%zz"):                                                   conforming,
		at("http://10.0.0.5:80/%zz"):                                                       refused,
		at("http://10.0.0.5:80/#%zz"):                                                      refused,
		at("http://me@10.0.0.5:80"):                                                        refused,
		at("http://me:secret@10.0.0.5:80/"):                                                refused,
		at("me@10.0.0.5:80"):                                                               refused,
		at("10.0.0.5:80/p@th"):                                                             refused,
		at("http://[2001:db8::5]:80"):                                                      conforming,
		at("http://[::ffff:10.0.0.5]:80"):                                                  conforming,
		at("http://[fe80::1%25eth0]:80"):                                                   refused,
		at("http://2001:db8::5"):                                                           refused,
		at("[2001:db8::5]:80"):                                                             conforming,
		at("2001:db8::5"):                                                                  refused,
		at("http://name:80"):                                                               refused,
		at("tcp://10.0.0.5"):                                                               refused,
		at("tcp://10.0.0.5:65535"):                                                         conforming,
		at("tcp://10.0.0.5:65536"):                                                         refused,
		at("10.0.0.5:0"):                                                                   refused,
		at("10.0.0.5:080"):                                                                 odd,
		at("10.0.0.256:80"):                                                                refused,
		at(strings.Repeat("x", 63) + "://10.0.0.5:1"):                                      conforming,
		at(strings.Repeat("x", 64) + "://10.0.0.5:1"):                                      refused,
	} {
		name := value[:min(len(value), 200)]
		if err := conforms(t, s, []byte(value)); (err == nil) != (want == conforming) {
			t.Errorf("the schema says %v of %s", err, name)
		}
		if err := accepted([]byte(value)); (err == nil) != (want != refused) {
			t.Errorf("the codec says %v of %s", err, name)
		}
	}
}

// What the schema accepts is accepted, whatever stands in place of any one member: so what the codec refuses, the schema does
// too.
func TestWhatConformsIsAccepted(t *testing.T) {
	t.Parallel()
	s := readSchema(t)
	conforming := 0
	for n, without := range [][]string{{}, {"Endpoint"}, {"Addresses"}, {"Ports"}, {"Addresses", "Ports"}} {
		base := maps.Clone(goodMembers)
		for _, name := range without {
			delete(base, name)
		}
		for name := range goodMembers {
			values := oddValues
			if name == "Endpoint" {
				values = slices.Concat(oddValues, oddEndpoints)
			}
			for i, raw := range values {
				if n > 0 && i%4 != n-1 {
					continue // Each where something is missing stands for four.
				}
				members := maps.Clone(base)
				members[name] = raw
				value := []byte(recordOf(members))
				if !json.Valid(value) || conforms(t, s, value) != nil {
					continue
				}
				conforming++
				if err := accepted(value); err != nil {
					t.Errorf("%.300s conforms, and the codec says %v", value, err)
				}
			}
		}
	}
	if conforming < 500 {
		t.Errorf("only %d records conform", conforming)
	}
}

// oddEndpoints are what may stand in an Endpoint, as JSON.
var oddEndpoints = func() (all []string) {
	for _, host := range []string{"10.0.0.5", "name", "[2001:db8::5]", "2001:db8::5", "[name]", "", "10.0.0", "me@10.0.0.5", "10.0.0.5.", "x_y.z", "-x", "[::1%25e]"} {
		for _, port := range []string{"", ":", ":80", ":0", ":65536", ":http", ":080"} {
			for _, path := range []string{"", "/", "/a b", "/p@th", "?q@x", "#f@x", "/%zz", "/\u007f", "/\\", "@x"} {
				for _, scheme := range []string{"", "http://", "tcp://", "//", "HTTP://", "1x://", "a.b+c-d://", "http:", ":"} {
					all = append(all, `"`+scheme+host+port+path+`"`)
				}
			}
		}
	}
	return all
}()

// What can't be said in the schema: no two ports have the same name.
func TestPortsOfOneName(t *testing.T) {
	value := []byte(`{"NodeId":"n","Addresses":["10.0.0.5"],"Ports":[{"Name":"a","Port":1},{"Name":"a","Port":2}]}`)
	if err := conforms(t, readSchema(t), value); err != nil {
		t.Errorf("the schema knows: say so in its description, and drop this test: %v", err)
	}
	if err := accepted(value); reasonOf(err) != ReasonInvalidPort {
		t.Errorf("got %v", err)
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
