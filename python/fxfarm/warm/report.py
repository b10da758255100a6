"""What `fxfarm warm` shows while it waits, and what it says in the end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from fxfarm.status import GraphStatus, StageStatus
from fxfarm.timeline import TIERS

BAR_CELLS = 24
MADE = ("loaded", "superseded")
"""States of a stage that nobody waits for any longer: it is there, or a better one is."""
_CLEAR = "\x1b[2K"


class Progress:
    """A bar on a terminal; elsewhere a line for each stage that is made, failed, or waits for a reason."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._said: set[tuple[str, str, str]] = set()

    def show(self, graphs: Sequence[GraphStatus]) -> None:
        """What has become of them so far."""
        if self._terminal:
            self._write(f"{_CLEAR}{bar(graphs, self._width())}\r")
            return
        for graph in graphs:
            for stage in graph.stages:
                said = (graph.key, stage.name, stage.state)
                if (stage.state in (*MADE, "failed") or stage.error) and said not in self._said:
                    self._said.add(said)
                    self._write(f"{graph.name} {stage.name}: {told(stage)}\n")

    def end(self) -> None:
        """Leaves the terminal as it was."""
        if self._terminal:
            self._write(_CLEAR)

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns
        except OSError:
            return 80

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def bar(graphs: Sequence[GraphStatus], width: int) -> str:
    """[######----] 3 of 5 stages, 1 compiling, 1 queued."""
    stages = [s for g in graphs for s in g.stages]
    over = sum(s.state in (*MADE, "failed", "rolled_back") for s in stages)
    filled = BAR_CELLS * over // len(stages) if stages else 0
    text = f"[{'#' * filled}{'-' * (BAR_CELLS - filled)}] {over} of {len(stages)} stages"
    for state, word in (("running", "compiling"), ("queued", "queued"), ("failed", "failed")):
        count = sum(s.state == state for s in stages)
        text += f", {count} {word}" if count else ""
    return text[: max(1, width - 1)]


def told(stage: StageStatus) -> str:
    """What became of it, in words."""
    if stage.state == "loaded":
        return f"there after {stage.seconds_to_ready:.3g} s, from {stage.source}"
    if stage.state == "superseded":
        return "a better stage was there first"
    return f"{stage.state}: {stage.error}" if stage.error else stage.state


def problems(graphs: Sequence[GraphStatus]) -> Iterator[str]:
    """What is not as it was asked for, one text each."""
    for graph in graphs:
        if graph.error:
            yield f"{graph.name}: {graph.error}"
        elif not graph.stages:
            yield f"{graph.name}: it was not sent in time"
        for stage in graph.stages:
            if stage.state not in MADE:
                late = "" if stage.state in ("failed", "rolled_back") else "not in time, "
                yield f"{graph.name} {stage.name}: {late}{told(stage)}"


def summary(graphs: Sequence[GraphStatus], faults: Sequence[str], seconds: float) -> dict[str, Any]:
    """The document that --json prints."""
    made = [s for g in graphs for s in g.stages if s.state == "loaded"]
    return {
        "farms": sorted({g.farm for g in graphs if g.farm}),
        "graphs": [_graph(g) for g in graphs],
        "stages_ready": len(made),
        "stages_compiled": sum(s.source not in TIERS for s in made),
        "problems": list(faults),
        "seconds": round(seconds, 3),
    }


def _graph(graph: GraphStatus) -> dict[str, Any]:
    stages = [
        {
            **{"name": s.name, "key": s.key, "state": s.state, "source": s.source, "error": s.error},
            "seconds": round(s.seconds_to_ready, 3),
        }
        for s in graph.stages
    ]
    known = {"name": graph.name, "key": graph.key, "farm": graph.farm, "error": graph.error}
    return {**known, "stages": stages}


def as_text(document: dict[str, Any]) -> str:
    """The same for people."""
    ready, compiled = document["stages_ready"], document["stages_compiled"]
    text = f"{len(document['graphs'])} graphs, {ready} stages ready: {compiled} compiled, {ready - compiled}"
    farms = ", ".join(document["farms"]) or "no farm"
    lines = [f"{text} from the store; {document['seconds']:.3g} s; {farms}", *document["problems"]]
    return "\n".join(lines)


def as_json(document: dict[str, Any]) -> str:
    """On one line."""
    return json.dumps(document)
