//go:build linux

package cluster

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const (
	// NodeName is the name of the cluster's only node.
	NodeName = "node"
	// NodeAddress is its address, on the bridge that external nodes are on.
	NodeAddress = "10.77.0.1"
	// PauseImage is the image that starts first in every pod; it must be among Options.Images.
	PauseImage = "rollcall.dev/e2e/pause:1"
	// NameServerImage is the image of CoreDNS; it must be among Options.Images.
	NameServerImage = "rollcall.dev/e2e/coredns:1"

	podNetwork     = "10.76.0.0/16"
	serviceNetwork = "10.96.0.0/16"
	// kubernetesService is the first address of serviceNetwork, which Kubernetes takes for the API server.
	kubernetesService = "10.96.0.1"
	nameServer        = "10.96.0.10"
	apiServer         = "https://" + NodeAddress + ":6443"
	// cniPlugins is where the distribution's package puts the plugins.
	cniPlugins = "/usr/lib/cni"
)

//go:embed files
var files embed.FS

// values are what the configuration files refer to.
type values struct {
	Dir, PKI, Cgroup                  string
	NodeName, NodeAddress, PodNetwork string
	NameServer                        string
	PauseImage, NameServerImage       string
	CNIPlugins                        string
}

// configure writes the configuration files of the parts.
func configure(dir, pki, cgroup string) error {
	data := values{
		Dir: dir, PKI: pki, Cgroup: cgroup, NodeName: NodeName, NodeAddress: NodeAddress, PodNetwork: podNetwork,
		NameServer: nameServer, PauseImage: PauseImage, NameServerImage: NameServerImage, CNIPlugins: cniPlugins,
	}
	templates, err := template.ParseFS(files, "files/*")
	if err != nil {
		return err
	}
	for name, path := range map[string]string{
		"containerd.toml": "containerd.toml", "kubelet.yaml": "kubelet.yaml", "kube-proxy.yaml": "kube-proxy.yaml",
		"coredns.yaml": "coredns.yaml", "cni.conflist": "cni/10-pods.conflist",
	} {
		var text bytes.Buffer
		if err := templates.ExecuteTemplate(&text, name, data); err != nil {
			return err
		}
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
			return err
		}
	}
	// The host's name servers are out of reach.
	return os.WriteFile(filepath.Join(dir, "resolv.conf"), nil, 0o600)
}

// writeKubeconfig writes the access of a user that the authority issued a certificate for.
func writeKubeconfig(path string, a *authority, user string) error {
	config := api.NewConfig()
	config.Clusters["e2e"] = &api.Cluster{Server: apiServer, CertificateAuthority: a.path("ca.crt")}
	config.AuthInfos[user] = &api.AuthInfo{ClientCertificate: a.path(user + ".crt"), ClientKey: a.path(user + ".key")}
	config.Contexts["e2e"] = &api.Context{Cluster: "e2e", AuthInfo: user}
	config.CurrentContext = "e2e"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write a kubeconfig: %w", err)
	}
	return nil
}
