package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/natstest"
	"github.com/rollcall-dev/rollcall/internal/testenv"
)

// rig is what all steps work with: a real API server, a real NATS server, and once it is set up a fleet and its manager.
type rig struct {
	settings
	dir, kubeconfig string
	env             *testenv.Env
	// kube speaks protobuf, as the manager does about built-in kinds.
	kube kubernetes.Interface
	api  client.Client
	js   jetstream.JetStream

	fleet   *fleet
	manager *process

	closing []func() error
}

// newRig starts the servers. Whatever it returns must be stopped, but for an error.
func newRig(ctx context.Context, s settings) (*rig, error) {
	g := &rig{settings: s}
	if err := g.start(ctx); err != nil {
		return nil, errors.Join(err, g.stop())
	}
	return g, nil
}

func (g *rig) start(ctx context.Context) (err error) {
	if g.dir, err = os.MkdirTemp("", "rollcall-bench-"); err != nil {
		return err
	}
	g.closing = append(g.closing, func() error { return os.RemoveAll(g.dir) })
	if err := os.MkdirAll(g.logs(), 0o700); err != nil {
		return err
	}
	if g.env, err = testenv.Start(ctx); err != nil {
		return err
	}
	g.closing = append(g.closing, g.env.Stop)
	g.kubeconfig = filepath.Join(g.dir, "kubeconfig")
	if err := g.env.WriteKubeconfig(g.kubeconfig); err != nil {
		return err
	}
	if err := g.connectKubernetes(); err != nil {
		return err
	}
	return g.startNATS()
}

func (g *rig) connectKubernetes() (err error) {
	if g.kube, err = kubernetes.NewForConfig(protobuf(g.env.Config)); err != nil {
		return err
	}
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	g.api, err = client.New(g.env.Config, client.Options{Scheme: scheme})
	return err
}

func newScheme() (*apiruntime.Scheme, error) {
	scheme := apiruntime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), rollcallv1alpha1.AddToScheme(scheme))
}

// protobuf returns the config for a client of built-in kinds without a limit on its rate.
func protobuf(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.ContentType = apiruntime.ContentTypeProtobuf
	config.QPS = -1
	return config
}

func (g *rig) startNATS() error {
	nats, err := natstest.Run(natstest.Options{Dir: filepath.Join(g.dir, "jetstream")})
	if err != nil {
		return err
	}
	g.closing = append(g.closing, func() error { nats.Stop(); return nil })
	return g.connectNATS(nats.URL())
}

func (g *rig) connectNATS(url string) error {
	connection, err := nats.Connect(url)
	if err != nil {
		return err
	}
	g.closing = append(g.closing, func() error { connection.Close(); return nil })
	g.js, err = jetstream.New(connection)
	return err
}

// stop ends everything that the rig has started, the last first.
func (g *rig) stop() error {
	var errs []error
	for _, end := range slices.Backward(g.closing) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

func (g *rig) natsURL() string { return g.js.Conn().ConnectedUrl() }

func (g *rig) versions() map[string]string {
	versions := map[string]string{"go": runtime.Version(), "nats": server.VERSION}
	if v, err := g.kube.Discovery().ServerVersion(); err == nil {
		versions["kubernetes"] = v.GitVersion
	}
	return versions
}

func (g *rig) namespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := g.kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	return err
}

// ready returns the fleet and its manager, once that has nothing more to do.
func (g *rig) ready(ctx context.Context) (*fleet, *process, error) {
	if g.fleet == nil || g.manager == nil {
		return nil, nil, errors.New("there is no fleet: the step cold has to run before")
	}
	return g.fleet, g.manager, g.manager.idle(ctx)
}

// watched returns the fleet, once its manager has nothing more to do, and a view of its slices, which must be closed.
func (g *rig) watched(ctx context.Context) (*fleet, *view, error) {
	f, _, err := g.ready(ctx)
	if err != nil {
		return nil, nil, err
	}
	v, err := g.watchSlices(ctx, f.namespace)
	return f, v, err
}

// startManager starts a manager for a namespace, with further arguments.
func (g *rig) startManager(ctx context.Context, namespace string, further ...string) (*process, error) {
	args := append([]string{"-kubeconfig", g.kubeconfig, "-namespace", namespace}, further...)
	if g.debug != "" {
		args = append(args, "-profile", filepath.Join(g.debug, fmt.Sprintf("manager-%d", len(g.closing))))
	}
	return g.spawn(ctx, childManager, args...)
}

// logs returns the folder for what the processes log.
func (g *rig) logs() string {
	if g.debug != "" {
		return g.debug
	}
	return g.dir
}

// explain returns what the processes have logged, as an error.
func (g *rig) explain() error {
	logs, err := filepath.Glob(filepath.Join(g.logs(), "*.log"))
	if err != nil {
		return err
	}
	var told []string
	for _, name := range logs {
		const most = 2000
		if log, err := os.ReadFile(name); err == nil && len(log) > 0 {
			told = append(told, fmt.Sprintf("%s ends with:\n%s", filepath.Base(name), log[max(0, len(log)-most):]))
		}
	}
	if len(told) == 0 {
		return nil
	}
	return errors.New(strings.Join(told, "\n"))
}
