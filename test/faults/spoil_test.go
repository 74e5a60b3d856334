package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/rollcall-dev/rollcall/discovery"
)

// spoiler makes good records, and records of which any one member is spoilt in any way. What a node writes next depends on the
// seed, its ID and how often it has written, and on nothing else.
//
// What a record plainly says is left out, since it counts: another address or port than before, an address that never takes
// traffic, that the node drains, and that its role is another one, or none.
type spoiler struct {
	seed uint64

	mu sync.Mutex
	// honest is true while all records are good.
	honest bool
	// wrote counts the records of each node, and said tells of the last ones.
	wrote map[string]uint64
	said  map[string][]string
}

func newSpoiler(seed int64) *spoiler {
	return &spoiler{seed: uint64(seed), wrote: map[string]uint64{}, said: map[string][]string{}}
}

// behave makes all records good from now on, or no longer.
func (s *spoiler) behave(honest bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.honest = honest
}

func (s *spoiler) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, wrote := range s.wrote {
		n += int(wrote)
	}
	return n
}

// remembered is how many of a node's records are told of.
const remembered = 12

// record returns what a node writes next. Its first record is good: it has to be known by one.
func (s *spoiler) record(id, address string) []byte {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.wrote[id]
	s.wrote[id]++
	good := goodRecord(id, address, int(h.Sum64()%3))
	if n == 0 || s.honest {
		return good.json()
	}
	rnd := rand.New(rand.NewPCG(s.seed, h.Sum64()+n))
	value, how := good.spoil(rnd)
	s.said[id] = append(s.said[id], fmt.Sprintf("%s %s: %.200q", clock(time.Now()), how, value))
	s.said[id] = s.said[id][max(0, len(s.said[id])-remembered):]
	return value
}

// tell logs what those nodes wrote last that one of the notes names.
func (s *spoiler) tell(t *testing.T, notes []string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, said := range s.said {
		if slices.ContainsFunc(notes, func(note string) bool { return strings.HasPrefix(note, id+"@") }) {
			t.Logf("%s wrote\n\t%s", id, strings.Join(said, "\n\t"))
		}
	}
}

// members are the members of a JSON object, in their order.
type members []member

type member struct {
	name string
	// value is JSON, unless it is spoilt.
	value string
	// inner takes the place of value: the members of an object, or of the only element of an array.
	inner   members
	inArray bool
}

func (x *member) text() string {
	switch {
	case x.inner == nil:
		return x.value
	case x.inArray:
		return "[" + string(x.inner.json()) + "]"
	default:
		return string(x.inner.json())
	}
}

// goodRecord returns a record that says where its node is in one of three ways.
func goodRecord(id, address string, way int) members {
	quoted := strconv.Quote
	endpoint := member{name: "Endpoint", value: quoted("http://" + address + ":8080")}
	reach := members{
		{name: "Addresses", value: "[" + quoted(address) + "]"},
		{name: "Ports", inArray: true, inner: members{{name: "Name", value: `"http"`}, {name: "Port", value: "8080"}, {name: "Protocol", value: `"TCP"`}}},
	}
	all := members{{name: "NodeId", value: quoted(id)}, {name: "Name", value: `"a node"`}}
	switch way {
	case 0:
		all = append(all, endpoint)
	case 1:
		all = append(all, reach...)
	default:
		all = append(append(all, endpoint), reach...)
	}
	return append(all,
		member{name: "Zone", value: `"eu-1a"`},
		member{name: "Metadata", inner: members{{name: "role", value: `"web"`}, {name: "version", value: `"1.4.2"`}}},
		member{name: "Load", value: "0.5"},
		member{name: "LastSeen", value: quoted(time.Now().UTC().Format(time.RFC3339Nano))},
		member{name: "Draining", value: "false"},
		member{name: "Owner", inner: members{{name: "Cluster", value: `"elsewhere"`}, {name: "UID", value: `"u"`}}},
	)
}

// json returns the object as it stands, whether it is JSON or not.
func (m members) json() []byte {
	var text bytes.Buffer
	text.WriteByte('{')
	for i, x := range m {
		if i > 0 {
			text.WriteByte(',')
		}
		name, _ := json.Marshal(x.name) // A string has a form in JSON.
		text.Write(name)
		text.WriteByte(':')
		text.WriteString(x.text())
	}
	text.WriteByte('}')
	return text.Bytes()
}

// spoil returns the record with one member spoilt, or the whole of it, and says how.
func (m members) spoil(rnd *rand.Rand) (value []byte, how string) {
	if rnd.IntN(4) == 0 {
		return m.spoilWhole(rnd)
	}
	spoilt := slices.Clone(m)
	x := &spoilt[rnd.IntN(len(spoilt))]
	how = x.name
	if len(x.inner) > 0 && rnd.IntN(2) == 0 {
		x.inner = slices.Clone(x.inner)
		x = &x.inner[rnd.IntN(len(x.inner))]
		how += "." + x.name
	}
	way := rnd.IntN(8)
	if way == 1 && (x.name == "Metadata" || x.name == "role") {
		way = 7 // Without them the record says that there is no role.
	}
	switch way {
	case 0:
		x.name = strings.ToLower(x.name)
	case 1:
		// The name is not the member's any more, so it is missing.
		x.name += "\u0000"
	case 2:
		name := spoilt[rnd.IntN(len(spoilt))].name
		spoilt = append(spoilt, member{name: name, value: junk(rnd, "Draining", name)})
	case 3:
		name := otherMembers[rnd.IntN(len(otherMembers))]
		spoilt = append(spoilt, member{name: name, value: junk(rnd, "Draining", name)})
	default:
		x.value, x.inner = junk(rnd, x.name), nil
	}
	return spoilt.json(), how
}

// otherMembers are what a record may have besides, or have another time.
var otherMembers = []string{"NodeId", "nodeid", "Endpoint", "ENDPOINT", "Addresses", "Ports", "Name", "Zone", "Metadata", "Load", "LastSeen", "Owner", "Unknown", "", "\u0000"}

// junk returns a value that members of those names may be spoilt with; it may be no JSON.
func junk(rnd *rand.Rand, names ...string) string {
	for {
		value := junkValues[rnd.IntN(len(junkValues))]
		if !slices.ContainsFunc(names, func(name string) bool { return counts(name, value) }) {
			return value
		}
	}
}

// counts returns true for a value by which a member plainly says something else than the good record.
func counts(name, value string) bool {
	switch name {
	case "Draining":
		return drains.MatchString(value)
	case "Metadata":
		return value == "null" || strings.HasPrefix(value, "{")
	case "role":
		text := strings.Trim(value, "'")
		_ = json.Unmarshal([]byte(value), &text) // What is no JSON string stands as it is.
		return len(validation.IsValidLabelValue(text)) == 0
	}
	return false
}

// drains matches what may be read as true.
var drains = regexp.MustCompile(`(?i)true|\b1\b`)

var junkValues = []string{
	"null", "true", "false", "0", "-0", "-1", "7", "1.5", "1e3", "1e400", "-1e400", "1e-400", "99999999999999999999", "0x1F", "007", "+1", ".5", "1.",
	"NaN", "Infinity", "-Infinity", "nan", "inf", "undefined", "None", "True", "$HOST", "<no value>", "",
	`""`, `" "`, `"x"`, `"NaN"`, `"7"`, `"-1"`, `"null"`, `"true "x"`, `'x'`, `"x`, `x"`, `"tcp"`, `"SCTPS"`, `"http://web-1.example.com:8080"`, `"://"`, `"http://[::"`,
	`"http://"`, `"http://web-1:99999"`, `":8080"`, `"%zz"`, `"2026-11-28 04:20:00"`, `"yesterday"`, "1795839720", `"/Date(1795839720000)/"`,
	`"é 漢 \ud83d\ude00"`, `"é 漢 😀"`, `"\u0000\u0007\u001b[2J"`, `"\ud800"`, "\"\x00\x07\"", "\"a\nb\"", "\"\xff\xfe\"", "\xff\xfe", `"\u202eevil"`, `"\x41"`, `"a\`,
	"[]", "{}", "[[]]", "[null]", `["x",1]`, `[{}]`, `[1,]`, `{"a":1,}`, "[", "{", `{"a"`, `{"a":{"b":[1,{"c":null}]}}`, `{"":""}`, `{"cores":8,"big":1e400,"on":true}`,
	`"{\"a\":1}"`, `{"Cluster":7,"UID":[]}`, `{"Cluster":"elsewhere"}`, `[{"Port":"8080"}]`, `[{"Port":8080.5}]`, `[{"Port":70000}]`, `[{"Port":0}]`, `[{"Name":7,"Port":8080}]`,
	`["web-1.example.com"]`, `["0177.0.0.1.2"]`, `["10.1.0.300"]`, `["fe80::1%eth0%"]`,
	strings.Repeat("[", 200) + strings.Repeat("]", 200), strings.Repeat(`{"a":`, 12_000) + "1" + strings.Repeat("}", 12_000),
	`"` + strings.Repeat("long ", 1000) + `"`, `"` + strings.Repeat("x", discovery.MaxKeyLength) + `"`, `"` + strings.Repeat("ü", 40_000) + `"`,
	strings.Repeat("9", 5000), "[" + strings.Repeat("1,", 3000) + "1]", "/* a comment */ 1", "1 // a comment",
}

// spoilWhole spoils the record as a whole.
func (m members) spoilWhole(rnd *rand.Rand) (value []byte, how string) {
	good := m.json()
	switch rnd.IntN(14) {
	case 0:
		return nil, "empty"
	case 1:
		return good[:rnd.IntN(len(good))], "truncated"
	case 2:
		return append([]byte("\ufeff"), good...), "a byte order mark"
	case 3:
		text, _ := json.Marshal(string(good)) // A string has a form in JSON.
		return text, "a JSON string"
	case 4:
		return append(slices.Clone(good[:len(good)-1]), `,"Padding":"`+strings.Repeat("x", 70_000)+`"}`...), "too large"
	case 5:
		return slices.Concat([]byte("["), good, []byte("]")), "an array"
	case 6:
		return append(slices.Clone(good), "} trailing"...), "something behind it"
	case 7:
		return slices.Concat(good, good), "twice"
	case 8:
		return utf16le(string(good)), "UTF-16"
	case 9:
		return bytes.ReplaceAll(good, []byte(`"`), []byte("'")), "single quotes"
	case 10:
		raw := make([]byte, 1+rnd.IntN(300))
		for i := range raw {
			raw[i] = byte(rnd.Uint32())
		}
		return raw, "raw bytes"
	case 11:
		at := rnd.IntN(len(good))
		for within(good, at, `"Metadata"`) || within(good, at, `"role"`) {
			at = rnd.IntN(len(good))
		}
		odd := []byte{0x00, 0x01, '\n', 0x1b, 0x7f, 0x80, 0xc3, 0xff}
		return slices.Concat(good[:at], odd[rnd.IntN(len(odd)):][:1], good[at:]), "a byte more"
	case 12:
		at := rnd.IntN(len(good))
		for !strings.ContainsRune(`{}[],:"`, rune(good[at])) {
			at = rnd.IntN(len(good))
		}
		return slices.Concat(good[:at], good[at+1:]), "a sign of punctuation less"
	default:
		return bytes.ReplaceAll(good, []byte(`,`), []byte(" ,\r\n\t")), "white space"
	}
}

// within returns true if what is inserted there gives the member another name.
func within(record []byte, at int, quotedName string) bool {
	start := bytes.Index(record, []byte(quotedName))
	return at > start && at < start+len(quotedName)
}

func utf16le(text string) []byte {
	value := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		value = append(value, byte(unit), byte(unit>>8))
	}
	return value
}

// TestSpoiler: what is called good is, and most of the rest is not.
func TestSpoiler(t *testing.T) {
	s := newSpoiler(1)
	const each = 500
	spoilt, roles := 0, map[string]int{}
	for i := range 6 {
		id := fmt.Sprintf("web-%d", i)
		for n := range each {
			value := s.record(id, "10.1.0.1")
			node, remarks, err := discovery.Decode(value)
			if err == nil {
				_, _, err = node.Reach()
			}
			switch {
			case n == 0 && (err != nil || len(remarks) > 0 || node.Metadata["role"] != "web" || node.Draining):
				t.Errorf("the good record %s is read as %+v, %v, %v", value, node, remarks, err)
			case n > 0 && (err != nil || len(remarks) > 0):
				spoilt++
			}
			roles[role(value)]++
		}
	}
	if spoilt < 3*each {
		t.Errorf("only %d of %d records are odd", spoilt, 6*each)
	}
	if roles["another"] > 0 || roles["left out"] < each/10 || roles["unfit"] < each/100 {
		t.Errorf("the roles are %v", roles)
	}
	again := newSpoiler(1)
	if a, b := newSpoiler(1), again; !bytes.Equal(a.record("x", "10.1.0.1")[:20], b.record("x", "10.1.0.1")[:20]) {
		t.Error("the seed does not decide")
	}
}

// role says what a record says of its node's role.
func role(value []byte) string {
	node, remarks, err := discovery.Decode(value)
	said, found := node.Metadata["role"]
	leaves := func(remark discovery.Remark) bool {
		return remark.LeftOut && (remark.Member == "Metadata" || remark.Member == "Metadata.role")
	}
	switch {
	case said == "web":
		return "web"
	case found && len(validation.IsValidLabelValue(said)) > 0:
		return "unfit"
	case !found && err != nil:
		return "refused"
	case !found && slices.ContainsFunc(remarks, leaves):
		return "left out"
	}
	return "another"
}
