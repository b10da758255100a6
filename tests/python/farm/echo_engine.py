"""An engine whose artifacts say what they were made of, for clients that check just that.

usage: echo_engine.py PLATFORM [what an interpreter is given]

PLATFORM is a file with a msgpack map. The artifact of a graph's stage is `echo` of both, so a client knows
what must come.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgpack
from fast_engine import receive, send


def echo(graph: bytes, stage: str) -> bytes:
    """The artifact of a stage of a graph."""
    return b"artifact of " + graph + b" as " + stage.encode()


def main() -> None:
    platform = msgpack.unpackb(Path(sys.argv[1]).read_bytes())
    send(type="hello", protocol=1, pid=os.getpid(), platform=platform)
    send(type="ready", platform=platform, warm_seconds=0.001)
    while (frame := receive()) is not None and frame["type"] == "compile":
        made = echo(frame["graph"], frame["stage"]["name"])
        send(type="done", id=frame["id"], artifact=made, phases={"compile": 0.001})


if __name__ == "__main__":
    main()
