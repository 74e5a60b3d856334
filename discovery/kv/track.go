package kv

import (
	"strconv"

	"github.com/nats-io/nats.go"
)

// track follows the sequences of one consumer, finds out whether a message got lost, and how far the stream is known.
type track struct {
	// sequence is that of the consumer's last message.
	sequence uint64
	// position is a sequence of the stream up to which everything that concerns the consumer has arrived.
	position uint64
	// unbroken is a sequence up to which every message of the stream has arrived since begin was called.
	unbroken uint64
}

// begin starts unbroken again, at the position.
func (t *track) begin() { t.unbroken = t.position }

// message notes a message with its sequence in the consumer and in the stream; false says that one before it is missing.
func (t *track) message(consumer, stream uint64) bool {
	if consumer != t.sequence+1 {
		return false
	}
	t.sequence = consumer
	t.position = max(t.position, stream)
	if stream == t.unbroken+1 {
		t.unbroken = stream
	}
	return true
}

// heartbeat notes an idle heartbeat: the sequence of the last message that the consumer sent, and the sequence of the
// stream up to which it has looked. False says that a message is missing. A consumer that isn't stalled by flow control
// and yet has sent nothing for as long has come to the stream's end, so whatever there was up to there has arrived.
func (t *track) heartbeat(c control) bool {
	if c.consumer != t.sequence {
		return false
	}
	t.position = max(t.position, c.stream)
	if !c.stalled {
		t.unbroken = max(t.unbroken, c.stream)
	}
	return true
}

// control is what a message that carries no entry wants.
type control struct {
	// reply is a subject to which an empty message is to be published so that the server goes on sending; or empty.
	reply string
	// heartbeat says that consumer and stream are set.
	heartbeat        bool
	consumer, stream uint64
	// stalled says that the server waits for reply.
	stalled bool
}

// The headers of a push consumer's control messages: nats-server, consumer.go.
const (
	headerStatus       = "Status"
	headerLastConsumer = "Nats-Last-Consumer"
	headerLastStream   = "Nats-Last-Stream"
	headerStalled      = "Nats-Consumer-Stalled"
	statusControl      = "100"
)

// parseControl reads a control message; false says that it is none.
func parseControl(m *nats.Msg) (control, bool) {
	if len(m.Data) > 0 || m.Header.Get(headerStatus) != statusControl {
		return control{}, false
	}
	c := control{reply: m.Reply}
	if stalled := m.Header.Get(headerStalled); stalled != "" {
		c.reply, c.stalled = stalled, true
	}
	last, err := strconv.ParseUint(m.Header.Get(headerLastConsumer), 10, 64)
	if err != nil {
		return c, true
	}
	c.heartbeat, c.consumer = true, last
	c.stream, _ = strconv.ParseUint(m.Header.Get(headerLastStream), 10, 64)
	return c, true
}
