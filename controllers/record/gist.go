package record

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"strconv"
	"time"
	"unicode/utf8"
)

// Gist is a hash of a record's text without the values of LastSeen and Load, which are all that a heartbeat changes. Finding out
// that a record says what the one before it said takes a tenth of what decoding it takes, and leaves nothing to the garbage
// collector. Like a fingerprint, a gist is of this process alone. Zero: the record has to be decoded.
type Gist uint64

// The members that a gist leaves out.
const memberLastSeen, memberLoad = "LastSeen", "Load"

// skimmed is what a record's text says besides its gist.
type skimmed struct {
	gist Gist
	// load is the number as it is written; empty if there is none.
	load []byte
	seen time.Time
}

// skim reads a record without decoding it. The gist is zero where the text, or one of the members that it leaves out, is not as
// writers write it, or where the name of another member might be taken for one of them. What has the gist of JSON is JSON.
func skim(text []byte) (s skimmed) {
	var sum maphash.Hash
	sum.SetSeed(fingerprintSeed)
	from := 0
	t := tokens{text: text}
	for t.next() {
		var ok bool
		switch name := t.text[t.name:t.named]; {
		case string(name) == memberLoad && s.load == nil:
			s.load = t.text[t.value:t.at]
			ok = plainNumber(s.load) || isNumber(s.load)
		case string(name) == memberLastSeen && s.seen.IsZero():
			s.seen, ok = timeIn(t.text[t.value:t.at])
		case !mistakable(name):
			continue
		}
		if !ok {
			return skimmed{}
		}
		_, _ = sum.Write(text[from:t.value]) // It never fails.
		_ = sum.WriteByte(0)                 // Nothing in JSON.
		from = t.at
	}
	if !t.complete {
		return skimmed{}
	}
	_, _ = sum.Write(text[from:])
	s.gist = Gist(sum.Sum64() | 1)
	return s
}

// mistakable returns true for the name of a member that a decoder, to which the case of letters is nothing, might take for one that
// the gist leaves out.
func mistakable(name []byte) bool {
	for _, c := range name {
		if c == '\\' || c >= utf8.RuneSelf {
			return true
		}
	}
	switch len(name) {
	case len(memberLoad):
		return bytes.EqualFold(name, []byte(memberLoad))
	case len(memberLastSeen):
		return bytes.EqualFold(name, []byte(memberLastSeen))
	}
	return false
}

// maxDigits is how many digits of a number a float64 holds, whichever they are.
const maxDigits = 15

// plainNumber returns true for a number that is shown as it is written: a decimal with no more digits than are needed.
func plainNumber(value []byte) bool {
	whole, fraction, point := bytes.Cut(value, []byte("."))
	if len(value) > maxDigits || !digits(whole) || len(whole) > 1 && whole[0] == '0' {
		return false
	}
	return !point || digits(fraction) && fraction[len(fraction)-1] != '0'
}

func digits(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(text) > 0
}

// isNumber returns true for a number of JSON that a float64 can hold.
func isNumber(value []byte) bool {
	_, err := strconv.ParseFloat(string(value), 64)
	return err == nil && json.Valid(value)
}

// shown returns the load as it is shown; last is what it was, which it most likely is still.
func (s *skimmed) shown(last string) string {
	switch {
	case len(s.load) == 0:
		return ""
	case !plainNumber(s.load):
		load, _ := strconv.ParseFloat(string(s.load), 64) // It is a number.
		return loadText(&load)
	case string(s.load) == last:
		return last
	}
	return string(s.load)
}

// timeIn reads a time as .NET writes it: RFC 3339, but the zone may be missing, which then is UTC.
func timeIn(value []byte) (time.Time, bool) {
	if len(value) < 2 || value[0] != '"' {
		return time.Time{}, false
	}
	text := string(value[1 : len(value)-1])
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		at, err = time.Parse("2006-01-02T15:04:05.999999999", text)
	}
	return at, err == nil && !at.IsZero()
}

// tokens finds the members of a JSON object. It takes what is no JSON for some as well.
type tokens struct {
	text []byte
	// at is how far it has come: the end of the member's value. name and named are where the member's name begins and ends, value
	// where its value begins.
	at, name, named, value int
	// complete is true once the object has ended, and nothing comes after it.
	complete bool
}

// next finds the next member, and returns false if there is none.
func (t *tokens) next() bool {
	first := t.at == 0
	switch c := t.skip(); {
	case first && c == '{':
		t.at++
		if t.skip() == '}' {
			return t.end()
		}
	case !first && c == ',':
		t.at++
	case !first && c == '}':
		return t.end()
	default:
		return false
	}
	return t.member()
}

// member goes to the end of the member that begins here, and returns false if there is none.
func (t *tokens) member() bool {
	if t.skip() != '"' {
		return false
	}
	t.name = t.at + 1
	if !t.quoted() {
		return false
	}
	t.named = t.at - 1
	if t.skip() != ':' {
		return false
	}
	t.at++
	t.skip()
	t.value = t.at
	return t.over() && t.at > t.value
}

func (t *tokens) end() bool {
	t.at++
	t.complete = t.skip() == 0 && t.at == len(t.text)
	return false
}

// skip skips white space, and returns what comes then; zero at the end.
func (t *tokens) skip() byte {
	for ; t.at < len(t.text); t.at++ {
		switch c := t.text[t.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// quoted goes to the end of the string that begins here.
func (t *tokens) quoted() bool {
	for t.at++; t.at < len(t.text); t.at++ {
		switch t.text[t.at] {
		case '\\':
			t.at++
		case '"':
			t.at++
			return true
		}
	}
	return false
}

// over goes to the end of the value that begins here.
func (t *tokens) over() bool {
	for depth := 0; t.at < len(t.text); {
		switch t.text[t.at] {
		case '"':
			if !t.quoted() {
				return false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return true
			}
			depth--
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return true
			}
		}
		t.at++
	}
	return false
}
