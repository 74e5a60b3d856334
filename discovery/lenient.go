package discovery

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// lenient reads a record that isn't as it should be. Each member is brought into the form that strict reads, or left out;
// what comes out is then read as any other record is, so that both agree on members that come twice or in another case.
func lenient(value []byte) (r *record, found remarks, refusal error) {
	r = &record{}
	text, found := unwrap(value)
	switch {
	case len(text) == 0:
		return r, remarks{}, recordError(ReasonEmpty, "the value is empty, a JSON object is expected")
	case text[0] != '{':
		return r, remarks{}, notObject(text)
	}
	members, found, err := split(text, found)
	if err != nil {
		return r, remarks{}, err
	}
	m := mender{out: []byte{'{'}, remarks: found}
	for i := range members {
		m.mend(&members[i])
	}
	if err := json.Unmarshal(append(m.out, '}'), r); err != nil {
		return &record{}, remarks{}, decodeError(err)
	}
	return r, m.remarks, m.refusal(r)
}

func notObject(text []byte) error {
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return decodeError(err)
	}
	return recordError(ReasonNotObject, "the value is null, a JSON object is expected")
}

// member is one member of an object.
type member struct {
	name string
	// quoted is the name, value the value as JSON; source is the value as it was written.
	quoted, value, source []byte
	// odd is true for a value that wasn't JSON, or has something in it that wasn't.
	odd bool
}

// split returns the members of an object. The remarks that are added tell of punctuation alone.
func split(text []byte, found remarks) ([]member, remarks, error) {
	r := repairer{src: text, remarks: found, quiet: true}
	if err := r.root(); err != nil {
		return nil, found, err
	}
	members := make([]member, len(r.members))
	for i, s := range r.members {
		quoted := r.out[s.name[0]:s.name[1]]
		members[i] = member{
			name: unquoted(quoted), quoted: quoted, odd: s.odd,
			value: r.out[s.value[0]:s.value[1]], source: r.src[s.source[0]:s.source[1]],
		}
	}
	return members, r.remarks, nil
}

// kind is the type of a JSON value.
type kind string

const (
	kindNull    kind = "null"
	kindBoolean kind = "a boolean"
	kindNumber  kind = "a number"
	kindString  kind = "a string"
	kindArray   kind = "an array"
	kindObject  kind = "an object"
)

func (x *member) kind() kind {
	switch x.value[0] {
	case 'n':
		return kindNull
	case 't', 'f':
		return kindBoolean
	case '"':
		return kindString
	case '[':
		return kindArray
	case '{':
		return kindObject
	}
	return kindNumber
}

// text returns a string's text, and a number or a boolean as it stands in JSON.
func (x *member) text() (string, bool) {
	switch x.kind() {
	case kindString:
		return unquoted(x.value), true
	case kindNumber, kindBoolean:
		return string(x.value), true
	}
	return "", false
}

// describe says what stands there; with its digits only if they don't change with every heartbeat.
func (x *member) describe(steady bool) string {
	text, plain := x.text()
	quoted := plain && (steady || !strings.ContainsAny(text, "0123456789"))
	switch {
	case x.odd && quoted:
		return "is " + clipped(text) + ", which isn't JSON"
	case x.odd:
		return "isn't JSON"
	case quoted && x.kind() == kindString:
		return "is the string " + strconv.Quote(clipped(text))
	case quoted && x.kind() == kindNumber:
		return "is the number " + clipped(text)
	case quoted:
		return "is " + text
	}
	return "is " + string(x.kind())
}

// mender brings the members of a record into the form that strict reads.
type mender struct {
	out     []byte
	remarks remarks
	// refused says, by the order in rules, what is wrong with members that are needed.
	refused [needed]string
}

// needed counts the members, first in rules, without which there is no node.
const needed = 4

// The places of members in rules.
const (
	ruleNodeID = iota
	ruleEndpoint
	ruleAddresses
	rulePorts
	ruleMetadata = iota + 5
	ruleOwner
)

// rules are the members of a record, those that are needed first, and how each is read if it isn't as it should be.
var rules = [...]struct {
	name, expected string
	// read returns the value as strict reads it; nil leaves the member out. It is given what is not null.
	read func(x *member) []byte
	// steady is true for a value that stays as it is from one heartbeat to the next.
	steady bool
	// text is true for a string of any content.
	text bool
}{
	ruleNodeID:    {name: "NodeId", expected: "a string", text: true},
	ruleEndpoint:  {name: "Endpoint", expected: "a string", text: true},
	ruleAddresses: {name: "Addresses", expected: "an array"},
	rulePorts:     {name: "Ports", expected: "an array"},
	{name: "Name", expected: "a string", read: readText, steady: true, text: true},
	{name: "Zone", expected: "a string", read: readText, steady: true, text: true},
	{name: "Load", expected: "a number", read: readLoad},
	{name: "LastSeen", expected: "a time such as 2025-10-11T08:00:00Z", read: readTime},
	{name: "Draining", expected: "true or false", read: readSwitch, steady: true},
	ruleMetadata: {name: "Metadata", expected: "an object"},
	ruleOwner:    {name: "Owner", expected: "an object"},
}

// mend takes over one member.
func (m *mender) mend(x *member) {
	for i := range rules {
		rule := &rules[i]
		if !strings.EqualFold(rule.name, x.name) {
			continue
		}
		x.name = rule.name
		switch {
		case i < needed:
			m.need(i, x)
		case i == ruleMetadata:
			m.metadata(x)
		case !x.odd && (rule.text && x.kind() == kindString || fits(x.name, x.value)):
			m.keep(x.quoted, x.value)
		case i == ruleOwner:
			m.owner(x)
		default:
			m.inform(x, rule.read(x), rule.expected, rule.steady)
		}
		return
	}
}

// fits returns true if strict reads the member as it is.
func fits(name string, value []byte) bool { return try(name, value) == nil }

// try returns why strict doesn't read the member as it is.
func try(name string, value []byte) error {
	var r record
	text := make([]byte, 0, len(name)+len(value)+len(`{"":}`))
	text = append(append(append(text, `{"`...), name...), `":`...)
	return json.Unmarshal(append(append(text, value...), '}'), &r)
}

// keep writes a member.
func (m *mender) keep(quotedName, value []byte) {
	if m.out[len(m.out)-1] != '{' {
		m.out = append(m.out, ',')
	}
	m.out = append(append(append(m.out, quotedName...), ':'), value...)
}

// need takes over a member that must be as it should, or refuses it.
func (m *mender) need(rule int, x *member) {
	value := x.value
	err := error(nil)
	switch {
	case x.odd:
		err = recordError(ReasonWrongShape, "%s isn't JSON, %s is expected", x.name, rules[rule].expected)
	case rules[rule].text && x.kind() == kindString:
	case rule == rulePorts:
		value, err = readPorts(value)
	default:
		err = try(x.name, value)
	}
	if err == nil {
		m.keep(x.quoted, value)
		return
	}
	if re, ok := errors.AsType[*RecordError](decodeError(err)); ok && m.refused[rule] == "" {
		m.refused[rule] = re.Detail
	}
}

// refusal returns why the record is refused. An Endpoint that can't be read is none where nothing depends on it.
func (m *mender) refusal(r *record) error {
	endpoint := m.refused[ruleEndpoint]
	if endpoint != "" && m.refused[ruleAddresses] == "" && m.refused[rulePorts] == "" && r.reached() {
		m.remarks.add("Endpoint", strings.TrimPrefix(endpoint, "Endpoint ")+"; it isn't needed besides Addresses and Ports")
		m.refused[ruleEndpoint] = ""
	}
	for _, detail := range m.refused {
		if detail != "" {
			return recordError(ReasonWrongShape, "%s", detail)
		}
	}
	return nil
}

// inform takes over what was read of a member that informs, and says so.
func (m *mender) inform(x *member, value []byte, expected string, steady bool) {
	if x.kind() == kindNull {
		m.remarks.leave(x.name, "isn't JSON, taken for null")
		return
	}
	detail := x.describe(steady) + ", " + expected + " is expected: "
	if value == nil {
		m.remarks.leave(x.name, detail+"left out")
		return
	}
	m.keep(x.quoted, value)
	m.remarks.add(x.name, detail+"read all the same")
}

// metadata takes over the entries one by one.
func (m *mender) metadata(x *member) {
	if x.kind() == kindNull && !x.odd {
		m.keep(x.quoted, x.value)
		return
	}
	entries, _, err := split(x.source, remarks{})
	if x.kind() != kindObject || err != nil {
		m.inform(x, nil, rules[ruleMetadata].expected, false)
		return
	}
	inner := mender{out: []byte{'{'}, remarks: m.remarks}
	for i := range entries {
		entry := &entries[i]
		entry.name = memberPath([]string{x.name, entry.name})
		switch k := entry.kind(); {
		case k == kindString && !entry.odd:
			inner.keep(entry.quoted, entry.value)
		case k == kindNull && !entry.odd:
		default:
			inner.inform(entry, readText(entry), "a string", false)
		}
	}
	m.remarks = inner.remarks
	m.keep(x.quoted, append(inner.out, '}'))
}

// nobodysOwner is written out in full: what an earlier member of the name said must not stay.
var nobodysOwner = []byte(`{"Cluster":"","UID":"","Registration":""}`)

// owner takes over an owner whose parts can be read, or says that it is nobody.
func (m *mender) owner(x *member) {
	err := try(x.name, x.value)
	if x.kind() == kindNull || err == nil {
		m.inform(x, x.value, rules[ruleOwner].expected, true)
		return
	}
	name, detail := x.name, "isn't JSON"
	if re, ok := errors.AsType[*RecordError](decodeError(err)); ok && !x.odd {
		name, detail, _ = strings.Cut(re.Detail, " ")
	}
	m.keep(x.quoted, nobodysOwner)
	m.remarks.add(name, detail+": the entry counts as somebody else's")
}

func quote(text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil {
		return nil
	}
	return quoted
}

func readText(x *member) []byte {
	if text, ok := x.text(); ok {
		return quote(text)
	}
	return nil
}

func readLoad(x *member) []byte {
	text, _ := x.text()
	text = strings.TrimSpace(text)
	if load, err := strconv.ParseFloat(text, 64); err != nil || x.kind() == kindBoolean || !decimal(text) {
		return nil
	} else if value, err := json.Marshal(load); err == nil {
		return value
	}
	return nil
}

// decimal reports whether a text that ParseFloat takes is one of digits, neither hexadecimal nor a word.
func decimal(text string) bool { return strings.Trim(text, "0123456789+-.eE") == "" }

func readTime(x *member) []byte {
	text, _ := x.text()
	t, ok := parseTime(text)
	if !ok {
		return nil
	}
	value, err := timestamp(t).MarshalJSON()
	if err != nil {
		return nil
	}
	return value
}

func readSwitch(x *member) []byte {
	text, plain := x.text()
	text = strings.ToLower(strings.TrimSpace(text))
	if number, err := strconv.ParseFloat(text, 64); err == nil {
		text = strconv.FormatFloat(number, 'f', -1, 64)
	}
	switch text {
	case "true", "yes", "on", "y", "t", "1":
		return []byte("true")
	case "false", "no", "off", "n", "f", "0", "-0", "":
		if plain {
			return []byte("false")
		}
	}
	return nil
}

// readPorts reads ports whose numbers may be written as 8080.0 or 8.08e3, and writes them as strict reads them.
func readPorts(value []byte) ([]byte, error) {
	if fits("Ports", value) {
		return value, nil
	}
	var r struct {
		Ports []struct {
			Name     string
			Port     integer
			Protocol string
		}
	}
	text := append(append([]byte(`{"Ports":`), value...), '}')
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	ports := make([]recordPort, len(r.Ports))
	for i, p := range r.Ports {
		ports[i] = recordPort{p.Name, int(p.Port), p.Protocol}
	}
	return json.Marshal(ports)
}

// integer is an integer however JSON writes it.
type integer int

func (i *integer) UnmarshalJSON(b []byte) error {
	x := member{value: b}
	n, ok := 0, x.kind() == kindNull
	if x.kind() == kindNumber {
		n, ok = integral(string(b))
	}
	if ok {
		*i = integer(n)
		return nil
	}
	what := strings.TrimPrefix(strings.TrimPrefix(string(x.kind()), "an "), "a ")
	if x.kind() == kindNumber {
		what += " " + clipped(string(b))
	}
	return &json.UnmarshalTypeError{Value: what, Type: reflect.TypeFor[int]()}
}

// integral returns a JSON number that is an integer of at most 9 digits, and false for another one.
func integral(number string) (int, bool) {
	mantissa, exponent := number, "0"
	if at := strings.IndexAny(number, "eE"); at >= 0 {
		mantissa, exponent = number[:at], number[at+1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimRight(whole+fraction, "0")
	if strings.Trim(digits, "-0") == "" {
		return 0, true
	}
	shift, err := strconv.Atoi(exponent)
	zeros := shift + len(whole) - len(digits)
	if err != nil || zeros < 0 || zeros > 9 {
		return 0, false
	}
	n, err := strconv.ParseInt(digits+strings.Repeat("0", zeros), 10, 32)
	return int(n), err == nil
}

// maxTimeText bounds the text of a time.
const maxTimeText = 100

// timeFormats are those that are known besides the ones of a record. A time without a zone is UTC.
var timeFormats = []string{
	time.RFC3339Nano, zonelessFormat,
	"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999 -0700 MST",
	"2006-01-02 15:04:05.999999999 Z07:00", "2006-01-02 15:04:05.999999999 -0700", "2006-01-02 15:04:05.999999999 MST",
	"2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly,
	"20060102T150405Z0700", "20060102T150405", "2006/01/02 15:04:05",
	time.RFC1123, time.RFC1123Z, time.RFC850, time.RFC822, time.RFC822Z, time.ANSIC, time.UnixDate, time.RubyDate,
	"Mon, _2 Jan 2006 15:04:05 MST", "Mon, _2 Jan 2006 15:04:05 -0700", "Mon Jan _2 2006 15:04:05 GMT-0700",
}

// parseTime reads a time that isn't written as RFC 3339 has it.
func parseTime(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	if len(text) > maxTimeText {
		return time.Time{}, false
	}
	if inner, ok := strings.CutPrefix(text, "/Date("); ok {
		return parseDotNet(inner)
	}
	if t, ok := parseUnix(text); ok {
		return t, true
	}
	text, _, _ = strings.Cut(text, " m=") // Go's monotonic clock
	text, _, _ = strings.Cut(text, " (")  // JavaScript's name of the zone
	for _, format := range timeFormats {
		if t, err := time.Parse(format, text); err == nil {
			return clampYear(t.UTC()), true
		}
	}
	return time.Time{}, false
}

// parseDotNet reads what follows in /Date(1795839720000+0100)/: milliseconds, and a zone that doesn't change the moment.
func parseDotNet(text string) (time.Time, bool) {
	text, ok := strings.CutSuffix(text, ")/")
	if at := strings.LastIndexAny(text, "+-"); at > 0 {
		text = text[:at]
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	return clampYear(time.UnixMilli(ms).UTC()), ok && err == nil
}

// parseUnix reads the time since 1970 in seconds, milliseconds, microseconds or nanoseconds, whichever gives a time in
// the next centuries.
func parseUnix(text string) (time.Time, bool) {
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || !decimal(text) {
		return time.Time{}, false
	}
	perSecond := 1.0
	for limit := 1e11; math.Abs(number) >= limit; limit *= 1e3 {
		if perSecond *= 1e3; perSecond > 1e9 {
			return time.Time{}, false
		}
	}
	if whole, err := strconv.ParseInt(text, 10, 64); err == nil {
		unit := int64(perSecond)
		return clampYear(time.Unix(whole/unit, whole%unit*(1e9/unit)).UTC()), true
	}
	seconds, fraction := math.Modf(number / perSecond)
	return clampYear(time.Unix(int64(seconds), int64(fraction*1e9)).Round(time.Microsecond).UTC()), true
}
