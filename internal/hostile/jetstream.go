package hostile

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// consumer is one that a client has asked for.
type consumer struct {
	stream, name, sid string
	deliver           string
	prefix            string // of the subjects
	sent              uint64
}

// request answers a request to JetStream.
func (p *peer) request(subject, reply string, payload []byte) {
	sid := p.sidOf(reply)
	if p.act.requested != nil {
		attack := p.act.requested
		p.act = &act{requested: func(*peer, string, string) {}}
		p.beside(func() { attack(p, sid, reply) })
		return
	}
	operation, found := strings.CutPrefix(subject, "$JS.API.")
	if !found {
		return
	}
	answer := ""
	if p.act.answer != nil {
		answer = p.act.answer(p, operation)
	}
	if made := p.answer(operation, payload); answer == "" {
		answer = made
	} else {
		p.server.strike()
	}
	p.message(sid, reply, "", []byte(answer))
}

// answer does what is asked for, as far as anybody has to believe it.
func (p *peer) answer(operation string, payload []byte) string {
	words := strings.SplitN(operation, ".", 4)
	switch {
	case strings.HasPrefix(operation, "STREAM.INFO."):
		return streamInfo(words[2], "", "")
	case strings.HasPrefix(operation, "CONSUMER.CREATE.") && len(words) > 3:
		return p.createConsumer(words[2], payload)
	case strings.HasPrefix(operation, "CONSUMER.DELETE."):
		return `{"success":true}`
	case strings.HasPrefix(operation, "STREAM.MSG.GET."):
		return `{"error":{"code":404,"err_code":10037,"description":"no message found"}}`
	default:
		return `{"error":{"code":503,"err_code":10039,"description":"jetstream not enabled for account"}}`
	}
}

func (p *peer) createConsumer(stream string, payload []byte) string {
	var asked struct {
		Config struct {
			Name    string `json:"name"`
			Deliver string `json:"deliver_subject"`
			Filter  string `json:"filter_subject"`
		} `json:"config"`
	}
	if err := json.Unmarshal(payload, &asked); err != nil {
		return `{"error":{"code":400,"description":"bad request"}}`
	}
	c := &asked.Config
	p.consumers[c.Deliver] = &consumer{stream: stream, name: c.Name, deliver: c.Deliver, prefix: strings.TrimSuffix(c.Filter, ">")}
	return fmt.Sprintf(`{"stream_name":%q,"name":%q,"created":"2026-01-01T00:00:00Z","config":{"deliver_subject":%q}}`, stream, c.Name, c.Deliver)
}

// streamInfo is what a server says of a stream; config and state are members that are added, the last of which count.
func streamInfo(stream, config, state string) string {
	bucket := strings.TrimPrefix(stream, "KV_")
	return fmt.Sprintf(`{"config":{"name":%q,"subjects":["$KV.%s.>"],"max_age":300000000000,"max_msgs_per_subject":5,"storage":"file","num_replicas":1%s},`+
		`"created":"2026-01-01T00:00:00Z","ts":%q,"state":{"messages":0,"bytes":0,"first_seq":1,"last_seq":0%s}}`,
		stream, bucket, config, time.Now().UTC().Format(time.RFC3339Nano), state)
}

// entry appends the message of a key in a listing, with a stream's sequence and a time in Unix nanoseconds.
func (c *consumer) entry(to []byte, key string, value []byte, sequence uint64, at int64) []byte {
	c.sent++
	return c.raw(to, key, value, strconv.FormatUint(sequence, 10), strconv.FormatUint(c.sent, 10), strconv.FormatInt(at, 10), "0")
}

// raw is entry with whatever a server may write for the sequences, the time and how many messages are pending.
func (c *consumer) raw(to []byte, key string, value []byte, sequence, sent, at, pending string) []byte {
	to = append(to, "MSG "...)
	to = append(append(to, c.prefix...), key...)
	to = append(append(append(to, ' '), c.sid...), " $JS.ACK."...)
	to = append(append(append(to, c.stream...), '.'), c.name...)
	for _, token := range []string{"1", sequence, sent, at, pending} {
		to = append(append(to, '.'), token...)
	}
	to = strconv.AppendInt(append(to, ' '), int64(len(value)), 10)
	to = append(append(to, "\r\n"...), value...)
	return append(to, "\r\n"...)
}

// deleted appends the message of a key that was deleted.
func (c *consumer) deleted(to []byte, key string, sequence uint64) []byte {
	const headers = "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"
	c.sent++
	return fmt.Appendf(to, "HMSG %s%s %s $JS.ACK.%s.%s.1.%d.%d.%d.0 %d %d\r\n%s\r\n", c.prefix, key, c.sid, c.stream, c.name,
		sequence, c.sent, time.Now().UnixNano(), len(headers), len(headers), headers)
}

// beat sends the heartbeats of a consumer that has delivered everything, until the connection is closed.
func (c *consumer) beat(p *peer) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		headers := fmt.Sprintf("NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: %d\r\nNats-Last-Stream: %d\r\n\r\n", c.sent, c.sent)
		if _, err := fmt.Fprintf(p.Conn, "HMSG %s %s %d %d\r\n%s\r\n", c.deliver, c.sid, len(headers), len(headers), headers); err != nil {
			return
		}
		<-tick.C
	}
}

// record is a record that a NodeRegistry takes.
func record(id string) []byte {
	return fmt.Appendf(nil, `{"NodeId":%q,"Endpoint":"http://10.1.0.1:8080","Metadata":{"role":"web"}}`, id)
}
