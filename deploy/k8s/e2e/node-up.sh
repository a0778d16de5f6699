#!/bin/bash
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# node-up.sh I: starts node I, or starts it again after its power was cut (its first process killed). Inside the machine's namespaces.
i=$1 R=$KUBE3_RUN
rm -f $R/n$i.started
setsid bash $KUBE3/enter-cgroup.sh n$i unshare --mount --net --pid --uts --ipc --cgroup --fork --kill-child --mount-proc bash $KUBE3/node-init.sh $i >> $R/log/n$i-init.log 2>&1 < /dev/null &
U=$!; for k in $(seq 600); do [ -e $R/n$i.started ] && NP=$(pgrep -P $U) && break; sleep 0.05; done
echo $NP > $R/n$i.nspid
ip link del v$i 2>/dev/null
ip link add v$i type veth peer name eth0 netns $NP; ip link set v$i master br0 up
ip route replace 10.244.$i.0/24 via 172.30.0.1$i
# Services and load balancers' addresses lead to the first node.
[ $i != 1 ] || { ip route replace 10.96.0.0/16 via 172.30.0.11; ip route replace 172.30.100.0/24 via 172.30.0.11; }
