"""Debian's mosquitto as a broker of our own: started on a free port, killed, started again on the same data."""

import os
import shutil
import socket

from e2e import Process, scratch, write


class Mosquitto:
    """On a port that was free when it was looked for; another is tried if someone else took it since."""

    PROGRAM = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

    def __init__(self, *lines, persistence=False):
        self.process = None
        self._lines = list(lines)
        self._directory = scratch("mosquitto")
        self._directory.mkdir(parents=True, exist_ok=True)
        if persistence:
            self._lines += ["persistence true", f"persistence_location {self._directory}/"]
        self.port = 0
        self.start()

    def start(self):
        for _ in range(20):
            if self.port == 0:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", 0))
                    self.port = probe.getsockname()[1]
            config = write("mosquitto.conf", "\n".join(
                [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "log_type all", "user root", *self._lines]))
            self.process = Process([self.PROGRAM, "-c", config])
            match = None
            try:
                match = self.process.err.wait_for(r"mosquitto version .* running|Error: Address already in use")
            except AssertionError:
                pass
            if match and b"running" in match.group():
                return
            self.kill()
            self.port = 0
        raise AssertionError("mosquitto does not start")

    def kill(self):
        self.process.kill()
