// Package manager makes the manager of Rollcall from its options.
package manager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers"
	"github.com/rollcall-dev/rollcall/controllers/discoverednode"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice"
	"github.com/rollcall-dev/rollcall/controllers/metrics"
	"github.com/rollcall-dev/rollcall/controllers/noderegistry"
	"github.com/rollcall-dev/rollcall/controllers/podregistration"
	"github.com/rollcall-dev/rollcall/discovery/dial"
	"github.com/rollcall-dev/rollcall/internal/metricsauth"
	"github.com/rollcall-dev/rollcall/internal/outage"
	"github.com/rollcall-dev/rollcall/internal/rewind"
)

// leaderElectionID is the name of the Lease that the leader holds, unless the options give another.
const leaderElectionID = "rollcall-manager"

// leaderRetry is how often a replica that does not lead looks whether it can: a leader that ends in good order is followed
// within that time.
const leaderRetry = time.Second

// off as an address turns an endpoint off.
const off = "0"

// Options are the options of a manager; BindFlags documents the flags that set them.
type Options struct {
	LeaderElect bool
	// LeaderElectionNamespace is where the Lease is; empty: the pod's own namespace.
	LeaderElectionNamespace string
	// LeaderElectionID is the name of the Lease; empty: rollcall-manager. Installations in one namespace need one each.
	LeaderElectionID string
	// Namespaces to work in; empty: all of them.
	Namespaces []string
	// ClusterName is the name of this cluster; empty: the UID of the namespace kube-system.
	ClusterName string
	// DeniedCIDRs are addresses that no node may have, whatever its NodeRegistry allows.
	DeniedCIDRs []netip.Prefix
	// AllowedServers are the NATS servers that may be dialled: hosts, *.host, addresses and CIDRs; empty: all but those that are
	// always refused.
	AllowedServers []string
	// MetricsAddress and ProbeAddress are host:port; "0" turns the endpoint off.
	MetricsAddress, ProbeAddress string
	// MetricsSecure serves the metrics over TLS, and only to those who may read them.
	MetricsSecure bool
	// MetricsCertPath is the directory with the certificate for that; empty: a self-signed one.
	MetricsCertPath string
	// View bounds the view Problems.
	View discoverednode.Limits
	// MemoryLimit is how much memory the process may have, in bytes; zero: any.
	MemoryLimit int64
	// Controller holds what is the same for all controllers.
	Controller config.Controller
	// Logger gets what the manager and its controllers have to say; the zero value: ctrl.Log.
	Logger logr.Logger
}

// New returns a manager with all controllers. It asks the API server for the cluster's name, unless o has it, but does
// not need NATS: neither the manager's life nor its readiness depends on it.
func New(ctx context.Context, config *rest.Config, o Options) (ctrl.Manager, error) {
	o.limitMemory()
	// The API server's priority and fairness is the only limit: a limit of the client's own would make traffic wait.
	config = rest.CopyConfig(config)
	config.QPS = -1
	o.LeaderElectionID = cmp.Or(o.LeaderElectionID, leaderElectionID)
	options, err := o.manager()
	if err != nil {
		return nil, err
	}
	held, away := newLease(o.LeaderElectionID, clock.RealClock{}), outage.New(options.Logger.WithName("outage"), clock.RealClock{})
	if o.LeaderElect {
		config.Wrap(held.transport)
	}
	config.Wrap(away.Transport) // Around the other: the Lease may lapse while a request waits.
	informers := rewind.NewInformers()
	options.Cache.NewInformer = informers.Know(away.NewInformer)
	measured := metrics.New()
	options.NewClient = measured.Client
	mgr, err := ctrl.NewManager(config, options)
	if err != nil {
		return nil, err
	}
	check := o.check(mgr, informers, away.Ended())
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("ping", healthz.Ping), mgr.Add(check)); err != nil {
		return nil, err
	}
	cluster, err := o.clusterName(ctx, mgr.GetAPIReader())
	if err != nil {
		return nil, err
	}
	o.checkMetrics(ctx, mgr.GetClient())
	refused := serverAddresses(ctx, config)
	servers, err := dial.ParsePolicy(o.AllowedServers, refused)
	if err != nil {
		return nil, fmt.Errorf("--allowed-server: %w", err)
	}
	if err := controllers.Setup(mgr, options.Client.FieldOwner, measured, servers, o.View, noderegistry.Options{Cluster: cluster, Refused: refused, Denied: o.DeniedCIDRs}); err != nil {
		return nil, err
	}
	if o.LeaderElect {
		return &electedManager{Manager: mgr, lease: held}, nil
	}
	return mgr, nil
}

// ours selects the EndpointSlices that are Rollcall's.
var ours = labels.SelectorFromSet(labels.Set{discoveryv1.LabelManagedBy: rollcallv1alpha1.ManagedBy})

// check returns what ends the manager if the API server's state goes back.
func (o *Options) check(mgr ctrl.Manager, informers *rewind.Informers, outages <-chan struct{}) *rewind.Check {
	return rewind.New(rewind.Options{
		Log: mgr.GetLogger().WithName("rewind"), Clock: clock.RealClock{}, Reader: mgr.GetAPIReader(), Scheme: mgr.GetScheme(),
		Informers: informers, Outages: outages, Namespaces: o.Namespaces,
		Kinds: []rewind.Kind{
			{Object: &discoveryv1.EndpointSlice{}, Options: []client.ListOption{client.MatchingLabelsSelector{Selector: ours}}},
			{Object: &rollcallv1alpha1.DiscoveredNode{}},
			{Object: &corev1.Service{}},
			{Object: &rollcallv1alpha1.NodeRegistry{}},
			{Object: &rollcallv1alpha1.PodRegistration{}},
			{Object: &corev1.Pod{}, Many: true},
		},
	})
}

// garbagePercent is how much garbage there may be to what is in use, in percent, where a limit bounds both. It is twice what Go lets
// there be: a large fleet whose heartbeats make little garbage needs half of the processor time for collecting it.
const garbagePercent = 200

// limitMemory has the garbage collector keep to nine tenths of the limit: the rest is for what Go does not count, such as the
// program itself. It holds for the whole process. GOMEMLIMIT and GOGC are an administrator's own word.
func (o *Options) limitMemory() {
	if o.MemoryLimit <= 0 || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(o.MemoryLimit / 10 * 9)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}

func (o *Options) manager() (ctrl.Options, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), rollcallv1alpha1.AddToScheme(scheme)); err != nil {
		return ctrl.Options{}, err
	}
	caches := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&discoveryv1.EndpointSlice{}: {Label: ours, Transform: endpointslice.Compact},
			&corev1.Pod{}:                {Transform: podregistration.Strip},
		},
		DefaultNamespaces: map[string]cache.Config{},
	}
	for _, namespace := range o.Namespaces {
		caches.DefaultNamespaces[namespace] = cache.Config{}
	}
	served, err := o.metrics()
	if err != nil {
		return ctrl.Options{}, err
	}
	log := o.Logger
	if log.GetSink() == nil {
		log = ctrl.Log
	}
	return ctrl.Options{
		Logger:                        log,
		Scheme:                        scheme,
		Cache:                         caches,
		Client:                        client.Options{FieldOwner: fieldOwner(cmp.Or(o.LeaderElectionNamespace, podNamespace()), o.LeaderElectionID)},
		Controller:                    o.Controller,
		Metrics:                       served,
		HealthProbeBindAddress:        o.ProbeAddress,
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              o.LeaderElectionID,
		LeaderElectionNamespace:       o.LeaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(leaseDuration),
		RetryPeriod:                   new(leaderRetry),
	}, nil
}

func (o *Options) metrics() (metricsserver.Options, error) {
	if o.MetricsSecure && o.MetricsAddress != off {
		return metricsauth.Server(o.MetricsAddress, o.MetricsCertPath)
	}
	return metricsserver.Options{BindAddress: o.MetricsAddress}, nil
}

// checkMetrics says in the log if nobody will be able to read the metrics. The rest works all the same, as it must in
// a manager that has no cluster-wide right.
func (o *Options) checkMetrics(ctx context.Context, c client.Client) {
	if !o.MetricsSecure || o.MetricsAddress == off {
		return
	}
	if err := metricsauth.Check(ctx, c); err != nil {
		ctrl.Log.Error(err, "nobody can read the metrics: bind the ClusterRole of config/rbac/metrics_auth_role.yaml, or set --metrics-secure=false")
	}
}

//+kubebuilder:rbac:groups="",resources=namespaces,resourceNames=kube-system,verbs=get

// clusterName returns the name of this cluster.
func (o *Options) clusterName(ctx context.Context, reader client.Reader) (string, error) {
	if o.ClusterName != "" {
		return o.ClusterName, nil
	}
	namespace := &corev1.Namespace{}
	err := reader.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, namespace)
	if apierrors.IsForbidden(err) {
		return "", fmt.Errorf("give --cluster-name, or the right to get the namespace kube-system, whose UID is its default: %w", err)
	}
	return string(namespace.UID), err
}

// lookupTimeout bounds the look-up of the API server's host name.
const lookupTimeout = 2 * time.Second

// serverAddresses returns the addresses of the API server, as this client knows it: no node may have one of them, or a
// Service could be made to reach it. A name that can't be looked up gives none.
func serverAddresses(ctx context.Context, config *rest.Config) []netip.Addr {
	server, err := url.Parse(config.Host)
	if err != nil || server.Hostname() == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", server.Hostname())
	if err != nil {
		ctrl.Log.Info("the API server's own address is not known, so it is not refused as a node's", "host", server.Hostname(), "error", err.Error())
		return nil
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return slices.Compact(found)
}
