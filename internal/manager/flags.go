package manager

import (
	"errors"
	"flag"
	"net/netip"
	"strings"

	kubeconfig "sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/rollcall-dev/rollcall/discovery/dial"
)

// BindFlags defines the manager's flags, from which docs/reference/flags.md is made: those that set o, those of the log,
// and --kubeconfig.
func BindFlags(flags *flag.FlagSet, o *Options, logging *zap.Options) {
	flags.BoolVar(&o.LeaderElect, "leader-elect", false, "Let only one of several replicas work at a time.")
	flags.StringVar(&o.LeaderElectionNamespace, "leader-election-namespace", "", "Namespace of the Lease of --leader-elect. Default: the pod's own namespace.")
	flags.StringVar(&o.LeaderElectionID, "leader-election-id", leaderElectionID, "Name of the Lease of --leader-elect. Installations in one namespace need one each.")
	flags.Var((*namespaces)(&o.Namespaces), "namespace", "Namespace to work in; can be given more than once. Default: all namespaces. With it, --cluster-name and --metrics-secure=false, no cluster-wide right is needed. No other manager may work in the same namespace.")
	flags.StringVar(&o.ClusterName, "cluster-name", "", "Name of this cluster, by which it knows its own entries in a bucket. Default: the UID of the namespace kube-system.")
	flags.Var((*cidrs)(&o.DeniedCIDRs), "denied-cidr", "Addresses that no node may have, whatever its NodeRegistry allows, such as the Services and Pods of the cluster; can be given more than once.")
	flags.Var((*servers)(&o.AllowedServers), "allowed-server", "NATS server that a NodeRegistry may name: a host, all hosts below one (*.example.com), an address or a CIDR; can be given more than once. It holds for the servers that a server advertises too. A host never allows loopback and link-local addresses, the metadata services of clouds and the API server; an address or a CIDR does. Default: every server that has none of these addresses.")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", ":8443", "Address of the metrics endpoint /metrics; 0 turns it off.")
	flags.BoolVar(&o.MetricsSecure, "metrics-secure", true, "Serve the metrics over HTTPS, and only to those who show a token that may get /metrics. It takes the ClusterRole of config/rbac/metrics_auth_role.yaml, with --namespace too. With false: over HTTP, to everybody.")
	flags.StringVar(&o.MetricsCertPath, "metrics-cert-path", "", "Directory with the certificate of the metrics endpoint, tls.crt and tls.key, which are read again when they change. Default: a self-signed certificate.")
	flags.StringVar(&o.ProbeAddress, "health-probe-bind-address", ":8081", "Address of the endpoints /healthz and /readyz; 0 turns them off.")
	flags.Int64Var(&o.MemoryLimit, "memory-limit", 0, "Memory that the process may have, in bytes: that of its container. The garbage collector keeps to nine tenths of it, and collects when the memory in use has grown to three times what it was, unless the environment variables GOMEMLIMIT and GOGC say otherwise. Default: it collects when the memory in use has doubled.")
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

// servers is a flag that can be given more than once.
type servers []string

// String implements flag.Value.
func (s *servers) String() string { return strings.Join(*s, ",") }

// Set implements flag.Value.
func (s *servers) Set(value string) error {
	if _, err := dial.ParsePolicy([]string{value}, nil); err != nil {
		return err
	}
	*s = append(*s, value)
	return nil
}

// cidrs is a flag that can be given more than once.
type cidrs []netip.Prefix

// String implements flag.Value.
func (c *cidrs) String() string {
	all := make([]string, len(*c))
	for i, prefix := range *c {
		all[i] = prefix.String()
	}
	return strings.Join(all, ",")
}

// Set implements flag.Value.
func (c *cidrs) Set(value string) error {
	prefix, err := netip.ParsePrefix(value)
	if err != nil {
		return err
	}
	*c = append(*c, prefix)
	return nil
}
