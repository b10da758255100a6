"""Graphs from a manifest: submitted as they were recorded, without the model and without torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fxfarm import config, local_farm, manifest, status
from fxfarm._torch import platform
from fxfarm.status import GraphStatus

SLICE_MS = 250


def failed(name: str, why: str, key: str = "") -> GraphStatus:
    """A graph that was not submitted."""
    return status.of_graph(name, key, why, (), None, None, False)


def refused(request: manifest.Request) -> str:
    """Why it is of no use to ask for the graph; empty: it may be asked for."""
    here, there = platform.host_platform()["torch"], str(request.target.get("torch", ""))
    if here in ("", there):
        return ""
    return (
        f"recorded with torch {there}, and this is torch {here}: its key and its code are of that version, "
        "no process of this one would ask for them; record it again"
    )


class Replay:
    """The client that asks for a manifest's graphs."""

    def __init__(self, options: config.Config) -> None:
        self._client = local_farm.connect(options)
        self._failed: list[GraphStatus] = []

    def submit(self, files: Sequence[Path]) -> None:
        """Asks for the graphs of a manifest's files; what cannot be asked for is told by `graphs`."""
        for path in files:
            try:
                request = manifest.read(path)
            except (OSError, manifest.DamagedRequest) as e:
                self._failed.append(failed(path.name[:12], str(e)))
                continue
            why = refused(request) or self._submitted(request)
            if why:
                self._failed.append(failed(request.name, why, request.key))

    def _submitted(self, request: manifest.Request) -> str:
        try:
            stages: Sequence[Any] = request.stages
            self._client.submit(
                request.key, request.name, request.payload, stages, request.target, request.parts
            )
        except (ValueError, RuntimeError, TypeError) as e:
            return str(e)
        return ""

    def wait(self, until: float, told: Callable[[], object]) -> bool:
        """Waits until nothing more will change, or for the moment `until` of the monotonic clock: False.
        `told` is called now and then."""
        while not all(g["settled"] for g in self._client.graphs()):
            if time.monotonic() >= until:
                return False
            task = self._client.next_task(SLICE_MS)
            # It has arrived as the farm made it, and nobody here runs it.
            if task is not None:
                task.done()
            told()
        return True

    def graphs(self) -> list[GraphStatus]:
        """What has become of each."""
        asked = [_status(told) for told in self._client.graphs()]
        return [*asked, *self._failed]

    def stop(self) -> None:
        """Leaves the farm."""
        self._client.stop()


def _status(told: Mapping[str, Any]) -> GraphStatus:
    names = [s["name"] for s in told["stages"]]
    return status.of_graph(told["name"], told["graph_key"], "", names, None, told, False)
