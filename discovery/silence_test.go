package discovery

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// beating keeps n nodes alive in the bucket b, each with its own end, and returns their ends.
func beating(t *testing.T, nc *nats.Conn, n int) map[string]func() {
	t.Helper()
	r := openRegistry(t, nc, Options{Bucket: "b", NoCreate: true, WriteOnly: true, APITimeout: time.Second})
	ends := map[string]func(){}
	var running sync.WaitGroup
	for i := range n {
		id := fmt.Sprintf("n%02d", i)
		ctx, end := context.WithCancel(context.Background())
		ends[id] = end
		running.Go(func() { beatUntil(ctx, r, id) })
	}
	t.Cleanup(func() {
		for _, end := range ends {
			end()
		}
		running.Wait()
	})
	return ends
}

// beatUntil registers a node again and again, and leaves it without a word.
func beatUntil(ctx context.Context, r *Registry, id string) {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		_ = r.Register(ctx, Node{ID: id})
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// leavers follows the bucket b and notes who leaves.
type leavers struct {
	*Registry

	mu   sync.Mutex
	left []string
}

func follow(t *testing.T, nc *nats.Conn, n int) *leavers {
	t.Helper()
	l := &leavers{Registry: openRegistry(t, nc, Options{Bucket: "b", NoCreate: true})}
	events := l.Watch(t.Context())
	var reading sync.WaitGroup
	t.Cleanup(reading.Wait)
	reading.Go(func() {
		for e := range events {
			if e.Type == Left {
				l.mu.Lock()
				l.left = append(l.left, e.ID)
				l.mu.Unlock()
			}
		}
	})
	natstest.Eventually(t, func() error {
		if got := len(l.Nodes()); got != n {
			return fmt.Errorf("%d of %d nodes", got, n)
		}
		return nil
	})
	return l
}

func (l *leavers) gone() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.left)
}

// stay watches for d that nobody leaves.
func (l *leavers) stay(t *testing.T, d time.Duration, when string) {
	t.Helper()
	<-time.After(d) // what must not happen has no other end
	if left := l.gone(); len(left) > 0 {
		t.Fatalf("%s %v have left", when, left)
	}
}

// leave waits until exactly these have left.
func (l *leavers) leave(t *testing.T, ids ...string) {
	t.Helper()
	natstest.Eventually(t, func() error {
		if left := l.gone(); !slices.Equal(left, ids) {
			return fmt.Errorf("%v have left, want %v", left, ids)
		}
		return nil
	})
}

func (l *leavers) awaitErr(t *testing.T, want error) {
	t.Helper()
	natstest.Eventually(t, func() error {
		if err := l.Err(); !errors.Is(err, want) || want == nil && err != nil {
			return fmt.Errorf("the error is %w, want %w", err, want)
		}
		return nil
	})
}

func changeStream(t *testing.T, nc *nats.Conn, change func(*jetstream.StreamConfig, jetstream.StreamState)) {
	t.Helper()
	info := natstest.StreamOf(t, nc, "b").CachedInfo()
	change(&info.Config, info.State)
	if _, err := mustJetStream(t, nc).UpdateStream(t.Context(), info.Config); err != nil {
		t.Fatal(err)
	}
}

const frozenURL = "ROLLCALL_FROZEN_URL"

// TestFrozenConsumer is the child process of TestAFrozenConsumerLosesNobody: it prints what its registry tells.
func TestFrozenConsumer(t *testing.T) {
	url := os.Getenv(frozenURL)
	if url == "" {
		t.Skip("it is the child process of another test")
	}
	nc, err := nats.Connect(url, ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := openRegistry(t, nc, Options{Bucket: "b", NoCreate: true, Logger: log})
	for e := range r.Watch(t.Context()) {
		if e.Type != Updated {
			fmt.Println("event", e.Type, e.ID)
		}
	}
}

// A program that is stopped for longer than the TTL has heard nobody, and that is a gap and no death.
func TestAFrozenConsumerLosesNobody(t *testing.T) {
	t.Parallel()
	const ttl, n = 4 * time.Second, 20
	s := natstest.Start(t)
	nc := s.Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: ttl, LimitMarkerTTL: time.Second, History: 5})
	beating(t, nc, n)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFrozenConsumer$", "-test.timeout=2m")
	child.Env = append(os.Environ(), frozenURL+"="+s.URL())
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	var mu sync.Mutex
	var lines []string
	go func() {
		for read := bufio.NewScanner(out); read.Scan(); {
			mu.Lock()
			lines = append(lines, read.Text())
			mu.Unlock()
		}
	}()
	count := func(part string) (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, line := range lines {
			if strings.Contains(line, part) {
				n++
			}
		}
		return n
	}
	await := func(part string, n int) {
		t.Helper()
		natstest.Eventually(t, func() error {
			if got := count(part); got != n {
				return fmt.Errorf("%q was printed %d times, want %d", part, got, n)
			}
			return nil
		})
	}
	await("event Joined", n)
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-time.After(ttl + ttl/2) // it is frozen for as long
	if err := child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	register(t, openRegistry(t, nc, Options{Bucket: "b", NoCreate: true, WriteOnly: true}), Node{ID: "late"})
	await("event Joined", n+1)
	await("event Left", 1) // the late one, after its TTL and, at most, another one
	if count("event Left late") != 1 || count("msg=listing") > 2 {
		t.Errorf("it printed %s", strings.Join(lines, "\n"))
	}
}

// Gaps that come more often than a TTL passes don't keep the dead alive.
func TestADeadNodeGoesInSpiteOfGaps(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	s := natstest.Start(t)
	nc := s.Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: ttl, History: 5})
	ends := beating(t, nc, 5)
	p := natstest.StartProxy(t, s)
	far, err := nats.Connect(p.URL(), append(ConnectOptions(), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(far.Close)
	l := follow(t, far, 5)
	ends["n03"]()
	began, gaps := time.Now(), 0
	for len(l.gone()) == 0 {
		p.Cut()
		l.awaitErr(t, kv.ErrConnectionLost)
		p.Heal()
		l.awaitErr(t, nil)
		gaps++
		for until := time.After(ttl * 2 / 3); until != nil && len(l.gone()) == 0; {
			select {
			case <-until:
				until = nil
			case <-time.After(20 * time.Millisecond):
			}
		}
		if time.Since(began) > 5*ttl {
			t.Fatalf("after %v and %d gaps the dead node is still there", time.Since(began), gaps)
		}
	}
	t.Logf("gone after %v and %d gaps", time.Since(began), gaps)
	l.leave(t, "n03")
}

// An origin that is down can't bring heartbeats to its mirror, which goes on by itself.
func TestACutMirrorLosesNobody(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	hub := natstest.Start(t, func(o *natstest.Options) {
		o.Domain = "hub"
		o.Configure = func(so *server.Options) {
			so.ServerName = "hub"
			so.LeafNode = server.LeafNodeOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT}
		}
	})
	remote := hub.LeafURL(t)
	leaf := natstest.Start(t, func(o *natstest.Options) {
		o.Domain = "leaf"
		o.Configure = func(so *server.Options) {
			so.ServerName = "leaf"
			so.LeafNode = server.LeafNodeOpts{Remotes: []*server.RemoteLeafOpts{{URLs: remote}}, ReconnectInterval: 50 * time.Millisecond}
		}
	})
	nc := hub.Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: ttl, History: 5})
	beating(t, nc, 5)
	near := leaf.Connect(t)
	natstest.Eventually(t, func() error {
		_, err := mustJetStream(t, near).CreateStream(t.Context(), jetstream.StreamConfig{
			Name: "KV_b", MaxAge: ttl, MaxMsgsPerSubject: 5, AllowDirect: true, MirrorDirect: true,
			Mirror: &jetstream.StreamSource{Name: "KV_b", External: &jetstream.ExternalStream{APIPrefix: "$JS.hub.API"}},
		})
		return err
	})
	l := follow(t, near, 5)
	l.awaitErr(t, nil)
	hub.Stop()
	l.awaitErr(t, ErrMirrorCut)
	l.stay(t, 2*ttl, "of a mirror that is cut off")
	if err := l.Err(); !errors.Is(err, ErrMirrorCut) || !strings.Contains(err.Error(), "KV_b") {
		t.Errorf("the error is %v", err)
	}
}

// A store that takes no writes loses nobody; once it takes them again, only the dead go.
func TestAStoreThatTakesNoWritesLosesNobody(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	for name, tt := range map[string]struct {
		spoil func(*testing.T, *natstest.Server, *nats.Conn)
		mend  func(*testing.T, *natstest.Server, *nats.Conn) // nil: it can't be
		want  error
	}{
		"full by bytes": {
			spoil: func(t *testing.T, _ *natstest.Server, nc *nats.Conn) {
				t.Helper()
				fillUp(t, nc, 1, 8192)
				changeStream(t, nc, func(c *jetstream.StreamConfig, _ jetstream.StreamState) { c.MaxBytes = 8192 })
			},
			mend: func(t *testing.T, _ *natstest.Server, nc *nats.Conn) {
				t.Helper()
				changeStream(t, nc, func(c *jetstream.StreamConfig, _ jetstream.StreamState) { c.MaxBytes = -1 })
			},
			want: ErrBucketFull,
		},
		"full by messages": {
			spoil: func(t *testing.T, _ *natstest.Server, nc *nats.Conn) {
				t.Helper()
				fillUp(t, nc, 3, 1)
				changeStream(t, nc, func(c *jetstream.StreamConfig, _ jetstream.StreamState) { c.MaxMsgs = 3 })
			},
			mend: func(t *testing.T, _ *natstest.Server, nc *nats.Conn) {
				t.Helper()
				changeStream(t, nc, func(c *jetstream.StreamConfig, _ jetstream.StreamState) { c.MaxMsgs = -1 })
			},
			want: ErrBucketFull,
		},
		"the account's storage is full": {
			spoil: func(t *testing.T, s *natstest.Server, nc *nats.Conn) {
				t.Helper()
				fillUp(t, nc, 1, 8192)
				limitAccount(t, s, 8192)
			},
			mend: func(t *testing.T, s *natstest.Server, _ *nats.Conn) { t.Helper(); limitAccount(t, s, -1) },
			want: ErrBucketFull,
		},
		"sealed": {
			spoil: func(t *testing.T, _ *natstest.Server, nc *nats.Conn) {
				t.Helper()
				changeStream(t, nc, func(c *jetstream.StreamConfig, _ jetstream.StreamState) { c.Sealed = true })
			},
			want: ErrSealed,
		},
		"without its subjects": {
			spoil: func(t *testing.T, _ *natstest.Server, nc *nats.Conn) {
				t.Helper()
				changeStream(t, nc, func(c *jetstream.StreamConfig, _ jetstream.StreamState) { c.Subjects = []string{"elsewhere"} })
			},
			mend: func(t *testing.T, _ *natstest.Server, nc *nats.Conn) {
				t.Helper()
				changeStream(t, nc, func(c *jetstream.StreamConfig, _ jetstream.StreamState) { c.Subjects = []string{"$KV.b.>"} })
			},
			want: ErrNobodyWrites,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t)
			nc := s.Connect(t)
			natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: ttl, LimitMarkerTTL: time.Second, History: 64})
			ends := beating(t, nc, 6)
			l := follow(t, s.Connect(t), 6)
			tt.spoil(t, s, nc)
			l.awaitErr(t, tt.want)
			ends["n03"]()
			l.stay(t, 2*ttl, "of a store that takes no writes")
			if tt.mend == nil {
				return
			}
			tt.mend(t, s, nc)
			l.awaitErr(t, nil)
			l.leave(t, "n03")
			l.awaitErr(t, nil)
		})
	}
}

// fillUp puts records that never expire.
func fillUp(t *testing.T, nc *nats.Conn, n, size int) {
	t.Helper()
	for i := range n {
		m := nats.NewMsg("$KV.b.filler." + strconv.Itoa(i))
		m.Header.Set("Nats-TTL", "never")
		m.Data = make([]byte, size)
		if _, err := mustJetStream(t, nc).PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

func limitAccount(t *testing.T, s *natstest.Server, bytes int64) {
	t.Helper()
	err := s.NATS().GlobalAccount().UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{
		"": {MaxMemory: -1, MaxStore: bytes, MaxStreams: -1, MaxConsumers: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A TTL that is lowered is the reason why keys are gone, and no gap.
func TestALowerTTLIsNoGap(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: time.Hour, History: 5})
	ends := beating(t, nc, 4)
	l := follow(t, s.Connect(t), 4)
	ends["n01"]()
	changeStream(t, nc, func(c *jetstream.StreamConfig, _ jetstream.StreamState) {
		c.MaxAge, c.Duplicates = 2*time.Second, 2*time.Second
	})
	l.leave(t, "n01")
	if got := l.Bucket().TTL; got != 2*time.Second {
		t.Errorf("the TTL is %v", got)
	}
}

// A server that tells no time needs none.
func TestAServerWithoutAClock(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	nc, err := nats.Connect(startServer29(t), ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: ttl, History: 5})
	ends := beating(t, nc, 6)
	l := follow(t, nc, 6)
	if b := l.Bucket(); !b.ServerTime.IsZero() || b.TTL != ttl {
		t.Errorf("the server tells its time: %+v", b)
	}
	l.stay(t, 2*ttl, "although they heartbeat,")
	ends["n02"]()
	l.leave(t, "n02")
	if left := l.gone(); len(left) != 1 {
		t.Errorf("%v have left", left)
	}
}

// startServer29 builds and starts the NATS server of hack/nats29, and returns its URL.
func startServer29(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "nats-server")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/nats-io/nats-server/v2")
	build.Dir = filepath.Join("..", "hack", "nats29")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the old server: %v\n%s", err, out)
	}
	old := exec.CommandContext(t.Context(), binary, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", dir, "--ports_file_dir", dir)
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = old.Process.Kill(); _ = old.Wait() })
	var ports struct{ Nats []string }
	natstest.Eventually(t, func() error {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("nats-server_%d.ports", old.Process.Pid)))
		if err == nil {
			err = json.Unmarshal(text, &ports)
		}
		if err == nil && len(ports.Nats) == 0 {
			err = errors.New("it doesn't say where it is")
		}
		return err
	})
	return ports.Nats[0]
}
