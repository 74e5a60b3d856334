package kv

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestParsePlace: what a reply subject says is what the client makes of it, and one that it refuses is refused.
func TestParsePlace(t *testing.T) {
	const at = "1764360000123456789"
	known := place{stream: 17, consumer: 5, written: 1764360000123456789}
	tests := []struct {
		name, reply string
		ok          bool
	}{
		{"of a server without domains", "$JS.ACK.KV_b.rollcall_x.1.17.5." + at + ".3", true},
		{"of a domain", "$JS.ACK.hub.ACCHASH.KV_b.rollcall_x.1.17.5." + at + ".3.random", true},
		{"without a domain", "$JS.ACK._.ACCHASH.KV_b.rollcall_x.1.17.5." + at + ".3.random", true},
		{"without the token at the end", "$JS.ACK._.ACCHASH.KV_b.rollcall_x.1.17.5." + at + ".3", true},
		{"with more tokens than there are now", "$JS.ACK._.ACCHASH.KV_b.rollcall_x.1.17.5." + at + ".3.random.more", true},
		{"with ten tokens", "$JS.ACK.hub.KV_b.rollcall_x.1.17.5." + at + ".3", false},
		{"with too few tokens", "$JS.ACK.KV_b.rollcall_x.1.17.5." + at, false},
		{"of something else", "$JS.API.KV_b.rollcall_x.1.17.5." + at + ".3", false},
		{"none", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := parsePlace(tt.reply)
			meta, err := (&nats.Msg{Reply: tt.reply, Sub: &nats.Subscription{}}).Metadata()
			if ok != tt.ok || ok != (err == nil) {
				t.Fatalf("%t, want %t; the client says %v", ok, tt.ok, err)
			}
			if !ok {
				return
			}
			client := place{meta.Sequence.Stream, meta.Sequence.Consumer, uint64(meta.Timestamp.UnixNano())}
			if got != known || got != client || !time.Unix(0, int64(got.written)).Equal(meta.Timestamp) {
				t.Errorf("%+v, want %+v; the client says %+v", got, known, client)
			}
		})
	}
}

// TestParsePlaceOfOddNumbers: a number that is none makes no place, where the client takes it for zero.
func TestParsePlaceOfOddNumbers(t *testing.T) {
	for _, reply := range []string{
		"$JS.ACK.KV_b.rollcall_x.1.x.5.1764360000123456789.3",
		"$JS.ACK.KV_b.rollcall_x.1.17..1764360000123456789.3",
		"$JS.ACK.KV_b.rollcall_x.1.17.5.-1.3",
		"$JS.ACK.KV_b.rollcall_x.1.99999999999999999999.5.1764360000123456789.3",
	} {
		if p, ok := parsePlace(reply); ok {
			t.Errorf("%s: %+v", reply, p)
		}
	}
}
