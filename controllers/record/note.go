package record

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxNote is the greatest length of the note of an Event, in bytes. The message of a condition may be longer.
const maxNote = 1024

// Note returns a message as one line of printable characters that an Event and a condition take, whatever was put together.
func Note(message string) string {
	const end = "…"
	message = printable(message)
	if len(message) <= maxNote {
		return message
	}
	return Cut(message, maxNote-len(end)) + end
}

// Cut returns at most that many bytes of a text, and no part of a character.
func Cut(text string, size int) string {
	if len(text) <= size {
		return text
	}
	for size > 0 && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size]
}

// printable returns the text with a blank for each character that is not printable: control characters, and those that turn
// the direction of what follows.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}
