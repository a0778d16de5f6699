#!/usr/bin/env python3
"""Running the broker: configuration, reload, stop, health, the service manager; with real clients connected."""

import hashlib
import os
import re
import resource
import signal
import socket
import ssl
import sys
from base64 import b64encode
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import (MQTTD_BIN, PATIENCE_S, SLOWDOWN, Broker, Certificates, Process, Skip, Wire, case,  # noqa: E402
                 connect_packet, equal, holds, main, publish_packet, run, scratch, subscribe_packet, write)

from admin_api import MQTTCTL, Admin  # noqa: E402
from local_cluster import Node, free_ports  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CONNACK, PINGRESP, DISCONNECT, SUBACK, PUBLISH = 0x20, 0xD0, 0xE0, 0x90, 0x30


def connected(port, client_id, context=None, **arguments):
    wire = Wire(port, context=context)
    wire.send(connect_packet(client_id, **arguments))
    first, body = wire.packet()
    equal((first, body[1]), (CONNACK, 0), "CONNACK")
    return wire


def alive(wire):
    wire.send(b"\xc0\0")
    equal(wire.packet(), (PINGRESP, b""), "answer to PINGREQ")


def mqttd(*arguments, status=0):
    return run(MQTTD_BIN, *arguments, status=status)


@case("--check-config names every mistake with its file, line and column, and ends with 2")
def _():
    path = write("wrong.yaml", """\
data_dir: data
durabilty: sync
listeners:
  - url: mqtt://127.0.0.1:99999
mqtt:
  receive_maximum: 0
  maximum_packet_size: lots
http:
  listen: nowhere
""")
    said = mqttd("--check-config", "--config", path, status=2).err.text().splitlines()
    wanted = {"2:1": "did you mean durability?", "4:5": "port", "6:3": "mqtt.receive_maximum: must be from 1 to 65535",
              "7:3": 'not "lots"', "9:3": 'not "nowhere"'}
    for place, words in wanted.items():
        holds(any(line.startswith(f"mqttd: {path}:{place}: ") and words in line for line in said), f"{place} in {said}")
    equal(len(said), len(wanted), "lines")


@case("--check-config finds broken YAML, missing files, bad rules, a key of another certificate")
def _():
    path = write("broken.yaml", "listeners:\n  - url: [mqtt://127.0.0.1:0\n")
    holds(re.match(rf"mqttd: {path}:\d+:\d+: ", mqttd("--check-config", "--config", path, status=2).err.text()), "place")
    one, other = Certificates(), Certificates()
    path = write("mqttd.yaml", f"""\
listeners:
  - url: mqtts://127.0.0.1:0
    cert_file: {one.server}
    key_file: {other.server_key}
    acl_file: /nonexistent/acl
    password_file: /nonexistent/passwords
log:
  file: /nonexistent/log
""")
    said = mqttd("--check-config", "--config", path, status=2).err.text()
    for words in (str(other.server_key), "/nonexistent/passwords", "there is no directory /nonexistent"):
        holds(words in said, f"{words} in {said}")


@case("--check-config looks at what nodes of a cluster know each other by, as a start does")
def _():
    one, other = Certificates(), Certificates()

    def said(listen, status=2, **files):
        given = [part for key, path in files.items() for part in ("--set", f"cluster.{key}={path}")]
        return mqttd("--check-config", "--cluster", listen, "--join", listen, "--listen", "mqtt://127.0.0.1:0", *given, status=status).err.text()

    def files(**more):
        return dict({"cert_file": one.server, "key_file": one.server_key, "ca_file": one.ca}, **more)

    holds("without TLS" in said("10.0.0.1:9885"), "no certificates")
    said("10.0.0.1:9885", status=0, allow_plaintext="yes")
    said("127.0.0.1:9885", status=0)
    said("10.0.0.1:9885", status=0, **files())
    for key in ("cert_file", "key_file", "ca_file"):
        words = said("10.0.0.1:9885", **files(**{key: "/nonexistent/pem"}))
        holds(f"cluster.{key}: cannot read /nonexistent/pem" in words, words)
    words = said("10.0.0.1:9885", **files(key_file=other.server_key))
    holds(str(other.server_key) in words, words)


@case("authorities and revoked certificates are read, and warned about, also where nobody is asked for a certificate")
def _():
    one = Certificates()
    for key in ("ca_file", "crl_file"):
        for file, status in ((one.server_key, 2), ("/nonexistent/ca", 2), (one.ca, 0 if key == "ca_file" else 2)):
            path = write("mqttd.yaml", f"tls: {{cert_file: {one.server}, key_file: {one.server_key}, {key}: {file}}}\n"
                                       "auth: {allow_anonymous: true}\nlisteners: [mqtts://127.0.0.1:0]\n")
            said = mqttd("--check-config", "--config", path, status=status).err.text()
            holds(f"{key}" in said and "has no effect" in said if status == 0 else str(file) in said, f"{key} {file}: {said}")


@case("a mistake in what the configuration names ends a start with 2, every one of them named; a busy port with 1")
def _():
    one, other = Certificates(), Certificates()
    acl, passwords = write("acl", "usr a\ntopic a\nuser\n"), write("passwords", "alice\nbob:secret\n")
    name = write("file", "")

    def start(config, status, *words):
        path = write("mqttd.yaml", f"http: {{listen: 'off'}}\ndata_dir: {scratch('data')}\n{config}")
        said = mqttd("--config", path, status=status).err.text()
        for word in words:
            holds(word in said, f"{word} in {said}")

    plain, tls = "listeners: [mqtt://127.0.0.1:0]\n", "listeners: [mqtts://127.0.0.1:0]\n"
    start(f"auth: {{acl_file: {acl}}}\n{plain}", 2, f"{acl}:1: ", f"{acl}:3: ")
    start(f"auth: {{password_file: {passwords}}}\n{plain}", 2, f"{passwords}:1: ", f"{passwords}:2: ")
    start(f"auth: {{acl_file: /nonexistent/acl}}\n{plain}", 2, "/nonexistent/acl")
    start(f"tls: {{cert_file: {one.server}, key_file: {other.server_key}}}\n{tls}", 2, "does not belong")
    start(f"tls: {{cert_file: /nonexistent/c, key_file: /nonexistent/k}}\n{tls}", 2, "/nonexistent/c")
    start(f"log: {{file: {scratch('log').parent}}}\n{plain}", 2, "log.file", "is a directory")
    start(f"log: {{file: {scratch('missing') / 'log'}}}\n{plain}", 2, "log.file", "there is no directory")
    start(f"listeners: ['unix:/nonexistent/socket']\n", 2, "no such directory")
    start("auth: {allow_anonymous: true}\nlisteners: [mqtt://192.0.2.1:0]\n", 2, "no such address")
    start(f"listeners:\n  - {{url: 'mqtt://127.0.0.1:0', acl_file: {acl}, allow_anonymous: true}}\n"
          f"  - {{url: 'mqtt://127.0.0.1:0', password_file: {passwords}}}\n", 2, f"{acl}:1: ", f"{passwords}:2: ")
    start(f"log: {{file: {name}}}\nauth: {{acl_file: {acl}}}\n{plain}", 2, f"{acl}:1: ")
    with Broker() as broker:
        start(f"listeners: ['mqtt://127.0.0.1:{broker.port}']\n", 1, "another process listens there")


@case("a certificate that is about to run out is a warning at the start, and a metric says when")
def _():
    authority = Certificates()  # What it signs is good for two days.
    with Broker(config="data_dir: {data}\n"
                       f"tls: {{cert_file: {authority.server}, key_file: {authority.server_key}}}\n"
                       "listeners: [mqtts://127.0.0.1:0, mqtt://127.0.0.1:0]\n") as broker:
        broker.log.wait_for(r'warning certificate listener=\S+ warning="the certificate runs out in (1 day|2 days)"')
        end = run("openssl", "x509", "-in", authority.server, "-noout", "-enddate").out.text().split("=")[1]
        value = broker.metric(f'mqttd_listener_certificate_expiry_timestamp_seconds{{listener="{broker.urls[0]}"}}')
        equal(value, ssl.cert_time_to_seconds(end), "when it runs out")
        holds(broker.urls[1] not in "".join(line for line in broker.get("/metrics")[1].splitlines()
                                            if "certificate_expiry" in line), "a listener without TLS")
    path = write("mqttd.yaml", f"tls: {{cert_file: {authority.server}, key_file: {authority.server_key}}}\n"
                               "listeners: [mqtts://127.0.0.1:0]\nauth: {allow_anonymous: true}\n")
    holds("runs out in" in mqttd("--check-config", "--config", path).err.text(), "--check-config")


@case("a certificate of the links between nodes, or of the admin API, is watched as a listener's is")
def _():
    authority = Certificates()
    seeds = [f"127.0.0.1:{free_ports(1)[0]}"]
    tls = {"cluster.cert_file": authority.server, "cluster.key_file": authority.server_key, "cluster.ca_file": authority.ca,
           "admin.cert_file": authority.server, "admin.key_file": authority.server_key}
    settings = [word for key, value in tls.items() for word in ("--set", f"{key}={value}")]
    node = Node(0, free_ports(2), seeds, 1, settings, admin="127.0.0.1:0")
    node.start()
    for used_by, file in (("admin", authority.server), ("cluster", authority.ca)):
        node.log.wait_for(rf'warning certificate used_by={used_by} file={re.escape(str(file))} warning="the certificate runs out in (1 day|2 days)"')
    end = run("openssl", "x509", "-in", authority.server, "-noout", "-enddate").out.text().split("=")[1]
    for used_by in ("admin", "cluster"):
        value = node.metrics()[f'mqttd_listener_certificate_expiry_timestamp_seconds{{listener="{used_by}"}}']
        holds(abs(value - ssl.cert_time_to_seconds(end)) < 600, f"{used_by}: {value}, {end}")
    status, listed = Admin(node).post("Certificates/List")
    equal((status, [each["usedBy"] for each in listed["certificates"]]), (200, ["admin", "cluster", "cluster"]), "rows")
    holds(all("runs out in" in each["warning"] for each in listed["certificates"]), listed)
    node.process.signal(signal.SIGTERM)
    equal(node.process.wait(), 0, "exit status")
    path = write("mqttd.yaml", "listeners: [mqtt://127.0.0.1:0]\nauth: {allow_anonymous: true}\ncluster: {listen: '127.0.0.1:9885', "
                               f"cert_file: {authority.server}, key_file: /nowhere/key, ca_file: {authority.ca}}}\n")
    checked = run(MQTTD_BIN, "--check-config", "--config", path, status=2).err.text()
    holds("/nowhere/key" in checked and "runs out in" in checked, checked)


@case("a disk that does not answer keeps what is set at run time waiting, and nothing else")
def _():
    broker = Broker()
    admin = Admin(broker)
    (broker.data_dir / "admin").mkdir(exist_ok=True)
    waits = broker.data_dir / "admin" / "log_level.new"
    os.mkfifo(waits)  # Who opens it for writing waits until somebody reads.
    setting = Process([MQTTCTL, "--endpoint", broker.admin, "log", "set", "debug"])
    while " debug " not in broker.log.text():
        connected(broker.port, "one").close()  # The level is in force.
    holds(setting.running(), "it is not kept yet")
    holds("holds until the next start" in admin.text("log", "set", "info", status=3), "kept one after the other")
    equal(admin.json("log", "level")["level"], "info", "level")
    broker.process.signal(signal.SIGTERM)
    broker.log.wait_for(r"telling clients to go")
    reader = os.open(waits, os.O_RDONLY | os.O_NONBLOCK)
    equal(broker.process.wait(), 0, "exit status")
    os.close(reader)


@case("without memory the process ends with a last line that says so")
def _():
    if SLOWDOWN != 1:
        raise Skip("sanitizers have allocators of their own")
    process = Process([MQTTD_BIN, "--listen", "mqtt://127.0.0.1:0", "--http", "off", "--admin", "off", "--data-dir", scratch("data"),
                       "--set", "broker.memory_high_bytes=100GiB", "--set", "mqtt.maximum_packet_size=64MiB",
                       "--set", "mqtt.output_bytes_max=4GiB", "--set", "broker.shards=1"])
    port = int(process.out.wait_for(r"listen=mqtt://127\.0\.0\.1:(\d+)").group(1))
    deaf = connected(port, "deaf")
    deaf.send(subscribe_packet(1, "t", 0))
    deaf.packet()
    size = int(re.search(r"VmSize:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text()).group(1)) * 1024
    resource.prlimit(process.pid, resource.RLIMIT_AS, (size + 200_000_000, size + 200_000_000))
    sender = connected(port, "sender")
    try:
        while process.running():
            sender.send(publish_packet("t", b"x" * 10_000_000))
    except OSError:
        pass
    equal(process.wait(), 1, "exit status")
    holds(process.err.text().splitlines()[-1].startswith("mqttd: out of memory: "), process.err.text())


@case("--print-config prints a file that means the same, and where each value comes from")
def _():
    path = write("mqttd.yaml", "mqtt: {receive_maximum: 17}\nlisteners: [ws://127.0.0.1:0/mqtt]\n")
    printed = run(MQTTD_BIN, "--print-config", "--config", path, "--set", "mqtt.topic_alias_maximum=5",
                  env={"MQTTD_BROKER_SHARDS": "3"}).out.text()
    for key, value, source in (("receive_maximum", "17", str(path)), ("topic_alias_maximum", "5", "--set"),
                               ("shards", "3", "MQTTD_BROKER_SHARDS")):
        holds(re.search(rf"^ *{key}: {value} .*# .*{re.escape(source)}", printed, re.MULTILINE), f"{key} in {printed}")
    again = mqttd("--print-config", "--config", write("printed.yaml", printed)).out.text()

    def values(text):
        return [line.split("  #")[0].rstrip() for line in text.splitlines() if not line.lstrip().startswith("#")]

    equal(values(again), values(printed), "printed again")


@case("the sample configuration and the README's are right as they stand, and a broker runs on the sample")
def _():
    sample = ROOT / "deploy" / "mqttd.yaml"
    block = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    for path in (sample, write("readme.yaml", block)):
        mqttd("--config", str(path), "--check-config")
    with Broker("--config", str(sample)) as broker:
        alive(connected(broker.port, "newcomer"))


@case("anonymous clients on an address that others reach need an explicit word")
def _():
    for url in ("mqtt://0.0.0.0:0", "mqtt://*:0", "mqtt://[::]:0", "ws://0.0.0.0:0/mqtt"):
        for arguments in (["--listen", url], ["--listen", "mqtt://127.0.0.1:0", "--listen", url]):
            said = mqttd(*arguments, "--data-dir", scratch("data"), "--http", "off", status=2).err.text()
            holds("allow_anonymous" in said and url in said, said)
    with Broker("--allow-anonymous", listen=["mqtt://0.0.0.0:0"]) as broker:
        connected(broker.port, "welcome").close()


@case("--listen may be repeated, for several kinds, IPv6 and one port for each")
def _():
    path = scratch("a.sock")
    with Broker(listen=["mqtt://127.0.0.1:0", "mqtt://127.0.0.1:0", "mqtt://[::1]:0", "ws://127.0.0.1:0/mqtt",
                        f"unix:{path}"]) as broker:
        equal(len(broker.urls), 5, "listeners")
        equal(len(set(broker.urls)), 5, "different addresses")
        subscriber = connected(broker.ports[0], "subscriber")
        subscriber.send(subscribe_packet(1, "x", 0))
        subscriber.packet()
        for address in (broker.ports[1], str(path)):
            with connected(address, "publisher") as publisher:
                publisher.send(publish_packet("x", b"hello"))
                equal(subscriber.packet(), (PUBLISH, b"\0\1x\0hello"), f"message over {address}")
        six = socket.create_connection(("::1", broker.ports[2]), PATIENCE_S)
        six.sendall(connect_packet("six"))
        equal(six.recv(1), b"\x20", "CONNACK over IPv6")
        six.close()
        subscriber.close()
        equal(broker.terminate(), 0, "exit status")
        holds(not path.exists(), "the unix socket is still there")


@case("a port, a data directory and a unix socket that another broker uses are refused, and the first goes on")
def _():
    path = scratch("used.sock")
    with Broker(listen=["mqtt://127.0.0.1:0", f"unix:{path}"]) as broker:
        client = connected(broker.port, "stays")
        for arguments, words in (
                (["--listen", f"mqtt://127.0.0.1:{broker.port}", "--data-dir", scratch("data")], str(broker.port)),
                (["--listen", "mqtt://127.0.0.1:0", "--data-dir", broker.data_dir], str(broker.data_dir)),
                (["--listen", f"unix:{path}", "--data-dir", scratch("data")], str(path)),
                (["--listen", "mqtt://127.0.0.1:0", "--data-dir", "/proc/nowhere"], "/proc/nowhere")):
            said = mqttd(*arguments, "--http", "off", status=1).err.text()
            holds(words in said and "error" in said, said)
        alive(client)
        connected(str(path), "over the socket").close()
        client.close()
        equal(broker.terminate(), 0, "exit status")
        # A socket left behind by a killed broker is nobody's.
    with Broker(listen=[f"unix:{path}"]) as broker:
        broker.kill()
        holds(path.exists(), "kill -9 leaves the socket")
        broker.start()
        connected(str(path), "again").close()


@case("SIGHUP takes a new certificate for new connections; the old ones go on")
def _():
    authority = Certificates()
    certificate, key = authority.issue("localhost")
    context = ssl.create_default_context(cafile=authority.ca)
    with Broker(config=f"data_dir: {{data}}\ntls: {{cert_file: {certificate}, key_file: {key}}}\n"
                       "listeners: [mqtts://127.0.0.1:0, mqtt://127.0.0.1:0]\n") as broker:
        def serial():
            with connected(broker.ports[0], "who", context) as wire:
                return wire.socket.getpeercert()["serialNumber"]

        old, plain = connected(broker.ports[0], "old", context), connected(broker.ports[1], "plain")
        before = serial()
        new_certificate, new_key = authority.issue("localhost")
        certificate.write_bytes(new_certificate.read_bytes())
        holds("error" in broker.reload(), "a certificate without its key was taken")
        equal(serial(), before, "certificate while the key does not fit")
        key.write_bytes(new_key.read_bytes())
        holds(" info reloaded" in broker.reload(), "reload")
        holds(serial() != before, "the old certificate is still in use")
        alive(old)
        alive(plain)


@case("SIGHUP takes new passwords and rules: who is still allowed stays, whose account is gone goes")
def _():
    passwords = scratch("passwords")
    acl = write("acl", "user alice\ntopic readwrite a/#\nuser bob\ntopic readwrite a/#\n")
    for create, user in ((["-c"], "alice"), ([], "bob")):
        run("mosquitto_passwd", *create, "-b", passwords, user, "secret")
    with Broker(config=f"data_dir: {{data}}\nauth: {{password_file: {passwords}, acl_file: {acl}}}\n"
                       "listeners: [mqtt://127.0.0.1:0]\n") as broker:
        alice = connected(broker.port, "alice", user="alice", password=b"secret")
        bob = connected(broker.port, "bob", user="bob", password=b"secret")
        alice.send(subscribe_packet(1, "a/#", 0))
        equal(alice.packet()[1][-1], 0, "SUBACK")
        alice.send(subscribe_packet(2, "b/#", 0))
        equal(alice.packet()[1][-1], 0x87, "SUBACK")

        run("mosquitto_passwd", "-D", passwords, "bob")
        run("mosquitto_passwd", "-b", passwords, "carol", "secret")
        acl.write_text("user alice\ntopic readwrite a/#\ntopic readwrite b/#\nuser carol\ntopic write a/#\n")
        holds(" info reloaded" in broker.reload(), "reload")
        alive(alice)
        alice.send(subscribe_packet(3, "b/#", 0))
        equal(alice.packet()[1][-1], 0, "SUBACK by the new rules")
        packet = bob.packet()
        equal(packet and packet[0], DISCONNECT, "bob is told")
        equal(packet[1][0], 0x87, "why")
        carol = connected(broker.port, "carol", user="carol", password=b"secret")
        carol.send(publish_packet("a/x", b"hi"))
        equal(alice.packet()[1][-2:], b"hi", "message of carol")

        acl.write_text("usr alice\n")
        holds("error" in broker.reload(), "broken rules were taken")
        carol.send(publish_packet("a/x", b"ho"))
        equal(alice.packet()[1][-2:], b"ho", "message under the rules of before")


@case("SIGHUP is all or nothing: with any file wrong nothing changes, and one line, not called reloaded, says why")
def _():
    authority = Certificates()
    certificate, key = authority.issue("localhost")
    acls = [write(name, "topic readwrite a/#\n") for name in ("one", "two")]
    template = ("data_dir: {data}\nlog: {level: %s, file: %s}\nmqtt: {maximum_qos: %d}\n"
                f"tls: {{cert_file: {certificate}, key_file: {key}}}\n"
                "listeners:\n"
                f"  - {{url: 'mqtt://127.0.0.1:0', allow_anonymous: true, acl_file: {acls[0]}}}\n"
                f"  - {{url: 'mqtts://127.0.0.1:0', name: tls, allow_anonymous: true, acl_file: {acls[1]}}}\n")
    good = template.replace("%d", "2").replace("%s", "info", 1).replace("%s", '""', 1)
    with Broker(config=good) as broker:
        text = broker.config_file.read_text()
        wire = connected(broker.port, "client")
        number = 0

        def may_read(filter):
            nonlocal number
            number += 1
            wire.send(subscribe_packet(number, filter, 0))
            return wire.packet()[1][-1] == 0

        def refused(*wanted):
            """What is right in the new files (listener 0's rules, the QoS) has not taken effect."""
            acls[0].write_text("topic readwrite b/#\n")
            seen = len(broker.log)
            line = broker.reload()
            holds("error reload refused, nothing changed" in line, line)
            for word in wanted:
                holds(word in line, line)
            holds(may_read("a/x") and not may_read("b/x"), "the rules of a refused reload are in force")
            connected(broker.port, "probe").close()
            equal([entry for entry in broker.log.all()[seen:] if b"reload" in entry or b" changed" in entry],
                  [line.encode()], "events")
            acls[0].write_text("topic readwrite a/#\n")

        changed = text.replace("maximum_qos: 2", "maximum_qos: 1")
        broker.config_file.write_text(changed)
        acls[1].write_text("topic readwrite a/#\ntopik b\ntopic readwrite\nuser\n")
        refused(f"{acls[1]}:2: unknown keyword", f"{acls[1]}:4: user without a name")
        acls[1].unlink()
        acls[1].mkdir()
        refused(f"{acls[1]} is a directory")
        acls[1].rmdir()
        os.mkfifo(acls[1])  # That nobody ever writes to.
        refused(f"{acls[1]} is a pipe or a device")
        acls[1].unlink()
        acls[1].write_text("topic readwrite a/#\n")
        fitting = key.read_bytes()
        key.write_bytes(authority.issue("other")[1].read_bytes())
        refused("does not belong to the certificate")
        key.write_bytes(fitting)
        broker.config_file.write_text(changed.replace('file: ""', f"file: {broker.data_dir}"))
        refused("log.file", "is a directory")
        broker.config_file.unlink()
        broker.config_file.mkdir()
        refused("Is a directory")
        broker.config_file.rmdir()
        refused("No such file")
        broker.config_file.write_text(changed)
        acls[0].write_text("topic readwrite b/#\n")
        holds(" info reloaded" in broker.reload(), "with everything right")
        holds(may_read("b/x") and not may_read("a/x"), "the new rules")


@case("SIGHUP opens the log file again, so that it can be rotated, and takes a new level")
def _():
    log = scratch("mqttd.log")
    config = "data_dir: {data}\nlog: {file: %s, format: json}\nlisteners: [mqtt://127.0.0.1:0]\n" % log
    with Broker(config=config) as broker:
        client = connected(broker.port, "stays")
        holds('"store opened"' in log.read_text(), log.read_text())
        rotated = log.with_suffix(".1")
        log.rename(rotated)
        config_text = broker.config_file.read_text()
        broker.config_file.write_text(config_text + "mqtt: {maximum_qos: 1}\n")
        broker.process.signal(signal.SIGHUP)
        # The new limit is in use when a new connection is told: an event to wait for.
        body = b""
        while b"\x24\1" not in body:
            with Wire(broker.port) as wire:
                wire.send(connect_packet("probe"))
                body = wire.packet()[1]
        alive(client)
        client.close()
        equal(broker.terminate(), 0, "exit status")
        holds('"stopped"' in log.read_text() and '"stopped"' not in rotated.read_text(), "the new file is not in use")


@case("SIGTERM: 5.0 clients are told 0x8B, others closed, wills published, sessions kept, exit 0")
def _():
    with Broker() as broker:
        five = connected(broker.port, "five", clean=False, properties=b"\x11\xff\xff\xff\xff")
        five.send(subscribe_packet(1, "x", 1))
        equal(five.packet()[0], SUBACK, "packet type")
        old = connected(broker.port, "old", version=4)
        run("mosquitto_sub", "-p", broker.port, "-c", "-i", "heir", "-q", "1", "-t", "wills", "-E")
        testator = Process(["stdbuf", "-oL", "mosquitto_sub", "-p", broker.port, "-t", "x", "-d",
                            "--will-topic", "wills", "--will-payload", "for the heir", "--will-qos", "1"])
        testator.out.wait_for("received SUBACK")
        half = Wire(broker.port)
        half.send(connect_packet("half")[:7])  # A client in the middle of its CONNECT holds nothing up.
        equal(broker.terminate(), 0, "exit status")
        equal(five.packet(), (DISCONNECT, b"\x8b"), "DISCONNECT")
        equal(five.packet(), None, "end")
        equal(old.packet(), None, "end for 3.1.1")
        half.close()
        broker.start()
        with Wire(broker.port) as wire:
            wire.send(connect_packet("five", clean=False, properties=b"\x11\xff\xff\xff\xff"))
            equal(wire.packet()[1][0], 1, "session present")
        # A client that the broker leaves has not said DISCONNECT.
        heir = run("mosquitto_sub", "-p", broker.port, "-c", "-i", "heir", "-q", "1", "-t", "wills", "-C", "1")
        equal(heir.out.text(), "for the heir", "the will")
        testator.kill()


@case("SIGTERM ends even with a client that does not read and one that floods")
def _():
    with Broker("--set", "broker.shutdown_timeout=1s", "--set", "broker.linger_timeout=1s") as broker:
        deaf = connected(broker.port, "deaf")
        deaf.send(subscribe_packet(1, "flood", 0))
        deaf.packet()
        flood = Process(["mosquitto_pub", "-p", broker.port, "-V", "5", "-t", "flood", "-m", "x" * 60000,
                         "--repeat", "1000000"])
        name = 'mqttd_messages_dropped_total{cause="output_full"}'
        while not broker.metric(name):  # Until the deaf client's output is full.
            holds(flood.running(), flood.err.text())
        equal(broker.terminate(), 0, "exit status")
        flood.wait()


@case("SIGTERM ends while passwords are being hashed, whether their clients still wait or have gone")
def _():
    salt, iterations = b"twelve bytes", 1_000_000  # So many that we come in time.
    derived = hashlib.pbkdf2_hmac("sha512", b"secret", salt, iterations)
    passwords = write("passwords", f"user:$7${iterations}${b64encode(salt).decode()}${b64encode(derived).decode()}\n")
    for stay in (True, False):
        with Broker("--password-file", passwords, "--set", "broker.linger_timeout=1s") as broker:
            waiting = [Wire(broker.port) for _ in range(4)]
            for number, client in enumerate(waiting):
                client.send(connect_packet(f"c{number}", user="user", password="secret"))
            while broker.metric("mqttd_password_hashes_waiting") < 3:  # So one is being hashed.
                holds(broker.process.running(), broker.log.text())
            for client in waiting[:0 if stay else None]:
                client.close()
            equal(broker.terminate(), 0, "exit status")


@case("/healthz, /readyz and /metrics answer; numbers follow what clients do; nothing else is served")
def _():
    with Broker() as broker:
        equal(broker.get("/healthz"), (200, "ok\n"), "/healthz")
        equal(broker.get("/readyz"), (200, "ready\n"), "/readyz")
        equal(broker.get("/etc/passwd")[0], 404, "elsewhere")
        subscriber = connected(broker.port, "subscriber")
        subscriber.send(subscribe_packet(1, "m/#", 0))
        subscriber.packet()
        publisher = connected(broker.port, "publisher", version=4)
        for number in range(5):
            publisher.send(publish_packet("m/x", b"12345678", version=4))
            subscriber.packet()
        for series, value in (("mqttd_clients_connected", 2), ('mqttd_connects_total{version="5.0"}', 1),
                              ('mqttd_connects_total{version="3.1.1"}', 1),
                              ('mqttd_publish_received_total{qos="0"}', 5), ('mqttd_publish_sent_total{qos="0"}', 5),
                              ("mqttd_publish_payload_bytes_sent_total", 40),
                              ('mqttd_packets_received_total{type="subscribe"}', 1), ("mqttd_log_healthy", 1)):
            equal(broker.metric(series), value, series)
        text = broker.get("/metrics")[1]
        for line in text.splitlines():
            holds(re.match(r'(# (HELP|TYPE) \S+ .*|[a-z_:]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [-+.e0-9naifNI]+)$',
                           line), f"not Prometheus' format: {line}")
        publisher.send(b"\x30\x00")  # A PUBLISH without a topic.
        holds(publisher.closed(), "open")
        holds(re.search(r"^mqttd_protocol_violations_total\{.*\} 1$", broker.get("/metrics")[1], re.MULTILINE),
              "the violation is not counted")
        testator = Process(["stdbuf", "-oL", "mosquitto_sub", "-p", broker.port, "-t", "x", "-d",
                            "--will-topic", "m/will", "--will-payload", "gone"])
        testator.out.wait_for("received SUBACK")
        testator.kill()
        subscriber.packet()
        while broker.metric("mqttd_wills_published_total") == 0:  # When all who are to have it do.
            pass
        equal(broker.metric("mqttd_wills_published_total"), 1, "wills, each counted once")


@case("the service manager is told ready, reloading, ready, stopping, and is kept awake")
def _():
    path = scratch("notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(PATIENCE_S)
    manager.bind(str(path))

    def told():
        """The next message that is no sign of life."""
        while (message := manager.recv(4096).decode()) == "WATCHDOG=1\n" or message.startswith("EXTEND_TIMEOUT_USEC="):
            pass
        return message

    # WATCHDOG_PID is not set: the message is for whoever has the variable.
    with Broker(env={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}) as broker:
        first = told()
        holds(first.startswith("READY=1\n") and broker.urls[0] in first, first)
        for _ in range(3):
            equal(manager.recv(4096), b"WATCHDOG=1\n", "sign of life")
        broker.reload()
        holds(told().startswith("RELOADING=1\nMONOTONIC_USEC="), "reloading")
        holds(told().startswith("READY=1\n"), "ready again")
        equal(broker.terminate(), 0, "exit status")
        holds(told().startswith("STOPPING=1\n"), "stopping")
    manager.close()


def examples(document):
    """The configurations in a document of ours: YAML blocks that have listeners."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "listeners:" in block]


for document_ in ("README.md", "docs/configuration.md", "docs/operations.md"):
    @case(f"the configuration in {document_} works as it stands, but for paths and ports")
    def _(document=document_):
        found = examples(document)
        holds(found, f"no example in {document}")
        authority = Certificates()
        directory = scratch("etc")
        directory.mkdir()
        for suffix in ("crt", "pem"):
            (directory / f"server.{suffix}").write_bytes(authority.server.read_bytes())
        (directory / "server.key").write_bytes(authority.server_key.read_bytes())
        (directory / "server-key.pem").write_bytes(authority.server_key.read_bytes())
        (directory / "acl").write_text("user alice\ntopic readwrite #\n")
        run("mosquitto_passwd", "-c", "-b", directory / "passwords", "alice", "wonderland")
        for example in found:
            text = example.replace("/etc/mqttd/", f"{directory}/").replace("/run/mqttd/", f"{directory}/")
            text = re.sub(r"(://[^/\s]*|listen: [\d.]+):\d+", r"\1:0", text).replace("/var/lib/mqttd", "{data}")
            if "data_dir" not in text:
                text = "data_dir: {data}\n" + text
            with Broker(config=text) as broker:
                context = ssl.create_default_context(cafile=authority.ca)
                for url, port in zip(broker.urls, broker.ports):
                    if url.startswith("ws"):
                        continue
                    address = port or url[len("unix:"):]
                    connected(address, "c", context if url.startswith("mqtts") else None, user="alice",
                              password=b"wonderland").close()


@case("the systemd unit's command lines are ones that mqttd understands")
def _():
    unit = (ROOT / "deploy/systemd/mqttd.service").read_text()
    commands = re.findall(r"^Exec(?:StartPre|Start)=/usr/bin/mqttd (.*)$", unit, re.MULTILINE)
    equal(len(commands), 2, "commands")
    path = write("mqttd.yaml", "listeners: [mqtt://127.0.0.1:0]\n")
    for command in commands:
        arguments = command.replace("/etc/mqttd/mqttd.yaml", str(path)).split()
        mqttd(*arguments, *([] if "--check-config" in arguments else ["--check-config"]))


@case("the systemd unit waits for a drain of the defaults, and lets a backup be written where the documents say, nowhere that goes with it")
def _():
    unit = (ROOT / "deploy/systemd/mqttd.service").read_text()

    def said(key):
        return re.search(rf"^{key}=(.*)$", unit, re.MULTILINE)[1]

    defaults = mqttd("--print-config").out.text()
    drain = defaults[defaults.index("\ndrain:"):]
    needs = [int(re.search(rf"^  {key}: (\d+)s", part, re.MULTILINE)[1])
             for part, key in ((drain, "delay"), (drain, "timeout"), (defaults, "shutdown_timeout"))]
    holds(int(said("TimeoutStopSec")) >= sum(needs) + 10, f"{said('TimeoutStopSec')} s, and it may take {needs} and the store")
    writable = [path.lstrip("-") for path in said("ReadWritePaths").split()]
    for path in re.findall(r"mqttctl backup create (\S+)", (ROOT / "docs/operations.md").read_text()):
        holds(any(path.startswith(f"{each}/") for each in writable), f"{path}, of {writable}")
    holds("PrivateTmp=yes" not in unit, "a backup in a private /tmp would be deleted")


main()
