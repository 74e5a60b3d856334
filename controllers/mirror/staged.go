package mirror

import "github.com/rollcall-dev/rollcall/controllers/record"

// staged is a message that waits for the end of a listing. A deletion has no reading.
type staged struct {
	waiting
	reading *record.Reading
}

// stagedListing holds what a listing has shown of each key, in the order in which the keys came. The zero value is ready for use.
type stagedListing struct {
	byKey map[string]staged
	order []string
}

func (l *stagedListing) put(key string, s staged) {
	if l.byKey == nil {
		l.byKey = map[string]staged{}
	}
	if _, found := l.byKey[key]; !found {
		l.order = append(l.order, key)
	}
	l.byKey[key] = s
}
