package discovery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxWraps bounds how often the object may be wrapped in a JSON string.
const maxWraps = 3

// RemarkOnRecord is the member that remarks on the value as a whole name.
const RemarkOnRecord = "record"

// Repair turns what writers take for JSON into JSON. JSON itself is returned as it is. Otherwise byte order marks and
// what JSON doesn't know as white space are skipped, UTF-16 is read, and a JSON string that holds an object is unwrapped.
// Within objects and arrays a value or name in single quotes becomes a string, raw control characters are escaped, and
// trailing commas are dropped. A bare word becomes what it means in JSON: undefined and None null, True true. Anything
// else that is no JSON, such as NaN, 007 or 2026-11-28, becomes a string with that text, and a missing value null.
//
// The remarks say what was done. An error is a [*RecordError] with [ReasonEmpty] or [ReasonNotJSON]. The time is linear
// in the length of the value.
func Repair(value []byte) ([]byte, []Remark, error) {
	text, found := unwrap(value)
	if len(text) == 0 {
		return nil, nil, recordError(ReasonEmpty, "the value is empty, a JSON object is expected")
	}
	if json.Valid(text) {
		return text, found.limited(), nil
	}
	r := repairer{src: text, remarks: found}
	if err := r.root(); err != nil {
		return nil, nil, err
	}
	return r.out, r.remarks.limited(), nil
}

// unwrap strips what surrounds the JSON: white space, byte order marks, and JSON strings that hold an object.
func unwrap(value []byte) ([]byte, remarks) {
	var found remarks
	value = bytes.TrimSpace(value)
	if text, ok := fromUTF16(value); ok {
		value = bytes.TrimSpace(text)
		found.add(RemarkOnRecord, "is UTF-16, read all the same")
	}
	for wraps := 0; ; wraps++ {
		if bare := trimMarks(value); len(bare) < len(value) {
			value = bare
			found.add(RemarkOnRecord, "has a byte order mark or a null character around it, which is skipped")
		}
		if wraps == maxWraps || len(value) == 0 || value[0] != '"' {
			return value, found
		}
		var inner string
		if err := json.Unmarshal(value, &inner); err != nil || !mayHoldObject(inner) {
			return value, found
		}
		value = bytes.TrimSpace([]byte(inner))
		found.add(RemarkOnRecord, "is a JSON string that holds the object, which is unwrapped")
	}
}

// mayHoldObject reports whether a text starts as an object does, or as a string that may hold one.
func mayHoldObject(text string) bool {
	start := trimMarks([]byte(text))
	return len(start) > 0 && (start[0] == '{' || start[0] == '"')
}

// trimMarks trims byte order marks, null characters and white space.
func trimMarks(value []byte) []byte {
	return bytes.TrimFunc(value, func(r rune) bool { return r == '\uFEFF' || r == 0 || r < utf8.RuneSelf && asciiSpace(byte(r)) })
}

func asciiSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// fromUTF16 reads text that starts with a byte order mark of UTF-16.
func fromUTF16(value []byte) ([]byte, bool) {
	var low, high int
	switch {
	case bytes.HasPrefix(value, []byte{0xFF, 0xFE}):
		low, high = 0, 1
	case bytes.HasPrefix(value, []byte{0xFE, 0xFF}):
		low, high = 1, 0
	default:
		return nil, false
	}
	units := make([]uint16, 0, len(value)/2)
	for i := 2; i+1 < len(value); i += 2 {
		units = append(units, uint16(value[i+low])|uint16(value[i+high])<<8)
	}
	return []byte(string(utf16.Decode(units))), true
}

// maxNesting is the depth to which encoding/json reads.
const maxNesting = 10000

// repairer scans what may be JSON, and writes JSON.
type repairer struct {
	src []byte
	at  int
	out []byte
	// path are the names and indices that lead to the current value.
	path []string
	// members are those of the outermost object.
	members []span
	// odd counts the values that aren't JSON; remarks also tell of punctuation.
	odd     int
	remarks remarks
	// quiet is true if the remarks tell of punctuation alone.
	quiet bool
}

// span is where a member is: its name and value in out, and its value in src.
type span struct {
	name, value, source [2]int
	odd                 bool
}

// root scans the whole text, an object or an array.
func (r *repairer) root() error {
	if c := r.peek(); c != '{' && c != '[' {
		return r.unexpected("at the start of the value")
	}
	if err := r.value(); err != nil {
		return err
	}
	if r.space(); r.at < len(r.src) {
		return r.unexpected("after the end of the value")
	}
	return nil
}

// unexpected is the error for what stands where it can't be understood.
func (r *repairer) unexpected(where string) error {
	if r.at >= len(r.src) {
		return recordError(ReasonNotJSON, "the JSON ends too early")
	}
	c, _ := utf8.DecodeRune(r.src[r.at:])
	return recordError(ReasonNotJSON, "the value isn't JSON: invalid character %q %s", c, where)
}

// oddValue tells of a value that isn't JSON.
func (r *repairer) oddValue(format string, args ...any) {
	r.odd++
	if r.quiet {
		return
	}
	member := RemarkOnRecord
	if len(r.path) > 0 {
		member = memberPath(r.path)
	}
	r.remarks.add(member, fmt.Sprintf(format, args...))
}

// peek returns the next character after white space; 0 at the end.
func (r *repairer) peek() byte {
	r.space()
	if r.at < len(r.src) {
		return r.src[r.at]
	}
	return 0
}

// space skips white space, and what looks like it.
func (r *repairer) space() {
	for r.at < len(r.src) {
		switch c := r.src[r.at]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			r.at++
			continue
		case c == '\v' || c == '\f' || c == 0:
			r.at++
		case bytes.HasPrefix(r.src[r.at:], []byte("\uFEFF")):
			r.at += len("\uFEFF")
		case bytes.HasPrefix(r.src[r.at:], []byte("\u00A0")):
			r.at += len("\u00A0")
		default:
			return
		}
		r.remarks.add(RemarkOnRecord, "has white space that JSON doesn't know, which is skipped")
	}
}

// value scans one value and writes it.
func (r *repairer) value() error {
	switch c := r.peek(); c {
	case 0:
		return r.unexpected("")
	case '{':
		return r.object()
	case '[':
		return r.array()
	case '"', '\'':
		return r.text(c)
	case ',', '}', ']':
		r.oddValue("has no value, null is read")
		r.out = append(r.out, "null"...)
		return nil
	}
	return r.bare()
}

func (r *repairer) open(c byte) error {
	if len(r.path) >= maxNesting {
		return recordError(ReasonNotJSON, "the value isn't JSON: exceeded max depth")
	}
	r.at++
	r.out = append(r.out, c)
	r.path = append(r.path, "")
	return nil
}

// more reports whether another item precedes the closing character, and takes the comma in between.
func (r *repairer) more(closing byte, first bool) (bool, error) {
	commas := 0
	for r.peek() == ',' {
		commas++
		r.at++
	}
	again := r.peek() != closing
	switch {
	case !again:
		if commas > 0 {
			r.surplus()
		}
		r.at++
		r.out = append(r.out, closing)
		r.path = r.path[:len(r.path)-1]
	case r.at >= len(r.src):
		return false, r.unexpected("")
	case first && commas > 0, commas > 1:
		r.surplus()
	case !first && commas == 0:
		return false, r.unexpected("where a comma is expected")
	}
	if again && !first {
		r.out = append(r.out, ',')
	}
	return again, nil
}

func (r *repairer) surplus() {
	r.remarks.add(RemarkOnRecord, "has a comma too many, which is skipped")
}

func (r *repairer) array() error {
	if err := r.open('['); err != nil {
		return err
	}
	for i := 0; ; i++ {
		more, err := r.more(']', i == 0)
		if err != nil || !more {
			return err
		}
		r.path[len(r.path)-1] = "[" + strconv.Itoa(i) + "]"
		if err := r.value(); err != nil {
			return err
		}
	}
}

func (r *repairer) object() error {
	if err := r.open('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		more, err := r.more('}', first)
		if err != nil || !more {
			return err
		}
		if err := r.member(); err != nil {
			return err
		}
	}
}

func (r *repairer) member() error {
	var s span
	s.name[0] = len(r.out)
	if err := r.name(); err != nil {
		return err
	}
	s.name[1] = len(r.out)
	r.path[len(r.path)-1] = unquoted(r.out[s.name[0]:s.name[1]])
	if r.peek() != ':' {
		return r.unexpected("where a colon is expected")
	}
	r.at++
	r.out = append(r.out, ':')
	r.space()
	s.value[0], s.source[0] = len(r.out), r.at
	odd := r.odd
	if err := r.value(); err != nil {
		return err
	}
	if len(r.path) == 1 {
		s.value[1], s.source[1], s.odd = len(r.out), r.at, r.odd > odd
		r.members = append(r.members, s)
	}
	return nil
}

// name scans the name of a member, which may lack its quotes.
func (r *repairer) name() error {
	if c := r.peek(); c == '"' || c == '\'' {
		r.path[len(r.path)-1] = ""
		return r.text(c)
	}
	start := r.at
	for r.at < len(r.src) && nameCharacter(r.src[r.at]) {
		r.at++
	}
	if r.at == start {
		return r.unexpected("where the name of a member is expected")
	}
	r.remarks.add(RemarkOnRecord, "has names of members without double quotes, read all the same")
	r.out = append(r.out, '"')
	r.out = append(r.out, r.src[start:r.at]...)
	r.out = append(r.out, '"')
	return nil
}

func nameCharacter(c byte) bool {
	return c == '_' || c == '$' || c == '-' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// text scans a string in double or single quotes.
func (r *repairer) text(quote byte) error {
	r.at++
	r.out = append(r.out, '"')
	trouble := ""
	if quote == '\'' {
		trouble = "is in single quotes, read as a string"
	}
	for r.at < len(r.src) {
		switch c := r.src[r.at]; {
		case c == quote:
			r.at++
			r.out = append(r.out, '"')
			if trouble != "" {
				r.oddValue("%s", trouble)
			}
			return nil
		case c == '\\':
			if !r.escape() {
				trouble = "has an escape that JSON doesn't know, read as it stands"
			}
		case c < ' ':
			trouble = "has a raw control character, read as it stands"
			r.out = fmt.Appendf(r.out, `\u%04x`, c)
			r.at++
		case c == '"':
			r.out = append(r.out, '\\', '"')
			r.at++
		default:
			r.out = append(r.out, c)
			r.at++
		}
	}
	return r.unexpected("")
}

// escape scans what follows a backslash, and reports whether JSON knows it.
func (r *repairer) escape() bool {
	rest := r.src[r.at+1:]
	switch {
	case len(rest) > 0 && strings.IndexByte(`"\/bfnrt`, rest[0]) >= 0:
		r.out = append(r.out, '\\', rest[0])
		r.at += 2
		return true
	case len(rest) > 4 && rest[0] == 'u' && hexadecimal(rest[1:5]):
		r.out = append(r.out, r.src[r.at:r.at+6]...)
		r.at += 6
		return true
	case len(rest) > 0 && rest[0] == '\'':
		r.out = append(r.out, '\'')
		r.at += 2
		return false
	}
	r.out = append(r.out, '\\', '\\')
	r.at++
	return false
}

func hexadecimal(digits []byte) bool {
	return len(bytes.TrimLeft(digits, "0123456789abcdefABCDEF")) == 0
}

// bare scans a word or a number.
func (r *repairer) bare() error {
	start := r.at
	for ; r.at < len(r.src) && !r.endsWord(start); r.at++ {
		if c := r.src[r.at]; c == '"' || c == '{' || c == '[' {
			return r.unexpected("in a value without quotes")
		}
	}
	r.word(strings.TrimRight(string(r.src[start:r.at]), " "))
	return nil
}

// endsWord reports whether a word that began at start ends here.
func (r *repairer) endsWord(start int) bool {
	switch c := r.src[r.at]; c {
	case ']', '}':
		return true
	case ',':
		return !r.decimalComma(start)
	default:
		return c < ' '
	}
}

// word writes what a word means.
func (r *repairer) word(word string) {
	meaning, known := words[strings.ToLower(word)]
	switch {
	case known && word == meaning, isNumber(word):
		r.out = append(r.out, word...)
	case known:
		r.oddValue("is %s, which isn't JSON, read as %s", shortened(word), meaning)
		r.out = append(r.out, meaning...)
	default:
		r.oddValue("is %s, which isn't JSON, read as a string", shortened(word))
		r.out = append(r.out, quote(word)...)
	}
}

// words are what other languages write for what JSON knows, in lower case.
var words = map[string]string{"true": "true", "false": "false", "null": "null", "undefined": "null", "none": "null", "nil": "null"}

// decimalComma reports whether the comma at the current place is that of a number such as 0,5, which a program writes
// that follows the customs of its country: digits alone follow up to the end of the member.
func (r *repairer) decimalComma(start int) bool {
	if len(r.path) == 0 || strings.HasPrefix(r.path[len(r.path)-1], "[") || len(bytes.Trim(r.src[start:r.at], "0123456789-")) > 0 {
		return false
	}
	rest := r.src[r.at+1:]
	after := bytes.TrimLeft(rest, "0123456789")
	if len(after) == len(rest) {
		return false
	}
	after = bytes.TrimLeft(after, " \t\r\n")
	return len(after) > 0 && (after[0] == ',' || after[0] == '}')
}

// isNumber reports whether JSON knows the text as a number.
func isNumber(text string) bool {
	return text != "" && (text[0] == '-' || text[0] >= '0' && text[0] <= '9') && json.Valid([]byte(text))
}

// unquoted returns the text of a JSON string.
func unquoted(value []byte) string {
	if bytes.IndexByte(value, '\\') < 0 && utf8.Valid(value) {
		return string(value[1 : len(value)-1])
	}
	var s string
	_ = json.Unmarshal(value, &s)
	return s
}
