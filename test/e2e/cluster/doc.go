// Package cluster brings up a Kubernetes cluster of one node, with real pods, in a machine of its own (package machine):
// etcd, the control plane, the kubelet and kube-proxy, as hack/controlplane builds them, and containerd, runc and the CNI
// plugins of the distribution; and CoreDNS in a pod.
//
// Outside the cluster there can be nodes too: network namespaces of their own, with addresses of their own, on a bridge
// that the cluster's node is on as well.
//
//	fleet0 10.77.0.1/24 ── the API server and every NodePort listen here
//	  ├── external nodes, 10.77.0.11 and up, each a namespace; their way to the pods is over 10.77.0.1
//	cni0   10.76.0.1/16 ── pods
//
// Nothing here is ever stopped: the cluster ends with the machine.
package cluster
