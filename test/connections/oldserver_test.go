package connections

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// startOldServer builds and starts the NATS server of hack/oldnats, and returns its URL.
func startOldServer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "nats-server")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/nats-io/nats-server/v2")
	build.Dir = filepath.Join("..", "..", "hack", "oldnats")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the old server: %v\n%s", err, out)
	}
	old := exec.CommandContext(t.Context(), binary, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", dir, "--ports_file_dir", dir)
	must(t, old.Start())
	t.Cleanup(func() {
		_ = old.Process.Kill()
		_ = old.Wait()
	})
	var ports struct{ Nats []string }
	deadline := time.After(patience)
	for {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("nats-server_%d.ports", old.Process.Pid)))
		if err == nil && json.Unmarshal(text, &ports) == nil && len(ports.Nats) > 0 {
			return ports.Nats[0]
		}
		select {
		case <-deadline:
			t.Fatal("the old server does not say where it is")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// On a server without message TTLs nodes are mirrored and time out all the same, and it is said what can't be had.
func TestOldServer(t *testing.T) {
	t.Parallel()
	url := startOldServer(t)
	r := newRig(t, nil)
	r.registry("catga", func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Connection.Servers = []string{url}
		s.Bucket.TTL, s.Bucket.MarkerTTL = seconds(6), seconds(1)
		s.Liveness.ReconnectGrace = seconds(1)
	})
	r.service()
	r.await("catga", "BucketAsRequested", "False/BucketDiffers", "spec.bucket.markerTTL", "servers older than 2.11 write no markers")
	r.await("catga", "Degraded", "False/AsExpected")
	r.await("catga", "Ready", "True/Ready")

	nc, err := nats.Connect(url)
	must(t, err)
	defer nc.Close()
	written := time.Now()
	r.put(nc, "web-1")
	r.Within(patience, "the node's endpoint", func() bool { return r.endpoints() == 1 })
	r.Within(patience, "the node to time out", func() bool { return r.endpoints() == 0 })
	if after := time.Since(written); after < 6*time.Second {
		t.Errorf("it timed out after %s", after)
	}
}
