"""An artifact that somebody made up, under a digest that is right: it is refused as one that is corrupt, or
every file in it is what it is named by, and its constants become tensors or an error.

With `--seeds DIRECTORY` writes what fuzzing starts from.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from pathlib import Path
from typing import Any

import atheris
import msgpack

with atheris.instrument_imports(include=["fxfarm"]):
    from fxfarm._torch import pack
    from fxfarm._torch.errors import CorruptArtifact
    from fxfarm._torch.graph_codec import tensor_from


def try_one(body: bytes) -> None:
    """What libFuzzer calls."""
    try:
        found = pack.unpack(hashlib.sha256(body).digest() + body)
    except CorruptArtifact:
        return
    for file in found.files:
        assert pack.digest(file["data"]) == file["digest"]
    for code in found.codes:
        assert {"source", "code", "magic"} <= code.keys()
    # The loader has whatever is raised here fail the stage.
    with contextlib.suppress(Exception):
        for constant in found.constants:
            tensor_from(constant)


def seeds() -> list[bytes]:
    """Bodies: a sound artifact, and some that are less."""
    code = {"name": "c", "source": "def call(args): ...", "code": b"marshalled", "magic": b"\xa7\r\r\n"}
    file = {"name": "kernel", "digest": pack.digest(b"object"), "data": b"object"}
    tensor = {"dtype": "float32", "device": ["cpu", None], "size": [1], "stride": [1], "data": b"\0\0\0\0"}
    manifest: dict[str, Any] = {"platform": {"torch": "2.13.0"}, "needs": ["math"], "inner": None}
    kernel: dict[str, Any] = {
        "name": "kernel",
        "function": "f",
        "types": "OO",
        "device": 0,
        "scratch": 0,
        "warps": 4,
    }
    kernel |= {"cubin": b"object", "launcher": b"code", "magic": b"3.11", "shared_bytes": 0}
    sound = pack.Artifact(manifest, b"pickle", [code], [file], [kernel], [tensor])
    bodies = [pack.pack(sound)[hashlib.sha256().digest_size :]]
    fields = msgpack.unpackb(bodies[0])
    for name in fields:
        bodies.append(msgpack.packb({k: v for k, v in fields.items() if k != name}))
        bodies.append(msgpack.packb({**fields, name: [{}]}))
    return bodies


def main() -> None:
    """Fuzzes, or writes the seeds."""
    if sys.argv[1:2] == ["--seeds"]:
        directory = Path(sys.argv[2])
        directory.mkdir(parents=True, exist_ok=True)
        for number, body in enumerate(seeds()):
            (directory / f"seed-{number}").write_bytes(body)
        return
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
