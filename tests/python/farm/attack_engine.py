"""An engine whose jobs do what their graph says: what a client can do that has broken into an engine.

usage: attack_engine.py DIRECTORY CONTROL [what an interpreter is given]

DIRECTORY holds `platform` (a msgpack map). A graph is the source of a Python program, with the names of this
module's imports and with `state`, a map that lives as long as the engine. The artifact is what it leaves in
`found`, as text; an OSError is `refused NAME`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fast_engine import send, serve

state: dict[str, Any] = {}
TOOLS = {m.__name__: m for m in (ctypes, errno, os, resource, signal, socket, subprocess, sys, time)}


def attack(source: str) -> str:
    names: dict[str, Any] = {**TOOLS, "Path": Path, "state": state, "found": ""}
    try:
        exec(source, names)
    except OSError as error:
        return f"refused {errno.errorcode[error.errno or 0]}"
    return str(names["found"])


def compile_one(job: dict[str, Any]) -> None:
    artifact = attack(job["graph"].decode()).encode()
    send(type="done", id=job["id"], artifact=artifact, phases={"compile": 0.001})


if __name__ == "__main__":
    if sys.argv[3:] == ["-m", "fxfarm.engine"]:
        serve(Path(sys.argv[1]) / "platform", compile_one)
