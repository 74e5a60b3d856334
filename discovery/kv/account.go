package kv

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	// accountTimeout bounds for how long an account's answer is waited for once the stream's is there.
	accountTimeout = 250 * time.Millisecond
	// accountRetry is after how long an account is asked for again that gave no answer.
	accountRetry = 30 * time.Second
	// deniedRetry is after how long an account is asked for again that the login may not ask for: each time, the server reports
	// a violation.
	deniedRetry = 5 * time.Minute
)

// accountWatch reads the state of a stream together with that of its account, where the login may. It is safe for concurrent
// use.
type accountWatch struct {
	api *api

	mu    sync.Mutex
	again time.Time // not to be asked before
}

// look reads the bucket's settings and state.
func (w *accountWatch) look(ctx context.Context) (Bucket, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	account := make(chan *jetstream.AccountInfo, 1)
	asking := w.due(time.Now())
	var asked sync.WaitGroup
	defer asked.Wait()
	if asking {
		asked.Go(func() { account <- w.ask(ctx) })
	}
	b, err := w.api.insistOnInfo(ctx)
	if err != nil || !asking {
		cancel()
		return b, err
	}
	select {
	case b.state.account = <-account:
	case <-time.After(accountTimeout):
		w.wait(time.Now())
		cancel()
	}
	return b, nil
}

func (w *accountWatch) due(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !now.Before(w.again)
}

const accountOperation = "INFO"

// ask returns what the account uses; nil if that can't be had.
func (w *accountWatch) ask(ctx context.Context) *jetstream.AccountInfo {
	var info jetstream.AccountInfo
	if err := w.api.request(ctx, accountOperation, nil, &info); err != nil {
		if !errors.Is(err, context.Canceled) {
			w.wait(time.Now())
		}
		return nil
	}
	return &info
}

// wait lets some time pass before the account is asked for again.
func (w *accountWatch) wait(now time.Time) {
	pause := accountRetry
	if denied(w.api.nc, w.api.prefix+accountOperation) {
		pause = deniedRetry
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.again = now.Add(pause)
}

const (
	// maxCounted bounds of how many subjects the counts are asked for at once: the server puts those of 100,000 into one answer,
	// which would be larger than the largest message of a server, 1 MiB by default.
	maxCounted = 4_000
	// countWindow bounds the questions about single subjects that are under way.
	countWindow = 64
)

// counts returns how many messages each subject has that one of the filters matches.
func (a *api) counts(ctx context.Context, filters []string) (map[string]uint64, error) {
	var mu sync.Mutex
	all := map[string]uint64{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(countWindow)
	for _, filter := range filters {
		group.Go(func() error {
			some, err := a.countsOf(ctx, filter)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(all, some)
			return err
		})
	}
	return all, group.Wait()
}

func (a *api) countsOf(ctx context.Context, filter string) (map[string]uint64, error) {
	counts := map[string]uint64{}
	for offset := 0; ; {
		var page struct {
			Total int `json:"total"`
			State struct {
				Subjects map[string]uint64 `json:"subjects"`
			} `json:"state"`
		}
		req := struct {
			Filter string `json:"subjects_filter"`
			Offset int    `json:"offset,omitempty"`
		}{filter, offset}
		if err := a.request(ctx, "STREAM.INFO."+a.stream(), req, &page); err != nil {
			return nil, err
		}
		maps.Copy(counts, page.State.Subjects)
		offset += len(page.State.Subjects)
		if len(page.State.Subjects) == 0 || offset >= page.Total {
			return counts, nil
		}
	}
}
