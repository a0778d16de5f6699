#!/usr/bin/env python3
"""deploy/k8s/mqttd: what the Helm chart makes of values, and which values it refuses.

The tools are built once by deploy/k8s/e2e/tools.sh; `./dev test` begins with that beside the compiler. Where they cannot be had
the cases that need them say so. MQTTD_UPDATE_GOLDEN=1 writes deploy/k8s/ci/*.golden.yaml anew: the diff is the review.
"""

import base64
import json
import os
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import MQTTD_BIN, Certificates, case, equal, holds, main, run, scratch, write  # noqa: E402
from helm_chart import CHART, K8S, TOOLS, TRY, VERSION, objects, one, rendered, template, tool  # noqa: E402

SETS = sorted(path.name.split(".")[0] for path in (K8S / "ci").glob("*.values.yaml"))


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
        for folder in ("tls", "nodes", "client-authority", "passwords", "acl", "admin"):
            (etc / folder).mkdir(parents=True)
        for folder in ("tls", "nodes"):
            shutil.copy(authority.server, etc / folder / "tls.crt")
            shutil.copy(authority.server_key, etc / folder / "tls.key")
        for folder in ("nodes", "client-authority"):
            shutil.copy(authority.ca, etc / folder / "ca.crt")
        for file in ("passwords/passwords", "passwords/users", "acl/acl", "admin/access"):
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
    equal(probes, {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz/replicas"}, "probes")


@case("where replicas are lost upgrades wait, unless the operator goes on without them")
def _():
    def asked(*values):
        pod = one(template(*TRY, *values).out.text(), "StatefulSet")["spec"]["template"]["spec"]
        return pod["containers"][0]["readinessProbe"]["httpGet"]["path"]
    equal(asked("--set", "nodes=3"), "/readyz/replicas")
    equal(asked("--set", "nodes=3", "--set", "probes.readiness=clients"), "/readyz")
    for name, policy in (("production", "IfHealthyBudget"), ("five", "IfHealthyBudget"), ("try", "AlwaysAllow")):
        equal(one(rendered(name), "PodDisruptionBudget")["spec"]["unhealthyPodEvictionPolicy"], policy, name)


LISTENER = "listeners[0].name=a,listeners[0].protocol=mqtts,listeners[0].port=8883"
ISSUED = f"{LISTENER},tls.certManager.enabled=true,tls.certManager.issuerRef.name=it"


@case("of a public authority names are asked for that are public, and of the nodes' authority theirs alone")
def _():
    def names(text, end):
        return one(text, "Certificate", end)["spec"]["dnsNames"]
    text = rendered("production")
    equal(names(text, "mqttd"), ["mqtt.example.org"])
    equal(names(text, "-nodes"), ["*.release-mqttd-headless.devices.svc"])
    issuers = [one(text, "Certificate", end)["spec"]["issuerRef"]["name"] for end in ("mqttd", "-nodes")]
    equal(issuers, ["letsencrypt", "mqttd-nodes"])
    text = template(*TRY, "--set", f"{ISSUED},tls.certManager.serviceNames=true").out.text()
    equal(names(text, "mqttd"), ["release-mqttd-a.devices.svc", "*.release-mqttd-headless.devices.svc"])


@case("clients' certificates are of the authority that the values name, and of no other")
def _():
    def authority(text):
        config = yaml.safe_load(one(text, "ConfigMap", "mqttd")["data"]["mqttd.yaml"])
        pod = one(text, "StatefulSet")["spec"]["template"]["spec"]
        mounts = {it["name"]: it["mountPath"] for it in pod["containers"][0]["volumeMounts"]}
        volume_ = {it["name"]: it for it in pod["volumes"]}["client-authority"]["secret"]
        equal(config["tls"]["ca_file"], f"{mounts['client-authority']}/ca.crt")
        equal(volume_["items"], [{"key": "ca.crt", "path": "ca.crt"}], "what of the secret is seen")
        return volume_["secretName"]
    equal(authority(rendered("production")), "device-authority")
    own = f"{LISTENER},tls.existingSecret=own,tls.clientCertificate=required"
    equal(authority(template(*TRY, "--set", own).out.text()), "own")
    holds("client-authority" not in template(*TRY, "--set", ISSUED + ",tls.certManager.dnsNames={mqtt.example.org}").out.text(),
          "nobody is asked for a certificate")


@case("the endpoint for operators is in no service for clients")
def _():
    for name in SETS:
        for it in objects(rendered(name)):
            if it["kind"] == "Service" and it["metadata"]["labels"].get("app.kubernetes.io/component") == "listener":
                equal(len(it["spec"]["ports"]), 1, "ports")
                holds(it["spec"]["ports"][0]["targetPort"] != "http", it)


REFUSED = [
    ("nodes=0", "'/nodes'"),
    ("nodes=2", "1, 3 or 5: with two of two"),
    ("nodes=4", "1, 3 or 5: with two of two"),
    ("nodes=3,cluster.replicas=5", "3 nodes cannot have 5 replicas"),
    ("nodes=3,cluster.replicas=2", "must be one of 3, 5"),
    ("nodes=3,persistence.enabled=false", "several nodes need volumes"),
    ("nodes=3,podDisruptionBudget.maxUnavailable=2", "with 2 of 3 replicas away"),
    ("nodes=3,cluster.port=9883", "port 9883 is taken twice"),
    ("nodes=3,cluster.tls.certManager.enabled=true", "cluster.tls.certManager.issuerRef.name: who is to sign?"),
    ("nodes=3,cluster.allowPlaintext=true,cluster.tls.existingSecret=a", "nodes either have a certificate"),
    ("config.cluster.expected_size=3", "'/config/cluster/expected_size'"),
    ("nodes=one", "got string, want integer"),
    ("node=1", "additional properties 'node' not allowed"),
    ("image.tag=2", "got number, want string"),
    ("image.pullPolicy=Sometimes", "must be one of"),
    ("listeners=null", "listeners"),
    ("listeners[0].name=Mqtt,listeners[0].protocol=mqtt,listeners[0].port=1883", "does not match pattern"),
    ("listeners[0].name=a,listeners[0].protocol=tcp,listeners[0].port=1883", "must be one of 'mqtt'"),
    ("listeners[0].name=a,listeners[0].protocol=mqtt,listeners[0].port=0", "minimum"),
    ("listeners[0].name=a,listeners[0].protocol=mqtt,listeners[0].port=1,listeners[0].settings.url=x", "false schema"),
    ("listeners[0].name=admin,listeners[0].protocol=mqtt,listeners[0].port=1883", "name of another port or service"),
    ("listeners[0].name=cluster,listeners[0].protocol=mqtt,listeners[0].port=1883", "name of another port or service"),
    ("nodes=3,listeners[0].name=a,listeners[0].protocol=mqtt,listeners[0].port=9885", "port 9885 is taken twice"),
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
    (ISSUED, "tls.certManager.dnsNames: by which names do clients connect?"),
    (f"{ISSUED},tls.certManager.serviceNames=true,tls.clientCertificate=optional", "who signs the certificates of clients?"),
    ("probes.readiness=always", "must be one of 'replicas', 'clients'"),
    ("auth.allowAnonymous=false", "nothing says who may connect"),
]
for value_, words_ in REFUSED:
    @case(f"--set {value_} is refused: {words_}")
    def _(value=value_, words=words_):
        refused = template(*TRY, "--set", value, status=1)
        holds(words in refused.err.text(), refused.err.text())


@case("without the schema, too, two nodes are refused in words")
def _():
    refused = template(*TRY, "--set", "nodes=2", "--skip-schema-validation", status=1)
    holds("nodes: 1, 3 or 5 are possible, not 2" in refused.err.text(), refused.err.text())


@case("nodes know each other by a name that stays theirs, and nobody else reaches their port")
def _():
    for name, nodes, port in (("production", 3, 9885), ("five", 5, 7000)):
        text = rendered(name)
        set_of = one(text, "StatefulSet")
        fullname = set_of["metadata"]["name"]
        equal((set_of["spec"]["replicas"], set_of["spec"]["podManagementPolicy"]), (nodes, "Parallel"))
        domain = f"{set_of['spec']['serviceName']}.devices.svc"
        config = yaml.safe_load(one(text, "ConfigMap", fullname)["data"]["mqttd.yaml"])["cluster"]
        names = [f"{fullname}-{number}.{domain}:{port}" for number in range(nodes)]
        equal((config["seeds"].split(","), config["expected_size"], config["listen"]), (names, nodes, f"0.0.0.0:{port}"))
        container = set_of["spec"]["template"]["spec"]["containers"][0]
        told = {entry["name"]: entry.get("value") for entry in container["env"]}
        equal(told["MQTTD_CLUSTER_ADVERTISE"], f"$(POD_NAME).{domain}:{port}")
        headless = one(text, "Service", "-headless")["spec"]
        equal((headless["clusterIP"], headless["publishNotReadyAddresses"]), ("None", True))
        holds({"name": "cluster", "port": port, "targetPort": "cluster"} in headless["ports"], headless)
        others = [it["metadata"]["name"] for it in objects(text) if it["kind"] == "Service"
                  and it["metadata"]["name"] != f"{fullname}-headless" and "cluster" in json.dumps(it["spec"]["ports"])]
        equal(others, [], "other services with the port of the nodes")
        opened = [rule for rule in one(text, "NetworkPolicy")["spec"]["ingress"] if rule["ports"] == [{"port": "cluster"}]]
        equal([rule["from"] for rule in opened], [[{"podSelector": set_of["spec"]["selector"]}]], "who may")


@case("a certificate for the nodes is made when none is given: one authority, both ways, for their names alone")
def _():
    secret = one(template(*TRY, "--set", "nodes=3").out.text(), "Secret", "-nodes-tls")
    folder = scratch("nodes-tls")
    folder.mkdir()
    for key, value in secret["data"].items():
        (folder / key).write_bytes(base64.b64decode(value))
    for purpose in ("sslserver", "sslclient"):
        run("openssl", "verify", "-purpose", purpose, "-verify_hostname", "release-mqttd-2.release-mqttd-headless.devices.svc",
            "-CAfile", folder / "ca.crt", folder / "tls.crt")
    run("openssl", "verify", "-verify_hostname", "release-mqttd-2.other-headless.devices.svc", "-CAfile", folder / "ca.crt",
        folder / "tls.crt", status=2)


class Kubernetes:
    """As much of its API as helm asks for while it makes the objects, with `there` as what is installed."""

    RESOURCES = {"v1": [("secrets", "Secret"), ("persistentvolumeclaims", "PersistentVolumeClaim")],
                 "apps/v1": [("statefulsets", "StatefulSet")]}

    def __init__(self, there):
        self._there = there
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_GET(self):  # pylint: disable=invalid-name
                status, body = answer(self.path.split("?")[0])
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _answer(self, path):
        if path == "/version":
            return 200, {"major": "1", "minor": "37", "gitVersion": f"v{VERSION}"}
        if path == "/api":
            return 200, {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            version = {"groupVersion": "apps/v1", "version": "v1"}
            return 200, {"kind": "APIGroupList", "apiVersion": "v1",
                         "groups": [{"name": "apps", "versions": [version], "preferredVersion": version}]}
        for group, kinds in self.RESOURCES.items():
            prefix = f"/api/{group}" if group == "v1" else f"/apis/{group}"
            if path == prefix:
                return 200, {"kind": "APIResourceList", "groupVersion": group, "resources": [
                    {"name": name, "kind": kind, "namespaced": True, "verbs": ["get", "list"]} for name, kind in kinds]}
            for name, kind in kinds:
                if path == f"{prefix}/namespaces/devices/{name}":
                    return 200, {"kind": f"{kind}List", "apiVersion": group, "metadata": {},
                                 "items": [it for it in self._there if it["kind"] == kind]}
                if path.startswith(f"{prefix}/namespaces/devices/{name}/"):
                    for it in self._there:
                        if it["kind"] == kind and it["metadata"]["name"] == path.rsplit("/", 1)[1]:
                            return 200, it
        return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}

    def template(self, *arguments, status=0):
        kubeconfig = write("kubeconfig", json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "it", "users": [{"name": "it", "user": {}}],
            "clusters": [{"name": "it", "cluster": {"server": self.url}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}]}))
        return template(*TRY, "--dry-run=server", "--kubeconfig", kubeconfig, *arguments, status=status)


def installed(**annotations):
    return {"kind": "StatefulSet", "apiVersion": "apps/v1", "spec": {"replicas": 0}, "metadata": {
        "name": "release-mqttd", "namespace": "devices", "annotations": {f"mqttd/{key}": value for key, value in annotations.items()}}}


def volume(number, **labels):
    return {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {
        "name": f"data-release-mqttd-{number}", "namespace": "devices",
        "labels": {f"mqttd/{key}": value for key, value in labels.items()}}}


@case("an upgrade to another number of nodes is refused, with the reason")
def _():
    three = Kubernetes([installed(nodes="3", replicas="3")])
    refused = three.template("--set", "nodes=5", status=1)
    holds("release-mqttd was installed with 3 and cannot become 5" in refused.err.text(), refused.err.text())
    refused = three.template(status=1)
    holds("was installed with 3 and cannot become 1" in refused.err.text(), refused.err.text())
    three.template("--set", "nodes=3")
    five = Kubernetes([installed(nodes="5", replicas="5")])
    refused = five.template("--set", "nodes=5", status=1)
    holds("cluster.replicas: release-mqttd was installed with 5" in refused.err.text(), refused.err.text())
    one_node = Kubernetes([installed()])
    refused = one_node.template("--set", "nodes=3", status=1)
    holds("was installed with 1 and cannot become 3" in refused.err.text(), refused.err.text())
    one_node.template()


@case("volumes of an installation with another number of nodes are not used")
def _():
    left = Kubernetes([volume(number, nodes="3") for number in range(3)])
    refused = left.template("--set", "nodes=5", status=1)
    holds("is there from an installation with 3, and cannot be used by 5" in refused.err.text(), refused.err.text())
    left.template("--set", "nodes=3")
    refused = Kubernetes([volume(0)]).template("--set", "nodes=3", status=1)
    holds("from an installation with 1" in refused.err.text(), refused.err.text())


@case("the certificate that the chart made stays at an upgrade")
def _():
    secret = one(template(*TRY, "--set", "nodes=3").out.text(), "Secret", "-nodes-tls")
    secret["metadata"]["namespace"] = "devices"
    again = Kubernetes([installed(nodes="3", replicas="3"), secret]).template("--set", "nodes=3")
    equal(one(again.out.text(), "Secret", "-nodes-tls")["data"], secret["data"])


main()
