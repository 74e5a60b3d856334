package refusal

import (
	"slices"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// slice returns a slice with endpoints that are written as "a" for one that is ready, "a!" for one that only serves, "a-" for one that
// does neither, and "a:zone" for one in a zone.
func slice(port int32, endpoints ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "web-1", Labels: map[string]string{"port": string('a' + port)}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port}},
	}
	for _, text := range endpoints {
		at, zone, zoned := strings.Cut(text, ":")
		e := discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{
			Ready: new(!strings.HasSuffix(at, "!") && !strings.HasSuffix(at, "-")), Serving: new(!strings.HasSuffix(at, "-")),
			Terminating: new(strings.HasSuffix(at, "!")),
		}}
		e.Addresses = []string{strings.TrimRight(at, "!-")}
		if zoned {
			e.Zone = &zone
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func texts(s *discoveryv1.EndpointSlice) (all []string) {
	for _, e := range s.Endpoints {
		text := e.Addresses[0]
		switch {
		case *e.Conditions.Ready:
		case *e.Conditions.Serving:
			text += "!"
		default:
			text += "-"
		}
		if e.Zone != nil {
			text += ":" + *e.Zone
		}
		all = append(all, text)
	}
	return all
}

func TestChange(t *testing.T) {
	for name, test := range map[string]struct {
		base, desired []string
		ports         int32
		losing        []string
		fresh         []int
		loses         bool
	}{
		"nothing":                       {[]string{"a", "b"}, []string{"a", "b"}, 1, []string{"a", "b"}, nil, false},
		"one more":                      {[]string{"a"}, []string{"a", "b"}, 1, []string{"a"}, []int{1}, false},
		"one less":                      {[]string{"a", "b"}, []string{"b"}, 1, []string{"b"}, nil, true},
		"both":                          {[]string{"a", "b"}, []string{"b", "c"}, 1, []string{"b"}, []int{1}, true},
		"one drains":                    {[]string{"a", "b"}, []string{"a!", "b"}, 1, []string{"a!", "b"}, nil, true},
		"one dies and one comes":        {[]string{"a", "b"}, []string{"a-", "b", "c"}, 1, []string{"a-", "b"}, []int{2}, true},
		"one is ready again":            {[]string{"a!"}, []string{"a"}, 1, []string{"a!"}, []int{0}, false},
		"another zone":                  {[]string{"a:x"}, []string{"a:y"}, 1, []string{"a:x"}, []int{0}, false},
		"another zone, and it drains":   {[]string{"a:x"}, []string{"a!:y"}, 1, []string{"a!:x"}, []int{0}, true},
		"another address":               {[]string{"a"}, []string{"b"}, 1, nil, []int{0}, true},
		"other ports":                   {[]string{"a", "b"}, []string{"a", "b"}, 2, []string{"a", "b"}, []int{0, 1}, false},
		"other ports, and one is gone":  {[]string{"a", "b"}, []string{"a"}, 2, []string{"a"}, []int{0}, true},
		"all are gone":                  {[]string{"a", "b"}, nil, 1, nil, nil, true},
		"one that is there twice":       {[]string{"a", "a"}, []string{"a"}, 1, []string{"a"}, nil, true},
		"in another order, and one new": {[]string{"a", "b"}, []string{"c", "b", "a"}, 1, []string{"b", "a"}, []int{0}, false},
	} {
		t.Run(name, func(t *testing.T) {
			base, desired := slice(1, test.base...), slice(test.ports, test.desired...)
			c := NewChange(base, desired)
			losing := c.Losing()
			if got := texts(losing); !slices.Equal(got, test.losing) || *losing.Ports[0].Port != 1 || losing.Labels["port"] != "b" {
				t.Errorf("what it only loses leaves %v of the ports %d", got, *losing.Ports[0].Port)
			}
			if got := c.New(); !slices.Equal(got, test.fresh) {
				t.Errorf("%v are new, not %v", got, test.fresh)
			}
			if c.Loses() != test.loses || c.Regroups() != (test.ports != 1) {
				t.Errorf("it loses: %t, gets other ports: %t", c.Loses(), c.Regroups())
			}
			if got := texts(c.With(c.New())); !slices.Equal(got, test.desired) {
				t.Errorf("with all that is new it is %v", got)
			}
			if !slices.Equal(texts(base), test.base) {
				t.Errorf("the base was changed to %v", texts(base))
			}
		})
	}
}

func TestStaying(t *testing.T) {
	missing := func(at string) bool { return at == "b" }
	got := Staying(slice(1, "a", "b", "c"), slice(1, "c"), missing)
	if !slices.Equal(texts(got), []string{"c", "b"}) {
		t.Errorf("%v stay", texts(got))
	}
	if got := Staying(slice(1, "a", "b"), nil, missing); !slices.Equal(texts(got), []string{"b"}) {
		t.Errorf("%v stay of a slice that is to be deleted", texts(got))
	}
}
