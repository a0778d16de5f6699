"""What a service manager such as systemd hears of a process: datagrams to the socket that $NOTIFY_SOCKET names."""

import queue
import socket
import threading
import time

from e2e import PATIENCE_S, scratch


class ServiceManager:
    """It reads at once, as they do: the socket takes a few messages only, and then the process waits."""

    def __init__(self):
        path = scratch("notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.env = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "2000000"}
        self._heard, self._news = [], queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            message = self._socket.recv(4096).decode()
            if message != "WATCHDOG=1\n":
                self._news.put(message)

    def hear(self, wanted):
        """The next message with such a beginning."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                message = self._news.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{wanted!r} does not come; what came: {self._heard}") from None
            self._heard.append(message)
            if message.startswith(wanted):
                return message

    def kinds(self):
        """What was heard since this was last called, without what follows the first sign of equality."""
        heard, self._heard = self._heard, []
        return [message.split("=", 1)[0] for message in heard]
