#!/bin/bash
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
C=$KUBE3; R=$KUBE3_RUN; L=$R/log; P=$R/pki; 
. $C/remount-cgroup.sh
T0=$(date +%s%N); ms(){ echo "$(( ($(date +%s%N)-T0)/1000000 )) ms: $*"; }
ip link set lo up; ip link add br0 type bridge; ip addr add 172.30.0.1/24 dev br0; ip link set br0 up
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
. $C/pki.sh; cd /; ms pki done
${ETCD:-etcd} --data-dir $R/etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster default=http://127.0.0.1:2380 ${ETCDX:---unsafe-no-fsync} > $L/etcd.log 2>&1 &
echo etcd $! >> $R/pids
kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 --bind-address=0.0.0.0 --advertise-address=172.30.0.1 --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=Node,RBAC --token-auth-file=$P/tokens.csv --tls-cert-file=$P/api.crt --tls-private-key-file=$P/api.key --client-ca-file=$P/ca.crt --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=$P/sa.key --service-account-signing-key-file=$P/sa.key --allow-privileged=true --kubelet-preferred-address-types=InternalIP $APIX > $L/apiserver.log 2>&1 &
echo apiserver $! >> $R/pids
export KUBECONFIG=$P/admin.kubeconfig
for i in $(seq 600); do kubectl get --raw /readyz >/dev/null 2>&1 && break; sleep 0.2; done; ms apiserver ready
kube-controller-manager --kubeconfig=$P/kcm.kubeconfig --service-account-private-key-file=$P/sa.key --root-ca-file=$P/ca.crt --leader-elect=false --bind-address=127.0.0.1 > $L/kcm.log 2>&1 &
echo kcm $! >> $R/pids
kube-scheduler --kubeconfig=$P/sched.kubeconfig --leader-elect=false --bind-address=127.0.0.1 > $L/sched.log 2>&1 &
echo sched $! >> $R/pids
for i in $(seq $NODES); do
  bash $C/node-up.sh $i
done
if command -v coredns >/dev/null; then
# As kubeadm has it: a pod's former address is given out for up to half a minute.
cat > $R/Corefile <<K
.:53 {
  bind 172.30.0.1
  errors
  ready 127.0.0.1:8181
  kubernetes cluster.local in-addr.arpa { 
    kubeconfig $P/dns.kubeconfig
    ttl ${DNSTTL:-30}
    }
  cache ${DNSTTL:-30}
}
K
coredns -conf $R/Corefile > $L/coredns.log 2>&1 &
echo coredns $! >> $R/pids
fi
for i in $(seq 300); do [ "$(kubectl get nodes --no-headers 2>/dev/null | grep -c ' Ready ')" = $NODES ] && break; sleep 0.2; done; ms nodes ready
( n=10; while sleep 1; do kubectl get svc -A -o jsonpath='{range .items[?(@.spec.type=="LoadBalancer")]}{.metadata.namespace}/{.metadata.name}/{.status.loadBalancer.ingress[0].ip}{"\n"}{end}' 2>/dev/null | while IFS=/ read -r a b c; do [ -n "$c" ] || { n=$(( $(cat $R/lbn 2>/dev/null || echo 9) + 1 )); echo $n > $R/lbn; kubectl -n $a patch svc $b --subresource=status --type=merge -p '{"status":{"loadBalancer":{"ingress":[{"ip":"172.30.100.'$n'"}]}}}'; }; done; done ) > $L/lb.log 2>&1 &
ms up; touch $R/up
exec sleep infinity
