#!/usr/bin/env python3
"""The admin API as JSON over HTTP: the same methods, callers and audit as by gRPC."""

import http.client
import json
import os
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import Admin, mqtt_client
from e2e import PATIENCE_S, Broker, case, equal, holds, main, write

broker = Broker()
admin = Admin(broker)


@case("a method answers in protobuf's JSON, and takes both styles of names")
def _():
    client = mqtt_client(broker, "sensor-1")
    status, answer = admin.post("Clients/List", {"filter": {"clientId": "sensor-*"}})
    equal((status, len(answer["clients"])), (200, 1), "list")
    equal(answer["clients"][0]["clientId"], "sensor-1", "client")
    equal(answer["clients"][0]["protocol"], "PROTOCOL_VERSION_5_0", "protocol")
    equal(admin.post("Clients/Get", {"client_id": "sensor-1"})[1]["client"]["clientId"], "sensor-1", "get")
    equal(admin.post("Clients/Kick", {"client_id": "sensor-1"}), (200, {"kicked": "1", "missing": []}), "kick")
    holds(client.closed(), "closed")
    broker.log.wait_for(r"admin who=local role=admin from=127\.0\.0\.1:\d+ what=Clients/Kick .*outcome=done")
    equal(admin.post("Cluster/Status", "")[1]["state"], "NODE_STATE_READY", "an empty body is an empty request")


@case("what goes wrong has a status and words")
def _():
    status, answer = admin.post("Clients/Get", {"client_id": "nobody"})
    equal((status, answer), (404, {"code": "NOT_FOUND", "message": 'no client "nobody" is connected'}), "not found")
    equal(admin.post("Clients/Juggle")[0], 404, "no such method")
    status, answer = admin.post("Clients/Get", {"clinet": 1})
    equal((status, answer["code"]), (400, "INVALID_ARGUMENT"), "an unknown field")
    holds("GetClientRequest" in answer["message"], answer)
    equal(admin.post("Clients/Get", "{")[0], 400, "no JSON")
    equal(admin.post("Clients/Get", verb="GET")[0], 405, "GET")
    equal(admin.post("Clients/Get", headers={"Content-Type": "text/plain"})[0], 415, "what a web page can send")


@case("who is on this machine is believed only if he meant this server")
def _():
    for headers in ({"Host": "rebound.example.org"}, {"Host": "127.example.org:9883"}, {"Host": "127.0.0.1.example.org"}, {"X-Forwarded-For": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1"}):
        status, answer = admin.post("Cluster/Status", headers=headers)
        equal((status, answer["code"]), (401, "UNAUTHENTICATED"), headers)
    broker.log.wait_for(r'admin refused reason="who calls is not known" from=127\.0\.0\.1:\d+ what=Cluster/Status')
    for host in ("localhost", "LOCALHOST:9883", "127.0.0.1", "127.1.2.3:1", "[::1]:9883"):
        equal(admin.post("Cluster/Status", headers={"Host": host})[0], 200, host)


@case("tokens decide who may, and each refusal is audited")
def _():
    access = write("access", "token watcher viewer 0123456789abcdef-viewer\n")
    guarded = Broker("--set", f"admin.access_file={access}")
    there = Admin(guarded)
    equal(there.post("Cluster/Status")[0], 401, "no token")
    equal(there.post("Cluster/Status", headers={"Authorization": "Bearer wrong"})[0], 401, "a wrong one")
    bearer = {"Authorization": "Bearer 0123456789abcdef-viewer"}
    equal(there.post("Cluster/Status", headers=bearer)[0], 200, "a viewer looks")
    status, answer = there.post("Clients/Kick", {"client_id": "x"}, headers=bearer)
    equal((status, answer["message"]), (403, "watcher is viewer; Clients/Kick needs operator"), "a viewer kicks")
    guarded.log.wait_for(r"admin who=watcher .*what=Clients/Kick .*needs operator")
    equal(guarded.metric('mqttd_admin_calls_refused_total{reason="unauthenticated"}'), 2.0, "strangers")
    equal(guarded.metric('mqttd_admin_calls_refused_total{reason="role"}'), 1.0, "roles")
    equal(guarded.metric('mqttd_admin_calls_total{protocol="http"}'), 4.0, "calls")
    guarded.terminate()


@case("strangers do not fill the log, however often they call; who is known leaves a line each time")
def _():
    access = write("access-flood", "token watcher viewer 0123456789abcdef-viewer\n")
    guarded = Broker("--set", f"admin.access_file={access}")
    there = Admin(guarded)
    calls = 1000
    host, port = guarded.http.split(":")
    with socket.create_connection((host, int(port))) as connection:
        answers = connection.makefile("rb")
        for number in range(calls):
            token = "" if number % 2 else "Authorization: Bearer wrong\r\n"
            connection.sendall(f"POST /api/v1/Cluster/Status HTTP/1.1\r\nHost: localhost\r\n{token}"
                               "Content-Type: application/json\r\nContent-Length: 0\r\n\r\n".encode())
            equal(answers.readline(), b"HTTP/1.1 401 Unauthorized\r\n", "status")
            length = 0
            while (line := answers.readline()) != b"\r\n":
                name, value = line.split(b": ")
                length = int(value) if name == b"Content-Length" else length
            holds(len(answers.read(length)) > 0, "body")
    guarded.log.wait_for(r'admin refused, more of them reason="who calls is not known" left_out=\d+')
    lines = [line for line in guarded.log.text().splitlines() if " admin refused" in line]
    holds(50 <= len(lines) < calls / 2, f"{len(lines)} lines of {calls} refused calls")
    equal(guarded.metric('mqttd_admin_calls_refused_total{reason="unauthenticated"}'), float(calls), "they are counted")
    for _ in range(60):
        equal(there.post("Clients/Kick", headers={"Authorization": "Bearer 0123456789abcdef-viewer"})[0], 403, "a viewer kicks")
    equal(guarded.log.text().count(" admin who=watcher "), 60, "lines of who is known")
    guarded.terminate()


@case("whoever may not call does not get to send a body")
def _():
    access = write("access-body", "token root admin 0123456789abcdef-admin\n")
    guarded = Broker("--set", f"admin.access_file={access}")
    host, port = guarded.http.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /api/v1/Cluster/Status HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                           b"Content-Length: 8000000\r\n\r\n")
        answer = b""
        while more := connection.recv(4096):
            answer += more
    holds(answer.startswith(b"HTTP/1.1 401 "), answer)
    guarded.terminate()


@case("HEAD is answered without a body, and the next answer on the connection is what was asked for")
def _():
    host, port = broker.http.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)
    for path, status in (("/api/v1/openapi.json", 200), ("/api/v1/Clients/Juggle", 404), ("/api/v1/Clients/List", 405), ("/metrics", 200)):
        connection.request("HEAD", path)
        answer = connection.getresponse()
        equal((answer.status, answer.read()), (status, b""), path)
        holds(int(answer.headers["Content-Length"]) > 0, path)
        connection.request("GET", "/healthz")
        equal(connection.getresponse().read(), b"ok\n", f"after {path}")
    connection.close()


@case("a stream comes as server-sent events, and its place is free when the reader goes")
def _():
    small = Broker("--set", "admin.streams_max=1")
    there = Admin(small)
    events = there.stream("Messages/Subscribe", {"filters": ["news/#"]})
    equal(next(events), ("message", {"started": {}}), "the first event")
    equal(small.metric('mqttd_admin_calls{kind="stream"}'), 1.0, "streams")
    status, answer = there.post("Messages/Subscribe", {"filters": ["x"]})
    equal((status, answer["code"]), (429, "RESOURCE_EXHAUSTED"), "one too many")
    holds("admin.streams_max" in answer["message"], answer)
    equal(there.post("Messages/Publish", {"message": {"topic": "news/1", "payload": "aGVsbG8="}})[0], 200, "publish")
    kind, event = next(events)
    equal((kind, event["message"]["topic"], event["message"]["payload"]), ("message", "news/1", "aGVsbG8="), "message")
    events.close()
    while small.metric('mqttd_admin_calls{kind="stream"}') != 0.0:
        pass
    kind, event = next(there.stream("Messages/Subscribe", {"filters": ["a/#/b"]}))
    equal((kind, event["code"]), ("error", "INVALID_ARGUMENT"), "a filter that is none")
    equal(small.terminate(), 0, "exit status")


@case("http.api off, or admin.listen off: nothing is served")
def _():
    for arguments in (("--set", "http.api=off"), ("--admin", "off")):
        closed = Broker(*arguments)
        equal(closed.get("/api/v1/openapi.json")[0], 404, arguments)
        closed.terminate()


@case("the OpenAPI document describes each method and type, and is the one in docs")
def _():
    status, text = broker.get("/api/v1/openapi.json")
    equal(status, 200, "status")
    document = json.loads(text)
    equal(document["openapi"], "3.0.3", "version")

    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    for reference in references(document):
        place = document
        for part in reference.removeprefix("#/").split("/"):
            holds(part in place, f"{reference} leads nowhere")
            place = place[part]
    for path, methods in document["paths"].items():
        operation = methods["post"]
        holds(operation["summary"] and "Role: " in operation["description"], f"{path} is not described")
    for name, schema in document["components"]["schemas"].items():
        for field, value in schema.get("properties", {}).items():
            holds(value.get("type") or value.get("$ref") or value.get("allOf"), f"{name}.{field}")
    kept = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
    if "MQTTD_UPDATE_GOLDEN" in os.environ:
        kept.write_text(text)
    equal(kept.read_text(), text, "docs/openapi.json, by MQTTD_UPDATE_GOLDEN=1")


main()
