"""What somebody can do who may write a store's directory, or its Redis: artifacts whose digests are right."""

from __future__ import annotations

import ctypes
import ctypes.util
import dataclasses
import hashlib
import os
import struct
import subprocess
from pathlib import Path

from redis_servers import Redis

MAGIC, VERSION = b"fxfarmst", 2
HEAD = struct.Struct("<8sIIQ64s")
"""Magic, version, bytes of attributes, bytes of data, digest: runtime/store_file.hpp."""


@dataclasses.dataclass(frozen=True)
class Signature:
    signer: str = ""
    value: str = ""


def _text(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode()


def _field(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def head(key: str, data: bytes, by: Signature) -> bytes:
    """The head of a store's file for that stage key."""
    attributes = _text("w") + struct.pack("<I", 0) + _text(by.signer) + _text(by.value)
    lengths = HEAD.pack(MAGIC, VERSION, len(attributes), len(data), b"")[: -len(digest(b""))]
    whole = digest(_field(key.encode()) + lengths + attributes + data)
    return lengths + whole.encode() + attributes


def file_of(directory: Path, key: str) -> Path:
    return directory / key[:2] / key


def read(directory: Path, key: str) -> tuple[bytes, Signature]:
    """The artifact that a coordinator has put there, and its signature."""
    content = file_of(directory, key).read_bytes()
    _, version, attribute_bytes, data_bytes, _ = HEAD.unpack_from(content)
    assert version == VERSION
    attributes = content[HEAD.size : HEAD.size + attribute_bytes]
    signer, value = attributes[-(64 + 4 + 128) :][:64].decode(), attributes[-128:].decode()
    return content[-data_bytes:], Signature(signer, value)


def write(directory: Path, key: str, data: bytes, by: Signature) -> None:
    path = file_of(directory, key)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(head(key, data, by) + data)


def write_redis(redis: Redis, database: str, key: str, data: bytes, by: Signature) -> None:
    """One chunk is enough for what tests have."""
    first = head(key, data, by)
    whole = HEAD.unpack_from(first)[4].decode()
    for name, value in ((f"{whole[:16]}:0", data), ("head", first)):
        subprocess.run(
            ["redis-cli", "-p", str(redis.port), "-n", database, "-x", "set", f"fxfarm:2:{{{key}}}:{name}"],
            input=value,
            check=True,
            capture_output=True,
        )


class Signer:
    """A key of the attacker's own."""

    def __init__(self) -> None:
        self._sodium = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
        self._secret = ctypes.create_string_buffer(64)
        public = ctypes.create_string_buffer(32)
        self._sodium.crypto_sign_seed_keypair(public, self._secret, os.urandom(32))
        self.public = public.raw.hex()

    def sign(self, key: str, data: bytes) -> Signature:
        said = (b"fxfarm artifact 1", key.encode(), digest(data).encode(), str(len(data)).encode())
        text = b"".join(map(_field, said))
        value = ctypes.create_string_buffer(64)
        self._sodium.crypto_sign_detached(value, None, text, ctypes.c_ulonglong(len(text)), self._secret)
        return Signature(self.public, value.raw.hex())
