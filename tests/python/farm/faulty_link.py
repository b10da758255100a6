"""A TCP link in front of a port that a test can cut, silence in either direction, delay and throttle."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PIECE_BYTES = 16 << 10


class FaultyLink:
    """Forwards connections to a port of this host. Every method may be called at any time; what is changed
    holds for open connections, too.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._changed = threading.Condition()
        self._held: set[str] = set()
        self._refuses = False
        self._delay_s = 0.0
        self._bytes_per_second = float("inf")
        self._open: set[socket.socket] = set()
        self.connections = 0
        """Accepted so far."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends the connections there are; new ones are accepted."""
        with self._changed:
            ended, self._open = self._open, set()
        for one in ended:
            _end(one)

    def refuse(self, yes: bool = True) -> None:
        """New connections end at once."""
        with self._changed:
            self._refuses = yes

    def silence(self, *directions: str) -> None:
        """Nothing gets through any more in these: "up" is towards the port, "down" away from it. Without any,
        everything does again.
        """
        with self._changed:
            self._held = set(directions)
            self._changed.notify_all()

    def slow(self, delay_s: float = 0.0, bytes_per_second: float = float("inf")) -> None:
        """From now on each piece is late by that much, and no more goes through in a second."""
        with self._changed:
            self._delay_s, self._bytes_per_second = delay_s, bytes_per_second

    def close(self) -> None:
        self._listener.close()
        self.silence()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            with self._changed:
                self.connections += 1
                refused = self._refuses
            if refused:
                near.close()
                continue
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            with self._changed:
                self._open |= {near, far}
            for source, sink, direction in ((near, far, "up"), (far, near, "down")):
                threading.Thread(target=self._pump, args=(source, sink, direction), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        try:
            while piece := source.recv(PIECE_BYTES):
                with self._changed:
                    self._changed.wait_for(lambda: direction not in self._held)
                    wait_s = self._delay_s + len(piece) / self._bytes_per_second
                # The fault itself: nothing is waited for.
                time.sleep(wait_s)
                sink.sendall(piece)
        except OSError:
            pass  # the other pump, or a cut, has ended it
        for one in (source, sink):
            _end(one)
            with self._changed:
                self._open.discard(one)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended already
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def faulty_link(endpoint: str) -> Iterator[FaultyLink]:
    """A link to a coordinator's endpoint."""
    link = FaultyLink(int(endpoint.rsplit(":", 1)[1]))
    try:
        yield link
    finally:
        link.close()
