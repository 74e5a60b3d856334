package discovery

import (
	"testing"
	"time"
)

func TestTemplate(t *testing.T) {
	seen := time.Date(2026, 11, 22, 20, 0, 0, 123456700, time.UTC)
	for name, n := range map[string]Node{
		"plain":              {ID: "a", Endpoint: "h:1"},
		"owner and draining": {ID: "a", Draining: true, Load: new(0.5), Owner: &Owner{"c", "u", "r"}},
		"a trap":             {ID: "a", Metadata: map[string]string{"LastSeen": "2026", "x": `"LastSeen":"`, "z": `\"LastSeen\":\"`}, Owner: &Owner{Cluster: `"LastSeen":"`}},
		"a trap as its name": {ID: `"LastSeen":"`, Name: `","LastSeen":"x"`},
	} {
		template, err := NewTemplate(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []time.Time{seen, seen.Truncate(time.Second), seen.In(time.FixedZone("", 3600))} {
			n.LastSeen = at
			want, err := Encode(n)
			if err != nil {
				t.Fatal(err)
			}
			if got := template.At(at); string(got) != string(want) || !template.Made(got) {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		other := n
		other.Name += "x"
		if o, _ := NewTemplate(other); o.Equal(template) || o.Made(template.At(seen)) {
			t.Errorf("%s: a template is taken for another", name)
		}
	}
	if (Template{}).Made([]byte(`{}`)) {
		t.Error("a template of nobody makes a record")
	}
}
