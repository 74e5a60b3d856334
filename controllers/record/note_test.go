package record

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNote(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "short": "short", "two\nlines\x00\u202e": "two lines  ", "\xff": "\ufffd",
		strings.Repeat("a", maxNote): strings.Repeat("a", maxNote),
	} {
		if got := Note(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{
		strings.Repeat("a", maxNote+1), strings.Repeat("ä", maxNote), "a" + strings.Repeat("\U0001F9EA", maxNote), strings.Repeat("\xff", maxNote),
	} {
		got := Note(text)
		if len(got) > maxNote || len(got) < maxNote-4 || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
			t.Errorf("%d bytes became %d: %.40q", len(text), len(got), got)
		}
	}
}
