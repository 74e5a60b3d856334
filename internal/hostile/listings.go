package hostile

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// revisions are messages of a listing whose sequences, times and counts no server could mean.
func revisions() []Script {
	raw := func(name string, tokens func(n uint64) (sequence, sent, at, pending string)) Script {
		return Script{Kind: "revisions", Name: name, serve: serve(act{deliver: func(p *peer, c *consumer) {
			p.server.done.Go(func() { c.beat(p) })
			every(p, 10*time.Millisecond, func(n uint64) []byte {
				sequence, sent, at, pending := tokens(n + 1)
				key := "n" + strconv.FormatUint(n%100, 10)
				return c.raw(nil, key, record(key), sequence, sent, at, pending)
			})
		}})}
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	now := func() string { return strconv.FormatInt(time.Now().UnixNano(), 10) }
	at := func(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
	timed := func(name, when string) Script {
		return raw("a time "+name, func(n uint64) (string, string, string, string) { return number(n), number(n), when, "0" })
	}
	sequenced := func(name string, sequence func(n uint64) string) Script {
		return raw("a revision "+name, func(n uint64) (string, string, string, string) { return sequence(n), number(n), now(), "0" })
	}
	return []Script{
		sequenced("of zero", func(uint64) string { return "0" }),
		sequenced("that goes back", func(n uint64) string { return number(1_000_000 - n) }),
		sequenced("of 2^64-1", func(uint64) string { return "18446744073709551615" }),
		sequenced("of 2^64", func(uint64) string { return "18446744073709551616" }),
		sequenced("that is negative", func(uint64) string { return "-1" }),
		sequenced("that is no number", func(uint64) string { return "x" }),
		sequenced("that leaps", func(n uint64) string { return number(n << 50) }),
		timed("of the year 1754", strconv.FormatInt(math.MinInt64+1, 10)),
		timed("of the year 2262", strconv.FormatInt(math.MaxInt64, 10)),
		timed("of tomorrow", at(time.Now().Add(24*time.Hour))),
		timed("of ten years ago", at(time.Now().Add(-10*365*24*time.Hour))),
		timed("that is no number", "x"),
		timed("of 2^64", "18446744073709551616"),
		raw("pending counts without sense", func(n uint64) (string, string, string, string) {
			return number(n), number(n), now(), "18446744073709551615"
		}),
		raw("a consumer's sequence that stands", func(n uint64) (string, string, string, string) { return number(n), "1", now(), "0" }),
		raw("a consumer's sequence of 2^64-1", func(n uint64) (string, string, string, string) {
			return number(n), "18446744073709551615", now(), "0"
		}),
		{Kind: "revisions", Name: "heartbeats of a consumer that has sent more than there is", serve: serve(act{deliver: func(p *peer, c *consumer) {
			every(p, 100*time.Millisecond, func(n uint64) []byte {
				headers := fmt.Sprintf("NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 0\r\nNats-Last-Stream: %d\r\nNats-Consumer-Stalled: $SYS.%d\r\n\r\n",
					uint64(math.MaxUint64)-n, n)
				return fmt.Appendf(nil, "HMSG %s %s %d %d\r\n%s\r\n", c.deliver, c.sid, len(headers), len(headers), headers)
			})
		}})},
	}
}

// every writes what f returns for 0, 1, 2 … at an interval, until the connection is closed.
func every(p *peer, interval time.Duration, f func(n uint64) []byte) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := uint64(0); ; n++ {
		if _, err := p.Write(f(n)); err != nil {
			return
		}
		<-tick.C
	}
}

// bucketInfo answers STREAM.INFO with what answer returns for the n-th time.
func bucketInfo(name string, answer func(stream string, n int) string) Script {
	return Script{Kind: "buckets", Name: name, serve: serve(act{answer: func(p *peer, operation string) string {
		stream, found := strings.CutPrefix(operation, "STREAM.INFO.")
		if !found {
			return ""
		}
		return answer(stream, p.server.Struck())
	}})}
}

// buckets are answers to STREAM.INFO that no server could mean.
func buckets() []Script { return slices.Concat(bucketConfigs(), bucketStates()) }

func bucketConfigs() []Script {
	config := func(name, members string) Script {
		return bucketInfo(name, func(stream string, _ int) string { return streamInfo(stream, ","+members, "") })
	}
	others := `{"name":"KV_x","filter_subject":"a.>","external":{"api":"$JS.x.API"}}`
	return []Script{
		config("max_age of 2^63-1", `"max_age":9223372036854775807`),
		config("max_age that is negative", `"max_age":-1`),
		config("max_age of one nanosecond", `"max_age":1`),
		config("markers for 2^63-1", `"subject_delete_marker_ttl":9223372036854775807,"allow_msg_ttl":true`),
		config("a history of 2^63-1", `"max_msgs_per_subject":9223372036854775807,"num_replicas":-9223372036854775808`),
		config("limits that are negative", `"max_bytes":-9223372036854775808,"max_msgs":-5,"max_msg_size":-2147483648,"discard":"new"`),
		config("limits of 1, discarding what is new", `"max_bytes":1,"max_msgs":1,"discard":"new","discard_new_per_subject":true`),
		config("subjects without sense", `"subjects":["","..",">.>","*.*",">"]`),
		config("a hundred thousand subjects", `"subjects":["a"`+strings.Repeat(`,"a.b.c.*.>"`, 100_000)+`]`),
		config("a mirror of nothing", `"mirror":{}`),
		config("a mirror of itself", `"mirror":{"name":"KV_catga_nodes"}`),
		config("a mirror with a name of wildcards", `"mirror":{"name":">.*.>"}`),
		config("ten thousand sources", `"sources":[`+others+strings.Repeat(","+others, 10_000)+`]`),
		config("a sealed stream", `"sealed":true,"max_age":0`),
	}
}

func bucketStates() []Script {
	state := func(name, members string) Script {
		return bucketInfo(name, func(stream string, _ int) string { return streamInfo(stream, "", ","+members) })
	}
	return []Script{
		state("2^64-1 messages", `"messages":18446744073709551615,"bytes":18446744073709551615,"first_seq":18446744073709551615,"last_seq":18446744073709551615`),
		state("counts that are negative", `"messages":-1,"last_seq":-1`),
		state("counts that no number holds", `"messages":1e400`),
		state("a first sequence beyond the last", `"first_seq":100,"last_seq":1`),
		state("a last sequence that never comes", `"last_seq":1000000`),
		bucketInfo("a stream that is created anew each time", func(stream string, n int) string {
			created := time.Unix(int64(n), 0).UTC().Format(time.RFC3339)
			return strings.Replace(streamInfo(stream, "", ""), "2026-01-01T00:00:00Z", created, 1)
		}),
		bucketInfo("a last sequence that goes back", func(stream string, n int) string {
			return streamInfo(stream, "", fmt.Sprintf(`,"last_seq":%d`, max(0, 100-n)))
		}),
		bucketInfo("a stream created in the year 9999", func(stream string, _ int) string {
			return strings.Replace(streamInfo(stream, "", ""), "2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 1)
		}),
		bucketInfo("a clock of the year 1", func(stream string, _ int) string {
			return streamInfo(stream, "", "") + `{"ts":"0001-01-01T00:00:00Z"}`
		}),
		bucketInfo("megabytes of subjects", func(stream string, _ int) string {
			return streamInfo(stream, "", `,"subjects":{"a":1`+subjects(100_000)+`}`)
		}),
		bucketInfo("megabytes of nested braces", func(string, int) string { return strings.Repeat(`{"config":`, 100_000) }),
		bucketInfo("no JSON", func(string, int) string { return "\x00" }),
		bucketInfo("nothing", func(string, int) string { return " " }),
		bucketInfo("ever other descriptions of an error", func(_ string, n int) string {
			return fmt.Sprintf(`{"error":{"code":404,"err_code":10059,"description":"stream %d not found"}}`, n)
		}),
	}
}

func subjects(count int) string {
	var all strings.Builder
	for i := range count {
		fmt.Fprintf(&all, `,"$KV.b.k%d":1`, i)
	}
	return all.String()
}

// batch is how many messages are written at once.
const batch = 256

// listings are listings without end.
func listings() []Script {
	listing := func(name string, entry func(c *consumer, to []byte, n uint64) []byte) Script {
		return Script{Kind: "listings", Name: name, serve: serve(act{
			answer: endlessStream,
			deliver: func(p *peer, c *consumer) {
				var chunk []byte
				p.flood(func(i int) []byte {
					chunk = chunk[:0]
					for k := range batch {
						chunk = entry(c, chunk, uint64(i*batch+k+1))
					}
					return chunk
				})
			},
		})}
	}
	key := func(n uint64) string { return "n" + strconv.FormatUint(n, 10) }
	put := func(c *consumer, to []byte, key string, value []byte, n uint64) []byte {
		return c.entry(to, key, value, n, time.Now().UnixNano())
	}
	largest := bytes.Repeat([]byte("v"), 1<<20)
	return []Script{
		listing("ever new keys with records", func(c *consumer, to []byte, n uint64) []byte { return put(c, to, key(n), record(key(n)), n) }),
		listing("ever new keys without a value", func(c *consumer, to []byte, n uint64) []byte { return put(c, to, key(n), nil, n) }),
		listing("ever new keys of 200 characters", func(c *consumer, to []byte, n uint64) []byte {
			return put(c, to, strings.Repeat("k", 180)+key(n), []byte("{}"), n)
		}),
		listing("ever new keys with values of 2 KiB", func(c *consumer, to []byte, n uint64) []byte { return put(c, to, key(n), largest[:2<<10], n) }),
		listing("ever new keys that were deleted", func(c *consumer, to []byte, n uint64) []byte { return c.deleted(to, key(n), n) }),
		listing("the same key", func(c *consumer, to []byte, n uint64) []byte { return put(c, to, "n1", record("n1"), n) }),
		listing("the same key, which is deleted in between", func(c *consumer, to []byte, n uint64) []byte {
			if n%2 == 0 {
				return c.deleted(to, "n1", n)
			}
			return put(c, to, "n1", record("n1"), n)
		}),
		{Kind: "listings", Name: "values of a megabyte", serve: serve(act{answer: endlessStream, deliver: func(p *peer, c *consumer) {
			p.flood(func(i int) []byte { return put(c, nil, key(uint64(i+1)), largest, uint64(i+1)) })
		}})},
		{Kind: "listings", Name: "a listing by one key a second", serve: serve(act{answer: endlessStream, deliver: func(p *peer, c *consumer) {
			every(p, time.Second, func(n uint64) []byte { return put(c, nil, key(n+1), record(key(n+1)), n+1) })
		}})},
	}
}

// endlessStream answers that the stream has more messages than ever will come.
func endlessStream(_ *peer, operation string) string {
	if stream, found := strings.CutPrefix(operation, "STREAM.INFO."); found {
		return streamInfo(stream, "", `,"messages":1000000000000,"last_seq":1000000000000`)
	}
	return ""
}
