#!/bin/bash
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
I=$1; N=n$I; C=$KUBE3; R=$KUBE3_RUN; L=$R/log; P=$R/pki; touch $R/$N.started
. $C/mknode-fs.sh; hostname $N
for i in $(seq 600); do ip link show eth0 >/dev/null 2>&1 && break; sleep 0.05; done
ip link set lo up; ip addr add 172.30.0.1$I/24 dev eth0; ip link set eth0 up; ip route add default via 172.30.0.1
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
for j in 1 2 3 4 5; do [ $j != $I ] && ip route add 10.244.$j.0/24 via 172.30.0.1$j; done
cat > /etc/cni/net.d/10-b.conflist <<J
{"cniVersion":"1.0.0","name":"pod","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.244.$I.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},{"type":"portmap","capabilities":{"portMappings":true}}]}
J
containerd -c $C/containerd.toml > $L/$N-containerd.log 2>&1 &
for i in $(seq 100); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
for t in $KUBE3_IMAGES/*.tar; do [ -e $R/$N.imported ] || ctr -n k8s.io images import $t; done
touch $R/$N.imported
echo "nameserver 172.30.0.1" > $R/resolv.conf
cat > $R/$N-kubelet.yaml <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
clusterDNS: ["172.30.0.1"]
clusterDomain: cluster.local
resolvConf: $R/resolv.conf
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
evictionHard: {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"}
imageGCHighThresholdPercent: 100
registerNode: true
K
kubelet --config=$R/$N-kubelet.yaml --kubeconfig=$P/$N.kubeconfig --hostname-override=$N --node-ip=172.30.0.1$I > $L/$N-kubelet.log 2>&1 &
cat > $R/$N-proxy.yaml <<K
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ${PROXYMODE:-nftables}
clientConnection: {kubeconfig: $P/proxy.kubeconfig}
clusterCIDR: 10.244.0.0/16
hostnameOverride: $N
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
K
kube-proxy --config=$R/$N-proxy.yaml > $L/$N-proxy.log 2>&1 &
exec sleep infinity
