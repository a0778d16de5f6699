#!/usr/bin/env python3
"""What the Helm chart makes, at work without Kubernetes: a pod is a network of its own on a bridge, with the names, the
configuration, the environment and the certificates that the chart gives it; nftables does what a network that enforces policies
would. `./dev k8s` does the same and more on a Kubernetes. Needs root, for the namespaces, and helm."""

import base64
import json
import os
import shutil
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "lib"), str(HERE.parent.parent / "deploy" / "k8s" / "e2e")]
import certificates  # noqa: E402
import operate  # noqa: E402
import policy_rules  # noqa: E402
from e2e import MQTTD_BIN, PATIENCE_S, Process, Skip, case, equal, holds, main, run, scratch, write  # noqa: E402
from helm_chart import TRY, objects, one, template  # noqa: E402

MQTTD_BIN, MQTTCTL_BIN = (os.path.abspath(path) for path in (MQTTD_BIN, os.environ.get("MQTTCTL_BIN", "build/release/bin/mqttctl")))
DOMAIN = "release-mqttd-headless.devices.svc"
NAMES = [f"release-mqttd-{number}" for number in range(3)] + ["by-hand", "stranger", "elsewhere"]
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3]))"


def address(name):
    return f"10.244.1.{NAMES.index(name) + 2}"


class Namespaces:
    """A process that keeps namespaces, and commands in them."""

    def __init__(self, *setup):
        self.keeper = Process(["unshare", "--net", "--mount", "--propagation", "private", "sh", "-ec",
                               " && ".join((*setup, "echo kept", "exec sleep infinity"))])
        self.keeper.out.wait_for("kept")

    def command(self, *command):
        return ["nsenter", "--target", str(self.keeper.pid), "--net", "--mount", *map(str, command)]

    def run(self, *command, stdin=None, status=0):
        return run(*self.command(*command), stdin=stdin, status=status)


class Machine(Namespaces):
    """The bridge that all pods are on."""

    def __init__(self):
        super().__init__("ip link add br0 type bridge", "ip link set br0 up")
        self.hosts = write("hosts", "".join(f"{address(name)} {name}.{DOMAIN}\n" for name in NAMES) + "127.0.0.1 localhost\n")

    def enforce(self, policies, pods):
        spaces = [{"metadata": {"name": name, "labels": {}}} for name in ("devices", "other")]
        text = policy_rules.tables(policies, [pod.object for pod in pods], spaces)
        self.run("nft", "-f", "-", stdin=text.encode())


class Pod(Namespaces):
    """One of NAMES: with its address, and `labels` in `namespace`."""

    def __init__(self, machine, name, labels=None, namespace="devices", containers=()):
        super().__init__(f"mount --bind {machine.hosts} /etc/hosts", "ip link set lo up")
        self.name, self.process = name, None
        machine.run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", self.keeper.pid)
        machine.run("ip", "link", "set", name, "master", "br0", "up")
        self.run("ip", "addr", "add", f"{address(name)}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.object = {"metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
                       "spec": {"containers": containers}, "status": {"podIP": address(name)}}

    def reach(self, other, port, may):
        """It gets a connection, or it may not: what a policy forbids nobody answers, so that is tried for a second only."""
        got = Process(self.command(sys.executable, "-c", CONNECT, address(other), port, PATIENCE_S if may else 1))
        equal(got.wait() == 0, may, f"{self.name} reaches port {port} of {other}")
        holds(may or "TimeoutError" in got.err.text(), got.err.text())

    def mqttctl(self, *arguments, status=0):
        return self.run(MQTTCTL_BIN, *arguments, status=status).out.text()

    def members(self):
        return sorted(it["number"] for it in json.loads(self.mqttctl("cluster", "members", "-o", "json")))


class Node(Pod):
    """A pod in which mqttd runs, as `text`, all that the chart makes, says; `config` replaces its mqttd.yaml."""

    def __init__(self, machine, name, text, nodes_tls=None, config=None):
        template_ = one(text, "StatefulSet")["spec"]["template"]
        container = template_["spec"]["containers"][0]
        super().__init__(machine, name, template_["metadata"]["labels"], containers=[container])
        etc, self._data = scratch("etc"), scratch("data")
        if nodes_tls:
            (etc / "nodes").mkdir(parents=True)
            for key, value in nodes_tls.items():
                (etc / "nodes" / key).write_bytes(value)
        config = config or one(text, "ConfigMap", "-mqttd")["data"]["mqttd.yaml"]
        self._config = write("mqttd.yaml", config.replace("/etc/mqttd", str(etc)).replace("/var/lib/mqttd", str(self._data)))
        self._environment = {"POD_NAME": name}
        for entry in container["env"]:
            if "value" in entry:
                self._environment[entry["name"]] = entry["value"].replace("$(POD_NAME)", name)

    def start(self):
        self.process = Process(self.command(MQTTD_BIN, "--config", self._config), env=self._environment)

    def wait_ready(self):
        try:
            self.process.out.wait_for("^mqttd ready ")
        except AssertionError as failure:
            raise AssertionError(f"{self.name}: {failure}\n{self.process.err.text()}") from None

    def end(self):
        self.process.kill()
        shutil.rmtree(self._data, ignore_errors=True)


def made(*values):
    return template(*TRY, *(part for value in values for part in ("--set", value))).out.text()


def made_by_chart(text):
    return {key: base64.b64decode(value) for key, value in one(text, "Secret", "-nodes-tls")["data"].items()}


def made_by_hand(text, directory):
    return certificates.sign(one(text, "Certificate", "-nodes"), directory)


def installed(text, tls):
    """The three nodes, ready, and the machine."""
    machine = Machine()
    nodes = [Node(machine, name, text, tls) for name in NAMES[:3]]
    for node in nodes:
        node.start()
    for node in nodes:
        node.wait_ready()
    return machine, nodes


def here(*programs):
    if os.geteuid() != 0:
        raise Skip("needs root, for network namespaces")
    if missing := [program for program in programs if not shutil.which(program)]:
        raise Skip(f"needs {', '.join(missing)}")


@case("with one node the chart's configuration needs nobody")
def _():
    here("ip")
    node = Node(Machine(), NAMES[0], made())
    node.start()
    node.wait_ready()
    equal(node.mqttctl("health", "--ready", "--url", "http://127.0.0.1:9883").split()[0], "ready", "readiness")
    node.end()


@case("three nodes found one cluster, over certificates of cert-manager as the chart asks for them")
def _():
    here("ip")
    text = made("nodes=3", "cluster.tls.certManager.enabled=true", "cluster.tls.certManager.issuerRef.name=authority")
    directory = scratch("signed")
    directory.mkdir()
    _, nodes = installed(text, made_by_hand(text, directory))
    for node in nodes:
        equal(node.members(), [1, 2, 3], f"members that {node.name} knows")
        node.end()


@case("a node started by hand joins those of the chart; the network policy keeps strangers from their port, and them together")
def _():
    here("ip", "nft")
    text = made("nodes=3")
    tls = made_by_chart(text)
    machine, nodes = installed(text, tls)
    config = one(text, "ConfigMap", "-mqttd")["data"]["mqttd.yaml"]
    fourth = Node(machine, "by-hand", text, tls, config=operate.alone(config))
    strangers = [Pod(machine, "stranger"), Pod(machine, "elsewhere", namespace="other")]
    for stranger in strangers:
        stranger.reach(NAMES[0], 9885, True)
    policies = [it for it in objects(text) if it["kind"] == "NetworkPolicy"]
    for policy in policies:
        policy["metadata"]["namespace"] = "devices"
    machine.enforce(policies, [*nodes, fourth, *strangers])
    fourth.start()
    fourth.process.err.wait_for("no cluster yet")
    seeds = ",".join(f"{name}.{DOMAIN}:9885" for name in NAMES[:3])
    joined = json.loads(fourth.mqttctl("cluster", "join", seeds, "-o", "json"))
    equal((joined["number"], joined["members"]), (4, 4))
    fourth.wait_ready()
    equal(nodes[0].members(), [1, 2, 3, 4], "members")
    for port, who in ((1883, {"stranger", "elsewhere"}), (9883, {"stranger"}), (9885, set())):
        for stranger in strangers:
            for node in (*nodes, fourth):
                stranger.reach(node.name, port, stranger.name in who)
    nodes[1].process.kill()
    nodes[1].start()
    nodes[1].wait_ready()
    fourth.mqttctl("pub", "-h", "127.0.0.1", "-q", "1", "-r", "-t", "joined", "-m", "by hand")
    got = nodes[1].mqttctl("sub", "-h", "127.0.0.1", "-q", "1", "-t", "joined", "-C", "1", "-W", "60")
    holds(got == "by hand", got)
    for node in (*nodes, fourth):
        node.end()


main()
