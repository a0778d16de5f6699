#!/usr/bin/env python3
"""mqttctl pub and sub beside mosquitto_pub and mosquitto_sub: the same input, the same output and exit status."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import Broker, Certificates, MQTTD_BIN, Process, case, die_with_parent, equal, holds, main, run, scratch, write  # noqa: E402
from mosquitto_broker import Mosquitto  # noqa: E402

MQTTCTL = os.environ.get("MQTTCTL_BIN") or str(Path(MQTTD_BIN).with_name("mqttctl"))
PUBS = {"mosquitto": ["mosquitto_pub"], "mqttctl": [MQTTCTL, "pub"]}
SUBS = {"mosquitto": ["mosquitto_sub"], "mqttctl": [MQTTCTL, "sub"]}

certificates = Certificates()
socket_path = scratch("mqttd.sock")
passwords = scratch("passwords")
run("mosquitto_passwd", "-c", "-b", passwords, "alice", "wonderland")
acl = write("acl", "user alice\ntopic readwrite home/#\n")
broker = Broker(config=f"""\
data_dir: {{data}}
tls:
  cert_file: {certificates.server}
  key_file: {certificates.server_key}
  ca_file: {certificates.ca}
listeners:
  - mqtt://127.0.0.1:0
  - mqtts://127.0.0.1:0
  - ws://127.0.0.1:0/mqtt
  - unix:{socket_path}
  - url: mqtt://127.0.0.1:0
    password_file: {passwords}
    acl_file: {acl}
  - url: mqtts://127.0.0.1:0
    client_certificate: required
  - mqtts://127.0.0.2:0
""")
mosquitto = Mosquitto()
HERE = ["-h", "127.0.0.1", "-p", broker.ports[0]]
USERS = ["-h", "127.0.0.1", "-p", broker.ports[4]]


def publish(who, *arguments, where=None, status=0, stdin=None):
    return run(*PUBS[who], *(HERE if where is None else where), *arguments, status=status, stdin=stdin)


def subscribe(who, *arguments, where=None, status=0):
    """Runs to its end; what it printed, as one piece."""
    process = run(*SUBS[who], *(HERE if where is None else where), *arguments, status=status)
    return process.out.text()


class Sub(Process):
    """A subscriber that has its subscription when the constructor returns."""

    def __init__(self, who, *arguments, where=None):
        by_line = ["stdbuf", "-oL"] if who == "mosquitto" else []  # What it preloads, AddressSanitizer does not take.
        super().__init__([*by_line, *SUBS[who], *(HERE if where is None else where), "-d", *arguments])
        self.out.wait_for(r"received SUBACK")

    def messages(self):
        return [line[2:].decode() for line in self.out.all() if line.startswith(b"> ")]


def without_time(text):
    return re.sub(r'"tst":\s*"[^"]*"', '"tst":"TIME"', text)


def same(what, function):
    """The same from both; returns it."""
    got = {who: function(who) for who in ("mosquitto", "mqttctl")}
    equal(got["mqttctl"], got["mosquitto"], what)
    return got["mqttctl"]


FORMATS = ["%t", "[%10t]", "[%-10t]", "[%010t]", "[%2.2t]", "[%.2t]", "[%10.2t]", "%A", "[%5A]", "%C", "[%12.4C]",
           "%D", "[%4F]", "%F", "%l", "[%04l]", "[%-4l]", "[%4l]", "%p", "%q", "%r", "%R", "[%6.2R]", "[%-6R]",
           "%S", "[%4S]", "%P", "%x", "%X", "%%", "@@", r"a\tb\n\\c\a\e\r\v|", "%t|%q|%r|%p", "@Y", "[%-30t]x"]


@case("every format string prints the same")
def _():
    publish("mosquitto", "-V", "5", "-t", "f/x", "-r", "-q", "1", "-m", "hé\"llo{}",
            "-D", "PUBLISH", "content-type", "text/plain", "-D", "PUBLISH", "user-property", "a", "1",
            "-D", "PUBLISH", "user-property", "a", "2", "-D", "PUBLISH", "response-topic", "r/t",
            "-D", "PUBLISH", "correlation-data", "cd", "-D", "PUBLISH", "payload-format-indicator", "1")
    for format_ in FORMATS:
        same(format_, lambda who: subscribe(who, "-V", "5", "-q", "2", "-t", "f/x", "-C", "1", "-F", format_))
    for version in ("5", "311"):
        for more in ((), ("--pretty",)):
            text = same("%j", lambda who: without_time(
                subscribe(who, "-V", version, "-q", "2", "-t", "f/x", "-C", "1", "-F", "%j", *more)))
            equal(json.loads(text)["payload"], "hé\"llo{}", "payload as JSON")
    publish("mosquitto", "-t", "f/json", "-r", "-m", '{"a":[1,2.5,"x"],"b":{"c":null}}')
    for more in ((), ("--pretty",)):
        same("%J", lambda who: without_time(subscribe(who, "-t", "f/json", "-C", "1", "-F", "%J", *more)))
    for format_ in ("%U", "@Y-@m-@dT@H:@M:@S.@N", "%I"):
        shape = same(format_, lambda who: re.sub(r"\d", "9", subscribe(who, "-t", "f/x", "-C", "1", "-F", format_)))
        holds("9" in shape, f"{format_} prints a time: {shape}")


@case("payloads come out byte for byte, with -v, -N, and neither")
def _():
    payload = bytes(range(256)) * 3
    for who in PUBS:
        publish(who, "-t", f"raw/{who}", "-r", "-s", stdin=payload)
        for options in ((), ("-v",), ("-N",), ("-N", "-v")):
            outputs = {}
            for sub in SUBS:
                process = run(*SUBS[sub], *HERE, "-t", f"raw/{who}", "-C", "1", *options)
                outputs[sub] = process.out.all()
            equal(outputs["mqttctl"], outputs["mosquitto"], f"{who} {options}")
            if options == ("-N",):
                equal(b"\n".join(outputs["mqttctl"]), payload, "payload")


@case("-m, -n, -s, -l, -f, -r, -q and --repeat publish the same")
def _():
    file = write("payload", "from a file\n")
    ways = [(("-m", "word"), None), (("-m", ""), None), (("-n",), None), (("-s",), b"all\nof it\n"),
            (("-l",), b"one\ntwo\n\nno end"), (("-f", file), None), (("-m", "-x", "--repeat", "3"), None),
            (("-m", '["a"]'), None), (("-m", "x", "-q", "1", "-r"), None), (("-l", "-q", "2"), b"a\nb\n")]
    for arguments, stdin in ways:
        def seen(who):
            sub = Sub("mosquitto", "-t", f"way/{who}", "-q", "2", "-F", "> %q %r [%p]")
            publish(who, "-t", f"way/{who}", *arguments, stdin=stdin)
            # At QoS 2, which is told after its PUBREL: so whatever came before is told before.
            publish("mosquitto", "-t", f"way/{who}", "-m", "the end", "-q", "2")
            sub.out.wait_for(r"^> 2 0 \[the end\]")
            sub.kill()
            return sub.messages()
        same(f"pub {arguments}", seen)


@case("many lines arrive in order, none missing")
def _():
    lines = [f"line {number}" for number in range(5000)]
    sub = Sub("mqttctl", "-V", "5", "-t", "many", "-q", "1", "-F", "> %p", "-C", len(lines))
    publish("mqttctl", "-V", "5", "-t", "many", "-q", "1", "-l", stdin="\n".join(lines).encode())
    equal(sub.wait(), 0, "exit status")
    equal(sub.messages(), lines, "lines")


@case("MQTT 5 properties of every packet arrive as with mosquitto_pub")
def _():
    properties = ["-D", "PUBLISH", "content-type", "text/plain", "-D", "PUBLISH", "response-topic", "r",
                  "-D", "PUBLISH", "correlation-data", "c", "-D", "PUBLISH", "user-property", "k", "v w",
                  "-D", "PUBLISH", "user-property", "k", "-D", "-D", "PUBLISH", "message-expiry-interval", "100000",
                  "-D", "PUBLISH", "payload-format-indicator", "1",
                  "-D", "CONNECT", "user-property", "a", "b", "-D", "CONNECT", "receive-maximum", "10",
                  "-D", "CONNECT", "topic-alias-maximum", "5", "-D", "CONNECT", "session-expiry-interval", "5",
                  "-D", "DISCONNECT", "user-property", "x", "y"]

    def seen(who):
        sub = Sub("mosquitto", "-V", "5", "-t", f"prop/{who}", "-q", "1", "-F", "> %C %R %D %P %F %p",
                  "-D", "SUBSCRIBE", "user-property", "a", "b")
        publish(who, "-t", f"prop/{who}", "-m", "x", "-q", "1", *properties)
        sub.out.wait_for(r"^> ")
        sub.kill()
        return sub.messages()
    same("properties", seen)

    def subscription(who):
        sub = Sub(who, "-V", "5", "-t", "prop/sub", "-F", "> %S %p", "-D", "SUBSCRIBE", "subscription-identifier", "7",
                  "-D", "SUBSCRIBE", "user-property", "a", "b")
        publish("mqttctl", "-V", "5", "-t", "prop/sub", "-m", "x", "-q", "1")
        sub.out.wait_for(r"^> ")
        sub.kill()
        return sub.messages()
    equal(same("subscription", subscription), ["7 x"], "subscription identifier")


@case("-C, -W, -E, -R, -T, --retained-only and --remove-retained end with the same output and status")
def _():
    for number in range(3):
        publish("mosquitto", "-t", f"end/{number}", "-r", "-q", "1", "-m", str(number))
    for arguments, status in (
            (("-t", "end/#", "-C", "2", "-v"), 0), (("-t", "end/#", "-C", "5", "-W", "1", "-v"), 27),
            (("-t", "end/#", "-R", "-W", "1", "-v"), 27), (("-t", "end/#", "-E"), 0),
            (("-t", "end/#", "-T", "end/1", "-T", "end/0", "-C", "1", "-v"), 0),
            (("-t", "end/#", "--retained-only", "-W", "1", "-v"), 27),
            (("-t", "end/1", "-t", "end/2", "-C", "2", "-v"), 0),
            (("-t", "end/#", "-U", "end/1", "-W", "1", "-v"), 27)):
        same(f"sub {arguments}", lambda who: sorted(subscribe(who, *arguments, status=status).splitlines()))
    publish("mosquitto", "-t", "gone/x", "-r", "-q", "1", "-m", "x")
    subscribe("mqttctl", "-t", "gone/x", "--remove-retained", "-C", "1")  # mosquitto_sub does not end with this.
    equal(subscribe("mosquitto", "-t", "gone/x", "-W", "1", status=27), "", "what is left")


@case("mistakes and refusals end with the same status")
def _():
    nobody = ["-h", "127.0.0.1", "-p", "1"]
    for arguments, where, stdin in (
            (("-t", "a/#", "-m", "x"), HERE, None), (("-m", "x"), HERE, None), (("-t", "x"), HERE, None),
            (("-t", "x", "-m", "y", "-n"), HERE, None), (("-t", "x", "-m", "y", "-q", "3"), HERE, None),
            (("-t", "x", "-m", "y", "--bogus"), HERE, None), (("-t", "x", "-m", "y", "-D", "PUBLISH", "no", "1"), HERE, None),
            (("-t", "x", "-f", "/nonexistent"), HERE, None), (("-t", "x", "-m", "y"), nobody, None),
            (("-t", "x", "-m", "y", "-c"), HERE, None), (("-t", "x", "-m", "y", "-i", "a", "-I", "b"), HERE, None),
            (("-t", "x", "-m", "y", "-V", "4"), HERE, None), (("-t", "x", "-m", "y", "-k", "3"), HERE, None),
            (("-t", "x", "-m", "y"), USERS, None), (("-t", "x", "-m", "y", "-V", "5"), USERS, None),
            (("-t", "x", "-l"), HERE, b""), (("-t", "x", "-m", "y", "-h", "nowhere.invalid"), [], None)):
        same(f"pub {arguments}", lambda who: run(*PUBS[who], *where, *arguments, stdin=stdin, status=None).wait())
    for arguments, where in (
            (("-t", "a/#/b"), HERE), ((), HERE), (("-t", "x", "-C", "0"), HERE), (("-t", "x", "-R", "--retained-only"), HERE),
            (("-t", "x", "-F", "%"), HERE), (("-t", "x", "-F", "%z"), HERE), (("-t", "x", "-F", "a\\q"), HERE),
            (("-t", "x", "-F", "@"), HERE), (("-t", "x", "-c"), HERE), (("-t", "x"), USERS), (("-t", "x", "-V", "5"), USERS),
            (("-t", "x"), nobody)):
        same(f"sub {arguments}", lambda who: run(*SUBS[who], *where, *arguments, status=None).wait())


@case("-u, -P, -L, --unix, --ws and TLS reach the broker")
def _():
    wheres = [(*USERS, "-u", "alice", "-P", "wonderland"),
              ("-L", f"mqtt://alice:wonderland@127.0.0.1:{broker.ports[4]}"),
              ("--unix", socket_path), ("-h", "127.0.0.1", "--ws", "-p", broker.ports[2]),
              ("-L", f"ws://127.0.0.1:{broker.ports[2]}/mqtt"),
              ("-h", "localhost", "-p", broker.ports[1], "--cafile", certificates.ca),
              ("-h", "127.0.0.1", "-A", "127.0.0.1", "-p", broker.ports[0])]
    certificate, key = certificates.issue("device")
    wheres.append(("-h", "localhost", "-p", broker.ports[5], "--cafile", certificates.ca, "--cert", certificate,
                   "--key", key, "--tls-version", "tlsv1.3"))
    for version in ("5", "311", "31"):
        for number, where in enumerate(wheres):
            topic = f"home/{version}/{number}"
            sub = Sub("mqttctl", "-V", version, "-t", topic, "-C", "1", "-q", "1", "-F", "> %p", where=where)
            publish("mqttctl", "-V", version, "-t", topic, "-m", "hello", "-q", "1", where=where)
            equal(sub.wait(), 0, "exit status")
            equal(sub.messages(), ["hello"], f"message by {where}")
    url = f"mqtt://127.0.0.1:{broker.ports[0]}/in/the/url"
    sub = Sub("mqttctl", "-L", url, "-C", "1", "-F", "> %t", where=[])
    publish("mqttctl", "-L", url, "-m", "x", where=[])
    sub.wait()
    equal(sub.messages(), ["in/the/url"], "topic of the URL")


@case("--insecure accepts a name that is not the broker's, and still no authority that is not trusted")
def _():
    by_another_name = ["-h", "127.0.0.2", "-p", broker.ports[6]]
    other = Certificates()
    for ca, more in ((certificates.ca, ()), (certificates.ca, ("--insecure",)), (other.ca, ("--insecure",))):
        # mosquitto_pub has a status of its own for a certificate that it does not trust.
        same(f"{ca} {more}", lambda who: publish(who, "-t", "x", "-m", "y", "--cafile", ca, *more,
                                                 where=by_another_name, status=None).wait() == 0)


@case("a will is published when the subscriber is killed")
def _():
    for who in SUBS:
        watcher = Sub("mosquitto", "-t", f"will/{who}", "-q", "2", "-C", "1", "-F", "> %q %r %p")
        victim = Sub(who, "-t", "elsewhere", "--will-topic", f"will/{who}", "--will-payload", "gone", "--will-qos", "2",
                     "--will-retain")
        victim.signal(signal.SIGKILL)
        equal(watcher.wait(), 0, "exit status")
        equal(watcher.messages(), ["2 0 gone"], "will")


@case("-c keeps a session: what comes in between arrives later, and what was not printed stays")
def _():
    session = ["-V", "5", "-c", "-i", "kept", "-x", "600", "-q", "1", "-t", "kept/#"]
    subscribe("mqttctl", *session, "-E")
    publish("mqttctl", "-V", "5", "-t", "kept/a", "-q", "1", "-l", stdin=b"1\n2\n3\n4\n5\n")
    for first in (1, 3):
        equal(subscribe("mqttctl", *session, "-C", "2").splitlines(), [str(first), str(first + 1)], "messages")
    equal(subscribe("mqttctl", *session, "-C", "1").splitlines(), ["5"], "the last message")


@case("the same against mosquitto: QoS 0 to 2, retained messages, properties")
def _():
    where = ["-h", "127.0.0.1", "-p", mosquitto.port]
    for version in ("5", "311", "31"):
        for qos in "012":
            topic = f"there/{version}/{qos}"
            sub = Sub("mqttctl", "-V", version, "-t", topic, "-q", qos, "-C", "1", "-F", "> %q %p", where=where)
            publish("mqttctl", "-V", version, "-t", topic, "-q", qos, "-m", "hello", where=where)
            equal(sub.wait(), 0, "exit status")
            equal(sub.messages(), [f"{qos} hello"], "message")
    publish("mqttctl", "-t", "there/kept", "-r", "-q", "1", "-m", "x", "-D", "PUBLISH", "content-type", "c", where=where)
    same("retained", lambda who: subscribe(who, "-V", "5", "-t", "there/kept", "-C", "1", "-F", "%t %C %r %p", where=where))


@case("bench measures, in words and as JSON, and says when nobody answers")
def _():
    result = run(MQTTCTL, "bench", *HERE, "--publishers", "4", "--subscribers", "4", "--rate", "400", "--seconds", "1",
                 "-q", "1", "--json", "--quiet")
    figures = json.loads(result.out.text())
    holds(figures["connected"] == 8 and figures["subscribed"] == 4, f"connected and subscribed: {figures}")
    # A busy machine may make it fewer, but nothing may make it more than the rate.
    most = 400 * figures["seconds"] + 4
    holds(0 < figures["published"] <= most, f"at most 400 a second, {most:.0f} in all: {figures['published']}")
    equal(figures["received"], figures["acknowledged"], "received")
    equal((figures["missing"], figures["failed"]), (0, 0), "missing and failed")
    holds(0 < figures["delivery"]["p50_ms"] <= figures["delivery"]["max_ms"], f"times: {figures['delivery']}")
    words = run(MQTTCTL, "bench", *HERE, "--publishers", "1", "--subscribers", "2", "--topics", "1", "--rate", "0",
                "--seconds", "1.5", "-V", "5")
    holds("delivery" in words.out.text() and "p99.9" in words.out.text(), words.out.text())
    holds("publishing" in words.err.text(), "progress in lines where there is no terminal")
    failed = run(MQTTCTL, "bench", "-h", "127.0.0.1", "-p", "1", "--seconds", "1", status=1)
    holds("cannot connect" in failed.out.text(), failed.out.text())


@case("bench draws a live picture on a terminal, over itself, and takes it away at its end")
def _():
    screen, terminal = pty.openpty()
    bench = subprocess.Popen([MQTTCTL, "bench", *map(str, HERE), "--publishers", "1", "--subscribers", "1", "--rate", "100",
                              "--seconds", "1"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal,
                             preexec_fn=die_with_parent)
    os.close(terminal)
    drawn = b""
    while True:
        try:
            piece = os.read(screen, 65536)
        except OSError:  # Its other end is closed.
            break
        if not piece:
            break
        drawn += piece
    words = bench.communicate()[0].decode()
    equal(bench.returncode, 0, "exit status")
    text = drawn.decode()
    pictures = re.findall(r"publishing +\[([#]*)-*\] .*?/s  .*? in all.*?/s  .*? in all.*?p50 .*?  p99 .*?  max ", text, re.DOTALL)
    holds(len(pictures) >= 2, f"pictures of the publishing: {text!r}")
    bars = [len(bar) for bar in pictures]
    equal(bars, sorted(bars), "progress never goes back")
    holds(bars[0] < bars[-1], f"progress: {bars}")
    equal(text.count("\x1b[4A\x1b[2K") + 1 >= len(pictures), True, "each is drawn over the one before")
    holds(text.endswith("\x1b[4A\x1b[J"), f"the last is taken away: {text[-80:]!r}")
    holds("delivery" in words and "\x1b" not in words, f"the result stands alone on stdout: {words!r}")


@case("bench http measures the HTTP endpoint")
def _():
    result = run(MQTTCTL, "bench", "http", f"http://{broker.http}/healthz", "--rate", "200", "--seconds", "1", "--json",
                 "--quiet")
    figures = json.loads(result.out.text())
    holds(0 < figures["requests"] <= 204, f"at most 200 a second for a second: {figures}")
    equal(list(figures["statuses"]), ["200"], "statuses")
    run(MQTTCTL, "bench", "http", f"http://{broker.http}/nowhere", "--seconds", "0.2", "--quiet", status=1)


@case("--help says what each option means")
def _():
    for command in (["--help"], ["pub", "--help"], ["sub", "--help"], ["bench", "--help"], ["bench", "http", "--help"]):
        holds("--help" in run(MQTTCTL, *command).out.text(), f"help of {command}")
    for who, help_ in ((["pub"], "mosquitto_pub"), (["sub"], "mosquitto_sub")):
        theirs = set(re.findall(r"^ (--?[\w-]+) :", run(help_, "--help", status=1).out.text(), re.MULTILINE))
        ours = run(MQTTCTL, *who, "--help").out.text()
        missing = {option for option in theirs if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", ours)}
        equal(missing - {"--keyform", "--tls-engine", "--tls-engine-kpass-sha1", "--psk", "--psk-identity", "--proxy"},
              set(), f"options of {help_} that are not there")


main()
