"""What the Helm chart of deploy/k8s makes of values, by helm itself, which deploy/k8s/e2e/tools.sh builds."""

import os
from pathlib import Path

import yaml

from e2e import Skip, equal, run, scratch

K8S = Path(__file__).resolve().parent.parent.parent.parent / "deploy" / "k8s"
CHART = K8S / "mqttd"
TOOLS = Path(os.environ.get("KUBE3_HOME") or
             Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mqttd-k8s")
VERSION = "1.37.2"
TRY = ("--set", "auth.allowAnonymous=true")


def tool(name, *arguments, stdin=None, status=0):
    program = TOOLS / "bin" / name
    if not program.exists():
        raise Skip(f"{name} is not built: deploy/k8s/e2e/tools.sh chart (needs go)")
    home = {variable: str(scratch("helm")) for variable in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
    return run(program, *arguments, stdin=stdin, status=status, env=home)


def template(*arguments, status=0):
    return tool("helm", "template", "release", CHART, "--namespace", "devices", "--kube-version", VERSION, *arguments,
                status=status)


def rendered(name):
    return template("--values", K8S / "ci" / f"{name}.values.yaml").out.text() + "\n"


def objects(text):
    return [document for document in yaml.safe_load_all(text) if document]


def one(text, kind, ending=""):
    found = [it for it in objects(text) if it["kind"] == kind and it["metadata"]["name"].endswith(ending)]
    equal(len(found), 1, f"objects of kind {kind}")
    return found[0]
