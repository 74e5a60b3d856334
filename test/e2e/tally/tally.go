// Package tally is what a caller of a Service counts: who answered, when, and what failed.
package tally

import "time"

// Answers are the answers of one server.
type Answers struct {
	Count       int
	First, Last time.Time
}

// Failure is a request that got no answer, or a wrong one.
type Failure struct {
	// At is when the request was made.
	At     time.Time
	Reason string
}

// Tally is what became of the requests made since Since.
type Tally struct {
	Since    time.Time
	Requests int
	// By holds the answers by the name of the server.
	By       map[string]Answers
	Failures []Failure
}

// New returns an empty tally that starts now.
func New() *Tally { return &Tally{Since: time.Now(), By: map[string]Answers{}} }

// Answered counts an answer to a request that was made at a time.
func (t *Tally) Answered(at time.Time, server string) {
	t.Requests++
	answers := t.By[server]
	if answers.Count == 0 {
		answers.First = at
	}
	answers.Count++
	answers.Last = at
	t.By[server] = answers
}

// Failed counts a request, made at a time, that failed.
func (t *Tally) Failed(at time.Time, reason string) {
	t.Requests++
	t.Failures = append(t.Failures, Failure{At: at, Reason: reason})
}

// LastFailure is when the last request that failed was made; the zero time if none did.
func (t *Tally) LastFailure() time.Time {
	var last time.Time
	for _, failure := range t.Failures {
		if failure.At.After(last) {
			last = failure.At
		}
	}
	return last
}
