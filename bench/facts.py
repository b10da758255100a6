"""What numbers depend on: the machine, and the versions of what is measured."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

Row = dict[str, Any]

ASK_S_MAX = 20.0
PACKAGES = (
    *("torch", "transformers", "torchvision", "triton", "numpy", "matplotlib"),
    *("redis", "ray", "dask", "distributed", "grpcio", "pyzmq"),
)
"""Python's."""
LIBRARIES = {"zeromq": "libzmq", "grpc++": "grpc++"}
"""What programs of bench/micro are built with, and pkg-config's names."""
PROGRAMS = {"redis_server": "redis-server", "sccache": "sccache", "ccache": "ccache"}


def machine() -> Row:
    """The load says whether others used the machine, too."""
    model = ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found: Row = {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "cores_of_all": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
    }
    gpus = said("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()
    if gpus:
        found["gpu"], _, found["gpu_driver"] = (part.strip() for part in gpus[0].partition(","))
        found["gpus"] = len(gpus)
    return found


def versions() -> Row:
    """Of what is compared, as far as it is there."""
    found: Row = {"python": platform.python_version(), **packages(PACKAGES)}
    if program := fxfarm():
        found["fxfarm"] = program
    if compiler := said(os.environ.get("CXX", "g++"), "--version"):
        found["compiler"] = compiler.splitlines()[0]
    for name, known_as in LIBRARIES.items():
        if version := said("pkg-config", "--modversion", known_as):
            found[name] = version.strip()
    for name, program in PROGRAMS.items():
        if number := re.search(r"\d+(\.\d+)+", said(program, "--version")):
            found[name] = number[0]
    return found


def fxfarm() -> str:
    """The version with the commit that the program was built from: "0.1.0+gabcdef012345"."""
    spec = importlib.util.find_spec("fxfarm")
    if spec is None or spec.origin is None:
        return ""
    words = said(str(Path(spec.origin).parent / "bin/fxfarm"), "--version").split()
    return words[1] if len(words) > 1 else ""


def packages(names: Sequence[str], python: str = sys.executable) -> Row:
    """Versions of those that this interpreter has, or another one."""
    if python != sys.executable:
        code = f"import facts, json; print(json.dumps(facts.packages({list(names)!r})))"
        done = subprocess.run(
            [python, "-c", code], cwd=Path(__file__).parent, capture_output=True, check=True
        )
        other: Row = json.loads(done.stdout)
        return other
    found: Row = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def said(*command: str) -> str:
    """What a program prints; empty when it is not there or fails."""
    if shutil.which(command[0]) is None:
        return ""
    with contextlib.suppress(subprocess.SubprocessError, OSError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S_MAX, check=True)
        return done.stdout
    return ""
