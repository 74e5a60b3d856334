package natsconn

import (
	"regexp"
	"strings"

	"github.com/rollcall-dev/rollcall/controllers/record"
)

// hidden are the parts of an error that nobody may see, or that would make it another text each time.
var hidden = []struct {
	part        *regexp.Regexp
	replacement string
}{
	{regexp.MustCompile(`//[^/@\s]*@`), "//"},             // a user and password
	{regexp.MustCompile(`\S+:\d+->`), ""},                 // the local side of a connection
	{regexp.MustCompile(`current time \S+ is`), "now is"}, // in errors of certificates
	{regexp.MustCompile(`(?i)\b(cid|client id|connection id)\b[\s:=#"]*\d+`), "$1"},
	{regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "*"},
	{regexp.MustCompile(`\b(_INBOX[0-9A-Za-z_-]*)\.[^\s"']*`), "$1.>"},
	// A port that a client got at random: those from 32768 on.
	{regexp.MustCompile(`(\d\.\d+|\]):(3276[89]|327[7-9]\d|32[89]\d\d|3[3-9]\d{3}|[45]\d{4}|6[0-5]\d{3})\b`), "$1"},
}

// word matches what may be a NUID, by which clients make a name unique.
var word = regexp.MustCompile(`[0-9A-Za-z]+`)

// Plain returns what an error says in 300 printable characters at most, without what hidden names.
func Plain(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []string
		for _, one := range joined.Unwrap() {
			all = append(all, one.Error())
		}
		text = strings.Join(all, "; ")
	}
	return PlainText(text)
}

// maxRaw bounds what of a text is looked at.
const maxRaw = 8 << 10

// PlainText is the same for a text.
func PlainText(text string) string {
	text = record.Cut(text, maxRaw)
	for _, h := range hidden {
		text = h.part.ReplaceAllString(text, h.replacement)
	}
	text = word.ReplaceAllStringFunc(text, func(w string) string {
		const nuid = 22
		if len(w) == nuid && strings.ContainsAny(w, "0123456789") {
			return "*"
		}
		return w
	})
	return record.Bounded(text)
}
