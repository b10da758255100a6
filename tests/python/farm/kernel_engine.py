"""A fast engine that has kernels of its jobs compiled elsewhere, and compiles others'.

usage: kernel_engine.py ARTIFACTS CONTROL [what an interpreter is given]

As fast_engine.py, but each job asks for as many kernels as the file `kernels` of CONTROL says, all at once,
and ends when each is answered: the answers, `KERNEL library BYTES` or `KERNEL CODE`, stand in the file
`answers`. A kernel that it compiles for others is told in the pipe `events`; what becomes of it the file
`kernel` says: wait (for the `gate`), die, fail, or else its library is its source in capitals.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgpack
from fast_engine import compile_job, receive, send, tell, wait_at_gate, wanted


def compile_with_kernels(artifacts: Path, control: Path, job: dict[str, Any]) -> None:
    count = min(int((control / "kernels").read_text()), job["kernels_elsewhere"])
    for i in range(count):
        send(type="kernel", id=job["id"], kernel=f"k{i}", source=b"source of k%d" % i)
    for _ in range(count):
        answer = receive()
        assert answer is not None
        assert answer["id"] == job["id"]
        made = answer["type"] == "kernel_done"
        told = f"library {answer['library'].decode()}" if made else answer["code"]
        with (control / "answers").open("a") as file:
            file.write(f"{answer['kernel']} {told}\n")
    compile_job(artifacts, control, job)


def compile_kernel(control: Path, job: dict[str, Any]) -> None:
    what = wanted(control, "kernel")
    tell(control, "kernel", os.getpid(), job["source"].decode().replace(" ", "_"), job["stage"]["name"])
    if what == "wait":
        wait_at_gate(control)
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "fail":
        return send(type="failed", id=job["id"], code="compile_failed", reason="the test wants it so")
    library = job["source"].upper()
    return send(type="done", id=job["id"], artifact=library, phases={"kernels": 0.001})


def main() -> None:
    artifacts, control = map(Path, sys.argv[1:3])
    described = msgpack.unpackb((artifacts / "platform").read_bytes())
    send(type="hello", protocol=1, pid=os.getpid(), platform=described)
    send(type="ready", platform=described, warm_seconds=0.001, kernels=True)
    while (frame := receive()) is not None:
        if frame["type"] == "compile":
            compile_with_kernels(artifacts, control, frame)
        elif frame["type"] == "compile_kernel":
            compile_kernel(control, frame)
        elif frame["type"] == "shutdown":
            break


if __name__ == "__main__":
    main()
