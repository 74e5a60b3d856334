package connections

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A stream that takes no consumer more is told at once, also to a manager that finds the registry Ready.
func TestConsumersAreUsedUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	js, err := jetstream.New(r.nats.Connect(t))
	must(t, err)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "KV_" + bucket, Subjects: []string{"$KV." + bucket + ".>"}, MaxConsumers: 1, MaxAge: 5 * time.Minute,
		MaxMsgsPerSubject: 5, AllowDirect: true, AllowRollup: true, DenyDelete: true,
	})
	must(t, err)
	_, err = stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Name: "other"})
	must(t, err)
	r.registry("catga")
	r.await("catga", "Synced", "False/LimitReached", "maximum consumers limit reached")
	r.await("catga", "Ready", "False/LimitReached")
	must(t, stream.DeleteConsumer(t.Context(), "other"))
	r.await("catga", "Ready", "True/Ready")
}
