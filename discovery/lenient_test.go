package discovery

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// goodMembers is a good record, by member.
var goodMembers = map[string]string{
	"NodeId": `"n"`, "Endpoint": `"http://10.0.0.5:8080"`, "Addresses": `["10.0.0.5"]`, "Ports": `[{"Name":"http","Port":8080,"Protocol":"TCP"}]`,
	"Name": `"web"`, "Zone": `"z"`, "Metadata": `{"role":"web"}`, "Load": "0.5", "LastSeen": `"2025-10-11T08:00:00Z"`,
	"Draining": "true", "Owner": `{"Cluster":"c","UID":"u","Registration":"r"}`,
}

// informing are the members that can't refuse a record.
var informing = []string{"Name", "Zone", "Metadata", "Load", "LastSeen", "Draining", "Owner"}

// recordOf writes a record in the order of names.
func recordOf(members map[string]string) string {
	parts := make([]string, 0, len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		parts = append(parts, fmt.Sprintf("%q:%s", name, members[name]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// spoiled returns the good record with another value of one member.
func spoiled(member, raw string) string {
	members := maps.Clone(goodMembers)
	members[member] = raw
	return recordOf(members)
}

// oddValues are what may stand in place of a value: JSON of all types and sizes, and what writers take for JSON.
var oddValues = []string{
	`null`, `true`, `false`, `0`, `-0`, `1`, `-1`, `12`, `0.5`, `1e400`, `-1e400`, `1e-400`, `8080.0`, `123456789012345678901234567890`, `1795839720`,
	`1795839720123`, `1795839720123456`, `1795839720123456789`, `1e18`, `1e19`, `-1795839720`, `1795839720.25`,
	`""`, `" "`, `"0.5"`, `"NaN"`, `"Infinity"`, `"0x1p-2"`, `"1_000"`, `"true"`, `"yes"`, `"off"`, `"me"`, `"2026-11-28 04:20:00"`, `"\/Date(1)\/"`, `"\u0000"`,
	`"\ud800"`, `"` + strings.Repeat("x", 4000) + `"`, `[]`, `[null]`, `["a",1]`, `[[[[]]]]`, `[{}]`, `{}`, `{"a":1}`, `{"a":null}`, `{"a":{"b":[1]}}`, `{"a":true,"b":"x"}`,
	`{"":""}`, `{"UID":1}`, `{"UID":null}`, `{"UID":"u","Cluster":[]}`, `{"UID":"u","Registration":{}}`, `{"a":NaN,"b":'c'}`, `{"UID":'u'}`, `{UID:u}`,
	`NaN`, `Infinity`, `-Infinity`, `undefined`, `None`, `nil`, `True`, `FALSE`, `yes`, `007`, `.5`, `+1`, `1.`, `0x1F`, `1_000`, `0,5`, `- 1`, `--1`, `1e`, `$LOAD`, `<nil>`,
	`(null)`, `#N/A`, `2026-11-28T04:20:00Z`, `2026-11-28 04:20:00`, `'single quoted'`, `'it\'s "x"'`, `"\x41\d"`, "\"a\tb\nc\x00\"", "\"\xff\xfe\"", "\xff", "", " ",
	`[1,]`, `[,]`, `{"a":1,}`, `{,}`, `[NaN]`, `[undefined,{"a":.5}]`, "\uFEFF1", "\u00A01\u00A0", `ünïcödé`, strings.Repeat("9", 4000), strings.Repeat("[", 200) + strings.Repeat("]", 200),
}

// A record stays a record of the same node at the same place, whatever is wrong with one of the members that inform, and
// the other members stay what they are.
func TestASpoiledMemberSpoilsNothingElse(t *testing.T) {
	good, remarks, err := Decode([]byte(recordOf(goodMembers)))
	if err != nil || remarks != nil {
		t.Fatalf("%v, %v", remarks, err)
	}
	for _, member := range informing {
		for _, raw := range oddValues {
			got, remarks, err := Decode([]byte(spoiled(member, raw)))
			if err != nil {
				t.Errorf("%s %.80q: %v", member, raw, err)
				continue
			}
			if diff := cmp.Diff(good, got, cmpopts.IgnoreFields(Node{}, member)); diff != "" {
				t.Errorf("%s %.80q: %s", member, raw, diff)
			}
			strictly := strict([]byte(spoiled(member, raw)))
			ok := strictly != nil && (strictly.Owner == nil || strictly.Owner.UID != "")
			nothing := raw == "null" || member == "Metadata" && (raw == `{"a":null}` || raw == `{"UID":null}`)
			if ok != (len(remarks) == 0) && !nothing {
				t.Errorf("%s %.80q: the remarks are %v", member, raw, remarks)
			}
			for _, r := range remarks {
				if len([]rune(r.String())) > 160 {
					t.Errorf("the remark is long: %s", r)
				}
			}
			if _, err := Encode(got); err != nil {
				t.Errorf("%s %.80q can't be written again: %v", member, raw, err)
			}
		}
	}
}

// What is needed is either as it should be or refused, with the name of the member, and never taken for something else.
func TestASpoiledNeedRefuses(t *testing.T) {
	for _, member := range []string{"NodeId", "Addresses", "Ports"} {
		for _, raw := range oddValues {
			got, _, err := Decode([]byte(spoiled(member, raw)))
			ok := strict([]byte(spoiled(member, raw))) != nil
			switch {
			case err == nil && !ok && !strings.Contains(raw, ",]") && raw != "\uFEFF1":
				t.Errorf("%s %.80q is accepted: %+v", member, raw, got)
			case err != nil && !strings.Contains(err.Error(), member):
				t.Errorf("%s %.80q: %v", member, raw, err)
			case err != nil && (!got.Draining || got.Zone != "z" || got.Owner == nil):
				t.Errorf("%s %.80q: the rest is lost: %+v", member, raw, got)
			}
		}
	}
}

func TestDecodeLeniently(t *testing.T) {
	seen := time.Date(2026, 11, 28, 4, 22, 0, 0, time.UTC)
	with := func(members string) string { return `{"NodeId":"n","Endpoint":"10.0.0.5:80",` + members + `}` }
	for in, want := range map[string]Node{
		with(`"Load":"0.5"`):                                      {Load: new(0.5)},
		with(`"Load":.5`):                                         {Load: new(0.5)},
		with(`"Load":+1`):                                         {Load: new(1.0)},
		with(`"Load":007`):                                        {Load: new(7.0)},
		with(`"Load":NaN`):                                        {},
		with(`"Load":"NaN"`):                                      {},
		with(`"Load":"0x10"`):                                     {},
		with(`"Load":1e400`):                                      {},
		with(`"Load":0,5`):                                        {},
		with(`"Load":true`):                                       {},
		with(`"Load":`):                                           {},
		with(`"LastSeen":1795839720`):                             {LastSeen: seen},
		with(`"LastSeen":"1795839720"`):                           {LastSeen: seen},
		with(`"LastSeen":1795839720000`):                          {LastSeen: seen},
		with(`"LastSeen":1795839720000000`):                       {LastSeen: seen},
		with(`"LastSeen":1795839720000000000`):                    {LastSeen: seen},
		with(`"LastSeen":1.79583972e9`):                           {LastSeen: seen},
		with(`"LastSeen":1795839720.5`):                           {LastSeen: seen.Add(time.Second / 2)},
		with(`"LastSeen":-1`):                                     {LastSeen: time.Unix(-1, 0).UTC()},
		with(`"LastSeen":1e30`):                                   {},
		with(`"LastSeen":"2026-11-28 04:22:00"`):                  {LastSeen: seen},
		with(`"LastSeen":2026-11-28 04:22:00`):                    {LastSeen: seen},
		with(`"LastSeen":"2026-11-28 04:22:00 +0000 UTC m=+1.5"`): {LastSeen: seen},
		with(`"LastSeen":"2026-11-28T05:22:00+0100"`):             {LastSeen: seen},
		with(`"LastSeen":"2026-11-28 04:22:00,5"`):                {LastSeen: seen.Add(time.Second / 2)},
		with(`"LastSeen":"20261128T042200Z"`):                     {LastSeen: seen},
		with(`"LastSeen":"/Date(1795839720000)/"`):                {LastSeen: seen},
		with(`"LastSeen":"\/Date(1795839720000+0100)\/"`):         {LastSeen: seen},
		with(`"LastSeen":"/Date(x)/"`):                            {},
		with(`"LastSeen":"Sat, 28 Nov 2026 04:22:00 GMT"`):        {LastSeen: seen},
		with(`"LastSeen":"Sat Nov 28 2026 05:22:00 GMT+0100 (Central European Standard Time)"`): {LastSeen: seen},
		with(`"LastSeen":"Sat Nov 28 04:22:00 2026"`):                                           {LastSeen: seen},
		with(`"LastSeen":"yesterday"`):                                                          {},
		with(`"LastSeen":{"$date":1}`):                                                          {},
		with(`"LastSeen":true`):                                                                 {},
		with(`"Name":12,"Zone":true`):                                                           {Name: "12", Zone: "true"},
		with(`"Name":{},"Zone":["z"]`):                                                          {},
		with(`"Name":web,"Zone":'eu'`):                                                          {Name: "web", Zone: "eu"},
		with(`"Metadata":{"a":8,"b":true,"c":null,"d":{},"e":[1],"f":"x","g":NaN,"h":1e400,"i":007}`): {Metadata: map[string]string{"a": "8", "b": "true", "f": "x", "g": "NaN", "h": "1e400", "i": "007"}},
		with(`"Metadata":[]`):                                      {},
		with(`"Metadata":"a=b"`):                                   {},
		with(`"Metadata":{"a":""}`):                                {Metadata: map[string]string{"a": ""}},
		with(`"Metadata":{"a":"","b":null}`):                       {Metadata: map[string]string{"a": ""}},
		with(`"Draining":"yes"`):                                   {Draining: true},
		with(`"Draining":"TRUE"`):                                  {Draining: true},
		with(`"Draining":True`):                                    {Draining: true},
		with(`"Draining":1`):                                       {Draining: true},
		with(`"Draining":"1"`):                                     {Draining: true},
		with(`"Draining":0`):                                       {},
		with(`"Draining":"maybe"`):                                 {},
		with(`"Draining":2`):                                       {},
		with(`"Draining":[true]`):                                  {},
		with(`"Owner":"me"`):                                       {Owner: &Owner{}},
		with(`"Owner":NaN`):                                        {Owner: &Owner{}},
		with(`"Owner":{"Cluster":"c","UID":7}`):                    {Owner: &Owner{}},
		with(`"Owner":{"Cluster":"c","UID":"u","Registration":7}`): {Owner: &Owner{}},
		with(`"Owner":{"Cluster":"c","UID":"u"},"Owner":7`):        {Owner: &Owner{}},
		with(`"Owner":7,"owner":{"Cluster":"c","UID":"u"}`):        {Owner: &Owner{Cluster: "c", UID: "u"}},
		with(`"Load":"1","load":NaN,"LOAD":2`):                     {Load: new(2.0)},
		with(`"Extra":NaN,"More":{"a":[.5]}`):                      {},
		with(`"Zone":"a",`):                                        {Zone: "a"},
		"\uFEFF" + with(`"Zone":"a"`):                              {Zone: "a"},
		utf16LE(with(`"Zone":"a"`)):                                {Zone: "a"},
		with(`"Zone":"a"`) + "\x00":                                {Zone: "a"},
		string(quote(with(`"Zone":"a"`))):                          {Zone: "a"},
		string(quote("\uFEFF" + with(`"Zone":"a","Load":NaN`))):    {Zone: "a"},
		string(quote(string(quote(with(`"Zone":"a"`))))):           {Zone: "a"},
		`{"NodeId":"n","Endpoint":5,"Addresses":["10.0.0.5"],"Ports":[{"Port":80.0},{"Name":"x","Port":8.08e3}]}`: {Addresses: []string{"10.0.0.5"}, Ports: []Port{{Port: 80}, {Name: "x", Port: 8080}}},
		`{"NodeId":"n","Endpoint":"10.0.0.5:80","Ports":[{"Port":1.000e0,"Protocol":"UDP"}]}`:                     {Endpoint: "10.0.0.5:80", Ports: []Port{{Port: 1, Protocol: "UDP"}}},
	} {
		want.ID = "n"
		if want.Addresses == nil {
			want.Endpoint = "10.0.0.5:80"
		}
		got, _, err := Decode([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if diff := cmp.Diff(want, got, equateEmpty); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

// A remark names the member, what stands there and what was made of it. It has nothing that changes with every heartbeat.
func TestRemarks(t *testing.T) {
	for members, want := range map[string][]string{
		`"Load":"0.5"`:                      {"Load is a string, a number is expected: read all the same"},
		`"Load":"NaN"`:                      {`Load is the string "NaN", a number is expected: left out`},
		`"Load":NaN`:                        {"Load is NaN, which isn't JSON, a number is expected: left out"},
		`"Load":1e400`:                      {"Load is a number, a number is expected: left out"},
		`"Load":undefined`:                  {"Load isn't JSON, taken for null"},
		`"LastSeen":1795839720`:             {"LastSeen is a number, a time such as 2025-10-11T08:00:00Z is expected: read all the same"},
		`"Name":12`:                         {"Name is the number 12, a string is expected: read all the same"},
		`"Zone":["a"]`:                      {"Zone is an array, a string is expected: left out"},
		`"Metadata":{"cores":8,"b":{}}`:     {"Metadata.b is an object, a string is expected: left out", "Metadata.cores is a number, a string is expected: read all the same"},
		`"Metadata":7`:                      {"Metadata is a number, an object is expected: left out"},
		`"Draining":"yes"`:                  {`Draining is the string "yes", true or false is expected: read all the same`},
		`"Owner":"me"`:                      {"Owner can't be a JSON string, an object is expected: the entry counts as somebody else's"},
		`"Owner":{"UID":7}`:                 {"Owner.UID can't be a JSON number, a string is expected: the entry counts as somebody else's"},
		`"Owner":{"Cluster":"c"}`:           {"Owner has no UID, the entry counts as somebody else's"},
		`"Zone":"z",`:                       {"record has a comma too many, which is skipped"},
		`"Unknown":NaN`:                     nil,
		`"Zone":` + strings.Repeat("ä", 50): {"Zone is " + strings.Repeat("ä", 39) + "…, which isn't JSON, a string is expected: read all the same"},
		`"Addresses":["10.0.0.5"],"Ports":[{"Port":80}],"Endpoint":7`:           {"Endpoint can't be a JSON number, a string is expected; it isn't needed besides Addresses and Ports"},
		`"Addresses":["10.0.0.5"],"Ports":[{"Port":80}],"Endpoint":"me:pw@x:1"`: {"Endpoint is neither a URL with a host nor host:port, or has a user; it isn't needed besides Addresses and Ports"},
	} {
		_, remarks, err := Decode([]byte(`{"NodeId":"n",` + members + `}`))
		if err != nil {
			t.Errorf("%s: %v", members, err)
		}
		var got []string
		for _, r := range remarks {
			got = append(got, r.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", members, diff)
		}
	}
	_, remarks, err := Decode([]byte(`{"NodeId":"n","Metadata":{` + strings.Repeat(`"x":1,`, 10) + manyNumbers(50) + `}}`))
	if err != nil || len(remarks) != maxRemarks+1 || remarks[maxRemarks].String() != "record has 35 more oddities" {
		t.Errorf("%d remarks, the last is %v, error %v", len(remarks), remarks[len(remarks)-1], err)
	}
}

func manyNumbers(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(`"k%d":%d`, i, i)
	}
	return strings.Join(parts, ",")
}

// The same trouble is the same text, whatever the values are and in whatever order the members come.
func TestRemarksStayTheSame(t *testing.T) {
	say := func(value string) string {
		_, remarks, err := Decode([]byte(value))
		if err != nil || len(remarks) != 4 {
			t.Fatalf("%v, %v", remarks, err)
		}
		return fmt.Sprint(remarks)
	}
	a := say(`{"NodeId":"n","Load":"0.1","LastSeen":1795839720,"Metadata":{"b":7,"a":1.5}}`)
	b := say(`{"LastSeen":1795839730,"Metadata":{"a":7.25,"b":8},"Load":"17","NodeId":"n"}`)
	if a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

// A refusal names the first member that is wrong, quotes no endpoint, and leaves what else could be read.
func TestRefusals(t *testing.T) {
	for in, want := range map[string]string{
		`{"NodeId":7}`:                           "NodeId can't be a JSON number, a string is expected",
		`{"NodeId":NaN}`:                         "NodeId isn't JSON, a string is expected",
		`{"NodeId":'n'}`:                         "NodeId isn't JSON, a string is expected",
		`{"NodeId":undefined}`:                   "NodeId isn't JSON, a string is expected",
		`{"NodeId":}`:                            "NodeId isn't JSON, a string is expected",
		`{"Name":"x"}`:                           "NodeId is missing, a string that names the node is expected",
		`{"NodeId":"n","Ports":[{"Port":"80"}]}`: "Ports.Port can't be a JSON string, an integer is expected",
		`{"NodeId":"n","Ports":[{"Port":80.5}]}`: "Ports.Port can't be a JSON number 80.5, an integer is expected",
		`{"NodeId":"n","Ports":[{"Port":1e99}]}`: "Ports.Port can't be a JSON number 1e99, an integer is expected",
		`{"NodeId":"n","Ports":[{"Port":80.0000000000000000000000000001}]}`: "Ports.Port can't be a JSON number 80.0000000000000000000000000001, an integer is expected",
		`{"NodeId":"n","Ports":[{"Port":0x50}]}`:                            "Ports isn't JSON, an array is expected",
		`{"NodeId":"n","Ports":[{"Port":80.0,"Name":7}]}`:                   "Ports.Name can't be a JSON number, a string is expected",
		`{"NodeId":"n","Ports":{"a":1}}`:                                    "Ports can't be a JSON object, an array is expected",
		`{"NodeId":"n","Ports":[7]}`:                                        "Ports can't be a JSON number, an object is expected",
		`{"NodeId":"n","Addresses":[7]}`:                                    "Addresses can't be a JSON number, a string is expected",
		`{"NodeId":"n","Addresses":"10.0.0.5"}`:                             "Addresses can't be a JSON string, an array is expected",
		`{"NodeId":"n","Endpoint":{"password":"secret"}}`:                   "Endpoint can't be a JSON object, a string is expected",
		`{"NodeId":"n","Endpoint":'me:secret@10.0.0.5:80'}`:                 "Endpoint isn't JSON, a string is expected",
		`{"NodeId":"n","Endpoint":7,"Addresses":["10.0.0.5"]}`:              "Endpoint can't be a JSON number, a string is expected",
		`{"NodeId":"n","Endpoint":7,"Addresses":["10.0.0.5"],"Ports":7}`:    "Endpoint can't be a JSON number, a string is expected",
		`{"Ports":7,"Addresses":7,"NodeId":7}`:                              "NodeId can't be a JSON number, a string is expected",
	} {
		in = `{"Draining":"yes","Zone":"z",` + in[1:]
		n, remarks, err := Decode([]byte(in))
		if err == nil || strings.TrimPrefix(err.Error(), "invalid record: ") != want {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
		if !n.Draining || n.Zone != "z" || len(remarks) != 1 {
			t.Errorf("%s: %+v, %v", in, n, remarks)
		}
	}
	for _, in := range []string{"", " ", "hello", "null", "[]", `"{"`, `{"NodeId":"n","Draining":true`, `"text"`, `"\"\\\"\\\\\\\"x\\\\\\\"\\\"\""`} {
		if n, remarks, err := Decode([]byte(in)); err == nil || !cmp.Equal(n, Node{}) || remarks != nil {
			t.Errorf("%s: %+v, %v, %v", in, n, remarks, err)
		}
	}
}

// Whatever is read fast is read slowly as well, with the same result and without a remark.
func checkBothPathsAgree(t *testing.T, in []byte) {
	t.Helper()
	fast := strict(in)
	if fast == nil {
		return
	}
	slow, remarks, err := lenient(in)
	if err != nil || len(remarks.found) > 0 {
		t.Fatalf("%s: the lenient path says %v, %v", in, remarks.found, err)
	}
	if diff := cmp.Diff(fast.node(), slow.node()); diff != "" {
		t.Fatalf("%s: %s", in, diff)
	}
}

func TestBothPathsAgree(t *testing.T) {
	for _, in := range []string{
		recordOf(goodMembers), `{}`, `{"nodeid":"a","NODEID":"b"}`, `{"NodeId":"a","NodeId":null}`, `{"Metadata":{"a":"1"},"metadata":{"b":"2"}}`,
		`{"Metadata":{"a":"1"},"Metadata":null}`, `{"Owner":{"UID":"u"},"owner":{"Cluster":"c"}}`, `{"Owner":{"UID":"u"},"Owner":null}`,
		`{"Ports":[{"Name":"a","Port":1},{"Port":2}],"Ports":[{"Port":3}]}`, `{"Addresses":[null,"a"],"Ports":[null]}`, "{\"Addre\u017f\u017fes\":[\"a\"]}",
		`{"Node\u0049d":"n","Extra":[{"a":1e400}]}`, "{\"NodeId\":\"\xff\"}", `{"Load":-0,"Metadata":{}}`, `{"LastSeen":"2025-10-11T08:00:00","Draining":false}`,
	} {
		if strict([]byte(in)) == nil {
			t.Errorf("%s isn't read fast", in)
		}
		checkBothPathsAgree(t, []byte(in))
	}
}

// Twice the value takes about twice the time, whatever is in it. This much takes less than a second, and with its square minutes.
func TestDecodeIsLinear(t *testing.T) {
	t.Parallel()
	for _, part := range []string{
		`"Load":NaN,`, `"Owner":{"UID":1},`, `"Metadata":{"a":1},`, `"Ports":[{"Port":1.0}],`, `"NodeId":1,`, `"LastSeen":1,`, `"Name":'x',`, `"x":0,`,
	} {
		value := []byte("{" + strings.Repeat(part, 1<<18/len(part)) + "}")
		began := time.Now()
		_, remarks, _ := Decode(value)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: %v", part, took)
		}
		if len(remarks) > maxRemarks+1 {
			t.Errorf("%s: %d remarks", part, len(remarks))
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, value := range map[string]string{
		"good":     `{"NodeId":"n1","Endpoint":"http://10.1.2.3:5001","Load":0.5,"LastSeen":"2025-10-11T08:00:00.1234567Z","Metadata":{"v":"1"}}`,
		"complete": recordOf(goodMembers),
		"odd":      spoiled("Load", "NaN"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Decode([]byte(value)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// spoilable reports whether raw can stand for a value without ending it: JSON itself, or a word.
func spoilable(raw []byte) bool {
	return json.Valid(raw) || !strings.ContainsFunc(string(raw), func(r rune) bool { return r < ' ' || strings.ContainsRune("{}[]\"',", r) })
}
