"""A peer that shows a key, and then says what no program of ours would: libzmq's DEALER, by hand."""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import msgpack
from programs import DEADLINE_S

DEALER = 5
LINGER, RECONNECT_IVL, RCVTIMEO, CURVE_PUBLICKEY, CURVE_SECRETKEY, CURVE_SERVERKEY = 17, 18, 27, 48, 49, 50
ZMQ = ctypes.CDLL(ctypes.util.find_library("zmq") or "libzmq.so.5", use_errno=True)
for _name in ("zmq_ctx_new", "zmq_socket"):
    getattr(ZMQ, _name).restype = ctypes.c_void_p
BUFFER_BYTES = 1 << 20
ENCLOSED_BYTES = 32 << 10
"""Of attachments that come within their message."""


def pair_of(secret_file: str) -> tuple[bytes, bytes]:
    """The public and the secret key in a file of `fxfarm keygen`."""
    text = Path(secret_file).read_text()
    public, secret = (text.split(f'{name} = "')[1].split('"')[0] for name in ("public-key", "secret-key"))
    return public.encode(), secret.encode()


def envelope(tag: str, /, attached: bytes = b"", **fields: Any) -> bytes:
    """A message as it goes over a link."""
    message: dict[str, Any] = {"type": tag, "body": fields}
    if attached:
        digest = hashlib.blake2b(attached, digest_size=32).hexdigest()
        message["attachment"] = {"digest": digest, "data": attached}
    packed: bytes = msgpack.packb(message)
    return packed


class CurvePeer:
    """Connected, and greeted as `role`; without one, it says nothing and does not come back."""

    def __init__(self, endpoint: str, secret_file: str, server_key: str, role: str = "") -> None:
        public, secret = pair_of(secret_file)
        self._context = ctypes.c_void_p(ZMQ.zmq_ctx_new())
        self._socket = ctypes.c_void_p(ZMQ.zmq_socket(self._context, DEALER))
        for option, key in (
            (CURVE_PUBLICKEY, public),
            (CURVE_SECRETKEY, secret),
            (CURVE_SERVERKEY, server_key.encode()),
        ):
            self._done(ZMQ.zmq_setsockopt(self._socket, option, key, ctypes.c_size_t(len(key))))
        numbers = [(LINGER, 0), (RCVTIMEO, int(DEADLINE_S * 1000))]
        if not role:
            numbers.append((RECONNECT_IVL, -1))
        for option, number in numbers:
            value = ctypes.c_int(number)
            size = ctypes.c_size_t(ctypes.sizeof(value))
            self._done(ZMQ.zmq_setsockopt(self._socket, option, ctypes.byref(value), size))
        self._done(ZMQ.zmq_connect(self._socket, endpoint.encode()))
        self.greeting: tuple[str, dict[str, Any]] = ("", {})
        self.attached = b""
        """What came with the last message, where it was enclosed."""
        if role:
            self.greet(role)

    def greet(self, role: str) -> None:
        said = {"magic": "fxfarm", "version": 1, "role": role, "id": f"{role}-{time.monotonic_ns()}"}
        self.say("hello", **said, enclosed_bytes=ENCLOSED_BYTES)
        self.greeting = self.hear()

    def __enter__(self) -> CurvePeer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        ZMQ.zmq_close(self._socket)
        ZMQ.zmq_ctx_term(self._context)

    def say(self, tag: str, /, attached: bytes = b"", **fields: Any) -> None:
        body = envelope(tag, attached, **fields)
        self._done(ZMQ.zmq_send(self._socket, body, ctypes.c_size_t(len(body)), 0))

    def hear(self) -> tuple[str, dict[str, Any]]:
        """What comes next, heartbeats apart."""
        buffer = ctypes.create_string_buffer(BUFFER_BYTES)
        while True:
            size = ZMQ.zmq_recv(self._socket, buffer, ctypes.c_size_t(BUFFER_BYTES), 0)
            self._done(size)
            message: dict[str, Any] = msgpack.unpackb(buffer.raw[:size])
            if message["type"] != "heartbeat":
                self.attached = message.get("attachment", {}).get("data", b"")
                return message["type"], message["body"]

    @staticmethod
    def _done(result: int) -> None:
        if result < 0:
            raise OSError(ctypes.get_errno(), "libzmq")
