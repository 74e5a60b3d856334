//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Options say what a cluster is made of.
type Options struct {
	// Dir is a folder for the cluster's files.
	Dir string
	// Binaries is the folder with etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy and
	// kubectl.
	Binaries string
	// Cgroup is the path of the control group, in every hierarchy, that pods go below.
	Cgroup string
	// Images are archives of container images to load, among them PauseImage and NameServerImage.
	Images []string
}

// Cluster is a running cluster.
type Cluster struct {
	// Config connects as an administrator, with no limit on the rate of requests.
	Config *rest.Config
	// Kubeconfig is the path of a file with the same access.
	Kubeconfig string
	// Kubectl is the path of a kubectl of the cluster's version.
	Kubectl string
	// Logs is the folder with the logs of the cluster's parts; those of the pods are in /var/log/pods.
	Logs string

	o         Options
	authority *authority
	clients   kubernetes.Interface
}

// Start brings up a cluster and returns once its node takes pods and names are resolved. It must run in a machine of its own. ctx bounds
// the start; the cluster lives until the machine ends.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	c := &Cluster{
		Kubeconfig: filepath.Join(o.Dir, "admin.kubeconfig"),
		Kubectl:    filepath.Join(o.Binaries, "kubectl"),
		Logs:       filepath.Join(o.Dir, "logs"),
		o:          o,
	}
	for _, step := range []func(context.Context) error{setUpNetwork, c.files, c.storage, c.apiServer, c.parts, c.ready, c.nameServer} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("bring up the cluster: %w", err)
		}
	}
	return c, nil
}

// files writes the configuration, the certificates and the kubeconfigs.
func (c *Cluster) files(context.Context) error {
	pki := filepath.Join(c.o.Dir, "pki")
	var err error
	if c.authority, err = newAuthority(pki); err != nil {
		return err
	}
	node := net.ParseIP(NodeAddress)
	server := identity{
		user: "kube-apiserver", ips: []net.IP{node, net.ParseIP(kubernetesService)},
		names: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc"},
	}
	users := map[string]identity{
		"admin":                   {user: "admin", groups: []string{"system:masters"}},
		"kube-controller-manager": {user: "system:kube-controller-manager"},
		"kube-scheduler":          {user: "system:kube-scheduler"},
		"kube-proxy":              {user: "system:kube-proxy"},
		"kubelet":                 {user: "system:node:" + NodeName, groups: []string{"system:nodes"}, ips: []net.IP{node}, names: []string{NodeName}},
	}
	_, err = c.authority.writeKey("service-account")
	err = errors.Join(err, os.MkdirAll(c.Logs, 0o700), configure(c.o.Dir, pki, c.o.Cgroup), c.authority.issue("kube-apiserver", server))
	for name, user := range users {
		err = errors.Join(err, c.authority.issue(name, user), writeKubeconfig(c.path(name+".kubeconfig"), c.authority, name))
	}
	return err
}

func (c *Cluster) path(name string) string { return filepath.Join(c.o.Dir, name) }

// start starts one of the cluster's own binaries.
func (c *Cluster) start(name string, args ...string) (*process, error) {
	return start(c.Logs, name, filepath.Join(c.o.Binaries, name), args...)
}

// parts starts the controllers, the scheduler and what runs on the node.
func (c *Cluster) parts(context.Context) error {
	key := c.authority.path("service-account.key")
	for name, args := range map[string][]string{
		"kube-controller-manager": {
			"--leader-elect=false", "--use-service-account-credentials",
			"--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins",
			"--service-account-private-key-file=" + key, "--root-ca-file=" + c.authority.path("ca.crt"),
		},
		"kube-scheduler": {"--leader-elect=false"},
		"kubelet":        {"--config=" + c.path("kubelet.yaml"), "--hostname-override=" + NodeName, "--node-ip=" + NodeAddress},
	} {
		if _, err := c.start(name, append(args, "--kubeconfig="+c.path(name+".kubeconfig"))...); err != nil {
			return err
		}
	}
	_, err := c.start("kube-proxy", "--config="+c.path("kube-proxy.yaml"))
	return err
}

// storage starts etcd and containerd, and loads the images.
func (c *Cluster) storage(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error { return c.etcd(ctx) })
	group.Go(func() error { return c.containerd(ctx) })
	return group.Wait()
}

func (c *Cluster) etcd(ctx context.Context) error {
	etcd, err := c.start("etcd", "--data-dir="+c.path("etcd"), "--listen-peer-urls=http://127.0.0.1:2380",
		// The cluster ends with the machine: nothing of it has to outlive a loss of power.
		"--unsafe-no-fsync")
	if err != nil {
		return err
	}
	return etcd.await(ctx, func(ctx context.Context) error { return dial(ctx, "tcp", "127.0.0.1:2379") })
}

// containerdSocket is where containerd listens, see files/containerd.toml.
const containerdSocket = "/run/containerd/containerd.sock"

func (c *Cluster) containerd(ctx context.Context) error {
	containerd, err := start(c.Logs, "containerd", "containerd", "--config="+c.path("containerd.toml"))
	if err != nil {
		return err
	}
	err = containerd.await(ctx, func(ctx context.Context) error { return ctr(ctx, "version") })
	if err != nil {
		return err
	}
	for _, archive := range c.o.Images {
		if err := ctr(ctx, "images", "import", archive); err != nil {
			return err
		}
	}
	return nil
}

// Kill ends a container of the running cluster at once and without a warning; id is that of the pod's status. The kubelet starts it again.
func Kill(ctx context.Context, id string) error {
	return ctr(ctx, "tasks", "kill", "--signal=SIGKILL", strings.TrimPrefix(id, "containerd://"))
}

// ctr tells containerd what to do with what the kubelet has there.
func ctr(ctx context.Context, args ...string) error {
	return run(ctx, "ctr", append([]string{"--address=" + containerdSocket, "--namespace=k8s.io"}, args...)...)
}

func (c *Cluster) apiServer(ctx context.Context) error {
	pki := c.authority.path
	server, err := c.start("kube-apiserver",
		"--advertise-address="+NodeAddress, "--etcd-servers=http://127.0.0.1:2379", "--service-cluster-ip-range="+serviceNetwork,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--client-ca-file="+pki("ca.crt"), "--tls-cert-file="+pki("kube-apiserver.crt"), "--tls-private-key-file="+pki("kube-apiserver.key"),
		"--kubelet-certificate-authority="+pki("ca.crt"),
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-client-certificate="+pki("admin.crt"), "--kubelet-client-key="+pki("admin.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+pki("service-account.key"), "--service-account-signing-key-file="+pki("service-account.key"))
	if err != nil {
		return err
	}
	if c.Config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig); err != nil {
		return err
	}
	c.Config.QPS, c.Config.WarningHandler = -1, rest.NoWarnings{}
	if c.clients, err = kubernetes.NewForConfig(c.Config); err != nil {
		return err
	}
	return server.await(ctx, func(ctx context.Context) error {
		_, err := c.clients.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
}

// ready returns once the node takes pods and the controllers work, which a service account shows that they have made. Why
// they do not, the logs say.
func (c *Cluster) ready(ctx context.Context) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := c.check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w\nthe kubelet's log:\n%s\nthe controllers' log:\n%s", err, ctx.Err(),
				tail(filepath.Join(c.Logs, "kubelet.log")), tail(filepath.Join(c.Logs, "kube-controller-manager.log")))
		case <-ticker.C:
		}
	}
}

func (c *Cluster) check(ctx context.Context) error {
	node, err := c.clients.CoreV1().Nodes().Get(ctx, NodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if len(node.Spec.Taints) > 0 || !isReady(node) {
		return fmt.Errorf("the node takes no pods: %v, %v", node.Spec.Taints, node.Status.Conditions)
	}
	_, err = c.clients.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	return err
}

// nameServer runs CoreDNS in the cluster, as clusters do.
func (c *Cluster) nameServer(ctx context.Context) error {
	kubectl := func(args ...string) error {
		return run(ctx, c.Kubectl, append(args, "--kubeconfig="+c.Kubeconfig)...)
	}
	if err := kubectl("apply", "--filename="+c.path("coredns.yaml")); err != nil {
		return err
	}
	return kubectl("--namespace=kube-system", "rollout", "status", "deployment/coredns")
}

func isReady(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

func dial(ctx context.Context, network, address string) error {
	connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return connection.Close()
}
