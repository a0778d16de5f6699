"""What a service manager such as systemd hears of a process: datagrams to the socket that $NOTIFY_SOCKET names."""

import socket
import time

from e2e import PATIENCE_S, holds, scratch


class ServiceManager:
    def __init__(self):
        path = scratch("notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE_S)
        self._socket.bind(str(path))
        self.env = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "2000000"}
        self.heard = []

    def hear(self, wanted):
        """The next message with such a beginning; `heard` has all up to it, but signs of life."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            holds(time.monotonic() < deadline, f"{wanted!r} does not come; what came: {self.heard}")
            message = self._socket.recv(4096).decode()
            if message != "WATCHDOG=1\n":
                self.heard.append(message)
            if message.startswith(wanted):
                return message

    def kinds(self):
        """What was heard since this was last called, without what follows the first sign of equality."""
        heard, self.heard = self.heard, []
        return [message.split("=", 1)[0] for message in heard]
