"""Whether a stage is slower than the one that it replaced, told from how long the caller's own calls took."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

CALLS_MIN = 8
"""Timed calls of each stage, at least; with fewer nothing is said."""
MARGIN = 0.05
"""Part of the older stage's median by which the newer one has to be slower."""


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """Medians in seconds, and what they may differ by without meaning anything."""

    before: float
    after: float
    noise: float
    calls: tuple[int, int]

    @property
    def slower(self) -> bool:
        """Whether the newer stage is the slower one beyond noise and margin."""
        return self.after - self.before > max(self.noise, MARGIN * self.before)

    def __str__(self) -> str:
        return (
            f"{self.after * 1e3:.3g} ms a call, {self.before * 1e3:.3g} ms before "
            f"(noise {self.noise * 1e3:.2g} ms; medians of {self.calls[1]} and {self.calls[0]} calls)"
        )


def compare(before: Sequence[float], after: Sequence[float]) -> Verdict | None:
    """The verdict on calls of two stages, in seconds; None when there are too few of either.

    Noise is the mean of both interquartile ranges: what a load on the machine or inputs of many sizes spread
    counts for the newer stage.
    """
    if min(len(before), len(after)) < CALLS_MIN:
        return None
    low, old, high = quartiles(before)
    low_after, new, high_after = quartiles(after)
    return Verdict(old, new, (high - low + high_after - low_after) / 2, (len(before), len(after)))


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, each the nearest of the values; there is at least one.

    (Python's own `statistics` takes longer to import than a call of a model may wait.)
    """
    ordered, count = sorted(values), len(values)
    return ordered[count // 4], ordered[count // 2], ordered[count * 3 // 4]
