"""The Kubernetes of up.sh seen from a program: commands in it, the chart as a release, the devices that connect to it."""

import json
import os
import subprocess
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
ZERO = ("lost", "lost_accepted", "out_of_order", "lost_pub_sessions", "lost_sub_sessions", "unacked", "refused_acks",
        "refused_subscriptions", "foreign", "damaged", "unknown")
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


def apply(*objects):
    """Has Kubernetes make these objects, or make them so."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    result = subprocess.run([HERE / "kx", "kubectl", "apply", "-f", "-"], input=listed, capture_output=True, text=True,
                            check=False, env=ENVIRONMENT)
    if result.returncode:
        raise RuntimeError(f"kubectl apply: {result.stderr.strip()[-2000:]}")


def machine_network():
    """What a command begins with to run in the network to which the three machines are connected."""
    return ["nsenter", "--target", ask("pgrep", "-P", (RUN / "unshare.pid").read_text().strip()), "--net"]


def process_of(machine, uid, name):
    """The number, on its machine, of a process of the pod with this UID."""
    for pid in on_machine(machine, "pgrep", "-x", name).split():
        if uid in on_machine(machine, "cat", f"/proc/{pid}/cgroup"):
            return pid
    raise RuntimeError(f"the pod {uid} has no process {name}")


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


class Ledger:
    """mqload ledger in the cluster's network: the devices, who know what was acknowledged and what came."""

    def __init__(self, address, qos, directory):
        self.qos, self._files = qos, directory / f"qos{qos}"
        self.errors = (directory / f"qos{qos}.stderr").open("w+")
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*machine_network(), ROOT / "build/release/bin/mqload", "ledger", "--host", address, "--port", "1883", "--qos",
             str(qos), "--version", "4" if qos == 1 else "5", "--session-expiry", "3600", "--pubs", "10", "--copies", "2",
             "--rate", "200", "--window", "16", "--seconds", "86400", "--drain", "60", "--silence", "5", "--backoff-min-ms",
             "50", "--backoff-max-ms", "500", "--prefix", f"k8s{qos}", "--out", self._files, "--json"],
            stdout=subprocess.PIPE, stderr=self.errors, text=True)

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

    def helm(self, verb, *more, tag="1", wait=True):
        inside("helm", verb, "mqttd", CHART, "--namespace", "mqtt", "--timeout", f"{PATIENCE_S}s", "--set",
               "auth.allowAnonymous=true,image.repository=localhost/mqttd,persistence.size=1Gi,image.pullPolicy=Never,"
               "auth.admin.existingSecret=mqttd-operators,"
               f"resources.requests.cpu=50m,nodes={self.nodes},antiAffinity={'hard' if self.nodes <= MACHINES else 'soft'}",
               "--set-string", f"image.tag={tag}", *(["--wait"] if wait else []), *more)

    def test(self):
        """Again, if need be: the addresses of a release before this one are in Kubernetes' DNS for half a minute more."""
        until(lambda: inside("helm", "test", "mqttd", "--namespace", "mqtt", "--timeout", f"{PATIENCE_S}s") is not None, "helm test")

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
        on_machine(machine, "kill", "-9", process_of(machine, uid, "mqttd"))

    def uninstall(self):
        inside("helm", "uninstall", "mqttd", "--namespace", "mqtt", "--wait", "--timeout", f"{PATIENCE_S}s")
        inside("kubectl", "-n", "mqtt", "delete", "pvc", "--selector", "app.kubernetes.io/instance=mqttd")
