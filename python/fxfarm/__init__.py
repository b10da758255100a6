"""fxfarm: a compile farm for PyTorch.

`torch.compile(model, backend="fxfarm")` answers at eager speed from its first call; a farm compiles the graph
elsewhere, in stages, and each result is switched in between two calls. Importing this package starts nothing
and imports no torch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fxfarm.config import ConfigError
from fxfarm.status import GraphStatus, StageStatus
from fxfarm.tables import GraphList

if TYPE_CHECKING:
    from fxfarm.runtime import Runtime

__version__ = "0.1.0"
__all__ = [
    "ConfigError",
    "GraphList",
    "GraphStatus",
    "StageStatus",
    "__version__",
    "configure",
    "graphs",
    "install",
    "reset_stats",
    "shutdown",
    "stats",
    "trace",
    "uninstall",
    "wait",
]


def configure(**options: Any) -> None:
    """Sets options before the first compiled call; see fxfarm.config.Config for their names.

    They win over FXFARM_* variables and over the file that FXFARM_CONFIG names. Raises ConfigError, or
    RuntimeError when fxfarm has started.
    """
    from fxfarm import runtime

    runtime.configure(options)


def install(mode: str = "async") -> None:
    """Puts the farm into Inductor, for programs that keep `backend="inductor"`: each graph that Inductor
    would compile from now on runs eager at once, and is compiled by the farm.

    `mode` is "async" (one stage, `default`) or "progressive" (`default`, then the settings of Inductor's own
    progressive mode). A second call changes the mode for graphs to come. Raises ValueError for another mode,
    and RuntimeError when this torch is none that it knows.
    """
    from fxfarm import installed

    installed.install(mode)


def uninstall() -> None:
    """Gives Inductor its own compile back. Graphs that the farm has taken go on to their stages."""
    from fxfarm import installed

    installed.uninstall()


def wait(stage: str | None = None, timeout: float | None = None) -> bool:
    """Waits until every graph so far runs `stage` (None: the last of its plan) or a better one, or has failed
    for good to reach it; `graphs()` tells which and why.

    False only when `timeout` seconds pass first. Ctrl-C ends it.
    """
    farm = _runtime()
    return farm is None or farm.wait(stage, timeout)


def graphs() -> GraphList:
    """Every graph whose model is alive, with those that stay eager and why: a list that is shown as a table
    in a terminal and in a notebook."""
    farm = _runtime()
    return GraphList() if farm is None else farm.graphs()


def trace(path: str | os.PathLike[str]) -> None:
    """Writes what happened to every graph so far, and when, as a trace for chrome://tracing and Perfetto: how
    long calls ran eager, the queue, each phase of a compile, load, switch. Raises OSError."""
    from pathlib import Path

    from fxfarm.timeline import Timeline

    farm = _runtime()
    (Timeline() if farm is None else farm.timeline).write(Path(path))


def stats() -> dict[str, int]:
    """Counters since the start or the last reset: bg_started and bg_finished (stages asked for and loaded),
    eager_runs and compiled_runs (calls), fast_runs and optimized_runs (the same calls in progressive mode of
    `install`: before and from its first tuned stage on), switches_agreed, switches_aborted, switches_waited
    (of graphs whose ranks switch together: calls agreed on, proposals that came to nothing, and calls that
    had to wait for the verdict), and the client's own."""
    farm = _runtime()
    if farm is None:
        from fxfarm.counters import AGREEMENTS, NAMES

        return dict.fromkeys(NAMES + AGREEMENTS, 0)
    return farm.stats()


def reset_stats() -> None:
    """Starts every counter of stats() again at zero."""
    farm = _runtime()
    if farm is not None:
        farm.reset_stats()


def shutdown() -> None:
    """Leaves the farm. Models keep the stage that they run; a graph compiled later starts fxfarm again."""
    from fxfarm import runtime

    runtime.shutdown()


def _runtime() -> Runtime | None:
    from fxfarm import runtime

    return runtime.current()
