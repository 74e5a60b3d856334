package natstest

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NewBucket creates the bucket b.
func NewBucket(t testing.TB, nc *nats.Conn, cfg jetstream.KeyValueConfig) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Bucket = "b"
	var kv jetstream.KeyValue
	// A server that is still deleting the bucket of that name refuses the new one for a moment.
	Eventually(t, func() (err error) {
		kv, err = js.CreateKeyValue(t.Context(), cfg)
		return err
	})
	return kv
}

// Put puts a value and returns its revision.
func Put(t testing.TB, kv jetstream.KeyValue, key, value string) uint64 {
	t.Helper()
	rev, err := kv.PutString(t.Context(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// StreamOf returns the stream of a bucket.
func StreamOf(t testing.TB, nc *nats.Conn, bucket string) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "KV_"+bucket)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// WithReader adds an admin, and a user for [Server.AsReader] that may publish to those subjects and receive on its inbox
// alone.
func WithReader(publish []string) func(*Options) {
	return func(o *Options) {
		o.Configure = func(so *server.Options) {
			so.Users = []*server.User{
				{Username: "admin", Password: "p"},
				{Username: "reader", Password: "p", Permissions: &server.Permissions{
					Publish:   &server.SubjectPermission{Allow: publish},
					Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_reader.>"}},
				}},
			}
		}
	}
}

// AsReader connects the user that [WithReader] has added.
func (s *Server) AsReader(t testing.TB) *nats.Conn {
	t.Helper()
	return s.Connect(t, nats.UserInfo("reader", "p"), nats.CustomInboxPrefix("_INBOX_reader"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
}
