"""Who comes to the ports of bench/strangers.py: strangers of each kind, a client with a key, and the plain
ZeroMQ peer that they are sent to as well. Each is a process of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faults_farm
import harness

WAIT_S_MAX = 30.0
"""For a coordinator's word, which is 5 s late where a handshake is cut off."""
ASKED_EVERY_S = 0.005
JOINED_EVERY = 20
"""After so many lookups a client comes anew."""
GRAPH = "a" * 64
STAGE = {"name": "default", "options": {}}
ARTIFACT = b"made"

# What is said. ZMTP 3.0 (RFC 23), its mechanism CURVE (RFC 26).

NO_GREETING = b"GET / HTTP/1.1\r\n\r\n"
GREETING = b"\xff" + bytes(8) + b"\x7f" + bytes((3, 0)) + b"CURVE".ljust(20, b"\0") + bytes(32)
METADATA = b"\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
LONG, COMMAND = 2, 4
KEY_BYTES = 32
BOX_BYTES = 16
"""That a box has more than its content."""
SODIUM = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")


class Shut(Exception):
    """The other side has ended the connection."""


def key_pair() -> tuple[bytes, bytes]:
    """A public key and its secret one."""
    public, secret = (ctypes.create_string_buffer(KEY_BYTES) for _ in range(2))
    SODIUM.crypto_box_keypair(public, secret)
    return public.raw, secret.raw


def shared(public: bytes, secret: bytes) -> bytes:
    """What boxes between the two are made with."""
    made = ctypes.create_string_buffer(KEY_BYTES)
    if SODIUM.crypto_box_beforenm(made, public, secret) != 0:
        raise ValueError("not a public key")
    return made.raw


def boxed(content: bytes, nonce: bytes, key: bytes) -> bytes:
    made = ctypes.create_string_buffer(len(content) + BOX_BYTES)
    SODIUM.crypto_box_easy_afternm(made, content, ctypes.c_ulonglong(len(content)), nonce, key)
    return made.raw


def unboxed(box: bytes, nonce: bytes, key: bytes) -> bytes:
    made = ctypes.create_string_buffer(len(box) - BOX_BYTES)
    if SODIUM.crypto_box_open_easy_afternm(made, box, ctypes.c_ulonglong(len(box)), nonce, key) != 0:
        raise ValueError("a box of somebody else")
    return made.raw


def short(name: bytes, number: int) -> bytes:
    return name + struct.pack(">Q", number)


class Handshake:
    """CURVE's, with a key that nobody knows. What can be used again for each connection is made once, as one
    would do who wants to cost others more than himself."""

    def __init__(self, server_key: str) -> None:
        decoded = ctypes.create_string_buffer(KEY_BYTES)
        faults_farm.of_tests("curve_peer").ZMQ.zmq_z85_decode(decoded, server_key.encode())
        self._server = decoded.raw
        self._own, self._own_secret = key_pair()
        self._passing, self._passing_secret = key_pair()
        self._to_server = shared(self._server, self._passing_secret)
        said = boxed(bytes(64), short(b"CurveZMQHELLO---", 1), self._to_server)
        hello = b"\x05HELLO" + bytes((1, 0)) + bytes(72) + self._passing + short(b"", 1) + said
        self._opening = GREETING + bytes((COMMAND, len(hello))) + hello

    def refused(self, connection: socket.socket) -> bool:
        """Says all that a client says before it is let in; whether that was refused in words. Raises Shut."""
        connection.sendall(self._opening)
        take(connection, len(GREETING))
        welcome = frame(connection)
        if not welcome.startswith(b"\x07WELCOME"):
            return False
        connection.sendall(self._initiate(welcome))
        return frame(connection).startswith(b"\x05ERROR\x03400")

    def _initiate(self, welcome: bytes) -> bytes:
        told = unboxed(welcome[24:], b"WELCOME-" + welcome[8:24], self._to_server)
        passing, cookie = told[:KEY_BYTES], told[KEY_BYTES:]
        number = bytes(16)
        vouch = boxed(self._passing + self._server, b"VOUCH---" + number, shared(passing, self._own_secret))
        said = self._own + number + vouch + METADATA
        key = shared(passing, self._passing_secret)
        body = b"\x08INITIATE" + cookie + short(b"", 2) + boxed(said, short(b"CurveZMQINITIATE", 2), key)
        return bytes((COMMAND | LONG,)) + struct.pack(">Q", len(body)) + body


def take(connection: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        piece = connection.recv(size - len(got))
        if not piece:
            raise Shut
        got += piece
    return got


def frame(connection: socket.socket) -> bytes:
    """What the next one has."""
    flags = take(connection, 1)[0]
    size = struct.unpack(">Q", take(connection, 8))[0] if flags & LONG else take(connection, 1)[0]
    return take(connection, size)


# Strangers.


def gone_at_once(_: socket.socket) -> bool:
    return True


def gone_once_greeted(connection: socket.socket) -> bool:
    return bool(connection.recv(1))


def no_greeting(connection: socket.socket) -> bool:
    connection.sendall(NO_GREETING)
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(4096):
            pass
    return True


KINDS = ("gone at once", "gone once greeted", "no greeting", "unknown key")


def doing(kind: str, server_key: str) -> Callable[[socket.socket], bool]:
    """What a stranger of that kind does with a connection; whether it went as it was to go."""
    if kind == "unknown key":
        return Handshake(server_key).refused
    return {"gone at once": gone_at_once, "gone once greeted": gone_once_greeted, "no greeting": no_greeting}[
        kind
    ]


def flood(
    kind: str, number: int, port: int, server_key: str, seconds: float, connections: int
) -> dict[str, Any]:
    """Comes again and again for so long, and no oftener than that; when (CLOCK_MONOTONIC), how often, and how
    often it went as it was to go."""
    act = doing(kind, server_key)
    # An address for each process, that is not the client's: who comes too often is counted by address.
    source = (f"127.0.0.{2 + number}", 0)
    made = done = 0
    begin = time.monotonic()
    while made < connections and time.monotonic() - begin < seconds:
        with socket.socket() as connection:
            connection.settimeout(WAIT_S_MAX)
            # A port is chosen when it connects, and is free at once: a reset at the end leaves nothing.
            connection.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.bind(source)
            connection.connect(("127.0.0.1", port))
            made += 1
            with contextlib.suppress(Shut, ConnectionError):
                done += act(connection)
    return {"begin": begin, "end": time.monotonic(), "made": made, "done": done}


# Who has a key.


def asking(endpoint: str, secret_file: str, server_key: str, stop: str) -> dict[str, Any]:
    """A client that asks for an artifact that is there, again and again, and comes anew now and then, until
    the file `stop` is there: how long each took in microseconds, and how many lookups brought anything else.
    """
    peer_of = faults_farm.of_tests("curve_peer").CurvePeer
    found: dict[str, Any] = {"waits_us": [], "joins_us": [], "wrong": 0}
    with peer_of(endpoint, secret_file, server_key, "client") as peer:
        looked_up(peer)
        found["lookups"] = 1
        harness.answer_now(None)
        while not (found["waits_us"] and Path(stop).exists()):
            begin = time.perf_counter()
            found["wrong"] += not looked_up(peer)
            took = time.perf_counter() - begin
            found["waits_us"].append(took * 1e6)
            found["lookups"] += 1
            if found["lookups"] % JOINED_EVERY == 0:
                begin = time.perf_counter()
                with peer_of(endpoint, secret_file, server_key, "client"):
                    found["joins_us"].append((time.perf_counter() - begin) * 1e6)
            time.sleep(max(0.0, ASKED_EVERY_S - took))
    harness.answer_now(found)
    return found


def looked_up(peer: Any) -> bool:
    """Whether it got the artifact."""
    platform = faults_farm.of_tests("echo_farm").PLATFORM
    peer.say("lookup", graph_key=GRAPH, stages=[STAGE], target=platform, name="m")
    return bool(peer.hear()[0] == "stage_ready" and peer.attached == ARTIFACT)


# The plain peer.

REP, ROUTER = 4, 6
CURVE_SERVER, CURVE_SECRETKEY, ZAP_DOMAIN = 47, 49, 55
REQUEST_PARTS = 7
SNDMORE = 2


def refusing(port: int, secret_file: str) -> None:
    """A ROUTER with a key whose handler (ZAP, RFC 27) lets nobody in, until it is killed. Raises
    OSError."""
    curve = faults_farm.of_tests("curve_peer")
    zmq = curve.ZMQ
    context = ctypes.c_void_p(zmq.zmq_ctx_new())
    handler, router = (ctypes.c_void_p(zmq.zmq_socket(context, kind)) for kind in (REP, ROUTER))

    def done(result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    done(zmq.zmq_bind(handler, b"inproc://zeromq.zap.01"))
    on, secret = struct.pack("i", 1), curve.pair_of(secret_file)[1]
    for option, value in ((CURVE_SERVER, on), (CURVE_SECRETKEY, secret), (ZAP_DOMAIN, b"plain")):
        done(zmq.zmq_setsockopt(router, option, value, ctypes.c_size_t(len(value))))
    done(zmq.zmq_bind(router, f"tcp://127.0.0.1:{port}".encode()))
    harness.answer_now(None)
    part = ctypes.create_string_buffer(256)
    while True:
        parts = [
            part.raw[: done(zmq.zmq_recv(handler, part, ctypes.c_size_t(len(part)), 0))]
            for _ in range(REQUEST_PARTS)
        ]
        reply = (b"1.0", parts[1], b"400", b"", b"", b"")
        for number, said in enumerate(reply, 1):
            more = SNDMORE if number < len(reply) else 0
            done(zmq.zmq_send(handler, said, ctypes.c_size_t(len(said)), more))
