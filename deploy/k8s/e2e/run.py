#!/usr/bin/env python3
"""Runs the Helm chart on a real Kubernetes of three nodes on this machine; `./dev k8s` is the way to call it.

Each machine is a set of Linux namespaces with containerd and a kubelet; no Docker, no registry, nothing outside is touched.
It installs the chart, connects through the load-balanced service, and under the load of `mqload ledger` at QoS 1 and 2 ends
the broker's pods in every way: deleted, killed, cut off, upgraded, rolled back, all machines without power at once. Then the
account: no acknowledged message lost, none of QoS 2 doubled, every session there. Last it installs the chart with the other
numbers of nodes. The last line says what was done, or what was not and why.
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
MACHINES = 3
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


def on_machine(number, *command):
    """A command on one of the machines."""
    return ask(HERE / "nx", number, *command)


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
        self.qos, self._files = qos, directory / f"qos{qos}"
        self.errors = (directory / f"qos{qos}.stderr").open("w+")
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            ["nsenter", "--target", machine, "--net", ROOT / "build/release/bin/mqload", "ledger", "--host", address,
             "--port", "1883", "--qos", str(qos), "--version", "4" if qos == 1 else "5", "--session-expiry", "3600",
             "--pubs", "10", "--copies", "2", "--rate", "200", "--window", "16", "--seconds", "86400", "--drain", "60",
             "--silence", "5", "--backoff-min-ms", "50", "--backoff-max-ms", "500", "--prefix", f"k8s{qos}", "--out",
             self._files, "--json"], stdout=subprocess.PIPE, stderr=self.errors, text=True)

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

    def pauses(self, begin, end):
        """Between these moments: for how long at most a device, and for how long all, had nothing acknowledged. In
        seconds; after finish()."""
        last, one, everyone = {}, 0.0, 0.0
        for line in self._files.with_suffix(".acked").read_text().splitlines():
            kind, publisher, *_, at = line.split()
            now = self.began + float(at) / 1000 if kind == "A" else begin
            if kind != "A" or now < begin - 5:
                continue
            if last and begin < now <= end:
                one = max(one, now - last.get(publisher, now))
                everyone = max(everyone, now - max(last.values()))
            last[publisher] = now
        return one, everyone


class Release:
    """The chart, installed with `nodes` nodes of the broker."""

    def __init__(self, nodes):
        self.nodes = nodes

    def helm(self, verb, *more, tag="1"):
        inside("helm", verb, "mqttd", CHART, "--namespace", "mqtt", "--wait", "--timeout", f"{PATIENCE_S}s", "--set",
               "auth.allowAnonymous=true,image.repository=localhost/mqttd,persistence.size=1Gi,image.pullPolicy=Never,"
               f"resources.requests.cpu=50m,nodes={self.nodes},antiAffinity={'hard' if self.nodes <= MACHINES else 'soft'}",
               "--set-string", f"image.tag={tag}", *more)

    def test(self):
        inside("helm", "test", "mqttd", "--namespace", "mqtt", "--timeout", f"{PATIENCE_S}s")

    def address(self):
        return until(lambda: inside("kubectl", "-n", "mqtt", "get", "service", "mqttd-mqtt", "-o",
                                    "jsonpath={.status.loadBalancer.ingress[0].ip}"), "the load balancer's address")

    def pods(self):
        """{name: (uid, container, node, is ready)}"""
        found = json.loads(inside("kubectl", "-n", "mqtt", "get", "pod", "-l", "app.kubernetes.io/name=mqttd", "-o", "json"))
        return {pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            [status.get("containerID") for status in pod["status"].get("containerStatuses", [])],
            pod["spec"].get("nodeName"),
            "deletionTimestamp" not in pod["metadata"] and any(
                it["type"] == "Ready" and it["status"] == "True" for it in pod["status"].get("conditions", [])),
        ) for pod in found["items"]}

    def all_ready(self):
        pods = self.pods()
        return len(pods) == self.nodes and all(ready for *_, ready in pods.values())

    def replaced(self, names, act):
        """These pods are others, or their containers were started again, and all are ready."""
        before = self.pods()
        act()

        def done():
            now = self.pods()
            return self.all_ready() and all(now[name][:2] != before[name][:2] for name in names)
        until(done, f"{', '.join(names)} ready again")

    def node_of(self, name):
        return int(self.pods()[name][2][1:])

    def kill(self, name):
        """The process alone; Kubernetes starts the container again."""
        machine, uid = self.node_of(name), self.pods()[name][0]
        for pid in on_machine(machine, "pgrep", "-x", "mqttd").split():
            if uid in on_machine(machine, "cat", f"/proc/{pid}/cgroup"):
                return on_machine(machine, "kill", "-9", pid)
        raise RuntimeError(f"{name} has no process mqttd")

    def uninstall(self):
        inside("helm", "uninstall", "mqttd", "--namespace", "mqtt", "--wait", "--timeout", f"{PATIENCE_S}s")
        inside("kubectl", "-n", "mqtt", "delete", "pvc", "--selector", "app.kubernetes.io/instance=mqttd")


def cut_off(release, name):
    """The pod's machine cannot be reached until Kubernetes has found that out; then it can."""
    link = f"v{release.node_of(name)}"
    inside("ip", "link", "set", link, "down")
    try:
        until(lambda: not release.pods()[name][3], "a pod that Kubernetes knows is cut off")
    finally:
        inside("ip", "link", "set", link, "up")
    until(release.all_ready, f"{name} ready again")


def cut_power(*nodes):
    """These machines end in one moment, with all that runs on them; then they start again, the first last."""
    for node in nodes:
        inside("kill", "-9", (RUN / f"n{node}.nspid").read_text().strip())
    for node in sorted(nodes, reverse=True):
        inside("bash", HERE / "node-up.sh", node)


def delete(*names, force=False):
    inside("kubectl", "-n", "mqtt", "delete", "pod", *names, *(["--force", "--grace-period=0"] if force else ["--wait=false"]))


def events(release):
    """(what happens, what does it): each ends when all pods are ready again."""
    pods = [f"mqttd-{number}" for number in range(release.nodes)]
    first, last = pods[0], pods[-1]
    # Clients come in by the first machine, which is no place to cut.
    away = next((name for name in pods if release.node_of(name) != 1), None)

    def replaced(names, act):
        return lambda: release.replaced(names, act)

    yield "pod deleted", replaced([first], lambda: delete(first))
    yield "process killed with -9", replaced([last], lambda: release.kill(last))
    yield "pod deleted by force", replaced([pods[len(pods) // 2]], lambda: delete(pods[len(pods) // 2], force=True))
    if release.nodes > 1:
        yield "machine cut off until Kubernetes knows, and healed", lambda: cut_off(release, away)
        yield "machine without power", replaced([away], lambda: cut_power(release.node_of(away)))
    yield "upgraded by helm", replaced(pods, lambda: release.helm("upgrade", tag="2"))
    yield "rolled back by helm", replaced(pods, lambda: inside("helm", "rollback", "mqttd", "--namespace", "mqtt", "--wait",
                                                               "--timeout", f"{PATIENCE_S}s"))
    yield "configuration changed", replaced(pods, lambda: release.helm("upgrade", "--set", "config.mqtt.receive_maximum=500"))
    if release.nodes > 1:
        yield "all pods deleted at once", replaced(pods, lambda: delete(*pods))
        yield "all processes killed at once", replaced(pods, lambda: [release.kill(name) for name in pods])
    yield "all machines without power", replaced(pods, lambda: cut_power(*range(1, MACHINES + 1)))


def timed(what, act):
    began = time.monotonic()
    act()
    say(f"  {what}: {time.monotonic() - began:.1f} s")


def cluster():
    call(HERE / "up.sh", MACHINES)
    until((RUN / "up").exists, f"{MACHINES} nodes ready; see {RUN}/log")
    call(HERE / "pv.sh", MACHINES, 4, stdout=subprocess.DEVNULL)
    inside("kubectl", "create", "namespace", "mqtt")
    inside("kubectl", "label", "namespace", "mqtt", "pod-security.kubernetes.io/enforce=restricted")


def refused(release, nodes):
    """An upgrade to another number of nodes is, with the reason."""
    try:
        Release(nodes).helm("upgrade")
    except RuntimeError as error:
        if f"was installed with {release.nodes} and cannot become {nodes}" in str(error):
            return
        raise
    raise RuntimeError(f"an upgrade from {release.nodes} to {nodes} nodes was not refused")


def others(numbers):
    """Installs the chart with other numbers of nodes, on volumes of their own."""
    for number in numbers:
        release = Release(number)
        timed(f"helm install --wait with {number} node{'s' if number > 1 else ''}", lambda: release.helm("install"))
        timed("helm test", release.test)
        release.uninstall()


def run(directory, nodes):
    say("Kubernetes, three machines")
    timed("ready", cluster)
    release = Release(nodes)
    timed(f"helm install --wait with {nodes} node{'s' if nodes > 1 else ''}, in a namespace of the restricted profile",
          lambda: release.helm("install"))
    timed("helm test", release.test)
    refused(release, 1 if nodes > 1 else 3)
    say("  upgrade to another number of nodes: refused")
    address = release.address()
    say(f"devices connect to {address}:1883")
    ledgers = [Ledger(address, qos, directory) for qos in (1, 2)]
    done = []
    try:
        for what, act in events(release):
            begin = time.monotonic()
            timed(f"{what}, ready again", act)
            done.append((what, begin, time.monotonic()))
        say("the account")
        well = all([ledger.finish() for ledger in ledgers])
    finally:
        for ledger in ledgers:
            ledger.process.kill()
    for what, begin, end in done:
        paused = [ledger.pauses(begin, end) for ledger in ledgers]
        say(f"  {what}: one device waited up to {max(one for one, _ in paused):.1f} s, all of them "
            f"{max(everyone for _, everyone in paused):.1f} s")
    health = inside("kubectl", "-n", "mqtt", "exec", "mqttd-0", "--", "mqttctl", "health", "--ready")
    say(f"mqttctl in the pod: {health}")
    release.uninstall()
    others(number for number in (1, 3, 5) if number != nodes)
    return well, len(done)


def main():
    parser = argparse.ArgumentParser(prog="./dev k8s", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nodes", type=int, default=3, choices=(1, 3, 5), help="of the broker, for the load (default 3)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running; deploy/k8s/e2e/kx kubectl …, down.sh")
    options = parser.parse_args()
    started = False
    try:
        build()
        started = True
        with tempfile.TemporaryDirectory() as directory:
            well, done = run(Path(directory), options.nodes)
        say(f"k8s: {done} ends of the broker, " + ("nothing lost, nothing doubled, every session resumed; nodes of mqttd: "
                                                   f"{options.nodes}" if well else "FAILED, see the account"))
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
