package testenv_test

import (
	"context"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/rollcall-dev/rollcall/internal/testenv"
)

func TestProcessesAreKilledPausedAndStartedAgain(t *testing.T) {
	env, err := testenv.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}()
	client, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	answers := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
	}
	eventually := func(want bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); answers() != want; <-time.After(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the API server answers: %t, want %t", !want, want)
			}
		}
	}
	server, err := env.APIServer()
	if err != nil {
		t.Fatal(err)
	}
	etcd, err := env.Etcd()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*testenv.Process{server, etcd} {
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
		eventually(false)
		if err := p.Resume(); err != nil {
			t.Fatal(err)
		}
		eventually(true)
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		eventually(false)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(true)
	}
}
