"""What `fxfarm.graphs()` tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage of a graph's plan."""

    name: str
    key: str
    state: str
    """waiting, queued, running, fetched, loaded, failed or superseded."""
    source: str
    """The store or worker that it came from; empty until known."""
    error: str
    """Why it failed; empty otherwise."""
    seconds_to_ready: float
    seconds_to_switch: float
    seconds_load: float
    seconds_queued: float
    phases: Mapping[str, float]
    """Seconds of the compile by phase."""


@dataclasses.dataclass(frozen=True, slots=True)
class GraphStatus:
    """One graph that `torch.compile` has handed over and whose model is alive."""

    key: str
    """Empty until the graph has been hashed."""
    name: str
    stage: str
    """The stage that calls run now."""
    settled: bool
    """Whether nothing more will change."""
    stages: tuple[StageStatus, ...]
    runs: Mapping[str, int]
    """Calls by stage."""
    guard_misses: int
    """Calls that ran eager since their shapes were outside what the stage was compiled for."""
    error: str
    """Why the graph could not be sent to the farm; empty otherwise."""
