package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// The children, by the first argument with which the benchmark starts itself.
const (
	childManager = "manager"
	childWatch   = "bare-watch"
	childRelay   = "bare-relay"
	childStorm   = "bare-storm"
	childCache   = "bare-cache"
	childEvent   = "event"
	childPods    = "pods"
	childCrowd   = "crowd"
)

// children are what a child does until ctx ends. It calls ready when it has begun.
var children = map[string]func(ctx context.Context, args []string, c *child) error{
	childManager: runManager,
	childWatch:   runBareWatch,
	childRelay:   runBareRelay,
	childStorm:   runBareStorm,
	childCache:   runBareCache,
	childEvent:   runEvent,
	childPods:    runPods,
	childCrowd:   runCrowd,
}

// child is what a child tells its parent.
type child struct {
	ready atomic.Bool
	// seen counts the entries that it has seen.
	seen atomic.Int64
	mux  *http.ServeMux
}

// status is how a child is.
type status struct {
	Ready bool
	Seen  int64
	// CPU is the time that all its threads have run so far, Collecting the part of it that was garbage collection, and
	// Allocated how many bytes it has allocated.
	CPU, Collecting time.Duration
	Allocated       uint64
	// Heap is how many bytes are live, and Collection the CPU time that finding this out takes, if it was asked for.
	Heap       uint64
	Collection time.Duration
	// Peak is how many bytes of memory it has had resident at most; zero where the machine does not say.
	Peak uint64
}

func newChild() *child {
	c := &child{mux: http.NewServeMux()}
	c.mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		s := c.status()
		if r.URL.Query().Has("collect") {
			s.Heap, s.Collection = collect()
		}
		// An answer that can't be written is one that nobody waits for any more.
		_ = json.NewEncoder(w).Encode(s)
	})
	return c
}

func (c *child) status() status {
	read := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(read)
	return status{
		Ready: c.ready.Load(), Seen: c.seen.Load(), CPU: cpuTime(),
		Collecting: time.Duration(read[0].Value.Float64() * float64(time.Second)), Allocated: read[1].Value.Uint64(),
		Peak: peak(),
	}
}

// peak returns how many bytes this process has had resident at most. Of what getrusage says, part may be its parent's.
func peak() (bytes uint64) {
	all, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(all), "VmHWM:")
	if _, err := fmt.Sscanf(after, "%d kB", &bytes); err != nil {
		return 0
	}
	return bytes << 10
}

// collect collects the garbage. It returns what is live then, and the CPU time that it took.
func collect() (live uint64, took time.Duration) {
	// What has a finalizer, or was in a pool, goes with the second collection.
	runtime.GC()
	before := cpuTime()
	runtime.GC()
	took = cpuTime() - before
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return memory.HeapAlloc, took
}

// cpuTime returns the CPU time of this process.
func cpuTime() time.Duration {
	u := usage()
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// usage returns what this process has used so far.
func usage() (u syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // It fails only for who is no process.
	return u
}

// runChild runs a child until it is told to end, or its parent is gone.
func runChild(name string, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c := newChild()
	server := &http.Server{Handler: c.mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	fmt.Println(listener.Addr())
	err = children[name](ctx, args, c)
	if ctx.Err() != nil {
		err = nil // However it ended, it was told to.
	}
	return errors.Join(err, server.Close())
}
