"""An engine whose artifacts say what they were made of, for clients that check just that.

usage: echo_engine.py DIRECTORY CONTROL [what an interpreter is given]

DIRECTORY holds `platform` (a msgpack map). The artifact of a graph's stage is `echo` of both, so a client
knows what must come. With `wait` in the file `any` of CONTROL, or in one named like their stage, jobs are
told in the pipe `events` and wait for a byte in the pipe `gate`; with `take SECONDS`, each takes so long, as
a compile does.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from fast_engine import send, serve, tell, wait_at_gate, wanted


def echo(graph: bytes, stage: str) -> bytes:
    """The artifact of a stage of a graph."""
    return b"artifact of " + graph + b" as " + stage.encode()


def main() -> None:
    directory, control = map(Path, sys.argv[1:3])

    def compile_one(job: dict[str, Any]) -> None:
        stage = job["stage"]["name"]
        how, _, seconds = wanted(control, stage).partition(" ")
        if how == "wait":
            tell(control, "job", os.getpid(), job["graph"].decode(), stage)
            wait_at_gate(control)
        elif how == "take":
            time.sleep(float(seconds))
        send(type="done", id=job["id"], artifact=echo(job["graph"], stage), phases={"compile": 0.001})

    serve(directory / "platform", compile_one)


if __name__ == "__main__":
    main()
