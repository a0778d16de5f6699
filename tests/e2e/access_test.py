#!/usr/bin/env python3
"""Who may do what: owners of sessions, rights that come and go, logins under attack, and the files on disk."""

import hashlib
import os
import stat
import sys
import time
from base64 import b64encode
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import Admin  # noqa: E402
from e2e import (PATIENCE_S, Broker, case, connect_packet, equal, frame, holds, main, publish_packet, scratch,  # noqa: E402
                 subscribe_packet, text, Wire, write)

CONNACK, SUBACK, PUBACK, PUBLISH, DISCONNECT = 0x20, 0x90, 0x40, 0x30, 0xE0
AN_HOUR = b"\x11\0\0\x0e\x10"  # Session Expiry Interval


def password_line(user, password, rounds=101):
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"{user}:$7${rounds}${b64encode(salt).decode()}${b64encode(digest).decode()}\n"


class Guarded(Broker):
    """A broker with users, each of whom has its name as password, and an ACL."""

    def __init__(self, *arguments, users=("alice", "bob"), rounds=101, acl="pattern readwrite #\n", more=""):
        self.passwords = write("passwords", "".join(password_line(user, user, rounds) for user in users))
        self.acl = write("acl", acl)
        super().__init__(*arguments, config=f"""\
data_dir: "{{data}}"
listeners:
  - url: mqtt://127.0.0.1:0
    password_file: {self.passwords}
    acl_file: {self.acl}
{more}""")

    def set_users(self, *users):
        self.passwords.write_text("".join(password_line(user, user) for user in users))


def log_in(broker, user, client_id, code=0, present=None, **arguments):
    """A connection as `user`; None if it was refused with that code."""
    wire = Wire(broker.port)
    wire.send(connect_packet(client_id, user=user, password=user, **arguments))
    first, body = wire.packet()
    equal((first, body[1]), (CONNACK, code), f"CONNACK for {user} as {client_id}")
    if present is not None:
        equal(body[0], 1 if present else 0, "session present")
    if code:
        holds(wire.closed(), "closed")
        return None
    return wire


def subscribe(wire, topic, qos=1):
    wire.send(subscribe_packet(1, topic, qos))
    first, body = wire.packet()
    equal((first, body[-1]), (SUBACK, qos), f"SUBACK for {topic}")


def published(wire, topic, payload):
    """The Reason Code of the PUBACK."""
    wire.send(publish_packet(topic, payload, qos=1, packet_id=7))
    first, body = wire.packet()
    equal(first, PUBACK, f"PUBACK for {topic}")
    said = body[2] if len(body) > 2 else 0
    return 0 if said == 0x10 else said  # 0x10: for nobody.


def publish(wire, topic, payload, code=0):
    equal(published(wire, topic, payload), code, f"PUBACK for {topic}")


def received(wire, count):
    """The payloads of the next PUBLISH packets, sorted; what comes is left unacknowledged."""
    payloads = []
    for _ in range(count):
        first, body = wire.packet()
        equal(first & 0xF0, PUBLISH, "PUBLISH")
        length = 2 + int.from_bytes(body[:2], "big") + (2 if first & 6 else 0)
        payloads.append(body[length + 1 + body[length]:])
    return sorted(payloads)


def until(done, what):
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        holds(time.monotonic() < deadline, what)


def modes(directory):
    """{path: permissions} of all below, and of the directory itself."""
    paths = [directory, *directory.rglob("*")]
    return {path: stat.S_IMODE(path.lstat().st_mode) for path in paths}


def store_something(broker, client_id):
    with Wire(broker.port) as wire:
        wire.send(connect_packet(client_id, clean=False, properties=AN_HOUR))
        equal(wire.packet()[0], CONNACK, "CONNACK")
        wire.send(subscribe_packet(1, "kept/#", 1))
        equal(wire.packet()[0], SUBACK, "SUBACK")
        wire.send(publish_packet("kept/x", b"secret", qos=1, packet_id=2))
        wire.packet()


def only_for_its_owner(directory):
    for path, mode in modes(directory).items():
        equal(oct(mode), oct(0o700 if path.is_dir() else 0o600), f"permissions of {path}")


@case("the data directory and all in it are for its owner alone, whatever the umask")
def _():
    umask = os.umask(0)
    try:
        broker = Broker()
    finally:
        os.umask(umask)
    store_something(broker, "first")
    only_for_its_owner(broker.data_dir)
    broker.terminate()
    only_for_its_owner(broker.data_dir)  # Also what is written at the end.
    broker.start()
    store_something(broker, "second")
    only_for_its_owner(broker.data_dir)
    holds("other users of this machine" not in broker.log.text(), "no warning")
    broker.terminate()


@case("a data directory that is open to others is warned about, with what to do; new files in it are 0600")
def _():
    directory = scratch("open")
    directory.mkdir()
    directory.chmod(0o755)
    broker = Broker(data_dir=directory)
    broker.log.wait_for(rf"other users of this machine may read .*mode=0755.*chmod -R go= {directory}")
    store_something(broker, "second")
    for path, mode in modes(directory).items():
        if not path.is_dir():
            equal(oct(mode), oct(0o600), f"permissions of {path}")
    equal(oct(stat.S_IMODE(directory.stat().st_mode)), oct(0o755), "the directory is left as it is")
    broker.terminate()


@case("a session is its user's alone: stored or connected, resumed or begun anew, in 5.0 and 3.1.1")
def _():
    with Guarded() as broker:
        for number, (version, code) in enumerate(((5, 0x87), (4, 5))):
            keeps = {"properties": AN_HOUR} if version == 5 else {}
            name = f"dev{number}"
            alice = log_in(broker, "alice", name, clean=False, properties=AN_HOUR)
            subscribe(alice, "a/#")
            alice.close()
            publisher = log_in(broker, "alice", "publisher")
            for payload in (b"1", b"2"):
                publish(publisher, "a/x", payload)
            for clean in (False, True):
                log_in(broker, "bob", name, code, version=version, clean=clean, **keeps)
            alice = log_in(broker, "alice", name, present=True, clean=False, properties=AN_HOUR)
            equal(received(alice, 2), [b"1", b"2"], "her messages")
            for clean in (False, True):
                log_in(broker, "bob", name, code, version=version, clean=clean, **keeps)
            alice.send(b"\xc0\0")
            equal(alice.packet(), (0xD0, b""), "she was not disturbed")
            # Also who has no stored session keeps its identifier while it is connected.
            brief = log_in(broker, "alice", f"brief{number}")
            log_in(broker, "bob", f"brief{number}", code, version=version)
            brief.send(b"\xc0\0")
            equal(brief.packet(), (0xD0, b""), "nor was she here")
        equal(broker.metric('mqttd_connections_refused_total{cause="other_user"}'), 10, "refusals")
        broker.log.wait_for("connection refused.*another user.*user=bob")


@case("a session is handed over while session_owner is any, with its queue, and then is its new user's")
def _():
    with Guarded() as broker:
        alice = log_in(broker, "alice", "dev", clean=False, properties=AN_HOUR)
        subscribe(alice, "a/#")
        alice.close()
        publish(log_in(broker, "alice", "publisher"), "a/x", b"kept")
        config = broker.config_file.read_text()
        broker.config_file.write_text(config + "    session_owner: any\n")
        broker.reload()
        bob = log_in(broker, "bob", "dev", present=True, clean=False, properties=AN_HOUR)
        equal(received(bob, 1), [b"kept"], "what was queued")
        bob.close()
        broker.config_file.write_text(config)
        broker.reload()
        log_in(broker, "alice", "dev", 0x87, clean=False)
        log_in(broker, "bob", "dev", present=True, clean=False)


@case("user names bind identifiers: as the identifier itself, or as its beginning")
def _():
    with Guarded(more="    clientid_prefixes: 'gateway-,%u-'\n") as broker:
        log_in(broker, "alice", "alice-1").close()
        log_in(broker, "alice", "gateway-1").close()
        for name in ("alice", "alicia-1", "bob-1", "1"):
            log_in(broker, "alice", name, 0x85)
        log_in(broker, "bob", "alice-1", 2, version=4)
        wire = Wire(broker.port)
        wire.send(connect_packet("", user="bob", password="bob"))
        holds(b"gateway-auto-" in wire.packet()[1], "an assigned identifier begins so too")
    acl = "pattern readwrite own/%c/#\n"
    with Guarded(acl=acl, more="    use_username_as_clientid: true\n") as broker:
        first = log_in(broker, "alice", "whatever")
        publish(first, "own/alice/x", b"")
        publish(first, "own/whatever/x", b"", 0x87)
        log_in(broker, "alice", "other")
        equal(first.packet(), (DISCONNECT, b"\x8e"), "the one before is taken over")


def connect_with_will(client_id, user, topic, delay):
    will_properties = b"\x18" + delay.to_bytes(4, "big")
    body = (text("MQTT") + bytes([5, 0b11000110 | 8]) + b"\0\0" + bytes([len(AN_HOUR)]) + AN_HOUR + text(client_id)
            + bytes([len(will_properties)]) + will_properties + text(topic) + text("gone") + text(user) + text(user))
    return frame(0x10, body)


@case("after SIGHUP nothing is published of who may publish it no longer: no will, nor one that waits for its delay")
def _():
    acl = "user alice\ntopic readwrite w/#\nuser bob\ntopic readwrite w/#\n"
    with Guarded(acl=acl, users=("alice", "bob", "carol")) as broker:
        watcher = log_in(broker, "bob", "watcher")
        subscribe(watcher, "w/#")
        wires = {}
        for name, user, delay in (("now", "alice", 0), ("later", "alice", 3600), ("removed", "carol", 0), ("end", "bob", 0)):
            if user == "carol":
                broker.acl.write_text(acl + "user carol\ntopic readwrite w/#\n")
                broker.reload()
            wires[name] = Wire(broker.port)
            wires[name].send(connect_with_will(name, user, f"w/{name}", delay))
            equal(wires[name].packet()[1][1], 0, "CONNACK")
        wires["later"].close()  # Its will waits for an hour, or for the end of the session.
        broker.acl.write_text("user bob\ntopic readwrite w/#\nuser carol\ntopic readwrite w/#\n")
        broker.set_users("alice", "bob")
        broker.reload()
        equal(wires["removed"].packet(), (DISCONNECT, b"\x87"), "who is no user any more")
        wires["now"].close()
        log_in(broker, "alice", "now", present=True, clean=False, properties=AN_HOUR)
        log_in(broker, "alice", "later", present=False)  # Clean Start: the session ends.
        until(lambda: broker.metric("mqttd_wills_not_authorized_total") == 3, "three wills are gone")
        wires["end"].close()
        equal(received(watcher, 1), [b"gone"], "only the last, whose user may")
        until(lambda: broker.metric("mqttd_wills_published_total") == 1, "one will is published")


@case("SIGHUP reaches who came in at a listener that was stopped since, whether or not it was started again")
def _():
    with Guarded(users=("alice", "bob")) as broker:
        admin = Admin(broker)
        alice, bob = (log_in(broker, user, user) for user in ("alice", "bob"))
        admin.text("listener", "stop", "mqtt://127.0.0.1:0", "--yes")
        broker.set_users("bob", "carol")
        broker.acl.write_text("user bob\ntopic write b\nuser carol\ntopic write c\n")
        broker.reload()
        equal(alice.packet(), (DISCONNECT, b"\x87"), "who is no user any more")
        alice.close()
        until(lambda: published(bob, "x", b"") == 0x87, "his rights are those of the new rules")
        broker.port = int(admin.json("listener", "start", "mqtt://127.0.0.1:0")["url"].rpartition(":")[2])
        carol = log_in(broker, "carol", "carol")
        until(lambda: admin.json("listener", "list")[0]["connections"] == 2, "both are counted")
        broker.acl.write_text("user bob\ntopic write c\n")
        broker.set_users("bob")
        broker.reload()
        equal(carol.packet(), (DISCONNECT, b"\x87"), "who came in later")
        until(lambda: published(bob, "c", b"") == 0, "and again")
        publish(bob, "b", b"", code=0x87)


@case("SIGHUP applies what it says is changed, though the list of listeners is another one too")
def _():
    with Broker(config='data_dir: "{data}"\nauth: {allow_anonymous: true}\nlisteners: ["mqtt://127.0.0.1:0"]\n') as broker:
        anonymous = Wire(broker.port)
        anonymous.send(connect_packet("anonymous"))
        equal(anonymous.packet()[1][1], 0, "CONNACK")
        passwords = write("passwords", password_line("alice", "alice"))
        broker.config_file.write_text(f'data_dir: "{broker.data_dir}"\nauth: {{allow_anonymous: false, password_file: "{passwords}"}}\n'
                                      'listeners: ["unix:/nonexistent/later", "mqtt://127.0.0.1:0"]\n')
        broker.reload()
        text = broker.log.text()
        holds("configuration changed key=auth.allow_anonymous before=true after=false" in text, text)
        holds("configuration changed, needs a restart key=listeners" in text, text)
        equal(anonymous.packet(), (DISCONNECT, b"\x87"), "who was let in without a name")
        again = Wire(broker.port)
        again.send(connect_packet("anonymous"))
        equal(again.packet()[1][1], 0x87, "CONNACK")
        log_in(broker, "alice", "alice")


@case("after SIGHUP a shared message goes past members that may not read it any more, whichever shard they are on")
def _():
    rest = "user bob\ntopic readwrite s/#\n"
    with Guarded("--set", "broker.shards=4", acl="user alice\ntopic readwrite s/#\ntopic write r\n" + rest) as broker:
        barred = [log_in(broker, "alice", f"barred{number}") for number in range(12)]
        for wire in barred:
            subscribe(wire, "$share/g/s/#")
        member = log_in(broker, "bob", "member")
        subscribe(member, "$share/g/s/#")
        broker.acl.write_text("user alice\ntopic readwrite other/#\n" + rest)
        broker.reload()
        until(lambda: all_refused(barred), "every shard has the new rules")
        sent = []
        for number in range(8):  # Publishers on other shards, too.
            publisher = log_in(broker, "bob", f"publisher{number}")
            for topic in range(10):
                sent.append(b"%d.%d" % (number, topic))
                publish(publisher, f"s/{topic}", sent[-1])
        equal(received(member, len(sent)), sorted(sent), "what its only member that may read it got")
        for wire in barred:
            wire.send(b"\xc0\0")
            equal(wire.packet(), (0xD0, b""), "nothing came to who may not read it")


@case("after SIGHUP a shared message goes past durable members that may not read it, connected or away; later they have their turn again")
def _():
    rest = "user bob\ntopic readwrite s/#\n"
    durable = {"clean": False, "properties": AN_HOUR}
    with Guarded("--set", "broker.shards=1", acl="user alice\ntopic readwrite s/#\ntopic write r\n" + rest) as broker:
        here, away = (log_in(broker, "alice", name, **durable) for name in ("here", "away"))
        member = log_in(broker, "bob", "member", **durable)
        for wire in (here, away, member):
            subscribe(wire, "$share/g/s/#")
        away.close()
        member.close()
        until(lambda: broker.metric("mqttd_connections") == 1, "two are away")
        broker.acl.write_text("user alice\ntopic readwrite other/#\n" + rest)
        broker.reload()
        until(lambda: all_refused([here]), "the shard has the new rules")
        publisher = log_in(broker, "bob", "publisher")
        sent = [b"%d" % number for number in range(20)]
        for payload in sent:
            publish(publisher, "s/t", payload)
        equal(broker.metric("mqttd_storage_messages_queued_total"), len(sent), "entries in queues")
        member = log_in(broker, "bob", "member", present=True, **durable)
        equal(received(member, len(sent)), sorted(sent), "what the only member that may read it got")
        member.close()
        until(lambda: broker.metric("mqttd_connections") == 2, "the member is away")
        broker.acl.write_text("user alice\ntopic readwrite s/#\ntopic write r\n" + rest)
        broker.reload()
        until(lambda: not all_refused([here]), "the shard has the old rules again")
        publish(publisher, "s/t", b"again")
        equal(received(here, 1), [b"again"], "its turn again")


def all_refused(wires):
    """Whether publishing to r is refused to each of them by now."""
    answers = []
    for wire in wires:
        wire.send(publish_packet("r", b"", qos=1, packet_id=9))
        answers.append(wire.packet())
    return all(first == PUBACK and body[2:] == b"\x87" for first, body in answers)


ROUNDS = 60_000  # A hash takes 20 ms or more.


@case("junk logins cost no hash once their clients have gone, many as few; who was here before gets in meanwhile")
def _():
    with Guarded("--set", "auth.hash_threads=1", "--set", "broker.connect_timeout=120s",
                 rounds=8 * ROUNDS) as broker:
        log_in(broker, "alice", "first").close()
        for junk in (50, 500):
            before = broker.metric("mqttd_password_hashes_total")
            gone = broker.metric("mqttd_password_hashes_abandoned_total")
            for number in range(junk):
                wire = Wire(broker.port)
                wire.send(connect_packet(f"junk{number}", user=f"nobody{number}", password="x"))
                wire.close()
                if number % 50 == 25:
                    log_in(broker, "alice", "again").close()
            until(lambda: not broker.metric("mqttd_connections"), "all are gone")
            hashed = broker.metric("mqttd_password_hashes_total") - before
            abandoned = broker.metric("mqttd_password_hashes_abandoned_total") - gone
            print(f"# of {junk} junk logins {hashed:.0f} were hashed, {abandoned:.0f} abandoned", flush=True)
            holds(hashed <= 5 + junk / 2, f"{hashed} hashes for {junk} junk logins")
        equal(broker.metric("mqttd_verified_logins_used_total"), 11, "logins without a hash")


@case("logins take turns: a flood that waits holds up itself, neither another address nor another name of its own")
def _():
    with Guarded("--set", "auth.hash_threads=1", "--set", "auth.hash_queue_max=64",
                 "--set", "broker.connect_timeout=120s", rounds=4 * ROUNDS) as broker:
        flood = []
        for number in range(80):
            flood.append(Wire(broker.port))
            flood[-1].send(connect_packet(f"flood{number}", user="nobody", password="x"))
        log_in(broker, "alice", "neighbour").close()
        holds(broker.metric("mqttd_password_hashes_waiting") > 30, "the flood still waits")


@case("sessions without end: a user has no more than its share, and at the bound those that hold nothing give way")
def _():
    keeps = {"clean": False, "properties": b"\x11\xff\xff\xff\xff"}
    limits = "    mqtt: {user_sessions_max: 20, session_expiry_interval_max: 1h}\nstorage: {sessions_max: 30}\n"
    with Guarded(more=limits) as broker:
        kept = log_in(broker, "bob", "kept", **keeps)
        subscribe(kept, "x")
        kept.close()
        for number in range(20):
            wire = Wire(broker.port)
            wire.send(connect_packet(f"junk{number}", user="alice", password="alice", **keeps))
            holds(AN_HOUR in wire.packet()[1], "CONNACK tells the interval in force")
            wire.close()
        log_in(broker, "alice", "junk20", 0x97, **keeps)
        log_in(broker, "alice", "junk0", present=True, **keeps).close()
        log_in(broker, "alice", "brief").close()
        for number in range(19):
            log_in(broker, "bob", f"more{number}", **keeps).close()
        log_in(broker, "bob", "kept", present=True, **keeps)
        equal(broker.metric("mqttd_sessions_gave_way_total"), 10, "sessions that gave way")
        equal(broker.metric('mqttd_connections_refused_total{cause="user_sessions_max"}'), 1, "refused")


if __name__ == "__main__":
    main()
