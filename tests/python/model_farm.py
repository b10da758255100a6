"""What tests of models share: a farm with one engine, and how a compiled model is compared with eager."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from programs import PROGRAM, Role

import fxfarm
from fxfarm import runtime

STAGE_S = 600
"""Longest wait for a stage; a compile takes seconds on a machine that does nothing else."""

Case = tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]
"""A function to compile, and what makes its arguments: the same at each call."""


@contextmanager
def local_farm(folder: Path) -> Iterator[str]:
    """A local farm of one engine with its caches in `folder`; its endpoint."""
    with tempfile.TemporaryDirectory(prefix="fxfarm-") as sockets:
        socket = f"{sockets}/farm.sock"
        options = {"socket": socket, "python": sys.executable, "nice": 0, "metrics": "off"}
        # It is there for all tests, however long others take that have their own.
        options["idle-timeout"] = "24h"
        # A folder that outlives the tests saves the next run the headers.
        engines = os.environ.get("TEST_ENGINE_CACHE", folder / "engines")
        options |= {"cache-dir": folder / "cache", "engine-cache-dir": engines}
        options["engine-packages"] = "served_operators"
        flags = [f"--{name}={value}" for name, value in options.items()]
        path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
        farm = Role(["local", *flags], {**os.environ, "PYTHONPATH": path})
        farm.wait_line("local farm ready")
        yield f"ipc://{socket}"
        assert farm.stop() == 0, farm.log


@contextmanager
def client_of(endpoint: str, artifacts: Path, **options: Any) -> Iterator[None]:
    """This process as a client of that farm and of no other."""
    torch._dynamo.reset()
    # Slots that other tests have left behind would be counted when they go.
    gc.collect()
    torch.manual_seed(0)
    # On a machine with other work a stage may rightly be found slower.
    fxfarm.configure(
        **{"endpoints": [endpoint], "local": False, "roll_back": False, "artifact_dir": artifacts, **options}
    )
    yield
    fxfarm.shutdown()
    runtime._given = {}
    torch._dynamo.reset()


def farmed(fn: Any, **kwargs: Any) -> Any:
    return torch.compile(fn, backend="fxfarm", **kwargs)


def switched(count: int | None = None) -> list[fxfarm.GraphStatus]:
    """Waits for the stage of every graph, and says that all of them run it."""
    assert fxfarm.wait(timeout=STAGE_S), "no stage in time"
    graphs = fxfarm.graphs()
    told = [(g.stage, g.error, [s.error for s in g.stages]) for g in graphs]
    assert told == [("default", "", [""])] * len(graphs)
    assert len(graphs) == count if count is not None else graphs
    return graphs


def same(got: Any, want: Any, **tolerance: float) -> None:
    torch.testing.assert_close(got, want, **{"rtol": 2e-4, "atol": 2e-5, **tolerance})


def agree(cases: Mapping[str, Case], graphs: int | None = None, **kwargs: Any) -> None:
    """Each function answers and changes its arguments as in eager before, while and after its graph switches.
    They share one wait. `graphs`: how many they are of, unless one each.
    """
    compiled = {name: farmed(fn, **kwargs) for name, (fn, _) in cases.items()}

    def call_all() -> None:
        for name, (fn, make) in cases.items():
            mine, theirs = make(), make()
            got, want = compiled[name](*mine), fn(*theirs)
            try:
                same((got, mine), (want, theirs))
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from None

    call_all()
    while not fxfarm.wait(timeout=0.02):
        call_all()
    switched(len(cases) if graphs is None else graphs)
    call_all()


def stats_of(endpoint: str) -> dict[str, int]:
    """The farm's counters."""
    command = [str(PROGRAM), "stats", "--json", f"--endpoint={endpoint}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(told.stdout)["values"]
    return found
