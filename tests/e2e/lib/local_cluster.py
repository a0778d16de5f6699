"""Several nodes of one cluster on this machine, each a real process that can be killed and started again."""

import fcntl
import os
import random
import re
import signal
import socket
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from e2e import MQTTD_BIN, PATIENCE_S, Process, scratch


_locks = []  # Of ports, for as long as this script runs.


def free_ports(count):
    """Ports of loopback that nobody has, and nobody gets: none that the kernel gives to whoever asks for any, and no other script's."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    directory = Path(tempfile.gettempdir()) / "mqttd-test-ports"
    try:
        directory.mkdir()
        directory.chmod(0o1777)
    except FileExistsError:
        pass
    ports = []
    candidates = [*range(10000, min(first, 32768)), *range(last + 1, 65536)] or [*range(2000, 10000)]
    for port in random.sample(candidates, k=min(2000, len(candidates))):
        try:  # The files may be another user's.
            lock = os.open(directory / str(port), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _locks.append(lock)
        ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError("no free ports")


class Node:
    """One mqttd. `number` counts from 0."""

    def __init__(self, number, ports, seeds, size, arguments, host="127.0.0.1", admin="off", address=None):
        """It listens for others at `address`, by default at the seed with its number. Without seeds it waits to be told of some."""
        self.number, self.host, self.port, self.http_port = number, host, *ports
        self.data_dir = scratch(f"node{number}")
        self._command = [MQTTD_BIN, "--listen", f"mqtt://{host}:{self.port}", "--data-dir", self.data_dir,
                         "--cluster", address or seeds[number], *(["--join", ",".join(seeds)] if seeds else []), "--expected-size", str(size),
                         "--http", f"{host}:{self.http_port}", "--admin", admin, *arguments]
        self.process, self.env = None, {}

    def spawn(self):
        self.process = Process(self._command, env=self.env)

    def wait_ready(self):
        try:
            self.process.out.wait_for(r"^mqttd ready .*")
        except AssertionError as failure:
            raise AssertionError(f"node {self.number}: {failure}\n{self.process.err.text()}") from None

    def start(self):
        self.spawn()
        self.wait_ready()

    def kill(self):
        self.process.kill()

    def stand_still(self):
        """SIGSTOP, and until all of its threads have: under load some run on for a moment."""
        self.process.signal(signal.SIGSTOP)
        deadline = time.monotonic() + PATIENCE_S
        while any(each.read_text().rsplit(") ", 1)[1][0] != "T" for each in Path(f"/proc/{self.process.pid}/task").glob("*/stat")):
            if time.monotonic() > deadline:
                raise AssertionError(f"node {self.number} does not stand still")

    def terminate(self):
        self.process.signal(signal.SIGTERM)
        return self.process.wait()

    @property
    def admin(self):
        """Where it serves the admin API: one that was given up starts anew, perhaps at another port."""
        self.wait_ready()
        return re.findall(r"^mqttd ready .* admin=(\S+)", self.process.out.text(), re.MULTILINE)[-1]

    @property
    def http(self):
        return f"{self.host}:{self.http_port}"

    @property
    def uuid(self):
        """Its identifier."""
        return self.process.out.wait_for(r"^mqttd ready .*node=(\S+)").group(1).decode()

    @property
    def log(self):
        return self.process.err

    def metrics(self):
        """All of /metrics: {series: value}"""
        lines = self.get("/metrics")[1].splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")}

    def get(self, path, timeout=PATIENCE_S):
        """(status, text) of a page of its HTTP endpoint."""
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.http_port}{path}", timeout=timeout) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode().strip()

    def readyz(self, timeout=PATIENCE_S):
        """(status, words)"""
        return self.get("/readyz", timeout)


class LocalCluster:
    """Founded and ready when the constructor returns; its nodes end with this script."""

    def __init__(self, size=3, arguments=(), admin="off", env=None):
        ports = free_ports(3 * size)
        self.seeds, self._arguments, self._admin = [f"127.0.0.1:{port}" for port in ports[:size]], arguments, admin
        self.nodes = [Node(i, ports[size + 2 * i:size + 2 * i + 2], self.seeds, size, arguments, admin=admin)
                      for i in range(size)]
        for node in self.nodes:
            node.env = env or {}
            node.spawn()
        for node in self.nodes:
            node.wait_ready()

    def another(self, size=0):
        """A node that was no founder: it joins when it is started. size: its expected_size."""
        own, *ports = free_ports(3)
        node = Node(len(self.nodes), ports, self.seeds, size, self._arguments, admin=self._admin,
                    address=f"127.0.0.1:{own}")
        self.nodes.append(node)
        return node

    def __getitem__(self, number):
        return self.nodes[number]

    def cluster_id(self):
        """Of each node, as its log says it."""
        found = [re.search(r"cluster joined cluster=(\S+)", node.log.text()) for node in self.nodes]
        return [match and match.group(1) for match in found]
