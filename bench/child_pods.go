package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/controllers/podregistration/roster"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// podCluster is the cluster whose pods the child registers.
const podCluster = "bench"

// lags are how late heartbeats were. A heartbeat that failed is one that never came.
type lags struct {
	mu   sync.Mutex
	late []time.Duration
	lost int
}

func (l *lags) note(b roster.Beat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.Err != nil {
		l.lost++
		return
	}
	l.late = append(l.late, b.Lag)
}

// take returns the lags since it was called last.
func (l *lags) take() (late []time.Duration, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	late, lost = l.late, l.lost
	l.late, l.lost = nil, 0
	return late, lost
}

// beaten is what the child answers about its heartbeats since it was last asked.
type beaten struct {
	Late []time.Duration
	Lost int
}

// runPods registers pods and heartbeats for them as the manager does, but for pods that nobody has to create: a Roster, its
// Writer, and the Watcher of the bucket. It is ready when the bucket has been listed.
func runPods(ctx context.Context, args []string, c *child) error {
	flags := flag.NewFlagSet(childPods, flag.ContinueOnError)
	url := flags.String("nats", "", "URL of the NATS server.")
	bucket := flags.String("bucket", "", "The bucket to register in.")
	count := flags.Int("pods", 0, "How many pods there are.")
	interval := flags.Duration("interval", 0, "The heartbeat interval.")
	if err := flags.Parse(args); err != nil {
		return err
	}
	connection, err := nats.Connect(*url, nats.ReconnectBufSize(-1))
	if err != nil {
		return err
	}
	defer connection.Close()
	writer, err := kv.NewWriter(connection, kv.WriterOptions{Bucket: *bucket})
	if err != nil {
		return err
	}
	defer writer.Close()
	l := &lags{}
	c.mux.HandleFunc("/lags", func(w http.ResponseWriter, _ *http.Request) {
		late, lost := l.take()
		_ = json.NewEncoder(w).Encode(beaten{late, lost})
	})
	r := roster.New(roster.Options{
		Cluster: podCluster, Settled: func() bool { return true },
		Standing: func(*discovery.Owner) roster.Standing { return roster.Ours },
		Changed:  func([]roster.Claim) {}, Beaten: l.note,
		Followed: func() { c.ready.Store(true) },
	})
	defer r.Close()
	claims, err := podClaims(*count, *interval)
	if err != nil {
		return err
	}
	watcher, err := kv.NewWatcher(connection, kv.WatcherOptions{
		Bucket: *bucket, KeyPrefix: keyPrefix, Logger: slog.New(slog.DiscardHandler),
	}, kv.Observe(r.Follow(writer)))
	if err != nil {
		return err
	}
	defer r.Unfollow()
	r.Update(nil, claims)
	return watcher.Run(ctx)
}

// podClaims returns what so many pods are registered as.
func podClaims(count int, interval time.Duration) ([]roster.Claim, error) {
	claims := make([]roster.Claim, 0, count)
	for n := range count {
		uid := types.UID(fmt.Sprintf("00000000-0000-0000-0000-%012d", n))
		node := recordOf(n, 0)
		node.Owner = &discovery.Owner{Cluster: podCluster, UID: string(uid), Registration: "registration"}
		template, err := discovery.NewTemplate(node)
		if err != nil {
			return nil, err
		}
		claims = append(claims, roster.Claim{
			ID:  roster.ID{Registration: types.NamespacedName{Namespace: podCluster, Name: serviceName}, UID: uid},
			Pod: types.NamespacedName{Namespace: podCluster, Name: node.ID}, Key: keyPrefix + node.ID, Record: template, Interval: interval,
		})
	}
	return claims, nil
}
