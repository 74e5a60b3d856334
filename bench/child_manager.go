package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"runtime"
	"runtime/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	served "sigs.k8s.io/controller-runtime/pkg/metrics"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
)

// kubernetesFlags are the flags of the children that talk to the API server.
type kubernetesFlags struct {
	kubeconfig, namespace, profile string
	memory                         int64
}

func parseKubernetes(name string, args []string) (k kubernetesFlags, config *rest.Config, err error) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&k.kubeconfig, "kubeconfig", "", "The way to the API server.")
	flags.StringVar(&k.namespace, "namespace", "", "The namespace to work in.")
	flags.Int64Var(&k.memory, "memory", 0, "The memory limit of the manager, in bytes.")
	flags.StringVar(&k.profile, "profile", "", "Where to write a CPU and a heap profile.")
	if err := flags.Parse(args); err != nil {
		return k, nil, err
	}
	config, err = clientcmd.BuildConfigFromFlags("", k.kubeconfig)
	return k, config, err
}

// runManager runs the manager just as main.go does, but for what the benchmark wants to know of it.
func runManager(ctx context.Context, args []string, c *child) (err error) {
	k, config, err := parseKubernetes(childManager, args)
	if err != nil {
		return err
	}
	if k.profile != "" {
		stop, err := profile(k.profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	ctrl.SetLogger(zap.New())
	mgr, err := manager.New(ctx, config, manager.Options{
		Namespaces: []string{k.namespace}, MetricsAddress: "0", ProbeAddress: "0", AllowedServers: []string{"127.0.0.0/8", "::1"},
		MemoryLimit: k.memory,
	})
	if err != nil {
		return err
	}
	c.mux.Handle("/metrics", promhttp.HandlerFor(served.Registry, promhttp.HandlerOpts{DisableCompression: true}))
	go func() {
		<-mgr.Elected()
		for _, kind := range watchedKinds() {
			if _, err := mgr.GetCache().GetInformer(ctx, kind); err != nil {
				return
			}
		}
		c.ready.Store(true)
	}()
	return mgr.Start(ctx)
}

// watchedKinds are the kinds of which the manager's cache holds objects.
func watchedKinds() []client.Object {
	return []client.Object{
		&rollcallv1alpha1.NodeRegistry{}, &rollcallv1alpha1.DiscoveredNode{}, &corev1.Service{}, &discoveryv1.EndpointSlice{},
	}
}

// profile writes a CPU profile of the process to a file until stop is called, and then a heap profile beside it.
func profile(path string) (stop func() error, err error) {
	runtime.MemProfileRate = 1 << 16
	cpu, err := os.Create(path + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		heap, err := os.Create(path + ".heap")
		if err != nil {
			return err
		}
		runtime.GC()
		return errors.Join(pprof.WriteHeapProfile(heap), heap.Close(), cpu.Close())
	}, nil
}

// runBareCache is the floor of the manager's memory: a cache with the same objects, and nobody who reads it.
func runBareCache(ctx context.Context, args []string, c *child) error {
	k, config, err := parseKubernetes(childCache, args)
	if err != nil {
		return err
	}
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	ours := labels.SelectorFromSet(labels.Set{discoveryv1.LabelManagedBy: rollcallv1alpha1.ManagedBy})
	informers, err := cache.New(config, cache.Options{
		Scheme:            scheme,
		DefaultNamespaces: map[string]cache.Config{k.namespace: {}},
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject:          map[client.Object]cache.ByObject{&discoveryv1.EndpointSlice{}: {Label: ours}},
	})
	if err != nil {
		return err
	}
	go func() {
		for _, kind := range watchedKinds() {
			if _, err := informers.GetInformer(ctx, kind); err != nil {
				return
			}
		}
		// An informer of a cache that has not started is there at once, and empty.
		c.ready.Store(informers.WaitForCacheSync(ctx))
	}()
	return informers.Start(ctx)
}
