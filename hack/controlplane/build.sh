#!/usr/bin/env bash
# Builds the control plane that the tests and the demo run against (etcd, kube-apiserver, kubectl)
# from the Go modules pinned in go.mod beside this script. The binaries are cached outside the
# checkout, one folder per set of versions, so that a fresh clone does not build them again.
# Given names of other parts of a cluster (kube-controller-manager for the benchmark, all of them for
# the end-to-end test), it builds those too.
# Progress goes to standard error; the last line of standard output is the folder with the binaries.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { echo "controlplane: $*" >&2; }

for name in "$@"; do
  case $name in
    kube-controller-manager | kube-scheduler | kube-proxy | kubelet) ;;
    *)
      say "usage: $0 [kube-controller-manager] [kube-scheduler] [kube-proxy] [kubelet]"
      exit 2
      ;;
  esac
done

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
  for name in etcd kube-apiserver kubectl "$@"; do
    [[ -x $KUBEBUILDER_ASSETS/$name ]] || { say "KUBEBUILDER_ASSETS is set, but $KUBEBUILDER_ASSETS/$name is no executable; unset it to build the binaries"; exit 1; }
  done
  say "using KUBEBUILDER_ASSETS"
  echo "$KUBEBUILDER_ASSETS"
  exit
fi

# -mod=readonly: the pins decide, whatever GOFLAGS or a workspace says.
export GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0
version() { go list -m -f '{{.Version}}' "$1"; }
kubernetes=$(version k8s.io/kubernetes)
etcd=$(version go.etcd.io/etcd/server/v3)
platform=$(go env GOOS)-$(go env GOARCH)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rollcall/controlplane
dir=$cache/kubernetes-$kubernetes-etcd-$etcd-$platform
mkdir -p "$dir"

# Clients parse the server's version, and one that is not stamped is "v0.0.0-master+$Format:%H$".
stamp="-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes"

build() { # name, package, how long it takes cold on two cores
  [[ -x $dir/$1 ]] && return
  say "building $1 from $2 (about $3 the first time, then cached in $dir)"
  # Named by process and moved into place: two checkouts may build at once, and a build may be cut off.
  go build -trimpath -ldflags "$stamp" -o "$dir/.$1.$$" "$2"
  mv "$dir/.$1.$$" "$dir/$1"
}
build etcd go.etcd.io/etcd/server/v3 "20 s"
build kubectl k8s.io/kubernetes/cmd/kubectl "45 s"
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "6 minutes"
for name in "$@"; do
  build "$name" "k8s.io/kubernetes/cmd/$name" "3 minutes"
done
say "Kubernetes $kubernetes and etcd $etcd are ready"
echo "$dir"
