package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// probeTimeout bounds how long a request to the probes may take to come in.
const probeTimeout = 5 * time.Second

// serveProbes serves /healthz, which always answers 200, and /readyz, which does while the node is registered, until ctx
// ends. The error is that of listening.
func (a *agent) serveProbes(ctx context.Context, group *errgroup.Group) error {
	if a.config.ProbeAddress == "0" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.config.ProbeAddress)
	if err != nil {
		return fmt.Errorf("--health-probe-bind-address: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if a.registered.Load() {
			answer(w, http.StatusOK, "registered")
			return
		}
		answer(w, http.StatusServiceUnavailable, "not registered")
	})
	server := &http.Server{Handler: mux, ReadTimeout: probeTimeout}
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	context.AfterFunc(ctx, func() {
		// The process ends: what its listener says to that is nobody's concern.
		_ = server.Close()
	})
	return nil
}

func answer(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	// A prober that is gone needs no answer.
	_, _ = fmt.Fprintln(w, text)
}
