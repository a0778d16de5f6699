# Where things are; every script here sources this. KUBE3_HOME: what is built once and kept, outside of the repository.
export KUBE3=${KUBE3:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
export KUBE3_HOME=${KUBE3_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/mqttd-k8s}
export KUBE3_BIN=${KUBE3_BIN:-$KUBE3_HOME/bin} KUBE3_RUN=${KUBE3_RUN:-$KUBE3_HOME/run}
export KUBE3_IMAGES=${KUBE3_IMAGES:-$KUBE3_HOME/images} KUBE3_SCHEMAS=${KUBE3_SCHEMAS:-$KUBE3_HOME/schemas}
# Where the pods' volumes are: KUBE3_PV=/dev/shm/… where the disk is too slow for what is measured.
export KUBE3_PV=${KUBE3_PV:-$KUBE3_RUN/pv}
export PATH=$KUBE3_BIN:$PATH
