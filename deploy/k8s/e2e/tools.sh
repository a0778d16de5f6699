#!/usr/bin/env bash
# tools.sh chart: helm and kubeconform with its schemas, to check the chart (about 5 minutes of processor time, once).
# tools.sh cluster: and Kubernetes and its DNS, to run it (about 25 more). Everything comes from the Go module proxy, is
# kept in KUBE3_HOME and built only when it is missing or of another version. Needs go 1.26.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

HELM=v3.22.0 KUBECONFORM=v0.8.0 KUBERNETES=v1.37.2 PROMETHEUS_OPERATOR=v0.85.0 CERT_MANAGER=v1.21.2
export CGO_ENABLED=0

command -v go >/dev/null || {
  echo "tools.sh: go is missing (1.26 or later; Debian 12 has none: https://go.dev/dl)" >&2
  exit 1
}
mkdir -p "$KUBE3_BIN" "$KUBE3_IMAGES"

# Two of these share the result. Who wants to check the chart does not wait for Kubernetes.
lock() {
  exec 9>"$KUBE3_HOME/.lock-$1"
  flock 9
}

# once NAME VERSION COMMAND…: unless it has been done for that version.
once() {
  local stamp=$KUBE3_HOME/.$1-$2
  [[ -e $stamp ]] && return
  echo "tools.sh: building $1 $2" >&2
  "${@:3}" 9>&-  # What go leaves running holds no lock.
  rm -f "$KUBE3_HOME/.$1"-*
  touch "$stamp"
}

install() { GOBIN=$KUBE3_BIN go install -trimpath -ldflags "-s -w" "$1"; }

module() { # Its folder.
  go mod download -modcacherw -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'
}

make_schemas() {
  local certificates
  certificates=$(module github.com/cert-manager/cert-manager@$CERT_MANAGER)/deploy/crds
  rm -rf "$KUBE3_SCHEMAS.new" "$KUBE3_HOME/crds"
  mkdir "$KUBE3_HOME/crds"
  cp -r "$certificates" "$KUBE3_HOME/crds/cert-manager"
  /usr/bin/python3 "$KUBE3/schemas.py" "$KUBE3_SCHEMAS.new" "$(module k8s.io/kubernetes@$KUBERNETES)" \
    "$(module github.com/prometheus-operator/prometheus-operator@$PROMETHEUS_OPERATOR)/example/prometheus-operator-crd" \
    "$certificates"
  rm -rf "$KUBE3_SCHEMAS"
  mv "$KUBE3_SCHEMAS.new" "$KUBE3_SCHEMAS"
}

build_kubernetes() {
  local version=k8s.io/component-base/version
  (cd "$KUBE3/kubernetes" && go build -trimpath -o "$KUBE3_BIN/hyperkube" -ldflags "-s -w -X $version.gitVersion=$KUBERNETES \
    -X $version.gitMajor=1 -X $version.gitMinor=37" .)
  for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    ln -sf hyperkube "$KUBE3_BIN/$name"
  done
}

build_coredns() { (cd "$KUBE3/coredns" && go build -trimpath -ldflags "-s -w" -o "$KUBE3_BIN/coredns" .); }

build_pause() {
  local root
  root=$(mktemp -d)
  cc -static -O1 -o "$root/pause" "$KUBE3/pause.c"
  /usr/bin/python3 "$KUBE3/mkimage.py" "$KUBE3_IMAGES/pause.tar" localhost/pause:1 "$root" /pause
  rm -rf "$root"
}

lock chart
once helm $HELM install helm.sh/helm/v3/cmd/helm@$HELM
once kubeconform $KUBECONFORM install github.com/yannh/kubeconform/cmd/kubeconform@$KUBECONFORM
once schemas "$KUBERNETES-$PROMETHEUS_OPERATOR-$CERT_MANAGER-$(sha256sum <"$KUBE3/schemas.py" | cut -c1-12)" make_schemas
[[ ${1:-chart} == chart ]] && exit
lock cluster
once kubernetes "$(cat "$KUBE3"/kubernetes/* | sha256sum | cut -c1-12)" build_kubernetes
once coredns "$(cat "$KUBE3"/coredns/* | sha256sum | cut -c1-12)" build_coredns
once pause 1 build_pause
