package discovery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// utf16LE returns the text as Windows writes it.
func utf16LE(text string) string {
	var b bytes.Buffer
	for _, unit := range utf16.Encode([]rune("\uFEFF" + text)) {
		b.Write([]byte{byte(unit), byte(unit >> 8)})
	}
	return b.String()
}

func TestRepair(t *testing.T) {
	for in, want := range map[string]string{
		` {"a": 1e400} `:                   `{"a": 1e400}`,
		`5`:                                `5`,
		`"text"`:                           `"text"`,
		"\uFEFF{\"a\":1}":                  `{"a":1}`,
		`{"a":1}` + "\x00":                 `{"a":1}`,
		utf16LE(`{"a":"ö"}`):               `{"a":"ö"}`,
		`"{\"a\":1}"`:                      `{"a":1}`,
		`"\uFEFF{\"a\":1}"`:                `{"a":1}`,
		`"\"{\\\"a\\\":NaN}\""`:            `{"a":"NaN"}`,
		`{"a":NaN,"b":-Infinity}`:          `{"a":"NaN","b":"-Infinity"}`,
		`{"a":undefined,"b":None,"c":nil}`: `{"a":null,"b":null,"c":null}`,
		`{"a":True,"b":FALSE}`:             `{"a":true,"b":false}`,
		`{"a":007,"b":.5,"c":+1,"d":1.}`:   `{"a":"007","b":".5","c":"+1","d":"1."}`,
		`{"a":0x1F}`:                       `{"a":"0x1F"}`,
		`{"a":0,5}`:                        `{"a":"0,5"}`,
		`{"a":0,5,"b":1}`:                  `{"a":"0,5","b":1}`,
		`{"a":yes}`:                        `{"a":"yes"}`,
		`{"a":2026-11-28 04:20:00 ,"b":1}`: `{"a":"2026-11-28 04:20:00","b":1}`,
		`{"a":,"b":}`:                      `{"a":null,"b":null}`,
		`{'a':'it is "x"\''}`:              `{"a":"it is \"x\"'"}`,
		"{\"a\":\"x\ty\nz\"}":              `{"a":"x\u0009y\u000az"}`,
		`{"a":"C:\dir\x"}`:                 `{"a":"C:\\dir\\x"}`,
		`{"a":"\u00e4\uXYZ"}`:              `{"a":"\u00e4\\uXYZ"}`,
		`{"a":[1,2,],}`:                    `{"a":[1,2]}`,
		`{,"a":[,1,,2],}`:                  `{"a":[1,2]}`,
		`{a:1,b_c:{d:NaN}}`:                `{"a":1,"b_c":{"d":"NaN"}}`,
		"{\"a\"\u00A0:\v1}":                `{"a":1}`,
		`[NaN,{"a":x}]`:                    `["NaN",{"a":"x"}]`,
	} {
		got, remarks, err := Repair([]byte(in))
		if err != nil || string(got) != want || !json.Valid(got) {
			t.Errorf("%s: got %s, want %s, error %v", in, got, want, err)
		}
		if odd := strings.TrimSpace(in) != want; odd != (len(remarks) > 0) {
			t.Errorf("%s: the remarks are %v", in, remarks)
		}
	}
}

func TestRepairGivesUp(t *testing.T) {
	for in, want := range map[string]Reason{
		"":                                    ReasonEmpty,
		"\uFEFF":                              ReasonEmpty,
		"\x00":                                ReasonEmpty,
		`"\uFEFF"x`:                           ReasonNotJSON,
		"hello":                               ReasonNotJSON,
		`{"a":1`:                              ReasonNotJSON,
		`{"a":"x}`:                            ReasonNotJSON,
		`{"a":NaN}{}`:                         ReasonNotJSON,
		`{"a":1 "b":2}`:                       ReasonNotJSON,
		`{"a" 1}`:                             ReasonNotJSON,
		`{"a":NaN]`:                           ReasonNotJSON,
		`{"a":'it's'}`:                        ReasonNotJSON,
		`{:1}`:                                ReasonNotJSON,
		"\x1f\x8b\x08":                        ReasonNotJSON,
		strings.Repeat("[", 1<<20):            ReasonNotJSON,
		strings.Repeat(`{"a":`, maxNesting*2): ReasonNotJSON,
	} {
		got, remarks, err := Repair([]byte(in))
		if reasonOf(err) != want || got != nil || remarks != nil {
			t.Errorf("%.40q: got %.40s, %v, %v", in, got, remarks, err)
		}
	}
}

// The remarks name the value, are few, and don't change with the order of members or with values that change.
func TestRepairRemarks(t *testing.T) {
	say := func(value string) string {
		t.Helper()
		_, remarks, err := Repair([]byte(value))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(remarks)
	}
	if got := say(`{"nodes":[{"load":NaN}]}`); got != "[nodes[0].load is NaN, which isn't JSON, read as a string]" {
		t.Error(got)
	}
	if a, b := say(`{"a":NaN,"b":007,}`), say(`{,"b":008,"a":NaN}`); a != b {
		t.Errorf("%s and %s", a, b)
	}
	_, remarks, err := Repair([]byte("[" + strings.Repeat("NaN,", 5000) + "]"))
	if err != nil || len(remarks) != maxRemarks+1 {
		t.Errorf("%d remarks, %v", len(remarks), err)
	}
	if last := remarks[maxRemarks].Detail; last != "has 4985 more oddities" {
		t.Error(last)
	}
}

// Twice the input takes about twice the time, whatever is in it. This much takes less than a second, and with its square minutes.
func TestRepairIsLinear(t *testing.T) {
	t.Parallel()
	for _, part := range []string{`"a":NaN,`, `1,2`, `0,`, `'`, `\`, ",", " ", "\v", "\uFEFF", `"`, `a:b,`, `5`, `"\u00`, "1 ", "[x,", `{"a":`} {
		value := []byte("{" + strings.Repeat(part, 1<<19/len(part)))
		began := time.Now()
		_, _, _ = Repair(value)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: %v", part, took)
		}
	}
}

// checkRepair holds that what Repair gives is JSON, and stays as it is when it is repaired once more.
func checkRepair(t *testing.T, in []byte) {
	t.Helper()
	repaired, _, err := Repair(in)
	if err != nil {
		return
	}
	if !json.Valid(repaired) {
		t.Fatalf("%q is no JSON", repaired)
	}
	if again, remarks, err := Repair(repaired); err != nil || repaired[0] == '{' && (remarks != nil || !bytes.Equal(again, repaired)) {
		t.Fatalf("%q becomes %q, %v, %v", repaired, again, remarks, err)
	}
}
