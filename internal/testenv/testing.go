package testenv

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Main is the body of a TestMain whose tests share one API server: it starts it, stores it in env, runs the tests, stops
// it and exits. An interrupt stops the API server too.
func Main(m *testing.M, env **Env, options ...Option) {
	os.Exit(run(m, env, options))
}

func run(m *testing.M, env **Env, options []Option) (code int) {
	started, err := Start(context.Background(), options...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		return 1
	}
	stop := func() {
		if err := started.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "testenv:", err)
			code = 1
		}
	}
	defer stop()

	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		stop()
		os.Exit(1)
	}()

	*env = started
	return m.Run()
}

// Namespace creates a namespace for one test and returns its name. It is not deleted, since nothing would empty it: the
// whole API server goes after the tests.
func (e *Env) Namespace(t testing.TB) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(e.Config)
	if err != nil {
		t.Fatalf("make a client: %v", err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	namespace, err = client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create a namespace: %v", err)
	}
	return namespace.Name
}
