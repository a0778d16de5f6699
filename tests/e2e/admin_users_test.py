#!/usr/bin/env python3
"""Users and access rules by the admin API: at once, after a restart, and beside the files of mosquitto."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import MQTTCTL, Admin, golden, mqtt_client
from e2e import Broker, Wire, case, connect_packet, equal, holds, main, publish_packet, run, subscribe_packet, write


def hashed(user, password):
    """A line of a password file."""
    file = Path(write(f"of-{user}", ""))
    run(MQTTCTL, "passwd", file, user, stdin=password.encode() + b"\n")
    return file.read_text()


passwords = Path(write("passwords", hashed("bob", "of the file")))
rules = Path(write("rules", "user bob\ntopic read house/#\nuser alice\ntopic read garden/#\n"))
broker = Broker("--set", f"auth.password_file={passwords}", "--set", f"auth.acl_file={rules}")
admin = Admin(broker)


def login(name, user=None, password=None, to=None):
    """What CONNACK says."""
    with Wire(("127.0.0.1", (to or broker).port)) as connection:
        connection.send(connect_packet(name, user=user, password=password))
        return connection.packet()[1][1]


def add(user, password, verb="add", *more, status=0):
    return admin.ctl("user", verb, user, *more, stdin=password.encode() + b"\n", status=status)


def connected(name, user, password, to=None):
    return mqtt_client(to or broker, name, user=user, password=password)


def subscribe(client, filter_):
    client.send(subscribe_packet(1, filter_, 1))
    first, body = client.packet()
    equal(first, 0x90, "SUBACK")
    return body[-1]


def publish(client, topic):
    """The Reason Code of PUBACK."""
    client.send(publish_packet(topic, b"x", qos=1, packet_id=7))
    first, body = client.packet()
    equal(first, 0x40, "PUBACK")
    return body[2] if len(body) > 2 else 0


@case("a user is added, has another password, and is removed: at once")
def _():
    equal(login("c", "alice", "secret"), 0x86, "nobody knows alice")
    add("alice", "secret")
    equal(login("c", "alice", "secret"), 0, "added")
    equal(login("c", "alice", "wrong"), 0x86, "another password")
    holds("there is a user" in add("alice", "secret", status=6).err.text(), "twice")
    there = connected("there", "alice", "secret")
    add("alice", "new", "passwd")
    equal((login("c", "alice", "secret"), login("c", "alice", "new")), (0x86, 0), "another password")
    there.send(b"\xc0\x00")
    equal(there.packet()[0], 0xD0, "who is connected stays")
    add("alice", "newer", "passwd", "--disconnect")
    first, body = there.packet()
    equal((first, body[:1]), (0xE0, b"\x98"), "and goes when it is asked for")
    golden("user_list", admin.json("user", "list"))
    equal(admin.json("user", "list", "--name", "b*"), [], "filter")
    gone = connected("gone", "alice", "newer")
    equal(admin.json("user", "remove", "alice")["disconnected"], 1, "disconnected")
    equal(gone.packet()[1][0], 0x87, "DISCONNECT")
    equal(login("c", "alice", "newer"), 0x86, "removed")
    holds("there is no user" in admin.text("user", "remove", "alice", status=5), "again")
    broker.log.wait_for(r'admin who=local .*what=Users/Add request="?name: .*alice.*outcome=done')
    holds("$7$" not in broker.log.text() and "secret" not in broker.log.text(), "no password, no hash in the log")


@case("a user of the file: another password for a while, never removed; the file goes on")
def _():
    equal(login("c", "bob", "of the file"), 0, "by the file")
    holds("stands in a password file" in admin.text("user", "remove", "bob", status=6), "not here")
    add("bob", "of run time", "passwd")
    equal((login("c", "bob", "of the file"), login("c", "bob", "of run time")), (0x86, 0), "that of run time goes first")
    admin.text("user", "remove", "bob")
    equal((login("c", "bob", "of the file"), login("c", "bob", "of run time")), (0, 0x86), "and the file's counts again")
    passwords.write_text(passwords.read_text() + hashed("carol", "of the file"))
    broker.reload()
    equal(login("c", "carol", "of the file"), 0, "the file is read again")


@case("rules of run time add up with those of the file, also for who is connected")
def _():
    add("alice", "secret")
    alice = connected("alice-1", "alice", "secret")
    equal((subscribe(alice, "garden/#"), subscribe(alice, "kitchen/#")), (1, 0x87), "by the file")
    equal(publish(alice, "kitchen/light"), 0x87, "PUBACK")
    admin.text("acl", "add", "--user", "alice", "readwrite", "kitchen/#")
    equal(publish(alice, "kitchen/light"), 0x10, "PUBACK")
    equal(subscribe(alice, "kitchen/#"), 1, "by the rule")
    admin.text("acl", "add", "--everyone", "write", "state/%c")
    equal((publish(alice, "state/alice-1"), publish(alice, "state/other")), (0x10, 0x87), "a pattern")
    admin.text("acl", "add", "--user", "alice", "deny", "garden/pond")
    equal(admin.json("acl", "check", "garden/pond", "--user", "alice")["receive"], False, "denied by the other kind")
    equal(admin.json("acl", "check", "garden/tree", "--user", "alice")["receive"], True, "as the file says")
    golden("acl_list", admin.json("acl", "list"))
    equal(len(admin.json("acl", "list", "--user", "alice")), 2, "a user's")
    holds("such a rule already" in admin.text("acl", "add", "--user", "alice", "deny", "garden/pond", status=6), "twice")
    holds("whole level" in admin.text("acl", "add", "--everyone", "read", "a%c/b", status=1), "no filter")
    admin.text("acl", "remove", "--user", "alice", "readwrite", "kitchen/#")
    equal(publish(alice, "kitchen/light"), 0x87, "PUBACK")
    holds("no such rule" in admin.text("acl", "remove", "--user", "alice", "read", "garden/#", status=5), "of the file")
    alice.close()


@case("all of it holds after a restart, and after kill -9")
def _():
    for end in (lambda: equal(broker.terminate(), 0, "exit status"), lambda: broker.kill()):
        end()
        broker.start()
        alice = connected("alice-1", "alice", "secret")
        equal((publish(alice, "state/alice-1"), publish(alice, "kitchen/light")), (0x10, 0x87), "rules")
        alice.close()
    mode = os.stat(Path(broker.data_dir) / "admin" / "access").st_mode & 0o777
    equal(mode, 0o600, "mode of the file")


@case("a broker without files: the first user, and the default")
def _():
    open_broker = Broker("--set", "auth.allow_anonymous=true")
    open_admin = Admin(open_broker)
    equal(login("c", "anybody", "x", to=open_broker), 0, "as before")
    said = open_admin.ctl("user", "add", "dave", stdin=b"secret\n")
    holds("has no password_file" in said.err.text(), said.err.text())
    equal([login("c", *who, to=open_broker) for who in (("dave", "secret"), ("dave", "x"), ("anybody", "x"), ())], [0, 0x86, 0x86, 0], "logins")
    dave = connected("d", "dave", "secret", to=open_broker)
    equal(publish(dave, "a/b"), 0x10, "everything is allowed")
    said = open_admin.ctl("acl", "add", "--user", "dave", "readwrite", "a/#")
    holds("changes nothing until" in said.err.text(), said.err.text())
    open_admin.text("acl", "add", "--anonymous", "deny", "b/#")
    equal((publish(dave, "b/c"), publish(mqtt_client(open_broker, "e"), "b/c")), (0x10, 0x87), "only what is denied is denied")
    equal(subscribe(mqtt_client(open_broker, "f"), "b/+"), 0x87, "SUBACK")
    equal(subscribe(mqtt_client(open_broker, "f"), "+/c"), 1, "SUBACK")
    open_admin.text("acl", "default", "deny")
    equal((publish(dave, "b/c"), publish(dave, "a/b")), (0x87, 0x10), "what no rule grants is denied")
    equal(open_admin.text("acl", "default").strip(), "deny", "default")
    open_admin.text("acl", "default", "allow")
    equal(publish(dave, "b/c"), 0x10, "as before")
    open_admin.text("user", "remove", "dave")
    equal(dave.packet()[1][0], 0x87, "DISCONNECT")
    equal(login("c", "anybody", "x", to=open_broker), 0, "as before")


@case("only an admin changes who may do what")
def _():
    access = write("access", "token watcher viewer 0123456789abcdef\ntoken deploy operator 0123456789abcdeg\n")
    guarded = Broker("--set", f"admin.access_file={access}")
    for token, method, status in (("0123456789abcdef", "Users/List", 200), ("0123456789abcdef", "Bans/Set", 403), ("0123456789abcdeg", "Bans/Set", 200),
                                  ("0123456789abcdeg", "Users/Add", 403), ("0123456789abcdeg", "Acl/Add", 403)):
        body = {"ban": {"clientId": "x"}} if method == "Bans/Set" else {}
        equal(Admin(guarded).post(method, body, {"Authorization": f"Bearer {token}"})[0], status, f"{token} {method}")
    guarded.log.wait_for(r"admin who=deploy role=operator .*what=Users/Add .*needs admin")


main()
