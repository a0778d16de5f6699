#!/usr/bin/env python3
"""mosquitto_pub and mosquitto_sub against the broker: the clients that most people try first."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import Broker, Certificates, Process, case, equal, holds, main, run, scratch, write  # noqa: E402

VERSIONS = ("5", "311", "31")

certificates = Certificates()
socket_path = scratch("mqttd.sock")
passwords = scratch("passwords")
acl = write("acl", """\
# What stands before the first user is for those without a name.
topic read news/#
pattern readwrite devices/%c/%u/#

user alice
topic readwrite home/#
topic deny home/secret
""")
run("mosquitto_passwd", "-c", "-b", passwords, "alice", "wonderland")
run("mosquitto_passwd", "-b", passwords, "bob", "builder")
run("mosquitto_passwd", "-H", "sha512", "-b", passwords, "carol", "singer")

broker = Broker(config=f"""\
data_dir: {{data}}
tls:
  cert_file: {certificates.server}
  key_file: {certificates.server_key}
  ca_file: {certificates.ca}
broker:
  sys_interval: 1s
listeners:
  - mqtt://127.0.0.1:0
  - mqtts://127.0.0.1:0
  - url: mqtts://127.0.0.1:0
    client_certificate: required
    use_identity_as_username: cn
    acl_file: {acl}
  - unix:{socket_path}
  - url: mqtt://127.0.0.1:0
    password_file: {passwords}
    acl_file: {acl}
  - url: mqtt://127.0.0.1:0
    allow_anonymous: true
    acl_file: {acl}
""")

TCP = ["-h", "127.0.0.1", "-p", broker.ports[0]]
TLS = ["-h", "localhost", "-p", broker.ports[1], "--cafile", certificates.ca]
MUTUAL = ["-h", "localhost", "-p", broker.ports[2], "--cafile", certificates.ca]
UNIX = ["--unix", socket_path]
RULES = ["-h", "127.0.0.1", "-p", broker.ports[5]]
USERS = ["-h", "127.0.0.1", "-p", broker.ports[4]]


def pub(*arguments, where=None, version="5", status=0, stdin=None):
    return run("mosquitto_pub", *(TCP if where is None else where), "-V", version, *arguments,
               status=status, stdin=stdin)


class Sub(Process):
    """mosquitto_sub, subscribed when the constructor returns (-d says so)."""

    def __init__(self, *arguments, where=None, version="5", wait=True):
        super().__init__(["stdbuf", "-oL", "mosquitto_sub", *(TCP if where is None else where), "-V", version,
                          "-d", "-F", "> %t %q %r %p", *arguments])
        if wait:
            self.out.wait_for(r"received SUBACK")

    def messages(self):
        return [line[2:].decode() for line in self.out.all() if line.startswith(b"> ")]

    def take(self, count):
        """The first `count` messages, as "topic qos retain payload"."""
        self.out.wait(lambda lines: sum(line.startswith(b"> ") for line in lines) >= count,
                      f"{count} messages")
        return self.messages()[:count]

    def ended_with(self, *wanted):
        equal(self.wait(), 0, "exit status of mosquitto_sub")
        equal(self.messages(), list(wanted), "messages")


def round_trip(where, version, topic):
    for qos in "012":
        with_qos = f"{topic}/{qos}"
        sub = Sub("-t", with_qos, "-q", qos, "-C", "1", where=where, version=version)
        pub("-t", with_qos, "-m", f"hello {qos}", "-q", qos, where=where, version=version)
        sub.ended_with(f"{with_qos} {qos} 0 hello {qos}")


for v in VERSIONS:
    for transport, place in (("TCP", TCP), ("TLS", TLS), ("a unix socket", UNIX)):
        @case(f"-V {v} over {transport}: QoS 0, 1 and 2 arrive once with their QoS")
        def _(version=v, where=place):
            round_trip(where, version, f"basic/{version}/{where[1]}/{broker.ports[0]}")

    @case(f"-V {v}: a retained message reaches later subscribers with its flag, until an empty one")
    def _(version=v):
        topic = f"retained/{version}"
        pub("-t", topic, "-m", "kept", "-q", "1", "-r", version=version)
        Sub("-t", f"retained/{version}/#", "-q", "1", "-C", "1", version=version).ended_with(f"{topic} 1 1 kept")
        pub("-t", topic, "-n", "-r", version=version)
        sub = Sub("-t", topic, "-C", "1", version=version)
        pub("-t", topic, "-m", "fresh", version=version)
        sub.ended_with(f"{topic} 0 0 fresh")

    @case(f"-V {v}: the will of a killed client is published, that of a leaving one is not")
    def _(version=v):
        topic = f"will/{version}"
        watcher = Sub("-t", f"{topic}/#", "-q", "2", "-C", "2", version=version)
        leaving = Sub("-t", f"elsewhere/{version}", "-E", "--will-topic", f"{topic}/left", "--will-payload", "no",
                      version=version)
        equal(leaving.wait(), 0, "exit status with -E")
        victim = Sub("-t", f"elsewhere/{version}", "--will-topic", f"{topic}/killed", "--will-payload", "gone",
                     "--will-qos", "2", "--will-retain", version=version)
        victim.signal(signal.SIGKILL)
        watcher.take(1)
        pub("-t", f"{topic}/marker", "-m", "end", version=version)
        watcher.ended_with(f"{topic}/killed 2 0 gone", f"{topic}/marker 0 0 end")
        Sub("-t", f"{topic}/killed", "-C", "1", "-q", "2", version=version).ended_with(f"{topic}/killed 2 1 gone")

    @case(f"-V {v}: a persistent session gets in order what came while its client was away")
    def _(version=v):
        client, topic = f"away{version}", f"away/{version}"
        identity = ["-c", "-i", client, "-q", "2", "-t", f"{topic}/#"]
        Sub(*identity, "-E", version=version).wait()
        for number in range(1, 7):
            pub("-t", f"{topic}/{number % 2}", "-m", str(number), "-q", str(number % 3), version=version)
        sub = Sub(*identity, "-C", "4", version=version, wait=False)
        equal(sub.wait(), 0, "exit status")
        # QoS 0 is not kept for whom it does not reach. The client shows QoS 2 when it is released, and so later.
        for qos, numbers in ((1, (1, 4)), (2, (2, 5))):
            equal([message for message in sub.messages() if message.split()[1] == str(qos)],
                  [f"{topic}/{number % 2} {qos} 0 {number}" for number in numbers], f"messages of QoS {qos}")

    @case(f"-V {v}: 512 KiB arrive unchanged over TCP and TLS")
    def _(version=v):
        payload = bytes(range(33, 125)) * (512 * 1024 // 92) + b"!" * (512 * 1024 % 92)
        equal(len(payload), 512 * 1024, "length")
        for where in (TCP, TLS):
            topic = f"large/{version}"
            sub = Sub("-t", topic, "-q", "2", "-C", "1", where=where, version=version)
            pub("-t", topic, "-q", "2", "-s", where=where, version=version, stdin=payload)
            equal(sub.wait(), 0, "exit status")
            equal(sub.messages(), [f"{topic} 2 0 {payload.decode()}"], "the message")

    @case(f"-V {v}: topics in UTF-8 are matched level by level")
    def _(version=v):
        sub = Sub("-t", f"{version}/ünï/+/温度/#", "-C", "2", version=version)
        pub("-t", f"{version}/ünï/küche/湿度", "-m", "not this", version=version)
        pub("-t", f"{version}/ünï/küche/温度", "-m", "21.5 °C", version=version)
        pub("-t", f"{version}/ünï/😀/温度/x", "-m", "✓", version=version)
        sub.ended_with(f"{version}/ünï/küche/温度 0 0 21.5 °C", f"{version}/ünï/😀/温度/x 0 0 ✓")

    @case(f"-V {v}: $SYS/# has the usual tree, and # does not contain it")
    def _(version=v):
        sub = Sub("-t", "$SYS/#", version=version)
        for topic in ("broker/version", "broker/uptime", "broker/clients/connected", "broker/messages/received",
                      "broker/bytes/sent", "broker/retained messages/count", "broker/subscriptions/count"):
            sub.out.wait_for(rf"^> \$SYS/{topic} ")
        sub.kill()
        everything = Sub("-t", "#", "-q", "1", version=version)
        pub("-t", f"sys/{version}", "-m", "marker", "-q", "1", version=version)
        everything.out.wait_for(rf"^> sys/{version} ")
        holds(not any(line.startswith("$SYS") for line in everything.messages()), "# matched $SYS")
        everything.kill()


@case("-V 5: members of a $share group get each message once between them")
def _():
    members = [Sub("-t", "$share/crew/work/#", "-q", "1") for _ in range(3)]
    witness = Sub("-t", "work/#", "-q", "1")
    pub("-t", "work/x", "-l", "-q", "1", stdin=b"".join(b"%d\n" % number for number in range(60)))
    witness.take(60)

    def taken():
        return [message for member in members for message in member.messages()]

    witness.out.wait(lambda _: len(taken()) >= 60, "60 messages between the members")
    members[0].signal(signal.SIGTERM)  # It leaves; the others take its share.
    members[0].wait()
    pub("-t", "work/x", "-l", "-q", "1", stdin=b"".join(b"%d\n" % number for number in range(60, 100)))
    witness.out.wait(lambda _: len(taken()) >= 100, "100 messages between the members")
    witness.take(100)
    equal(sorted(taken()), sorted(f"work/x 1 0 {number}" for number in range(100)), "messages of all members")
    equal([len(member.messages()) for member in members], [20, 40, 40], "messages of each, taking turns")
    for process in (*members, witness):
        process.kill()


@case("-V 5: a retained message with an expiry is gone after it, and says what is left before")
def _():
    pub("-t", "expiring/long", "-m", "x", "-r", "-q", "1", "-D", "PUBLISH", "message-expiry-interval", "1000")
    sub = Process(["mosquitto_sub", *TCP, "-V", "5", "-t", "expiring/#", "-C", "1", "-F", "%E"])
    equal(sub.wait(), 0, "exit status")
    holds(990 <= int(sub.out.text()) <= 1000, f"remaining: {sub.out.text()}")


@case("mTLS: the certificate's common name is the user name; without one the handshake fails")
def _():
    certificate, key = certificates.issue("alice")
    mine = [*MUTUAL, "--cert", certificate, "--key", key]
    for version in VERSIONS:
        sub = Sub("-t", "home/#", "-q", "1", "-C", "1", where=mine, version=version)
        pub("-t", "home/kitchen", "-m", version, "-q", "1", where=mine, version=version)
        sub.ended_with(f"home/kitchen 1 0 {version}")
        device = Sub("-i", "d1", "-t", "devices/d1/alice/#", "-C", "1", where=mine, version=version)
        pub("-i", f"other{version}", "-t", "devices/d1/alice/x", "-m", "not mine", where=mine, version=version)
        pub("-t", "devices/d1/alice/x", "-m", version, version=version)  # Anonymous on the first listener: no rules.
        device.ended_with(f"devices/d1/alice/x 0 0 {version}")
    refused = pub("-t", "home/kitchen", "-m", "x", where=MUTUAL, status=None)
    holds(refused.wait() != 0, "a client without a certificate was let in")
    foreign = Certificates()
    certificate, key = foreign.issue("alice")
    refused = pub("-t", "home/kitchen", "-m", "x", where=[*MUTUAL, "--cert", certificate, "--key", key], status=None)
    holds(refused.wait() != 0, "a certificate of another authority was accepted")


@case("TLS: a client that does not know the authority refuses, and the broker goes on")
def _():
    stranger = Certificates()
    failed = pub("-t", "x", "-m", "x", where=["-h", "localhost", "-p", broker.ports[1], "--cafile", stranger.ca],
                 status=None)
    holds(failed.wait() != 0, "the client should have refused the certificate")
    round_trip(TLS, "5", "after/refusal")


@case("password file: right passwords of both hash formats come in, others are told why not")
def _():
    for version, bad_password, not_authorized in (("5", 134, 135), ("311", 4, 5), ("31", 4, 5)):
        for user, password in (("alice", "wonderland"), ("carol", "singer")):
            pub("-u", user, "-P", password, "-t", "x", "-m", "x", where=USERS, version=version)
        for wrong in (["-u", "alice", "-P", "builder"], ["-u", "nobody", "-P", "wonderland"], ["-u", "alice"]):
            pub(*wrong, "-t", "x", "-m", "x", where=USERS, version=version, status=bad_password)
        pub("-t", "x", "-m", "x", where=USERS, version=version, status=not_authorized)


@case("ACL file: reading, writing, denial and patterns hold as mosquitto documents them")
def _():
    alice = ["-u", "alice", "-P", "wonderland"]
    bob = ["-u", "bob", "-P", "builder"]
    refused = Process(["mosquitto_sub", *USERS, "-V", "5", *bob, "-t", "home/#", "-d"])
    refused.out.wait_for(r"Subscribed \(mid: 1\): 135")
    refused.kill()
    refused = Process(["mosquitto_sub", *USERS, "-V", "311", *bob, "-t", "home/#", "-d"])
    refused.out.wait_for(r"Subscribed \(mid: 1\): 128")
    refused.kill()
    sub = Sub(*alice, "-t", "home/#", "-q", "1", "-C", "1", where=USERS)
    denied = pub(*bob, "-t", "home/door", "-m", "open", "-q", "1", "-d", where=USERS)
    holds("Not authorized" in denied.out.text() + denied.err.text(), denied.out.text() + denied.err.text())
    pub(*bob, "-t", "home/door", "-m", "open", "-q", "1", where=USERS, version="311")  # 3.1.1 cannot say no.
    pub(*alice, "-t", "home/secret", "-m", "no", "-q", "1", where=USERS)
    pub(*alice, "-t", "home/door", "-m", "shut", "-q", "1", where=USERS)
    sub.ended_with("home/door 1 0 shut")
    reader = Sub("-t", "news/#", "-C", "1", where=RULES)
    pub("-t", "news/x", "-m", "fake", where=RULES)
    pub("-t", "news/x", "-m", "true")
    reader.ended_with("news/x 0 0 true")
    device = Sub(*bob, "-i", "d7", "-t", "devices/d7/bob/#", "-C", "1", where=USERS)
    pub(*bob, "-i", "d8", "-t", "devices/d7/bob/x", "-m", "of d8", where=USERS)
    pub(*alice, "-i", "d7a", "-t", "devices/d7/bob/x", "-m", "of alice", where=USERS)
    pub("-t", "devices/d7/bob/x", "-m", "of the first listener")
    device.ended_with("devices/d7/bob/x 0 0 of the first listener")


@case("mosquitto_rr: request and response meet through the response topic")
def _():
    responder = Process(["stdbuf", "-oL", "mosquitto_sub", *TCP, "-V", "5", "-d", "-t", "rr/request", "-C", "1",
                         "-F", "> %R %D %p"])
    responder.out.wait_for("received SUBACK")
    requester = Process(["mosquitto_rr", *TCP, "-V", "5", "-t", "rr/request", "-e", "rr/response", "-m", "ping",
                         "-D", "PUBLISH", "correlation-data", "c-1"])
    equal(responder.wait(), 0, "exit status of the responder")
    equal([line for line in responder.out.all() if line.startswith(b"> ")], [b"> rr/response c-1 ping"], "request")
    pub("-t", "rr/response", "-m", "pong", "-D", "PUBLISH", "correlation-data", "c-1")
    equal(requester.wait(), 0, "exit status of the requester")
    equal(requester.out.text(), "pong", "response")


@case("sessions and retained messages are there after kill -9 and a new start")
def _():
    identity = ["-c", "-i", "survivor", "-q", "1", "-t", "survive/#"]
    with Broker() as own:
        where = ["-h", "127.0.0.1", "-p", own.port]
        Sub(*identity, "-E", where=where).wait()
        pub("-t", "survive/1", "-m", "queued", "-q", "1", where=where)
        pub("-t", "kept/1", "-m", "retained", "-q", "1", "-r", where=where)
        own.kill()
        own.start()
        where = ["-h", "127.0.0.1", "-p", own.port]
        Sub(*identity, "-C", "1", where=where, wait=False).ended_with("survive/1 1 0 queued")
        Sub("-t", "kept/#", "-C", "1", where=where).ended_with("kept/1 0 1 retained")


main()
