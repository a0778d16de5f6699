"""The part of cert-manager for once by hand: its kinds are made known to Kubernetes, and what the chart's Certificates ask for
is signed and put where they say. Whether that suffices the broker shows."""

import base64
import json
import subprocess
import tempfile
from pathlib import Path

from release import HOME, apply, call, inside, until

USAGES = {"server auth": "serverAuth", "client auth": "clientAuth"}


def make_known():
    inside("kubectl", "apply", "--server-side", "-f", HOME / "crds/cert-manager")
    until(lambda: inside("kubectl", "get", "certificates.cert-manager.io", "--all-namespaces") is not None,
          "certificates as a kind of object")


def openssl(*arguments):
    call("openssl", *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sign(certificate, directory):
    """What a CA issuer makes of a Certificate: the data of its secret."""
    spec = certificate["spec"]
    if (spec["privateKey"]["algorithm"], spec["privateKey"]["size"]) != ("ECDSA", 256):
        raise RuntimeError(f"a key of another kind: {spec['privateKey']}")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    authority, key, request, signed, extensions = (directory / name for name in ("ca", "key", "request", "signed", "ext"))
    openssl("req", "-x509", *curve, "-days", "1", "-subj", "/CN=by hand", "-keyout", f"{authority}.key", "-out", f"{authority}.crt")
    openssl("req", *curve, "-subj", "/", "-keyout", key, "-out", request)
    extensions.write_text(f"subjectAltName=critical,{','.join(f'DNS:{name}' for name in spec['dnsNames'])}\n"
                          f"extendedKeyUsage={','.join(USAGES[usage] for usage in spec['usages'])}\n")
    openssl("x509", "-req", "-in", request, "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key", "-CAcreateserial",
            "-days", "1", "-extfile", extensions, "-out", signed)
    return {"tls.crt": signed.read_bytes(), "tls.key": key.read_bytes(), "ca.crt": Path(f"{authority}.crt").read_bytes()}


def issue():
    """A secret for each Certificate of the release."""
    found = json.loads(inside("kubectl", "-n", "mqtt", "get", "certificates.cert-manager.io", "-o", "json"))["items"]
    for certificate in found:
        with tempfile.TemporaryDirectory() as directory:
            data = sign(certificate, Path(directory))
        apply({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
               "metadata": {"name": certificate["spec"]["secretName"], "namespace": "mqtt"},
               "data": {key: base64.b64encode(value).decode() for key, value in data.items()}})
    return sorted(it["metadata"]["name"] for it in found)


def try_out(release):
    """The chart with certificates of cert-manager for clients and between the nodes: ready when they are there, and clients
    that ask for the service's name believe what they are shown."""
    make_known()
    issuer = "issuerRef.name=authority"
    release.helm("install", "--set", "listeners[0].name=mqtts,listeners[0].protocol=mqtts,listeners[0].port=8883,"
                 f"tls.certManager.enabled=true,tls.certManager.serviceNames=true,tls.certManager.{issuer},"
                 "cluster.tls.certManager.enabled=true,"
                 f"cluster.tls.certManager.{issuer}", wait=False)
    if (made := issue()) != ["mqttd", "mqttd-nodes"]:
        raise RuntimeError(f"certificates: {made}")
    until(release.all_ready, "ready with the certificates")
    release.test()
    inside("kubectl", "-n", "mqtt", "exec", "mqttd-0", "--", "mqttctl", "pub", "-h", "mqttd-mqtts.mqtt.svc", "-p", "8883",
           "--cafile", "/etc/mqttd/tls/ca.crt", "-q", "1", "-t", "certificates", "-m", "believed")
    release.uninstall()
    inside("kubectl", "-n", "mqtt", "delete", "secret", "mqttd-tls", "mqttd-nodes-tls")
