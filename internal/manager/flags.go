package manager

import (
	"errors"
	"flag"
	"strings"

	kubeconfig "sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// BindFlags defines the manager's flags, from which docs/reference/flags.md is made: those that set o, those of the log,
// and --kubeconfig.
func BindFlags(flags *flag.FlagSet, o *Options, logging *zap.Options) {
	flags.BoolVar(&o.LeaderElect, "leader-elect", false, "Let only one of several replicas work at a time.")
	flags.StringVar(&o.LeaderElectionNamespace, "leader-election-namespace", "", "Namespace of the Lease of --leader-elect. Default: the pod's own namespace.")
	flags.Var((*namespaces)(&o.Namespaces), "namespace", "Namespace to work in; can be given more than once. Default: all namespaces. With it, and with --cluster-name, no cluster-wide right is needed.")
	flags.StringVar(&o.ClusterName, "cluster-name", "", "Name of this cluster, by which it knows its own entries in a bucket. Default: the UID of the namespace kube-system.")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", ":8080", "Address of the metrics endpoint; 0 turns it off.")
	flags.StringVar(&o.ProbeAddress, "health-probe-bind-address", ":8081", "Address of the endpoints /healthz and /readyz; 0 turns them off.")
	logging.BindFlags(flags)
	kubeconfig.RegisterFlags(flags)
}

// namespaces is a flag that can be given more than once.
type namespaces []string

// String implements flag.Value.
func (n *namespaces) String() string { return strings.Join(*n, ",") }

// Set implements flag.Value.
func (n *namespaces) Set(value string) error {
	if value == "" {
		return errors.New("a namespace has a name")
	}
	*n = append(*n, value)
	return nil
}
