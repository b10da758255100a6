"""What `fxfarm.graphs()` tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fxfarm import trial

if TYPE_CHECKING:
    from fxfarm import _core


@dataclasses.dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage of a graph's plan."""

    name: str
    key: str
    state: str
    """waiting, queued, running, fetched, armed (loaded; the job's other ranks are not yet that far), loaded,
    failed, superseded or rolled_back."""
    source: str
    """The store or worker that it came from; empty until known."""
    error: str
    """Why it failed or was rolled back; empty otherwise."""
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
    farm: str
    """The endpoint that serves it; empty until one has answered."""
    settled: bool
    """Whether nothing more will change."""
    stages: tuple[StageStatus, ...]
    runs: Mapping[str, int]
    """Calls by stage."""
    seconds_per_call: Mapping[str, float]
    """Median of the latest calls that were timed, by stage; a stage with none is left out."""
    guard_misses: int
    """Calls that ran eager since their arguments were outside what the stage was compiled for, or since an
    eager forward that may have saved what they update waits for its backward."""
    error: str
    """Why the graph could not be sent to the farm; empty otherwise."""


def of_graph(
    name: str,
    key: str,
    error: str,
    stages: Sequence[str],
    slot: _core.Slot | None,
    told: Any,
    waits_for_ranks: bool,
) -> GraphStatus:
    """Puts together what the slot knows of a graph and what the client tells of it (None: nothing yet).
    `waits_for_ranks`: the stage that the client has fetched is loaded here and armed.
    """
    names = ["eager", *stages]
    runs = slot.runs if slot is not None else []
    timed = [slot.call_seconds(i) for i in range(len(runs))] if slot is not None else []
    return GraphStatus(
        key=key,
        name=name,
        stage=names[slot.stage] if slot is not None else "eager",
        farm=told["farm"] if told is not None else "",
        settled=bool(error) or (told is not None and told["settled"]),
        stages=tuple(_stage(s, waits_for_ranks) for s in told["stages"]) if told is not None else (),
        runs=dict(zip(names, runs, strict=False)),
        seconds_per_call={n: trial.quartiles(s)[1] for n, s in zip(names, timed, strict=False) if s},
        guard_misses=slot.guard_misses if slot is not None else 0,
        error=error,
    )


def _stage(told: Mapping[str, Any], armed: bool) -> StageStatus:
    if armed and told["state"] == "fetched":
        told = {**told, "state": "armed"}
    return StageStatus(**{("key" if field == "stage_key" else field): value for field, value in told.items()})
