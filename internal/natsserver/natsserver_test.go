package natsserver_test

import (
	"context"
	"flag"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natsserver"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// TestTheBucketOutlivesTheServer: a server takes a bucket, says that it is healthy, ends when it is told to, and has the
// bucket again when it is started again.
func TestTheBucketOutlivesTheServer(t *testing.T) {
	client, monitor := natstest.FreeAddress(t), natstest.FreeAddress(t)
	args := []string{"--store-dir=" + t.TempDir(), "--address=" + client, "--monitor-address=" + monitor}

	stop := start(t, args)
	js := connect(t, client)
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "catga_nodes", LimitMarkerTTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "node.web-1", "{}"); err != nil {
		t.Fatal(err)
	}
	response, err := http.Get("http://" + monitor + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("/healthz answers %s", response.Status)
	}
	stop()

	stop = start(t, args)
	defer stop()
	again, err := connect(t, client).KeyValue(t.Context(), "catga_nodes")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Get(t.Context(), "node.web-1"); err != nil {
		t.Error(err)
	}
}

func TestAnAddressThatIsNoneIsRefused(t *testing.T) {
	for _, address := range []string{"4222", ":70000", ":nats"} {
		err := natsserver.Run(t.Context(), natsserver.Options{StoreDir: t.TempDir(), Address: address, MonitorAddress: ":0"})
		if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(address, ":")) {
			t.Errorf("%q: got %v", address, err)
		}
	}
}

// start starts a server with the arguments of its command, and returns what stops it.
func start(t *testing.T, args []string) (stop func()) {
	t.Helper()
	var o natsserver.Options
	flags := flag.NewFlagSet(natsserver.Command, flag.ContinueOnError)
	natsserver.BindFlags(flags, &o)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- natsserver.Run(ctx, o) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended: %v", err)
		}
	}
}

// connect connects to a server that may still be starting.
func connect(t *testing.T, address string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect("nats://"+address, nats.RetryOnFailedConnect(true), nats.ReconnectWait(50*time.Millisecond), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); !nc.IsConnected(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatal("waited 30s for the server")
		}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
