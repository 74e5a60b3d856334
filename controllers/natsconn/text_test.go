package natsconn

import (
	"errors"
	"strings"
	"testing"
)

func TestPlain(t *testing.T) {
	for said, want := range map[string]string{
		"dial nats://user:secret@nats:4222 failed":                 "dial nats://nats:4222 failed",
		"read tcp 10.0.0.1:40932->10.0.0.2:4222: connection reset": "read tcp 10.0.0.2:4222: connection reset",
		"read tcp [::1]:40932->[::1]:4222: connection reset":       "read tcp [::1]:4222: connection reset",
		"no route for 10.0.0.1:51234, [::1]:60000 and a:4222":      "no route for 10.0.0.1, [::1] and a:4222",
		"denied \"_INBOX.lnk3GsZzvXQ8nyaGKSPGq3.7\" to you":        "denied \"_INBOX.>\" to you",
		"denied \"_INBOX_b.lnk3GsZzvXQ8nyaGKSPGq3.7\"":             "denied \"_INBOX_b.>\"",
		"consumer rollcall_lnk3GsZzvXQ8nyaGKSPGq3 is gone":         "consumer rollcall_* is gone",
		"cid:77 and client id: 78 were closed":                     "cid and client id were closed",
		"request 0c5f2b1e-97c5-4ee2-a1f6-0b9b0a8d5c11 failed":      "request * failed",
		"x509: current time 2026-11-28T10:11:43Z is after 2026":    "x509: now is after 2026",
		"two\nlines\tand\x00a \u202eturn \xff":                     "two lines and a  turn \ufffd",
		strings.Repeat("ä", 301):                                   strings.Repeat("ä", 299) + "…",
		"certificate of nats.example.com:4222 for 12 servers":      "certificate of nats.example.com:4222 for 12 servers",
	} {
		if got := Plain(errors.New(said)); got != want {
			t.Errorf("%q is told as %q, want %q", said, got, want)
		}
	}
}
