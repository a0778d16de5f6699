"""The servers that are measured: mqttd, the bare relay of mqload, and mosquitto if it is installed."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

START_LIMIT_S = 30
LOAD_LIMIT_S = 600
FILES_WANTED = 65_536

_SCHEMES = {"tcp": "mqtt", "tls": "mqtts", "ws": "ws", "wss": "wss"}


def note(text):
    print(text, file=sys.stderr, flush=True)


def free_ports(count):
    """Ports that nobody listens on now, all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def file_limit():
    """Descriptors that a process may have here."""
    raise_file_limit()
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_file_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, FILES_WANTED)
    for limit in ((wanted, max(hard, wanted)), (min(wanted, hard), hard)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            return


def threads_of_core(processor):
    """The processors that share a core with it, itself among them."""
    listed = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
    if not listed.exists():
        return {processor}
    ranges = (part.split("-") for part in listed.read_text().strip().split(","))
    return {number for ends in ranges for number in range(int(ends[0]), int(ends[-1]) + 1)}


def halves(processors, core_of=threads_of_core):
    """(the server's, the generators'): two halves of the cores, so that neither takes any from the other.

    None if there is only one.
    """
    cores = sorted({tuple(sorted(core_of(processor) & set(processors))) for processor in processors})
    middle = len(cores) // 2
    return (set().union(*cores[:middle]), set().union(*cores[middle:])) if middle else None


def kept_to(processors, then=None):
    """For preexec_fn: the child runs on these alone; all that it had if None. `then` is called in it as well."""
    if not processors:
        return then

    def prepare():
        os.sched_setaffinity(0, processors)
        if then:
            then()
    return prepare


class Certificate:
    """A self-signed P-256 certificate for 127.0.0.1."""

    def __init__(self, directory):
        self.file, self.key = directory / "cert.pem", directory / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", self.key, "-out", self.file, "-days", "30", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)


class Server:
    """A running server; `load` runs mqload against it."""

    def __init__(self, name, mqload, certificate, apart=False):
        self.name, self.mqload, self.certificate = name, mqload, certificate
        self.processors, self.generator_processors = (apart and halves(os.sched_getaffinity(0))) or (None, None)
        self.ports = {}
        self.http = None
        self.directory = None
        self.process = None
        self.started_as = None
        self.faults = []
        self.remarks = []

    @property
    def pid(self):
        return self.process.pid

    def start(self, command, log):
        raise_file_limit()
        self.started_as = command, log
        with open(log, "ab") as output:
            self.process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output,
                                            preexec_fn=kept_to(self.processors))
        limit = time.monotonic() + START_LIMIT_S
        for port in self.ports.values():
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if time.monotonic() > limit or self.process.poll() is not None:
                        self.stop()
                        raise RuntimeError(f"{self.name} did not start: "
                                           + Path(log).read_text(errors="replace")[-2000:]) from None
                    time.sleep(0.02)

    def restart(self):
        """Stops it in order and starts it again as it was; seconds from the signal until it accepts connections."""
        begun = time.monotonic()
        self.stop()
        self.start(*self.started_as)
        return time.monotonic() - begun

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def command(self, arguments, transport="tcp", seconds=None):
        command = [self.mqload, *arguments.split(), "--url",
                   f"{_SCHEMES[transport]}://127.0.0.1:{self.ports[transport]}"
                   + ("/mqtt" if transport in ("ws", "wss") else ""),
                   "--pid", self.pid, "--json"]
        if self.certificate and transport in ("tls", "wss"):
            command += ["--ca", self.certificate.file]
        if seconds is not None:
            command += ["--seconds", seconds]
        return [str(part) for part in command]

    def begin(self, arguments, transport="tcp", seconds=None, prepare=None, **options):
        """mqload in the background; `prepare` is called in its process before it begins."""
        return subprocess.Popen(self.command(arguments, transport, seconds), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True,
                                preexec_fn=kept_to(self.generator_processors, prepare), **options)

    def led(self, arguments, transport="tcp", prepare=None):
        """mqload with --by-line, ready for its first cue."""
        return Led(self, self.begin(f"{arguments} --by-line", transport, prepare=prepare, stdin=subprocess.PIPE))

    def end(self, process):
        """The results of a mqload begun, one for each line; None if it failed."""
        try:
            output, errors = process.communicate(timeout=LOAD_LIMIT_S)
            lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        except (subprocess.TimeoutExpired, ValueError) as error:
            process.kill()
            process.communicate()
            lines, errors = [], str(error)
        if process.returncode != 0 or not lines:
            self.fault(f"mqload ended with {process.returncode}: {errors.strip()[-300:]}")
            return None
        for line in lines:
            self.check(line)
        return lines

    def load(self, arguments, transport="tcp", seconds=None):
        """All results of one run of mqload, or None."""
        return self.end(self.begin(arguments, transport, seconds))

    def load_one(self, arguments, transport="tcp", seconds=None):
        lines = self.load(arguments, transport, seconds)
        return lines[-1] if lines else {}

    def check(self, result):
        """A figure is worth nothing if messages were lost on the way to it."""
        loss_is_a_fault = result.get("pub_qos", 1) > 0 and result.get("sub_qos", 1) > 0
        for what in ("lost", "duplicated", "out_of_order", "misrouted", "disconnects", "bad_acks"):
            count = result.get(what) or 0
            if count and (what != "lost" or loss_is_a_fault):
                self.fault(f"{what}: {count}")

    def fault(self, text):
        self.faults.append(text)
        note(f"    {self.name}: {text}")

    def remark(self, text):
        """Something a reader of the figures should know."""
        self.remarks.append(text)

    def metrics(self):
        """{series: value} of the HTTP endpoint."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=10) as answer:
            found = re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", answer.read().decode(), re.MULTILINE)
        return {name: float(value) for name, value in found}

    def resident_bytes(self):
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class Led:
    """A mqload that is told when: each cue begins something, and the end of its input ends it."""

    def __init__(self, server, process):
        self.server, self.process = server, process
        self.limit = threading.Timer(LOAD_LIMIT_S, process.kill)  # So that no answer is awaited for ever.
        self.limit.start()
        self.answer()

    def cue(self):
        with contextlib.suppress(BrokenPipeError):  # `end` says what became of it.
            self.process.stdin.write("\n")
            self.process.stdin.flush()

    def answer(self):
        """The next line that it says; {} if it has ended."""
        line = self.process.stdout.readline()
        return json.loads(line) if line.startswith("{") else {}

    def end(self):
        """The last result, or {}: none is expected of one that has answered each cue."""
        output, errors = self.process.communicate()
        self.limit.cancel()
        if self.process.returncode != 0:
            self.server.fault(f"mqload ended with {self.process.returncode}: {errors.strip()[-300:]}")
        lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        for line in lines:
            self.server.check(line)
        return lines[-1] if lines else {}


class Factory:
    """Starts servers, each in its own directory; keeps those that may serve several scenarios."""

    def __init__(self, mqttd, mqload, shards, against=None):
        self.mqttd, self.mqload, self.shards, self.against = mqttd, mqload, shards, against
        self.mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        self.directory = Path(tempfile.mkdtemp(prefix="mqttd-bench-"))
        self.certificate = Certificate(self.directory) if shutil.which("openssl") else None
        self.kept = {}
        self.started = 0

    def available(self, kind):
        return {"mqttd": True, "floor": True, "mosquitto": bool(self.mosquitto), "against": bool(self.against)}[kind]

    def kept_server(self, kind, settings=(), apart=False):
        """One that stays until `close`."""
        key = (kind, settings, apart)
        if key not in self.kept:
            self.kept[key] = self.new(*key)
        return self.kept[key]

    @contextlib.contextmanager
    def fresh_server(self, kind, settings=(), apart=False):
        server = self.new(kind, settings, apart)
        try:
            yield server
        finally:
            server.stop()

    def new(self, kind, settings=(), apart=False):
        """`apart`: the server and what loads it run on different processors."""
        self.started += 1
        place = self.directory / f"{self.started}-{kind}"
        place.mkdir()
        server = Server(kind, self.mqload, self.certificate, apart)
        command = {"mqttd": self._mqttd, "against": self._mqttd, "floor": self._floor,
                   "mosquitto": self._mosquitto}[kind](server, place, settings)
        server.directory = place
        server.start(command, place / "log")
        return server

    def _mqttd(self, server, place, settings):
        transports = ["tcp", "ws"] + (["tls", "wss"] if self.certificate else [])
        *ports, server.http = free_ports(len(transports) + 1)
        server.ports = dict(zip(transports, ports))
        command = [self.against if server.name == "against" else self.mqttd, "--data-dir", place / "data",
                   "--allow-anonymous", "--http", f"127.0.0.1:{server.http}"]
        for transport, port in server.ports.items():
            command += ["--listen", f"{_SCHEMES[transport]}://127.0.0.1:{port}" + ("/mqtt" if "ws" in transport else "")]
        if self.certificate:
            settings = (f"tls.cert_file={self.certificate.file}", f"tls.key_file={self.certificate.key}", *settings)
        if self.shards and not any(setting.startswith("broker.shards=") for setting in settings):
            settings = (f"broker.shards={self.shards}", *settings)
        for setting in settings:
            command += ["--set", setting]
        return command

    def _floor(self, server, _, settings):
        server.ports = {"tcp": free_ports(1)[0]}
        return [self.mqload, "floor", "--host", "127.0.0.1", "--port", server.ports["tcp"], *settings]

    def _mosquitto(self, server, place, _):
        server.ports = dict(zip(("tcp", "tls"), free_ports(2 if self.certificate else 1)))
        limits = ("allow_anonymous true\nmax_queued_messages 0\nmax_queued_bytes 0\n"
                  "max_inflight_messages 0\nset_tcp_nodelay true\n")
        text = f"listener {server.ports['tcp']} 127.0.0.1\n{limits}"
        if self.certificate:
            text += (f"listener {server.ports['tls']} 127.0.0.1\ncertfile {self.certificate.file}\n"
                     f"keyfile {self.certificate.key}\n")
            self.certificate.key.chmod(0o644)  # It gives up root's rights before it reads the key.
            self.directory.chmod(0o755)
        path = place / "mosquitto.conf"
        path.write_text(text)
        return [self.mosquitto, "-c", path]

    def close(self):
        for server in self.kept.values():
            server.stop()
        self.kept.clear()
        shutil.rmtree(self.directory, ignore_errors=True)
