"""The chart's NetworkPolicy at work. The bridge between the pods here lets everything through, so nftables does on each
machine what a network that enforces policies would: of pods that a policy selects, only what it names may begin a connection
to them. Then pods try to reach each other."""

import json
import subprocess

import policy_rules
from release import ENVIRONMENT, HERE, MACHINES, apply, inside, on_machine, process_of, until

STRANGERS = {"stranger": "mqtt", "elsewhere": "elsewhere"}  # Names of pods, and their namespaces.


def listed(kind):
    return json.loads(inside("kubectl", "get", kind, "--all-namespaces", "-o", "json"))["items"]


def enforce():
    pods = [pod for pod in listed("pod") if pod["status"].get("podIP") and pod["status"]["phase"] == "Running"]
    text = policy_rules.tables(listed("networkpolicy"), pods, listed("namespace"))
    for machine in range(1, MACHINES + 1):
        subprocess.run([HERE / "nx", str(machine), "nft", "-f", "-"], input=text, text=True, check=True, env=ENVIRONMENT)


def lift():
    for machine in range(1, MACHINES + 1):
        for family in ("inet", "bridge"):
            on_machine(machine, "nft", "delete", "table", family, "policies")


def reaches(pod, address, port):
    """Whether a process in this pod gets a connection there."""
    machine = pod["spec"]["nodeName"][1:]
    name = "sleep" if pod["metadata"]["name"] in STRANGERS else "mqttd"
    inner = process_of(machine, pod["metadata"]["uid"], name)
    try:
        on_machine(machine, "nsenter", "--target", inner, "--net", "/usr/bin/python3", "-c",
                   f"import socket; socket.create_connection(('{address}', {port}), timeout=10)")
    except RuntimeError as failure:
        if "ConnectionRefusedError" in str(failure) or "TimeoutError" in str(failure):
            return False
        raise
    return True


def make_strangers():
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}},
          *({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": {
              "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
              "securityContext": {"runAsNonRoot": True, "runAsUser": 1883, "seccompProfile": {"type": "RuntimeDefault"}},
              "containers": [{"name": "sleep", "image": "localhost/mqttd:1", "imagePullPolicy": "Never",
                              "command": ["sleep", "infinity"], "securityContext": {
                                  "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}]}}
            for name, namespace in STRANGERS.items()))
    for name, namespace in STRANGERS.items():
        until(lambda name=name, namespace=namespace: inside(
            "kubectl", "-n", namespace, "get", "pod", name, "-o", "jsonpath={.status.phase}") == "Running", f"the pod {name}")


def look(expected):
    """Each of these may reach each node of the broker at these ports, and at no others."""
    pods = {pod["metadata"]["name"]: pod for pod in listed("pod")}
    nodes = [name for name in pods if name.startswith("mqttd-")]
    for name in (nodes[0], *STRANGERS):
        for node in nodes:
            if name == node:
                continue
            got = {port for port in (1883, 9883, 9885) if reaches(pods[name], pods[node]["status"]["podIP"], port)}
            wanted = expected[name if name in STRANGERS else "node"]
            if got != wanted:
                raise RuntimeError(f"{name} reaches {node} at {sorted(got)}, not at {sorted(wanted)}")


def try_out(release):
    """With the policy only nodes reach nodes, only their namespace the HTTP endpoint, everybody the listener; without it all."""
    make_strangers()
    everything = {1883, 9883, 9885}
    look({"node": everything, "stranger": everything, "elsewhere": everything})
    enforce()
    try:
        look({"node": everything, "stranger": {1883, 9883}, "elsewhere": {1883}})
        if not release.all_ready():
            raise RuntimeError("a probe does not come through the policy")
    finally:
        lift()
    for name, namespace in STRANGERS.items():
        inside("kubectl", "-n", namespace, "delete", "pod", name, "--wait=false")
