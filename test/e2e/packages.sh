#!/usr/bin/env bash
# Installs what the end-to-end test takes from the distribution, if it is not there: a container runtime, the plugins of
# the pods' network, and the tools that the kubelet and kube-proxy call. Debian and what derives from it.
set -euo pipefail

packages=(containerd runc containernetworking-plugins iptables iproute2 conntrack mount)
missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit

echo "packages: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install --yes --quiet --no-install-recommends "${missing[@]}" >&2; }
# The lists of a fresh machine may be missing or old.
install || { apt-get update --quiet >&2 && install; }
