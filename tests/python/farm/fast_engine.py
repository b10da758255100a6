"""An engine that answers in milliseconds, with artifacts that were compiled beforehand.

usage: fast_engine.py ARTIFACTS CONTROL [what an interpreter is given]

ARTIFACTS holds `platform` (a msgpack map) and one artifact per graph, named by the digest of the graph.
CONTROL holds what the test wants: each file named like a graph, or `any`, holds one word that says what
becomes of its jobs. Every job is told in the pipe `events`; a `wait` job goes on when a byte comes through
the pipe `gate`.
"""

from __future__ import annotations

import hashlib
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

HEADER = struct.Struct(">I")


def send(**frame: Any) -> None:
    body = msgpack.packb(frame)
    os.write(1, HEADER.pack(len(body)))
    rest = memoryview(body)
    while rest:
        rest = rest[os.write(1, rest) :]


def receive() -> dict[str, Any] | None:
    head = sys.stdin.buffer.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    frame: dict[str, Any] = msgpack.unpackb(sys.stdin.buffer.read(HEADER.unpack(head)[0]))
    return frame


def tell(control: Path, *words: object) -> None:
    pipe = os.open(control / "events", os.O_WRONLY)
    os.write(pipe, (" ".join(map(str, words)) + "\n").encode())
    os.close(pipe)


def wanted(control: Path, graph: str) -> str:
    for name in (graph, "any"):
        if (control / name).exists():
            return (control / name).read_text()
    return "compile"


def wait_at_gate(control: Path) -> None:
    """Stays in the job until the test opens the gate."""
    # Stands for a compiler: whatever ends the engine must end it, too.
    compiler = subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL)
    with (control / "gate").open("rb", buffering=0) as gate:
        gate.read(1)
    compiler.kill()
    compiler.wait()


def serve(platform: Path, compile_one: Callable[[dict[str, Any]], None]) -> None:
    """What an engine of that platform (a file with a msgpack map) does until its worker hangs up."""
    described = msgpack.unpackb(platform.read_bytes())
    send(type="hello", protocol=1, pid=os.getpid(), platform=described)
    send(type="ready", platform=described, warm_seconds=0.001)
    while (frame := receive()) is not None and frame["type"] == "compile":
        compile_one(frame)


def compile_job(artifacts: Path, control: Path, job: dict[str, Any]) -> None:
    graph = hashlib.sha256(msgpack.unpackb(job["graph"])["graph"]).hexdigest()
    what = wanted(control, graph)
    tell(control, "job", os.getpid(), graph, job["stage"]["name"])
    if what == "wait":
        wait_at_gate(control)
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "fail":
        return send(type="failed", id=job["id"], code="compile_failed", reason="the test wants it so")
    elif what in ("junk", "junk-once"):
        if what == "junk-once":
            (control / "any").write_text("compile")
        return send(type="done", id=job["id"], artifact=b"no artifact at all", phases={"compile": 0.001})
    artifact = (artifacts / graph).read_bytes()
    return send(type="done", id=job["id"], artifact=artifact, phases={"compile": 0.001, "pack": 0.0005})


def main() -> None:
    artifacts, control = map(Path, sys.argv[1:3])
    serve(artifacts / "platform", lambda job: compile_job(artifacts, control, job))


if __name__ == "__main__":
    main()
