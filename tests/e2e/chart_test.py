#!/usr/bin/env python3
"""deploy/k8s/mqttd: what the Helm chart makes of values, and which values it refuses.

The tools are built once by deploy/k8s/e2e/tools.sh; `./dev test` begins with that beside the compiler. Where they cannot be had
the cases that need them say so. MQTTD_UPDATE_GOLDEN=1 writes deploy/k8s/ci/*.golden.yaml anew: the diff is the review.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import MQTTD_BIN, Certificates, Skip, case, equal, holds, main, run, scratch, write  # noqa: E402

K8S = Path(__file__).resolve().parent.parent.parent / "deploy" / "k8s"
CHART = K8S / "mqttd"
TOOLS = Path(os.environ.get("KUBE3_HOME") or
             Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mqttd-k8s")
SETS = sorted(path.name.split(".")[0] for path in (K8S / "ci").glob("*.values.yaml"))
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


@case("every value has its place in the schema, and every place in the schema its value")
def _():
    def compare(values, schema, path):
        if "properties" not in schema or schema.get("additionalProperties", True):
            return
        equal(set(values) | ({"global"} & set(schema["properties"])) | (set(schema["properties"]) & {"claims"}),
              set(schema["properties"]), f"values at {path or 'the top'}")
        for key, value in values.items():
            if isinstance(value, dict):
                compare(value, schema["properties"][key], f"{path}{key}.")

    compare(yaml.safe_load((CHART / "values.yaml").read_text()),
            json.loads((CHART / "values.schema.json").read_text()), "")


@case("helm lint --strict finds nothing")
def _():
    for name in SETS:
        tool("helm", "lint", "--strict", CHART, "--kube-version", VERSION, "--values",
             K8S / "ci" / f"{name}.values.yaml")


for set_ in SETS:
    @case(f"{set_}.values.yaml makes what it did before, and Kubernetes' schemas have nothing against it")
    def _(name=set_):
        text = rendered(name)
        # What is a copy of deploy/monitoring is looked at elsewhere.
        kept = "---\n".join(part for part in text.split("---\n")
                            if "kind: PrometheusRule" not in part and "-dashboard\n" not in part)
        golden = K8S / "ci" / f"{name}.golden.yaml"
        if os.environ.get("MQTTD_UPDATE_GOLDEN"):
            golden.write_text(kept)
        equal(kept.splitlines(), golden.read_text().splitlines(), golden.name)
        where = f"{TOOLS}/schemas/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
        checked = tool("kubeconform", "-strict", "-summary", "-schema-location", where, stdin=text.encode())
        holds("Invalid: 0, Errors: 0, Skipped: 0" in checked.out.text(), checked.out.text())


@case("a misspelt field would be found")
def _():
    where = f"{TOOLS}/schemas/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    wrong = rendered("try").replace("podManagementPolicy:", "podManagmentPolicy:")
    refused = tool("kubeconform", "-strict", "-schema-location", where, stdin=wrong.encode(), status=1)
    holds("podManagmentPolicy" in refused.out.text(), refused.out.text())


@case("mqttd takes the configuration that the chart writes")
def _():
    authority = Certificates()
    for name in SETS:
        data = one(rendered(name), "ConfigMap", "mqttd" if name != "proxy" else "broker")["data"]["mqttd.yaml"]
        etc = scratch("etc")
        for folder in ("tls", "passwords", "acl"):
            (etc / folder).mkdir(parents=True)
        shutil.copy(authority.server, etc / "tls/tls.crt")
        shutil.copy(authority.server_key, etc / "tls/tls.key")
        shutil.copy(authority.ca, etc / "tls/ca.crt")
        for file in ("passwords/passwords", "passwords/users", "acl/acl"):
            (etc / file).write_text("")
        config = write("mqttd.yaml", data.replace("/etc/mqttd", str(etc)).replace("/var/lib/mqttd", str(scratch("data"))))
        run(MQTTD_BIN, "--config", config, "--check-config")


@case("the alerts and the dashboard are those of deploy/monitoring")
def _():
    text = rendered("production")
    monitoring = K8S.parent / "monitoring"
    equal(one(text, "PrometheusRule")["spec"], yaml.safe_load((monitoring / "mqttd.rules.yaml").read_text()), "alerts")
    equal(json.loads(one(text, "ConfigMap", "-dashboard")["data"]["mqttd.json"]),
          json.loads((monitoring / "mqttd.dashboard.json").read_text()), "dashboard")


@case("a pod has time to drain and to write the store out, and may do nothing that it need not")
def _():
    pod = one(rendered("production"), "StatefulSet")["spec"]["template"]["spec"]
    equal(pod["terminationGracePeriodSeconds"], 15 + 120 + 10 + 30, "grace period")
    container = pod["containers"][0]
    equal(container["lifecycle"]["preStop"]["exec"]["command"][-1], str(15 + 120 + 10), "patience of preStop")
    holds(pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"], pod)
    equal(container["securityContext"]["capabilities"], {"drop": ["ALL"]}, "capabilities")
    equal(pod["automountServiceAccountToken"], False, "token")
    probes = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    equal(probes, {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}, "probes")


@case("the endpoint for operators is in no service for clients")
def _():
    for name in SETS:
        for it in objects(rendered(name)):
            if it["kind"] == "Service" and it["metadata"]["labels"].get("app.kubernetes.io/component") == "listener":
                equal(len(it["spec"]["ports"]), 1, "ports")
                holds(it["spec"]["ports"][0]["targetPort"] != "http", it)


REFUSED = [
    ("nodes=3", "this release runs one node"),
    ("nodes=0", "'/nodes'"),
    ("nodes=one", "got string, want integer"),
    ("node=1", "additional properties 'node' not allowed"),
    ("image.tag=2", "got number, want string"),
    ("image.pullPolicy=Sometimes", "must be one of"),
    ("listeners=null", "listeners"),
    ("listeners[0].name=Mqtt,listeners[0].protocol=mqtt,listeners[0].port=1883", "does not match pattern"),
    ("listeners[0].name=a,listeners[0].protocol=tcp,listeners[0].port=1883", "must be one of 'mqtt'"),
    ("listeners[0].name=a,listeners[0].protocol=mqtt,listeners[0].port=0", "minimum"),
    ("listeners[0].name=a,listeners[0].protocol=mqtt,listeners[0].port=1,listeners[0].settings.url=x", "false schema"),
    ("listeners[0].name=admin,listeners[0].protocol=mqtt,listeners[0].port=1883", "name of another service"),
    ("listeners[0].name=a,listeners[0].protocol=mqtt,listeners[0].port=9883", "port 9883 is taken twice"),
    ("listeners[0].name=a,listeners[0].protocol=mqtts,listeners[0].port=8883", "needs a certificate"),
    ("listeners[0].name=a,listeners[0].protocol=mqtts,listeners[0].port=8883,tls.certManager.enabled=true", "who is to sign"),
    ("config.data_dir=/tmp", "'/config/data_dir'"),
    ("drain.rate=0", "'/drain/rate'"),
    ("drain.timeoutSeconds=30s", "got string, want integer"),
    ("persistence.size=large", "does not match pattern"),
    ("persistence.whenDeleted=Keep", "must be one of 'Retain', 'Delete'"),
    ("antiAffinity=maybe", "must be one of 'soft', 'hard', 'off'"),
    ("tls.clientCertificate=yes", "'/tls/clientCertificate'"),
    ("auth.allowAnonymous=false", "nothing says who may connect"),
]
for value_, words_ in REFUSED:
    @case(f"--set {value_} is refused: {words_}")
    def _(value=value_, words=words_):
        refused = template(*TRY, "--set", value, status=1)
        holds(words in refused.err.text(), refused.err.text())


@case("without the schema, too, several nodes are refused in words")
def _():
    refused = template(*TRY, "--set", "nodes=3", "--skip-schema-validation", status=1)
    holds("this release runs one node" in refused.err.text(), refused.err.text())


main()
