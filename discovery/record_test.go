package discovery

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func reasonOf(err error) Reason {
	if re, ok := errors.AsType[*RecordError](err); ok {
		return re.Reason
	}
	return ""
}

func TestDecode(t *testing.T) {
	seen := time.Date(2025, 10, 11, 8, 0, 0, 123456700, time.UTC)
	tests := map[string]struct {
		in   string
		want Node
	}{
		"a .NET record": {
			`{"NodeId":"n1","Endpoint":"http://10.1.2.3:5001","Load":0.5,"LastSeen":"2025-10-11T08:00:00.1234567Z","Metadata":{"v":"1"}}`,
			Node{ID: "n1", Endpoint: "http://10.1.2.3:5001", Load: new(0.5), LastSeen: seen, Metadata: map[string]string{"v": "1"}},
		},
		"no zone is UTC":      {`{"NodeId":"n1","LastSeen":"2025-10-11T08:00:00.1234567"}`, Node{ID: "n1", LastSeen: seen}},
		"an offset":           {`{"NodeId":"n1","LastSeen":"2025-10-11T10:00:00.1234567+02:00"}`, Node{ID: "n1", LastSeen: seen}},
		"the year 1":          {`{"NodeId":"n1","LastSeen":"0001-01-01T00:00:00"}`, Node{ID: "n1"}},
		"before the year 1":   {`{"NodeId":"n1","LastSeen":"0001-01-01T00:00:00+01:00"}`, Node{ID: "n1"}},
		"1970":                {`{"NodeId":"n1","LastSeen":"1970-01-01T00:00:00Z"}`, Node{ID: "n1", LastSeen: time.Unix(0, 0).UTC()}},
		"any case":            {`{"nodeid":"n1","ENDPOINT":"a:1","lastSeen":"2025-10-11T08:00:00.1234567Z","mEtAdAtA":{"Key":"V"}}`, Node{ID: "n1", Endpoint: "a:1", LastSeen: seen, Metadata: map[string]string{"Key": "V"}}},
		"null is absent":      {`{"NodeId":"n1","Endpoint":null,"Load":null,"LastSeen":null,"Metadata":null,"Ports":null,"Owner":null,"Draining":null}`, Node{ID: "n1"}},
		"unknown is ignored":  {`{"NodeId":"n1","IsOnline":true,"Extra":{"a":[1,{}]}}`, Node{ID: "n1"}},
		"white space is fine": {" \n{\"NodeId\":\"n1\"}\n", Node{ID: "n1"}},
		"everything": {
			`{"NodeId":"web-1","Name":"web 1","Endpoint":"http://10.0.0.5:8080","Addresses":["10.0.0.5"],"Ports":[{"Name":"http","Port":8080,"Protocol":"TCP"}],"Zone":"eu-1a","Metadata":{"role":"web"},"Load":0,"LastSeen":"2025-10-11T08:00:00.1234567Z","Draining":true,"Owner":{"Cluster":"c","UID":"u"}}`,
			Node{
				ID: "web-1", Name: "web 1", Endpoint: "http://10.0.0.5:8080", Addresses: []string{"10.0.0.5"},
				Ports: []Port{{Name: "http", Port: 8080, Protocol: "TCP"}}, Zone: "eu-1a", Metadata: map[string]string{"role": "web"},
				Load: new(0.0), LastSeen: seen, Draining: true, Owner: &Owner{Cluster: "c", UID: "u"},
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, _, err := Decode([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	tests := map[string]struct {
		in     string
		reason Reason
		detail string // what the detail must name
	}{
		"nothing":            {"", ReasonEmpty, ""},
		"white space":        {" \n", ReasonEmpty, ""},
		"text":               {"hello", ReasonNotJSON, ""},
		"cut off":            {`{"NodeId":"n1"`, ReasonNotJSON, ""},
		"two values":         {`{"NodeId":"n1"}{}`, ReasonNotJSON, ""},
		"deep nesting":       {strings.Repeat("[", 20000), ReasonNotJSON, ""},
		"null":               {"null", ReasonNotObject, "object"},
		"an array":           {"[]", ReasonNotObject, "object"},
		"a number":           {"1", ReasonNotObject, "object"},
		"no ID":              {"{}", ReasonMissingNodeID, "NodeId"},
		"an empty ID":        {`{"NodeId":""}`, ReasonMissingNodeID, "NodeId"},
		"a null ID":          {`{"NodeId":null}`, ReasonMissingNodeID, "NodeId"},
		"a number as ID":     {`{"NodeId":1}`, ReasonWrongShape, "NodeId"},
		"text as port":       {`{"NodeId":"n","Ports":[{"Port":"80"}]}`, ReasonWrongShape, "Ports.Port"},
		"a fraction as port": {`{"NodeId":"n","Ports":[{"Port":80.5}]}`, ReasonWrongShape, "Ports.Port"},
		"text as addresses":  {`{"NodeId":"n","Addresses":"10.0.0.1"}`, ReasonWrongShape, "Addresses"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := Decode([]byte(tt.in))
			if got := reasonOf(err); got != tt.reason {
				t.Fatalf("reason %q, want %q (%v)", got, tt.reason, err)
			}
			if !strings.Contains(err.Error(), tt.detail) {
				t.Errorf("%q doesn't name %q", err, tt.detail)
			}
		})
	}
}

func TestEncode(t *testing.T) {
	got, err := Encode(Node{
		ID: "n1", Endpoint: "http://10.1.2.3:5001", Load: new(0.5), Metadata: map[string]string{"v": "1"},
		LastSeen: time.Date(2025, 10, 11, 10, 0, 0, 123456789, time.FixedZone("", 7200)),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"NodeId":"n1","Endpoint":"http://10.1.2.3:5001","Metadata":{"v":"1"},"Load":0.5,"LastSeen":"2025-10-11T08:00:00.1234567Z"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEncodeErrors(t *testing.T) {
	tests := map[string]struct {
		node Node
		want Reason
	}{
		"no ID":           {Node{}, ReasonMissingNodeID},
		"NaN":             {Node{ID: "n", Load: new(math.NaN())}, ReasonWrongShape},
		"infinite":        {Node{ID: "n", Load: new(math.Inf(1))}, ReasonWrongShape},
		"the year 10,000": {Node{ID: "n", LastSeen: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, ReasonWrongShape},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Encode(tt.node); reasonOf(err) != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"NodeId":"n1","Endpoint":"http://10.1.2.3:5001","Load":0.5,"LastSeen":"2025-10-11T08:00:00.1234567Z","Metadata":{"v":"1"}}`))
	f.Add([]byte(`{"nodeid":"n","LastSeen":"9999-12-31T23:59:59-14:00","Ports":[{"Port":-1}],"Owner":{}}`))
	f.Add([]byte(`{"NodeId":"n","Metadata":{"a":null},"Addresses":[null]}`))
	f.Add([]byte("null"))
	f.Add([]byte("\xff\xfe"))
	f.Add([]byte(recordOf(goodMembers)))
	for _, raw := range oddValues {
		f.Add([]byte(raw))
		f.Add([]byte(spoiled("Metadata", raw)))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		checkPlain(t, in)
		checkBothPathsAgree(t, in)
		checkRepair(t, in)
		if spoilable(in) {
			for _, member := range informing {
				if _, _, err := Decode([]byte(spoiled(member, string(in)))); err != nil {
					t.Fatalf("%s %q: %v", member, in, err)
				}
			}
		}
		n, remarks, err := Decode(in)
		if len(remarks) > maxRemarks+1 {
			t.Fatalf("%d remarks", len(remarks))
		}
		if err != nil {
			if reasonOf(err) == "" {
				t.Fatalf("%v has no reason", err)
			}
			return
		}
		out, err := Encode(n)
		if err != nil {
			t.Fatalf("%+v was read but can't be written: %v", n, err)
		}
		again, _, err := Decode(out)
		if err != nil {
			t.Fatalf("%s was written but can't be read: %v", out, err)
		}
		n.LastSeen = n.LastSeen.Truncate(100 * time.Nanosecond)
		if diff := cmp.Diff(n, again, equateEmpty); diff != "" {
			t.Fatal(diff)
		}
	})
}

// equateEmpty compares empty slices and maps as equal to absent ones, which is how they are written.
var equateEmpty = cmp.FilterValues(func(a, b any) bool { return isEmpty(a) && isEmpty(b) }, cmp.Ignore())

func isEmpty(v any) bool {
	switch v := v.(type) {
	case []string:
		return len(v) == 0
	case []Port:
		return len(v) == 0
	case map[string]string:
		return len(v) == 0
	}
	return false
}
