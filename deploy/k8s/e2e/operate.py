"""The cluster in Kubernetes as operators see and steer it: mqttctl in a pod, from outside, and a node started by hand."""

import json
import re
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import yaml

from release import HOME, ROOT, RUN, apply, ask, inside, machine_network, until

ACCESS = """\
token  deploy   admin   {admin}
token  grafana  viewer  {viewer}
"""
TOKENS = {"admin": "7d0f3b5a91c24e6688aa20c1", "viewer": "1b9ec04477d84a33b5f2e6d0"}
MORE = "mqttd-more"
DOMAIN = "mqttd-headless.mqtt.svc"


def make_access():
    """The secret with the tokens, for auth.admin.existingSecret."""
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mqttd-operators", "namespace": "mqtt"},
           "stringData": {"access": ACCESS.format(**TOKENS)}})


def in_pod(pod, *arguments, token="admin"):
    """mqttctl there."""
    who = ["--token", TOKENS[token]] if token else []
    return inside("kubectl", "-n", "mqtt", "exec", pod, "-c", "mqttd", "--", "mqttctl", *who, *arguments)


def members(pod):
    """The numbers of the cluster's members, less of those that do not answer."""
    found = json.loads(in_pod(pod, "cluster", "members", "-o", "json"))
    return sorted(member["number"] for member in found if member["state"] in ("ready", "degraded"))


def refused(act, words):
    try:
        act()
    except RuntimeError as failure:
        if words in str(failure):
            return
        raise
    raise RuntimeError(f"it was not refused ({words})")


@contextmanager
def forwarded(pod):
    """kubectl port-forward of a pod's admin API; the endpoint, in the network of the three machines."""
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen([*machine_network(), HOME / "bin/kubectl", "--kubeconfig", RUN / "pki/admin.kubeconfig",
                                    "-n", "mqtt", "port-forward", f"pod/{pod}", ":9884"], stdout=words, stderr=subprocess.STDOUT)

        def port():
            words.seek(0)
            return re.search(r"127\.0\.0\.1:(\d+) ->", words.read())
        try:
            yield f"127.0.0.1:{until(port, 'kubectl port-forward')[1]}"
        finally:
            process.terminate()
            process.wait()


def outside(endpoint, *arguments, token):
    """mqttctl of this machine, by port-forward."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "token"
        file.write_text(token)
        file.chmod(0o600)
        return ask(*machine_network(), ROOT / "build/release/bin/mqttctl", "--endpoint", endpoint, "--token-file", file,
                   *arguments)


def mqttctl(release):
    """In a pod and by port-forward, with tokens and without."""
    numbers = list(range(1, release.nodes + 1)) if release.nodes > 1 else [0]
    if members("mqttd-0") != numbers:
        raise RuntimeError(f"members: {in_pod('mqttd-0', 'cluster', 'members')}")
    refused(lambda: in_pod("mqttd-0", "cluster", "members", token=None), "token")
    with forwarded(f"mqttd-{release.nodes - 1}") as endpoint:
        found = json.loads(outside(endpoint, "cluster", "members", "-o", "json", token=TOKENS["viewer"]))
        if sorted(member["number"] for member in found) != numbers:
            raise RuntimeError(f"members by port-forward: {found}")
        refused(lambda: outside(endpoint, "cluster", "members", token="wrong"), "token")
        refused(lambda: outside(endpoint, "cluster", "forget", "1", "--yes", token=TOKENS["viewer"]), "admin")


def alone(text):
    """mqttd.yaml of the chart, for a node that waits to be told which cluster to join."""
    config = yaml.safe_load(text)
    for key in ("seeds", "expected_size", "replicas"):
        config["cluster"].pop(key)
    return yaml.safe_dump(config)


def make_node(machine):
    """A pod as somebody would write it who wants one more node: the chart's, without a volume and without a cluster. On that machine,
    whoever is there already: each of the three has one of the chart's, which want no other one beside them."""
    template = json.loads(inside("kubectl", "-n", "mqtt", "get", "statefulset", "mqttd", "-o", "json"))["spec"]["template"]
    data = json.loads(inside("kubectl", "-n", "mqtt", "get", "configmap", "mqttd", "-o", "json"))["data"]
    spec = dict(template["spec"], hostname=MORE, subdomain="mqttd-headless", nodeName=machine)
    for key in ("affinity", "topologySpreadConstraints"):
        spec.pop(key, None)
    for volume in spec["volumes"]:
        if volume["name"] == "config":
            volume["configMap"] = {"name": MORE}
    spec["volumes"].append({"name": "data", "emptyDir": {}})
    apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": MORE, "namespace": "mqtt"},
           "data": {"mqttd.yaml": alone(data["mqttd.yaml"])}})
    apply({"apiVersion": "v1", "kind": "Pod", "spec": spec,
           "metadata": {"name": MORE, "namespace": "mqtt", "labels": template["metadata"]["labels"]}})


def join(release):
    """A node that was started by hand waits, joins by `mqttctl cluster join`, serves, and is forgotten when it is gone."""
    make_node(release.pods()["mqttd-0"][2])
    until(lambda: "waiting to be told" in in_pod(MORE, "cluster", "members", "-o", "json"), f"{MORE} waits for a cluster")
    if release.pods()[MORE][3]:
        raise RuntimeError(f"{MORE} is ready without a cluster")
    seeds = ",".join(f"mqttd-{number}.{DOMAIN}:9885" for number in range(release.nodes))
    told = json.loads(in_pod(MORE, "cluster", "join", seeds, "-o", "json"))
    number = release.nodes + 1
    if (told["number"], told["members"]) != (number, number):
        raise RuntimeError(f"joined as {told}")
    until(lambda: release.pods()[MORE][3], f"{MORE} ready")
    for pod in ("mqttd-0", MORE):
        until(lambda pod=pod: members(pod) == list(range(1, number + 1)), f"{pod} knows all {number} members")
    address = release.address()
    in_pod(MORE, "pub", "-h", "127.0.0.1", "-q", "1", "-r", "-t", "joined", "-m", "by hand", token=None)
    got = in_pod("mqttd-0", "sub", "-h", address, "-q", "1", "-t", "joined", "-C", "1", "-W", "60", "--remove-retained", token=None)
    if got != "by hand":
        raise RuntimeError(f"what was published at {MORE} came as {got!r}")
    refused(lambda: in_pod("mqttd-0", "cluster", "forget", str(number), "--yes"), "running")
    inside("kubectl", "-n", "mqtt", "delete", "pod/" + MORE, "configmap/" + MORE, "--wait")
    until(lambda: in_pod("mqttd-0", "cluster", "forget", str(number), "--yes") is not None, f"{MORE} forgotten")
    left = json.loads(in_pod("mqttd-0", "cluster", "members", "-o", "json"))
    if sorted(member["number"] for member in left) != list(range(1, number)):
        raise RuntimeError(f"members after it was forgotten: {left}")
