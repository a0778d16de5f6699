#!/usr/bin/env python3
"""Runs the Helm chart on a real Kubernetes of three nodes on this machine; `./dev k8s` is the way to call it.

Each node is a set of Linux namespaces with containerd and a kubelet; no Docker, no registry, nothing outside is touched.
It installs the chart, connects through the load-balanced service, and under the load of `mqload ledger` at QoS 1 and 2 ends
the broker's pod in every way: deleted, killed, upgraded, rolled back, all nodes without power at once. Then the account: no
acknowledged message lost, none of QoS 2 doubled, every session there. The last line says what was done, or what was
not and why.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
CHART = HERE.parent / "mqttd"
HOME = Path(os.environ.get("KUBE3_HOME") or
            Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mqttd-k8s")
ENVIRONMENT = dict(os.environ, KUBE3_HOME=str(HOME))
RUN = HOME / "run"
NODES = 3
PACKAGES = {"containerd": "containerd", "runc": "runc", "etcd": "etcd-server", "nft": "nftables", "iptables": "iptables",
            "conntrack": "conntrack", "ethtool": "ethtool", "socat": "socat", "openssl": "openssl", "ip": "iproute2",
            "buildah": "buildah", "mmdebstrap": "mmdebstrap"}
ZERO = ("lost", "lost_accepted", "out_of_order", "lost_pub_sessions", "lost_sub_sessions", "unacked", "refused_acks",
        "refused_subscriptions", "foreign", "unknown")
PATIENCE_S = 300


class NotHere(Exception):
    """What is missing on this machine."""


def say(words):
    print(words, flush=True)


def call(*command, **arguments):
    return subprocess.run([str(part) for part in command], check=True, env=ENVIRONMENT, **arguments)


def ask(*command):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {result.stderr.strip()[-2000:]}")
    return result.stdout.strip()


def inside(*command):
    """A command in the cluster's namespaces: kubectl, helm."""
    return ask(HERE / "kx", *command)


def until(done, what, patience_s=PATIENCE_S):
    """The first true value of done(), which may fail meanwhile. What is waited for is another program's state, which
    tells nobody when it changes."""
    deadline = time.monotonic() + patience_s
    failure = ""
    while time.monotonic() < deadline:
        try:
            if value := done():
                return value
        except RuntimeError as error:
            failure = str(error)
        time.sleep(0.2)
    raise RuntimeError(f"{what}: not within {patience_s} s. {failure}")


def build():
    if os.geteuid() != 0:
        raise NotHere("it needs root, for namespaces")
    if missing := [package for command, package in PACKAGES.items() if not shutil.which(command)]:
        raise NotHere(f"apt-get install --no-install-recommends {' '.join(missing)}")
    if not Path("/usr/lib/cni/bridge").exists():
        raise NotHere("apt-get install containernetworking-plugins")
    if not shutil.which("go") and not (HOME / "bin/hyperkube").exists():
        raise NotHere("go is missing (1.26 or later), which builds Kubernetes and helm")
    if shutil.which("go"):
        call(HERE / "tools.sh", "cluster")
    make_image()


def make_image():
    """The image of ./dev image as the nodes import it. One image, two names: an upgrade goes from the one to the other."""
    archives = [HOME / "images" / f"mqttd-{tag}.tar" for tag in ("1", "2")]
    packed = max((path.stat().st_mtime for path in (ROOT / "build/package").glob("*.deb")), default=0)
    if packed and all(path.exists() and path.stat().st_mtime > packed for path in archives):
        return
    log = ROOT / "build/.k8s-image.log"
    with log.open("w") as output:
        made = subprocess.run([sys.executable, ROOT / "tools/image.py", "--local-base", "--prebuilt", "--with", "buildah",
                               "--tag", "localhost/mqttd:1"], stdout=output, stderr=subprocess.STDOUT, check=False)
    words = log.read_text().strip().splitlines()[-1]
    if made.returncode:
        raise NotHere(f"{words} ({log})")
    say(words)
    sys.path.insert(0, str(ROOT / "tools"))
    import image  # pylint: disable=import-outside-toplevel
    for archive in archives:
        archive.unlink(missing_ok=True)
        tag = f"localhost/{archive.stem.replace('-', ':')}"
        call(*image.STORE, "push", "--quiet", "localhost/mqttd:1", f"docker-archive:{archive}:{tag}", stdout=subprocess.DEVNULL)


class Ledger:
    """mqload ledger in the cluster's network: the devices, who know what was acknowledged and what came."""

    def __init__(self, address, qos, directory):
        machine = ask("pgrep", "-P", (RUN / "unshare.pid").read_text().strip())
        self.qos = qos
        self.errors = (directory / f"qos{qos}.stderr").open("w+")
        self.process = subprocess.Popen(
            ["nsenter", "--target", machine, "--net", ROOT / "build/release/bin/mqload", "ledger", "--host", address,
             "--port", "1883", "--qos", str(qos), "--version", "4" if qos == 1 else "5", "--session-expiry", "3600",
             "--pubs", "10", "--copies", "2", "--rate", "200", "--window", "16", "--seconds", "86400", "--drain", "60",
             "--silence", "5", "--backoff-min-ms", "50", "--backoff-max-ms", "500", "--prefix", f"k8s{qos}", "--out",
             directory / f"qos{qos}", "--json"], stdout=subprocess.PIPE, stderr=self.errors, text=True)

    def finish(self):
        self.process.terminate()
        output, _ = self.process.communicate(timeout=PATIENCE_S)
        self.errors.seek(0)
        if not output.strip():
            raise RuntimeError(f"mqload ended without a result: {self.errors.read()}")
        result = json.loads(output)
        wrong = {name: result[name] for name in ZERO + (("duplicated",) if self.qos == 2 else ()) if result[name]}
        say(f"  QoS {self.qos}: {result['acked']} acknowledged, {result['received']} received, longest gap "
            f"{result['longest_ack_gap_ms'] / 1000:.1f} s; wrong: {wrong or 'nothing'}")
        return not wrong and result["acked"] > 0


def pod(field):
    return inside("kubectl", "-n", "mqtt", "get", "pod", "mqttd-0", "-o", f"jsonpath={{{field}}}")


def is_ready():
    return pod('.status.conditions[?(@.type=="Ready")].status') == "True" and not pod(".metadata.deletionTimestamp")


def broker_pid():
    pids = inside("pgrep", "-x", "mqttd").split()
    if len(pids) != 1:
        raise RuntimeError(f"processes mqttd: {pids}")
    return pids[0]


def install(*more, tag="1", verb="install"):
    inside("helm", verb, "mqttd", CHART, "--namespace", "mqtt", "--wait", "--timeout", f"{PATIENCE_S}s", "--set",
           "auth.allowAnonymous=true,image.repository=localhost/mqttd,persistence.size=1Gi,image.pullPolicy=Never",
           "--set-string", f"image.tag={tag}", *more)


def replaced(act):
    """The pod is another one, or its container was started again, and is ready."""
    before = pod(".metadata.uid"), pod(".status.containerStatuses[0].containerID")
    act()
    until(lambda: (pod(".metadata.uid"), pod(".status.containerStatuses[0].containerID")) != before and is_ready(),
          "a pod that is ready again")


def cut_power():
    """Every node ends in one moment, with all that runs on it; then they start again, the first last."""
    for node in range(1, NODES + 1):
        pid = (RUN / f"n{node}.nspid").read_text().strip()
        inside("kill", "-9", pid)
    for node in range(NODES, 0, -1):
        inside("bash", HERE / "node-up.sh", node)


def events():
    yield "pod deleted", lambda: inside("kubectl", "-n", "mqtt", "delete", "pod", "mqttd-0", "--wait=false")
    yield "process killed with -9", lambda: inside("kill", "-9", broker_pid())
    yield "pod deleted by force", lambda: inside("kubectl", "-n", "mqtt", "delete", "pod", "mqttd-0", "--force",
                                                 "--grace-period=0")
    yield "upgraded by helm", lambda: install(tag="2", verb="upgrade")
    yield "rolled back by helm", lambda: inside("helm", "rollback", "mqttd", "--namespace", "mqtt", "--wait", "--timeout",
                                               f"{PATIENCE_S}s")
    yield "configuration changed", lambda: install("--set", "config.mqtt.receive_maximum=500", verb="upgrade")
    yield "all nodes without power", cut_power


def timed(what, act):
    began = time.monotonic()
    act()
    say(f"  {what}: {time.monotonic() - began:.1f} s")


def cluster():
    call(HERE / "up.sh", NODES)
    until((RUN / "up").exists, f"{NODES} nodes ready; see {RUN}/log")
    call(HERE / "pv.sh", NODES, 2, stdout=subprocess.DEVNULL)
    inside("kubectl", "create", "namespace", "mqtt")
    inside("kubectl", "label", "namespace", "mqtt", "pod-security.kubernetes.io/enforce=restricted")


def run(directory):
    say("Kubernetes, three nodes")
    timed("ready", cluster)
    timed("helm install --wait, in a namespace of the restricted profile", install)
    timed("helm test", lambda: inside("helm", "test", "mqttd", "--namespace", "mqtt", "--timeout", f"{PATIENCE_S}s"))
    address = until(lambda: inside("kubectl", "-n", "mqtt", "get", "service", "mqttd-mqtt", "-o",
                                   "jsonpath={.status.loadBalancer.ingress[0].ip}"), "the load balancer's address")
    say(f"devices connect to {address}:1883")
    ledgers = [Ledger(address, qos, directory) for qos in (1, 2)]
    try:
        done = 0
        for what, act in events():
            timed(f"{what}, ready again", lambda act=act: replaced(act))
            done += 1
        say("the account")
        well = all([ledger.finish() for ledger in ledgers])
    finally:
        for ledger in ledgers:
            ledger.process.kill()
    logs = inside("kubectl", "-n", "mqtt", "exec", "mqttd-0", "--", "mqttctl", "health", "--ready")
    say(f"mqttctl in the pod: {logs}")
    return well, done


def main():
    parser = argparse.ArgumentParser(prog="./dev k8s", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the cluster running; deploy/k8s/e2e/kx kubectl …, down.sh")
    options = parser.parse_args()
    started = False
    try:
        build()
        started = True
        with tempfile.TemporaryDirectory() as directory:
            well, done = run(Path(directory))
        say(f"k8s: {done} ends of the broker, " + ("nothing lost, nothing doubled, every session resumed; one node of mqttd"
                                                   if well else "FAILED, see the account"))
        return 0 if well else 1
    except NotHere as missing:
        say(f"k8s: nothing was done: {missing}")
        return 3
    except (RuntimeError, subprocess.SubprocessError) as failure:
        say(f"k8s: FAILED: {failure}")
        say(f"logs: {RUN}/log")
        return 1
    finally:
        if started and not options.keep:
            subprocess.run([HERE / "down.sh"], capture_output=True, check=False, env=ENVIRONMENT)


if __name__ == "__main__":
    sys.exit(main())
