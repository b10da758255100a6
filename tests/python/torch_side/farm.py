"""A farm without processes: every graph that Dynamo hands over takes the whole way and is run from its
artifact.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import fxfarm
from fxfarm import _torch
from fxfarm._torch import scheme

PYTHON = Path(fxfarm.__file__).parents[1]
HERE = Path(__file__).parent
SHARED = HERE.parent


@dataclasses.dataclass
class Farmed:
    """What became of one graph."""

    graph: _torch.SerializedGraph
    artifact: bytes
    stage: _torch.LoadedStage
    misses: int = 0
    """Calls that the stage's guard sent to eager."""


def stage_of(options: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": "test", "options": {k: json.dumps(v) for k, v in (options or {}).items()}}


def farm(
    fn: Any,
    directory: Path,
    *,
    dynamic: bool | None = None,
    options: dict[str, Any] | None = None,
    target: dict[str, Any] | None = None,
) -> tuple[Callable[..., Any], list[Farmed]]:
    """`fn` compiled by way of fxfarm, and the list that its graphs are added to."""
    done: list[Farmed] = []

    def backend(gm: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        graph = _torch.serialize(_torch.snapshot(gm, inputs))
        platform = {**_torch.client_platform(), **(target or {})}
        made = _torch.compile_graph(graph.payload, stage_of(options), platform)
        stage = _torch.load_artifact(made.data, directory)
        farmed = Farmed(graph, made.data, stage)
        done.append(farmed)

        def call(*args: Any) -> Any:
            if stage.guard is not None and not stage.guard(*args):
                farmed.misses += 1
                return gm.forward(*args)
            return stage.call(list(args))

        return call

    return torch.compile(fn, backend=backend, dynamic=dynamic), done


@contextlib.contextmanager
def inductor_farm(
    directory: Path, choose: Callable[[Farmed], bool] = lambda _: True
) -> Iterator[list[Farmed]]:
    """Has `backend="inductor"` run the artifact of every graph at once, or its first tier where `choose` says
    no; what became of the graphs is added to the list.
    """
    done: list[Farmed] = []

    def take(capture: Callable[[], Any], eager: scheme.Call) -> scheme.FarmOutputCode:
        graph = _torch.serialize(capture())
        # As on a worker and on the loader's thread: outside of what AOTAutograd does here.
        with torch._guards.tracing(None):
            made = _torch.compile_graph(graph.payload, stage_of(), _torch.client_platform())
            stage = _torch.load_artifact(made.data, directory)
        done.append(Farmed(graph, made.data, stage))
        return scheme.FarmOutputCode(stage.call if choose(done[-1]) else eager)

    scheme.install(take)
    try:
        yield done
    finally:
        scheme.uninstall()


def graphs_of(fn: Any, *args: Any, dynamic: bool | None = None) -> list[_torch.SerializedGraph]:
    """The graphs that one call gives, run eagerly."""
    found: list[_torch.SerializedGraph] = []

    def backend(gm: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        found.append(_torch.serialize(_torch.snapshot(gm, inputs)))
        return gm.forward

    torch._dynamo.reset()
    torch.compile(fn, backend=backend, dynamic=dynamic)(*args)
    return found


def key_of(fn: Any, *args: Any, dynamic: bool | None = None) -> str:
    (graph,) = graphs_of(fn, *args, dynamic=dynamic)
    return graph.key


def run_client(
    *args: str, env: dict[str, str] | None = None, cwd: Path | None = None, python: str = sys.executable
) -> dict[str, Any]:
    """Runs client.py in a process of its own and returns its report; `env` adds to a plain environment."""
    paths = f"{PYTHON}:{SHARED}"
    plain = {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        [python, str(HERE / "client.py"), *args],
        env={**plain, **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-3000:]}"
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report
