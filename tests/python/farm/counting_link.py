"""A TCP link in front of a coordinator's port that counts the messages that pass, without holding them up."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from zmtp import Frames

BY_THE_CLOCK = {"heartbeat", "job_alive"}
"""Their number says how long something took."""
PIECE_BYTES = 16 << 10


class Passed:
    """What has passed over one connection: messages by "up", towards the port, or "down", and their tag."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        """Likewise, of messages; what the transport adds is not counted."""

    def take(self) -> dict[str, int]:
        """The messages since the last time."""
        taken, self.messages = self.messages, Counter()
        return dict(taken)


class CountingLink:
    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._open: list[socket.socket] = []
        self.connections: list[Passed] = []
        """In the order in which they came."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for one in self._open:
            _end(one)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            far = socket.create_connection(self._target)
            self._open += [near, far]
            passed = Passed()
            self.connections.append(passed)
            for source, sink, direction in ((near, far, "up"), (far, near, "down")):
                threading.Thread(
                    target=self._pump, args=(source, sink, direction, passed), daemon=True
                ).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket, direction: str, passed: Passed) -> None:
        frames = Frames()
        with contextlib.suppress(OSError):  # the other pump, or `close`, has ended it
            while piece := source.recv(PIECE_BYTES):
                # Before it goes on: whoever sees what it does finds it counted.
                for message, size in frames.feed(piece):
                    tag = message["type"]
                    if tag not in BY_THE_CLOCK:
                        passed.messages[f"{direction} {tag}"] += 1
                        passed.bytes[f"{direction} {tag}"] += size
                sink.sendall(piece)
        for one in (source, sink):
            _end(one)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended already
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def counting_link(endpoint: str) -> Iterator[CountingLink]:
    """A link to a coordinator's endpoint."""
    link = CountingLink(int(endpoint.rsplit(":", 1)[1]))
    try:
        yield link
    finally:
        link.close()
