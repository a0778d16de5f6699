#!/usr/bin/env python3
"""Runs the Helm chart on a real Kubernetes of three nodes on this machine; `./dev k8s` is the way to call it.

Each machine is a set of Linux namespaces with containerd and a kubelet; no Docker, no registry, nothing outside is touched.
It installs the chart, asks it by mqttctl in a pod and from outside, has a node join that was started by hand, and tries the
network policy. Then devices connect through the load-balanced service, and under the load of `mqload ledger` at QoS 1 and 2
the broker's pods end in every way: deleted, killed, cut off, upgraded, rolled back, all machines without power at once; and
the account: no acknowledged message lost, none of QoS 2 doubled, every session there. Last it installs the chart with the
other numbers of nodes, and with certificates as cert-manager makes them. The last line says what was done, or what was not
and why.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import certificates
import operate
import policy
from release import ENVIRONMENT, HERE, HOME, MACHINES, PATIENCE_S, ROOT, RUN, Ledger, NotHere, Release, call, inside, say, until

PACKAGES = {"containerd": "containerd", "runc": "runc", "etcd": "etcd-server", "nft": "nftables", "iptables": "iptables",
            "conntrack": "conntrack", "ethtool": "ethtool", "socat": "socat", "openssl": "openssl", "ip": "iproute2",
            "buildah": "buildah", "mmdebstrap": "mmdebstrap"}
NOT_TRIED = "a cloud's load balancer and volumes, cert-manager and the Prometheus operator themselves"


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
    call(HERE / "pv.sh", MACHINES, 6, stdout=subprocess.DEVNULL)
    inside("kubectl", "create", "namespace", "mqtt")
    inside("kubectl", "label", "namespace", "mqtt", "pod-security.kubernetes.io/enforce=restricted")


def refused(release, nodes):
    """An upgrade to another number of nodes is, with the reason."""
    operate.refused(lambda: Release(nodes).helm("upgrade"), f"was installed with {release.nodes} and cannot become {nodes}")


def install(release):
    timed(f"helm install --wait with {release.nodes} node{'s' if release.nodes > 1 else ''}, in a namespace of the restricted "
          "profile", lambda: release.helm("install"))
    timed("helm test", release.test)
    timed("mqttctl in a pod, and from outside by port-forward with a token", lambda: operate.mqttctl(release))


def run(directory, nodes):
    say("Kubernetes, three machines")
    timed("ready", cluster)
    operate.make_access()
    release = Release(nodes)
    install(release)
    refused(release, 1 if nodes > 1 else 3)
    say("  upgrade to another number of nodes: refused")
    if nodes > 1:
        timed("mqttctl cluster join of a node started by hand, and forget", lambda: operate.join(release))
        timed("the network policy, at work by nftables", lambda: policy.try_out(release))
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
    release.uninstall()
    others = [number for number in (1, 3, 5) if number != nodes]
    for number in others:
        other = Release(number)
        install(other)
        other.uninstall()
    timed("with certificates as cert-manager makes them, 3 nodes", lambda: certificates.try_out(Release(3)))
    return well, len(done), others


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
            well, done, others = run(Path(directory), options.nodes)
        account = "nothing lost, nothing doubled, every session resumed" if well else "FAILED, see the account"
        alone = "" if options.nodes > 1 else "mqttctl cluster join and the network policy, which want several nodes; "
        say(f"k8s: {done} ends of the broker, {account}; nodes of mqttd: {options.nodes}, and {others[0]} and {others[1]} "
            f"installed. Not tried: {alone}{NOT_TRIED}")
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
