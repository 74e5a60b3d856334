package dial

import (
	"bytes"
	"strings"
)

// The bounds of what a server may send.
const (
	maxLine     = 64 << 10
	maxInfo     = 256 << 10
	maxHeaders  = 64 << 10
	maxError    = 8 << 10 // It names a subject, of which servers take no longer ones.
	mostMessage = 4 << 20
	// maxSID and maxSize are how many digits numbers may have: nats.go adds them up without looking for an overflow.
	maxSID  = 18
	maxSize = 10
)

// The costs of what a server sends, in lines. A message costs another line for so many bytes.
const (
	errCost  = 20
	infoCost = 64
	bulk     = 8 << 10
)

// scanner checks the bytes of a server against a grammar that is far narrower than what nats.go takes. Whatever passes has
// one meaning, to the scanner as to nats.go.
//
//	line    = "PING" | "PONG" | "+OK" | "-ERR" SP text | "INFO" SP text
//	        | "MSG" SP subject SP sid [SP reply] SP size CRLF payload
//	        | "HMSG" SP subject SP sid [SP reply] SP headers SP size CRLF payload
//
// Each ends with CRLF, and no control character is anywhere but in a payload.
type scanner struct {
	largest int // bytes of a message
	payload int // bytes of the message that are to come
	end     int // bytes of the CRLF behind it that are to come
	cost    int // of what was scanned
	// welcomed is true once the server has let the client in, and refusal what it has said instead.
	welcomed bool
	refusal  string
}

// verdict is why scan has stopped.
type verdict uint8

const (
	incomplete  verdict = iota // the rest begins a line
	information                // the rest begins with an INFO
)

// scan returns how much of b may be handed on. What follows is the beginning of a line, or an INFO.
func (s *scanner) scan(b []byte) (int, verdict, error) {
	n := 0
	for {
		taken, err := s.message(b[n:])
		n += taken
		if err != nil || n == len(b) {
			return n, incomplete, err
		}
		line, err := completeLine(b[n:])
		if line == nil || err != nil {
			return n, incomplete, err
		}
		if line[0] == 'I' {
			return n, information, nil
		}
		if err := s.line(line); err != nil {
			return n, incomplete, err
		}
		n += len(line) + len("\r\n")
	}
}

// message takes what b has of the message that is under way.
func (s *scanner) message(b []byte) (int, error) {
	n := min(s.payload, len(b))
	s.payload -= n
	for ; s.payload == 0 && s.end > 0 && n < len(b); n++ {
		if b[n] != "\n\r"[s.end-1] {
			return 0, violation("a message is longer than it says")
		}
		s.end--
	}
	return n, nil
}

// longest returns how long a line may be that begins with c.
func longest(c byte) int {
	if c == 'I' {
		return maxInfo
	}
	return maxLine
}

// completeLine returns the line that b begins with, without its end; nil if there is none yet.
func completeLine(b []byte) ([]byte, error) {
	most := longest(b[0])
	i := bytes.IndexByte(b, '\n')
	switch {
	case i >= most, i < 0 && len(b) >= most:
		return nil, violation("a line is longer than %d bytes", most)
	case i < 0:
		return nil, nil
	case i < len("+OK\r") || b[i-1] != '\r':
		return nil, violation("a line has no proper end")
	default:
		return b[:i-1], nil
	}
}

// line checks any line but INFO.
func (s *scanner) line(line []byte) error {
	s.cost++
	switch {
	case bytes.HasPrefix(line, []byte("MSG ")):
		return s.begin(line[len("MSG "):], false)
	case bytes.HasPrefix(line, []byte("HMSG ")):
		return s.begin(line[len("HMSG "):], true)
	case string(line) == "PING", string(line) == "+OK":
		return nil
	case string(line) == "PONG":
		s.welcomed = true
		return nil
	case bytes.HasPrefix(line, []byte("-ERR ")):
		s.cost += errCost
		return s.refuse(line[len("-ERR "):])
	default:
		return violation("a line is none of the protocol")
	}
}

// refuse takes in what follows -ERR. What comes before the first PONG is why the server does not let the client in.
func (s *scanner) refuse(text []byte) error {
	if !s.welcomed {
		s.refusal = clip(strings.Trim(string(text), "'"))
	}
	return plainText(text)
}

// plainText checks what follows -ERR.
func plainText(text []byte) error {
	if len(text) == 0 || text[0] == ' ' || len(text) > maxError {
		return violation("an error without a text, or longer than %d bytes", maxError)
	}
	for _, c := range text {
		if c < ' ' || c == 0x7f {
			return violation("a control character in a line")
		}
	}
	return nil
}

// begin checks the arguments of a message and begins it.
func (s *scanner) begin(line []byte, headers bool) error {
	var fields [5][]byte
	count, start := 0, 0
	for i, c := range line {
		if c > ' ' && c != 0x7f {
			continue
		}
		if c != ' ' || i == start || count == len(fields)-1 {
			return violation("a message is announced in a wrong way")
		}
		fields[count] = line[start:i]
		count, start = count+1, i+1
	}
	if start == len(line) {
		return violation("a message is announced in a wrong way")
	}
	fields[count] = line[start:]
	return s.announced(fields[:count+1], headers)
}

// announced takes in the arguments of a message: subject, sid, perhaps a reply, the length of the headers if there are any,
// and the length of all.
func (s *scanner) announced(fields [][]byte, headers bool) error {
	least := 3
	if headers {
		least = 4
	}
	if len(fields) < least || len(fields) > least+1 {
		return violation("a message is announced in a wrong way")
	}
	size, ok := number(fields[len(fields)-1], maxSize)
	if _, sid := number(fields[1], maxSID); !ok || !sid {
		return violation("a message is announced in a wrong way")
	}
	if size > s.largest {
		return violation("a message of %d bytes, more than %d", size, s.largest)
	}
	if headers {
		if h, ok := number(fields[len(fields)-2], maxSize); !ok || h > size || h > maxHeaders {
			return violation("a message whose headers are longer than itself or than %d bytes", maxHeaders)
		}
	}
	s.payload, s.end = size, len("\r\n")
	s.cost += size / bulk
	return nil
}

// number reads a decimal number of at most so many digits.
func number(text []byte, digits int) (int, bool) {
	if len(text) == 0 || len(text) > digits {
		return 0, false
	}
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
