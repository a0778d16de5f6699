"""A TCP relay that can lose what one side says, and cut."""

import socket
import threading


class Relay:
    """Forwards each connection to a port on loopback.

    While `lose_answers` is set, what the broker sends is read and thrown away; while `lose_requests` is,
    what the client sends. `lost(...)` waits until something was.
    """

    def __init__(self, port):
        self._target = port
        self._lock = threading.Condition()
        self._sockets = set()
        self._lost = b""
        self.lose_answers = False
        self.lose_requests = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            broker = socket.create_connection(("127.0.0.1", self._target))
            with self._lock:
                self._sockets |= {client, broker}
            threading.Thread(target=self._pump, args=(client, broker, "lose_requests"), daemon=True).start()
            threading.Thread(target=self._pump, args=(broker, client, "lose_answers"), daemon=True).start()

    def _pump(self, source, sink, switch):
        try:
            while data := source.recv(65536):
                with self._lock:
                    if getattr(self, switch):
                        self._lost += data
                        self._lock.notify_all()
                        continue
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # Cut already.

    def lost(self, enough, patience_s):
        """Until enough(bytes) is true of all that was thrown away."""
        with self._lock:
            if not self._lock.wait_for(lambda: enough(self._lost), patience_s):
                raise AssertionError(f"lost only {self._lost!r}")

    def cut(self):
        """Ends every connection and loses nothing from then on."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
            self._lost = b""
            self.lose_answers = self.lose_requests = False
        for end in sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)  # Or what accepts would take one connection more.
        self._listener.close()
        self.cut()
