"""Just enough of ZMTP 3.0 (the NULL mechanism) to say to a coordinator what no client of ours would."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import msgpack

GREETING = b"\xff" + bytes(8) + b"\x7f" + bytes((3, 0)) + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
MORE, LONG, COMMAND = 1, 2, 4


class Frames:
    """What one side of a connection says, as it comes in pieces."""

    def __init__(self) -> None:
        self._left = b""
        self._greeted = False

    def feed(self, piece: bytes) -> Iterator[tuple[dict[str, Any], int]]:
        """The messages that the piece completes, and their bytes."""
        self._left += piece
        if not self._greeted:
            if len(self._left) < len(GREETING):
                return
            self._left, self._greeted = self._left[len(GREETING) :], True
        while len(self._left) >= 2:
            long = bool(self._left[0] & LONG)
            head = 9 if long else 2
            if len(self._left) < head:
                return
            size = struct.unpack(">Q", self._left[1:9])[0] if long else self._left[1]
            if len(self._left) < head + size:
                return
            flags, body = self._left[0], self._left[head : head + size]
            self._left = self._left[head + size :]
            if not flags & COMMAND:
                yield msgpack.unpackb(body), size


class Dealer:
    """A connection to a ROUTER; `receive_bytes` is the kernel's room for what is not read, 0 for its own."""

    def __init__(self, port: int, deadline_s: float, receive_bytes: int = 0) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(deadline_s)
        if receive_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.connect(("127.0.0.1", port))
        self._socket.sendall(GREETING)
        self._take(len(GREETING))
        self._socket.sendall(bytes((COMMAND, len(READY))) + READY)
        self._frame()

    def send(self, body: bytes) -> None:
        head = bytes((0, len(body))) if len(body) < 256 else bytes((LONG,)) + struct.pack(">Q", len(body))
        self._socket.sendall(head + body)

    def receive(self) -> dict[str, Any]:
        """The next message."""
        while True:
            flags, body = self._frame()
            if not flags & COMMAND:
                message: dict[str, Any] = msgpack.unpackb(body)
                return message

    def close(self) -> None:
        self._socket.close()

    def _frame(self) -> tuple[int, bytes]:
        flags = self._take(1)[0]
        size = struct.unpack(">Q", self._take(8))[0] if flags & LONG else self._take(1)[0]
        return flags, self._take(size)

    def _take(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            piece = self._socket.recv(size - len(got))
            if not piece:
                raise EOFError("the coordinator closed the connection")
            got += piece
        return got
