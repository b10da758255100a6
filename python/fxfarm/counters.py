"""Calls by what they ran, as `fxfarm.stats()` counts them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fxfarm import _core

NAMES = ("bg_started", "bg_finished", "eager_runs", "compiled_runs", "fast_runs", "optimized_runs")
"""What `fxfarm.stats()` has of this side."""

AGREEMENTS = ("switches_agreed", "switches_aborted", "switches_waited")
"""And of switches that the ranks of a job make together."""


class Runs:
    """Runs of slots, those that are gone included. Not for several threads at a time."""

    def __init__(self) -> None:
        self._fast = 0
        self._optimized = 0

    def retire(self, runs: Sequence[int], first_optimized: int | None) -> None:
        """Keeps the runs of a slot that goes; what the extension keeps of it are eager and compiled ones."""
        fast, optimized = _told_apart(runs, first_optimized)
        self._fast += fast
        self._optimized += optimized

    def total(self, slots: Iterable[tuple[_core.Slot, int | None]]) -> dict[str, int]:
        """All runs by name; `slots` are those alive, each with the index of its first optimized stage."""
        totals = {"fast_runs": self._fast, "optimized_runs": self._optimized}
        eager = compiled = 0
        for slot, first_optimized in slots:
            runs = slot.runs
            eager, compiled = eager + runs[0], compiled + sum(runs[1:])
            fast, optimized = _told_apart(runs, first_optimized)
            totals["fast_runs"] += fast
            totals["optimized_runs"] += optimized
        # While the slots are held, so that each is either among them or among the retired.
        retired_eager, retired_compiled = _core.retired_runs()
        return {"eager_runs": eager + retired_eager, "compiled_runs": compiled + retired_compiled, **totals}


def _told_apart(runs: Sequence[int], first_optimized: int | None) -> tuple[int, int]:
    if first_optimized is None:
        return 0, 0
    return sum(runs[:first_optimized]), sum(runs[first_optimized:])
