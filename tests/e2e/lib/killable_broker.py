"""mqttd as a process that is killed and comes back on the same port and data directory."""

import os
import re
import signal
import socket
import subprocess
import time

from e2e import MQTTD_BIN, PATIENCE_S, die_with_parent

READY = re.compile(r"mqttd ready pid=\d+ node=\S+ listen=(\S+) http=(\S+)")


class StartFailed(Exception):
    """The broker ended, or said nothing, instead of becoming ready."""

    def __init__(self, text, status):
        super().__init__(text)
        self.status = status


class Broker:
    """One data directory and one port, for as many processes as one likes, one after the other."""

    def __init__(self, directory, *arguments, data_dir=None, http="off", env=None):
        directory = str(directory)
        os.makedirs(directory, exist_ok=True)
        self.data_dir = str(data_dir or os.path.join(directory, "data"))
        self.log = os.path.join(directory, "mqttd.log")
        self.arguments = list(arguments)
        self.http = http  # Once it is ready: where it listens.
        self._env = dict(os.environ, **(env or {}))
        self.process = None
        # The kernel chooses the port. Bound and never listening, this socket keeps it from everyone
        # else while no broker runs, and a client that tries in vain from being connected to itself.
        self._reservation = socket.socket()
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # The broker may have it too.
            self._reservation.setsockopt(socket.SOL_SOCKET, option, 1)
        self._reservation.bind(("127.0.0.1", 0))
        self.port = self._reservation.getsockname()[1]

    @property
    def pid(self):
        return self.process.pid

    def spawn(self):
        """Starts it, and does not wait until it is ready."""
        assert self.process is None
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [MQTTD_BIN, "--listen", f"mqtt://127.0.0.1:{self.port}", "--http", self.http, "--admin", "off",
                 "--allow-anonymous", "--data-dir", self.data_dir, *self.arguments],
                stdout=subprocess.PIPE, stderr=log, text=True, preexec_fn=die_with_parent,
                env=self._env)
        return self

    def wait_ready(self):
        line = self.process.stdout.readline()
        ready = READY.match(line)
        if ready:
            self.http = ready.group(2)
        else:
            status = self._reap()
            raise StartFailed(f"not ready, ended with {status}: {line!r}\n{self.log_tail()}", status)
        return self

    def start(self):
        started = time.monotonic()
        self.spawn().wait_ready()
        self.start_seconds = time.monotonic() - started
        return self

    def ended_within(self, seconds):
        """The exit status, or None if it still runs after so long."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self):
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        status = self._reap()
        assert status == -signal.SIGKILL, f"had ended before, with {status}\n{self.log_tail()}"

    def stop(self):
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def restart(self):
        self.kill()
        return self.start()

    def close(self):
        if self.process is not None:
            self.process.kill()
            self._reap()
        self._reservation.close()

    def log_tail(self, lines=30):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def _reap(self):
        status = self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        self.process = None
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
