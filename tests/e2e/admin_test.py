#!/usr/bin/env python3
"""The admin API, from outside: by mqttctl, and as grpcurl would call it."""

import json
import os
import re
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import MQTTD_BIN, Broker, Certificates, Wire, case, connect_packet, equal, holds, main, run, scratch, write

MQTTCTL = os.environ.get("MQTTCTL_BIN") or str(Path(MQTTD_BIN).with_name("mqttctl"))

broker = Broker()


def ctl(*arguments, endpoint=None, status=0, env=None):
    return run(MQTTCTL, "--endpoint", endpoint or broker.admin, *arguments, status=status, env=env)


def call(method, message=b"", endpoint=None):
    """What gRPC's wire brings back, by curl: nothing of the broker's own helps."""
    frame = b"\0" + struct.pack(">I", len(message)) + message
    body = write("frame.bin", "")
    Path(body).write_bytes(frame)
    answer = run("curl", "-sS", "--http2-prior-knowledge", "--data-binary", f"@{body}", "-H",
                 "content-type: application/grpc", "-H", "te: trailers",
                 f"http://{endpoint or broker.admin}/{method}")
    return answer.out.text()


@case("cluster status tells of a cluster of one, as JSON, YAML and a table")
def _():
    status = json.loads(ctl("cluster", "status", "-o", "json").out.text())
    equal(status["state"], "ready", "state")
    equal(len(status["members"]), 1, "members")
    member = status["members"][0]
    equal(member["node"], re.search(r"node=(\S+)", broker.ready_line).group(1), "node")
    equal(member["state"], "ready", "state of the member")
    equal(member["listeners"], broker.urls, "listeners")
    equal(member["admin_address"], broker.admin, "admin_address")
    equal(member["problem"], "", "problem")
    equal(member["partitions"], 16, "partitions")
    yaml = ctl("cluster", "status", "-o", "yaml").out.text()
    holds('state: "ready"' in yaml and f'  - node: "{member["node"]}"' in yaml, yaml)
    table = ctl("cluster", "status").out.text()
    holds(re.search(rf"^{member['node']} +ready ", table, re.MULTILINE), table)


@case("the endpoint may come from the environment, and options stand before or after the verb")
def _():
    said = run(MQTTCTL, "cluster", "members", "-o", "json", env={**os.environ, "MQTTCTL_ENDPOINT": broker.admin})
    equal(json.loads(said.out.text())[0]["admin_address"], broker.admin, "members")
    said = run(MQTTCTL, "cluster", "members", "--output", "json", "--endpoint", broker.admin)
    equal(len(json.loads(said.out.text())), 1, "members")
    holds(run(MQTTCTL, "version").out.text().startswith("mqttctl "), "version")


@case("who cannot reach a broker is told what to do")
def _():
    said = ctl("cluster", "status", endpoint="127.0.0.1:1", status=3).err.text()
    holds("no broker answers at 127.0.0.1:1" in said and "--endpoint" in said, said)


@case("reflection lists the services and describes them, health says SERVING")
def _():
    for version in ("v1", "v1alpha"):
        listed = call(f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo", b"\x3a\x01*")
        for service in ("mqttd.admin.v1.Cluster", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"):
            holds(service in listed, f"{service} in {listed!r}")
    symbol = b"mqttd.admin.v1.Cluster"
    described = call("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                     b"\x22" + bytes([len(symbol)]) + symbol)
    holds("mqttd/admin/v1/cluster.proto" in described and "mqttd/admin/v1/common.proto" in described, described)
    equal(call("grpc.health.v1.Health/Check"), "\0\0\0\0\2\x08\x01", "health")


def client(name, version=5):
    connection = Wire(("127.0.0.1", broker.port))
    connection.send(connect_packet(name, version=version))
    connection.packet()
    return connection


@case("clients are listed, filtered, shown, and who is kicked hears why")
def _():
    connections = {name: client(name) for name in ("sensor-1", "sensor-2", "door")}
    names = [each["client_id"] for each in json.loads(ctl("client", "list", "-o", "json").out.text())]
    equal(sorted(names), ["door", "sensor-1", "sensor-2"], "all")
    names = [each["client_id"] for each in json.loads(ctl("client", "list", "--client", "sensor-*", "--address", "127.0.0.0/8",
                                                         "--protocol", "5.0", "-o", "json").out.text())]
    equal(sorted(names), ["sensor-1", "sensor-2"], "filtered")
    equal(json.loads(ctl("client", "list", "--protocol", "3.1.1", "-o", "json").out.text()), [], "of another version")
    shown = json.loads(ctl("client", "show", "door", "-o", "json").out.text())
    equal((shown["client_id"], shown["address"], shown["protocol"], shown["paused"]), ("door", "127.0.0.1", "5.0", []), "shown")
    holds('no client "nobody" is connected' in ctl("client", "show", "nobody", status=5).err.text(), "nobody")
    equal(ctl("client", "kick", "door", "--reason", "0x89").out.text(), "1 client disconnected", "kick one")
    first, body = connections["door"].packet()
    equal((first, body[:1]), (0xE0, b"\x89"), "DISCONNECT")
    equal(ctl("client", "kick", "--client", "sensor-*").out.text(), "2 clients disconnected", "kick two")
    equal(connections["sensor-1"].packet()[0], 0xE0, "DISCONNECT")
    holds("no 0x8a" in ctl("client", "kick", "door", "--reason", "0x8a", status=1).err.text(), "a code of CONNACK")
    holds("whom?" in ctl("client", "kick", status=1).err.text(), "kick without a target")
    broker.log.wait_for(r'admin who=local role=admin from=127\.0\.0\.1:\d+ what=Clients/Kick request=.*door.* outcome=done')


@case("a taken port is an error in words")
def _():
    said = run(MQTTD_BIN, "--listen", "mqtt://127.0.0.1:0", "--http", "off",
               "--admin", broker.admin, "--data-dir", scratch("taken"), status=1).err.text()
    holds(f"admin: cannot listen on {broker.admin}: Address already in use" in said, said)


@case("beyond loopback somebody must be named who may")
def _():
    said = run(MQTTD_BIN, "--listen", "mqtt://127.0.0.1:0", "--http", "off",
               "--admin", "0.0.0.0:0", "--data-dir", scratch("open"), status=2).err.text()
    holds("nothing says who may steer the broker" in said and "admin.access_file" in said, said)


@case("tokens decide who may, and each refusal is audited")
def _():
    access = write("access", "# who    role\ntoken watcher viewer 0123456789abcdef-viewer\n"
                             "token root admin 0123456789abcdef-admin\n")
    guarded = Broker("--set", f"admin.access_file={access}")
    said = ctl("cluster", "status", endpoint=guarded.admin, status=4).err.text()
    holds("a token is needed" in said and "--token-file" in said, said)
    said = ctl("cluster", "status", "--token", "wrong", endpoint=guarded.admin, status=4).err.text()
    holds("nobody knows this token" in said, said)
    ctl("cluster", "status", "--token", "0123456789abcdef-viewer", endpoint=guarded.admin)
    said = ctl("client", "kick", "x", "--token", "0123456789abcdef-viewer", endpoint=guarded.admin, status=4).err.text()
    holds("watcher is viewer; Clients/Kick needs operator" in said, said)
    guarded.log.wait_for(r"admin who=watcher .*what=Clients/Kick .*needs operator")
    guarded.log.wait_for(r'admin refused reason="who calls is not known" from=127\.0\.0\.1:\d+ what=Cluster/Status .*a token is needed')
    guarded.log.wait_for(r'admin refused .*nobody knows this token')
    holds("wrong" not in guarded.log.text(), "a token in the log")
    guarded.terminate()


@case("a mistake in the access file is told with its line")
def _():
    access = write("access-wrong", "token me god 0123456789abcdef-admin\ntoken me admin short\n")
    said = run(MQTTD_BIN, "--listen", "mqtt://127.0.0.1:0", "--http", "off",
               "--admin", "127.0.0.1:0", "--set", f"admin.access_file={access}", "--data-dir", scratch("wrong"),
               status=2).err.text()
    holds(f"{access}:1: a role is viewer, operator or admin" in said and f"{access}:2: a token has at least" in said, said)


@case("with TLS the certificate says who it is; a stranger's and none are refused and audited")
def _():
    ours, other = Certificates(), Certificates()
    cert, key = ours.issue("localhost")
    access = write("access-tls", "certificate ops.example.org operator\n")
    guarded = Broker(*(part for name, value in (("cert_file", cert), ("key_file", key), ("ca_file", ours.ca),
                                                ("access_file", access))
                       for part in ("--set", f"admin.{name}={value}")))

    def as_(authority, name, **more):
        cert, key = authority.issue(name)
        return ctl("cluster", "status", "--ca-file", ours.ca, "--cert-file", cert, "--key-file", key, "--server-name",
                   "localhost", endpoint=guarded.admin, **more).err.text()
    as_(ours, "ops.example.org")
    holds("certificate nobody.example.org ROLE" in as_(ours, "nobody.example.org", status=4), "an unknown name")
    holds("is not valid" in as_(other, "ops.example.org", status=4), "an unknown authority")
    said = ctl("cluster", "status", "--ca-file", ours.ca, "--server-name", "localhost", endpoint=guarded.admin,
               status=4).err.text()
    holds("a token or a client certificate is needed" in said, said)
    guarded.log.wait_for(r"admin refused .*is not valid")
    guarded.terminate()


main()
