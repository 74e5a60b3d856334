package record

import (
	"unicode/utf8"

	"github.com/rollcall-dev/rollcall/internal/expression"
)

// MaxMessage is the greatest length of a message, in characters.
const MaxMessage = 300

// Bounded returns a text as a message.
func Bounded(text string) string { return expression.Plain(text, MaxMessage) }

// maxNote is the greatest length of the note of an Event, in bytes. The message of a condition may be longer.
const maxNote = 1024

// Note returns a message as one line of printable characters that an Event and a condition take, whatever was put together.
func Note(message string) string {
	const end = "…"
	message = expression.Plain(message, maxNote)
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
