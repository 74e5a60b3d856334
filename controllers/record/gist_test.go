package record

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

const wholeRecord = `{"NodeId":"a","Name":"a b","Endpoint":"http://10.0.0.1:80","Addresses":["10.0.0.1"],"Ports":[{"Name":"http","Port":80}],` +
	`"Zone":"z","Metadata":{"role":"web","q":"\"Load\":1,"},"Load":0.5,"LastSeen":"2025-10-11T08:00:00Z","Draining":false}`

var gistWritten = time.Date(2025, 10, 11, 8, 0, 1, 0, time.UTC)

func readGist(text string, last Gist) Reading {
	return Read(&kv.Entry{Key: "node.a", Value: []byte(text), Written: gistWritten}, &Policy{KeyPrefix: "node."}, last)
}

// swapped returns the whole record with something else in a place of it.
func swapped(old, other string) string { return strings.Replace(wholeRecord, old, other, 1) }

// A record that differs from the last one in its time and load alone is not decoded; any other is.
func TestARecordThatRepeatsAnother(t *testing.T) {
	for name, tt := range map[string]struct {
		text    string
		repeats bool
		load    string
	}{
		"the same":                       {wholeRecord, true, "0.5"},
		"another time":                   {swapped("08:00:00Z", "09:59:59.1234567+02:00"), true, "0.5"},
		"a time without a zone":          {swapped("08:00:00Z", "08:00:00.5"), true, "0.5"},
		"another load":                   {swapped("0.5,", "-1.25e1,"), true, "-12.5"},
		"a time of another day":          {swapped("2025-10-11", "2024-10-11"), false, "0.5"},
		"a time that is none":            {swapped("2025-10-11", "2025-13-11"), false, "0.5"},
		"a time that is no string":       {swapped(`"2025-10-11T08:00:00Z"`, "1"), false, "0.5"},
		"a load that is text":            {swapped("0.5,", `"0.5",`), false, "0.5"},
		"a load that is no number":       {swapped("0.5,", "0x1p-1,"), false, ""},
		"a load that is too large":       {swapped("0.5,", "1e999,"), false, ""},
		"a load that is null":            {swapped("0.5,", "null,"), false, ""},
		"no load":                        {swapped(`"Load":0.5,`, ""), false, ""},
		"a second load":                  {swapped(`"Draining"`, `"Load":0.7,"Draining"`), false, "0.7"},
		"a load in another case":         {swapped(`"Draining"`, `"load":0.7,"Draining"`), false, "0.7"},
		"a name with an escape":          {swapped(`"Draining"`, `"Loa\u0064":0.7,"Draining"`), false, "0.7"},
		"a name with a letter like an s": {swapped(`"LastSeen"`, `"La`+"\u017f"+`tSeen"`), false, "0.5"},
		"draining":                       {swapped("false", "true"), false, "0.5"},
		"another address":                {swapped(`["10.0.0.1"]`, `["10.0.0.2"]`), false, "0.5"},
		"metadata that looks like load":  {swapped(`\"Load\":1`, `\"Load\":2`), false, "0.5"},
		"a member more":                  {swapped(`"Draining"`, `"X":1,"Draining"`), false, "0.5"},
		"cut off":                        {wholeRecord[:len(wholeRecord)-1], false, ""},
		"more after it":                  {wholeRecord + "x", false, ""},
		"another order":                  {swapped(`"Load":0.5,"LastSeen":"2025-10-11T08:00:00Z"`, `"LastSeen":"2025-10-11T08:00:00Z","Load":0.5`), false, "0.5"},
		"nothing":                        {"", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			first := readGist(wholeRecord, 0)
			facts := first.Onto(nil)
			reading := readGist(tt.text, facts.Gist())
			if reading.Repeats() != tt.repeats {
				t.Errorf("it repeats the record: %t", reading.Repeats())
			}
			if load := reading.Load(""); load != tt.load {
				t.Errorf("its load is %q", load)
			}
		})
	}
}

// What comes of a record that repeats another one is what comes of it when it is decoded.
func TestARepetitionSaysWhatItsRecordSays(t *testing.T) {
	first := readGist(wholeRecord, 0)
	known := first.Onto(nil)
	text := swapped("0.5,", "0.7,")
	short, long := readGist(text, known.Gist()), readGist(text, 0)
	if !short.Repeats() || long.Repeats() || !known.Says(&short) || !known.Says(&long) {
		t.Fatalf("the one repeats the record: %t, the other: %t", short.Repeats(), long.Repeats())
	}
	if diff := cmp.Diff(long.Onto(&known), short.Onto(&known), cmp.AllowUnexported(Facts{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	refused := known.Refused(Fault{Reason: "Reason"}, &known)
	if again := readGist(text, refused.Gist()); again.Repeats() {
		t.Error("it repeats a record that was refused")
	}
}

// Records with something to remark are decoded each time, and so are those that are not read as they are.
func TestWhatHasNoGist(t *testing.T) {
	for name, text := range map[string]string{
		"a remark":       swapped(`"z"`, `7`),
		"a refused one":  swapped(`"NodeId":"a"`, `"NodeId":"b"`),
		"a byte more":    "\ufeff" + wholeRecord,
		"a string of it": string(must(json.Marshal(wholeRecord))),
	} {
		reading := readGist(text, 0)
		if facts := reading.Onto(nil); facts.Gist() != 0 {
			t.Errorf("%s has a gist", name)
		}
	}
	m, err := Compile(rollcallv1alpha1.Record{Zone: "value.Zone"})
	if err != nil {
		t.Fatal(err)
	}
	entry := &kv.Entry{Key: "node.a", Value: []byte(wholeRecord), Written: gistWritten}
	reading := Read(entry, &Policy{KeyPrefix: "node.", Reader: m}, 0)
	if facts := reading.Onto(nil); facts.Gist() != 0 {
		t.Error("a record that expressions read has a gist")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// FuzzSkim: what has the gist of a record decodes to the same node, but for its time and load.
func FuzzSkim(f *testing.F) {
	f.Add([]byte(wholeRecord), []byte(swapped("0.5,", "0.7,")))
	f.Add([]byte(`{"NodeId":"a","LastSeen":"2025-10-11T08:00:00"}`), []byte(` {"NodeId":"a","LastSeen":"2025-10-11T08:00:01"}`))
	f.Fuzz(func(t *testing.T, one, other []byte) {
		a, b := skim(one), skim(other)
		if a.gist == 0 || a.gist != b.gist {
			return
		}
		x, _, err := discovery.Decode(one)
		if err != nil {
			return
		}
		y, _, err := discovery.Decode(other)
		if err != nil {
			t.Fatalf("%q decodes, and %q does not: %v", one, other, err)
		}
		x.Load, x.LastSeen, y.Load, y.LastSeen = nil, time.Time{}, nil, time.Time{}
		if diff := cmp.Diff(x, y); diff != "" {
			t.Errorf("%q and %q: %s", one, other, diff)
		}
	})
}

// FuzzLoad: a load is shown as the number that it is, however it is written.
func FuzzLoad(f *testing.F) {
	for _, value := range []string{"0", "-0", "0.5", "0.50", "00.5", ".5", "5.", "1e3", "100", "123456789012345.5", "0.1234567890123456", "1e999", "null", `"1"`, "0x1", "1_0"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		s := skim([]byte(`{"Load":` + value + `}`))
		if s.gist == 0 || string(s.load) != value {
			return
		}
		var load float64
		if err := json.Unmarshal([]byte(value), &load); err != nil {
			t.Fatalf("%q is taken for a number: %v", value, err)
		}
		for _, last := range []string{"", "0.5", value} {
			if got, want := s.shown(last), loadText(&load); got != want {
				t.Errorf("%q after %q is shown as %q, want %q", value, last, got, want)
			}
		}
	})
}
