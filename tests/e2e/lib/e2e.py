"""What end-to-end scripts share: a broker process, client processes, certificates, cases.

A script is a list of functions marked `@case("what must hold")`, run in order by `main()`, each of which
prints "ok N - name" or "not ok N - name". Nothing here sleeps: everything waits for an event, and gives
up after PATIENCE_S, which only a failure ever reaches (MQTTD_TEST_SLOWDOWN, set for sanitized programs,
multiplies it). A test that something does *not* happen makes
something else happen after it, on the same connection, and looks at what came before.
"""

import ctypes
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path

SLOWDOWN = int(os.environ.get("MQTTD_TEST_SLOWDOWN", "1"))
PATIENCE_S = 60.0 * SLOWDOWN
MQTTD_BIN = os.environ.get("MQTTD_BIN", "build/release/bin/mqttd")
SCRATCH = Path(os.environ.get("TEST_TMPDIR") or tempfile.mkdtemp(prefix="mqttd-e2e-"))

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_cases = []
# One for all processes, so that a wait may look at several of them.
_progress = threading.Condition()


def case(name):
    """Marks a function as a case. Its name says what must hold."""
    def add(function):
        _cases.append((name, function))
        return function
    return add


def main():
    """Runs the cases (those with a part of argv[1] in their name) and exits with 1 if one failed."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    failed = 0
    number = 0
    for name, function in _cases:
        if wanted not in name:
            continue
        number += 1
        try:
            function()
            print(f"ok {number} - {name}", flush=True)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {number} - {name}", flush=True)
            print("".join(f"#   {line}\n" for line in traceback.format_exc().splitlines()), end="", flush=True)
        except Skip as skip:
            print(f"ok {number} - {name} # SKIP {skip}", flush=True)
    for broker in list(Broker.running):
        broker.kill()
    print(f"1..{number}", flush=True)
    sys.exit(1 if failed or not number else 0)


class Skip(BaseException):
    """Raised by a case that cannot run here, with the reason."""


def equal(got, wanted, what="value"):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")


def holds(condition, what):
    if not condition:
        raise AssertionError(what)


def scratch(name):
    """A path of that name that nothing else uses."""
    return Path(tempfile.mkdtemp(dir=SCRATCH)) / name


def write(name, text):
    path = scratch(name)
    path.write_text(text)
    return path


def die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Lines:
    """The lines that a process prints, as they come; reading them is a thread's work."""

    def __init__(self, stream):
        self._lines = []
        self._ended = False
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream):
        for line in stream:
            with _progress:
                self._lines.append(line.rstrip(b"\n"))
                _progress.notify_all()
        with _progress:
            self._ended = True
            _progress.notify_all()

    def __len__(self):
        with _progress:
            return len(self._lines)

    def all(self):
        with _progress:
            return list(self._lines)

    def text(self):
        return b"\n".join(self.all()).decode(errors="replace")

    def wait(self, done, what):
        """Until done(lines), a function of all lines so far, is true; returns its value."""
        deadline = time.monotonic() + PATIENCE_S
        with _progress:
            while True:
                value = done(self._lines)
                if value:
                    return value
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = "it ended" if self._ended else "it takes too long"
                    raise AssertionError(f"waiting for {what}, but {why}; it said:\n"
                                         + b"\n".join(self._lines)[-4000:].decode(errors="replace"))
                _progress.wait(left)

    def wait_for(self, pattern, after=0):
        """Until a line from the given index on matches; returns the match."""
        expression = re.compile(pattern.encode())
        return self.wait(lambda lines: next(filter(None, map(expression.search, lines[after:])), None),
                         repr(pattern))

    def finish(self):
        self._thread.join(PATIENCE_S)


class Process:
    """A process whose output is read line by line. Ends with this script."""

    def __init__(self, command, stdin=None, env=None, cwd=None, pass_fds=()):
        self.command = [str(part) for part in command]
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd, preexec_fn=die_with_parent, pass_fds=pass_fds,
            env=dict(os.environ, **(env or {})))
        self.pid = self._process.pid
        self.out = Lines(self._process.stdout)
        self.err = Lines(self._process.stderr)
        if stdin is not None:
            self._process.stdin.write(stdin)
            self._process.stdin.close()

    def signal(self, number):
        self._process.send_signal(number)

    def running(self):
        return self._process.poll() is None

    def wait(self):
        """The exit status, once all output was read."""
        try:
            status = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{' '.join(self.command)} does not end; it said:\n"
                                 f"{self.out.text()}\n{self.err.text()}") from None
        self.out.finish()
        self.err.finish()
        return status

    def kill(self):
        if self.running():
            self._process.kill()
        self._process.wait()


def run(*command, stdin=None, status=0, env=None, cwd=None):
    """Runs a command to its end, checks its exit status, and returns the process."""
    process = Process(command, stdin=stdin, env=env, cwd=cwd)
    got = process.wait()
    if status is not None and got != status:
        raise AssertionError(f"{' '.join(process.command)}: exit status {got}, wanted {status}\n"
                             f"{process.out.text()}\n{process.err.text()}")
    return process


class Broker:
    """A broker of our own on free ports, started and ready when the constructor returns.

    listen: URLs (default: one on loopback), or a configuration text, in which {data} is its data directory.
    """

    running = set()  # All that this script has started and not ended.

    def __init__(self, *arguments, listen=("mqtt://127.0.0.1:0",), config=None, data_dir=None, env=None):
        self.data_dir = Path(data_dir) if data_dir else scratch("data")
        self.config_file = None
        self._env = env
        command = [MQTTD_BIN]
        if config is not None:
            self.config_file = write("mqttd.yaml", config.replace("{data}", str(self.data_dir)))
            command += ["--config", self.config_file]
        else:
            for url in listen:
                command += ["--listen", url]
            command += ["--data-dir", self.data_dir]
        if not any(str(argument).startswith("--http") for argument in arguments):
            command += ["--http", "127.0.0.1:0"]
        if not any(str(argument).startswith("--admin") for argument in arguments):
            command += ["--admin", "127.0.0.1:0"]
        self._command = command + list(arguments)
        self.start()

    def start(self):
        self.process = Process(self._command, env=self._env)
        Broker.running.add(self)
        try:
            self.ready_line = self.process.out.wait_for(r"^mqttd ready .*").group().decode()
        except AssertionError as failure:
            self.kill()
            raise AssertionError(f"{failure}\n{self.log.text()}") from None
        self.pid = self.process.pid
        fields = dict(field.split("=", 1) for field in self.ready_line.split()[2:])
        self.urls = fields["listen"].split(",")
        self.http = fields["http"]
        self.admin = fields["admin"]
        self.ports = [int(match.group(1)) if (match := re.search(r":(\d+)(/|$)", url)) else 0
                      for url in self.urls]
        self.port = self.ports[0]

    @property
    def log(self):
        return self.process.err

    def get(self, path):
        """(status, body) of the HTTP endpoint."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name):
        """The value of a series, written with its labels: 'mqttd_wills' or 'mqttd_sessions{kind="durable"}'."""
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def reload(self):
        """SIGHUP, until it was taken or refused; returns that line of the log."""
        seen = len(self.log)
        self.process.signal(signal.SIGHUP)
        return self.log.wait_for(r" info reloaded$|reload refused", after=seen).string.decode()

    def terminate(self):
        """SIGTERM; returns the exit status."""
        self.process.signal(signal.SIGTERM)
        status = self.process.wait()
        Broker.running.discard(self)
        return status

    def kill(self):
        self.process.kill()
        Broker.running.discard(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


class Wire:
    """A socket and MQTT by hand, for what no client library would do."""

    def __init__(self, address, context=None, prefix=b"", source=None):
        if isinstance(address, int):
            address = ("127.0.0.1", address)
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(address)
        if prefix:
            self.socket.sendall(prefix)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")

    def send(self, data):
        self.socket.sendall(data)

    def read_exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError(f"closed after {len(data)} of {count} bytes")
            data += more
        return data

    def become_websocket(self):
        """Asks for the upgrade, as a client does, and reads the answer."""
        self.send(b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
                  b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.read_exactly(1)
        holds(answer.startswith(b"HTTP/1.1 101 "), answer)

    def send_in_frame(self, packet):
        """A packet of less than 126 bytes over WebSocket."""
        self.send(bytes([0x82, 0x80 | len(packet), 0, 0, 0, 0]) + packet)

    def packet(self):
        """(first byte, rest without its length) of the next packet, or None if the broker closed."""
        try:
            first = self.read_exactly(1)[0]
        except (EOFError, ConnectionResetError):
            return None
        length = shift = 0
        while True:
            byte = self.read_exactly(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return first, self.read_exactly(length)

    def closed(self):
        """True once the broker has closed, whatever it said before."""
        while self.packet() is not None:
            pass
        return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return len(value).to_bytes(2, "big") + value


def frame(first, body):
    length, size = b"", len(body)
    while True:
        size, digit = size >> 7, size & 0x7F
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([first]) + length + body


def connect_packet(client_id, version=5, clean=True, keep_alive=0, properties=b"", user=None, password=None):
    flags = (2 if clean else 0) | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    body = text("MQIsdp" if version == 3 else "MQTT") + bytes([version, flags]) + keep_alive.to_bytes(2, "big")
    if version == 5:
        body += bytes([len(properties)]) + properties
    body += text(client_id)
    body += text(user) if user is not None else b""
    body += text(password) if password is not None else b""
    return frame(0x10, body)


def publish_packet(topic, payload=b"", qos=0, packet_id=0, version=5, dup=False, retain=False, properties=b""):
    body = text(topic) + (packet_id.to_bytes(2, "big") if qos else b"")
    if version == 5:
        body += bytes([len(properties)]) + properties
    return frame(0x30 | (8 if dup else 0) | qos << 1 | (1 if retain else 0), body + payload)


def subscribe_packet(packet_id, topic, options, version=5, identifier=None):
    """identifier: a Subscription Identifier up to 127."""
    properties = b"" if identifier is None else bytes([0x0B, identifier])
    return frame(0x82, packet_id.to_bytes(2, "big") + (bytes([len(properties)]) + properties if version == 5 else b"")
                 + text(topic) + bytes([options]))


class Certificates:
    """An authority and what it signs, made with the openssl command; P-256, so it takes no time."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="tls-", dir=SCRATCH))
        self.ca = self.directory / "ca.crt"
        self.ca_key = self.directory / "ca.key"
        self._openssl("req", "-x509", *self._new_key(self.ca_key), "-days", "2", "-subj", "/CN=test authority",
                      "-out", self.ca)
        self.server, self.server_key = self.issue("localhost")

    def issue(self, common_name, days=2):
        """(certificate, key) for localhost and 127.0.0.1 in that name."""
        base = Path(tempfile.mkdtemp(dir=self.directory))
        certificate, key, request, extensions = (base / name for name in ("crt", "key", "csr", "ext"))
        self._openssl("req", *self._new_key(key), "-subj", f"/O=mqttd test/CN={common_name}", "-out", request)
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key, "-days", str(days),
                      "-CAcreateserial", "-extfile", extensions, "-out", certificate)
        return certificate, key

    @staticmethod
    def _new_key(path):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path]

    @staticmethod
    def _openssl(*arguments):
        run("openssl", *arguments)


def drain(events, wanted, what):
    """Takes `wanted` items from a queue.Queue."""
    items = []
    for _ in range(wanted):
        try:
            items.append(events.get(timeout=PATIENCE_S))
        except queue.Empty:
            raise AssertionError(f"{what}: {len(items)} of {wanted} came: {items!r}") from None
    return items
