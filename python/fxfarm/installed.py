"""The farm behind `backend="inductor"`: what `fxfarm.install` puts into Inductor, and takes out again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fxfarm import _core, _torch, runtime, stages

if TYPE_CHECKING:
    from fxfarm._torch import scheme

MODES = ("async", "progressive")
FIRST_OPTIMIZED = 2
"""The slot's index of the first stage of the progression; before it come eager and `default`."""


def install(mode: str) -> None:
    """See fxfarm.install."""
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; allowed: {', '.join(MODES)}")
    _torch.check_seam()
    _torch.watch()
    from fxfarm._torch import scheme

    scheme.install(functools.partial(_take, mode))


def uninstall() -> None:
    """See fxfarm.uninstall."""
    from fxfarm._torch import scheme

    scheme.uninstall()


def plan_of(mode: str) -> list[stages.Stage]:
    """`default`, and in progressive mode what Inductor's own progression goes on with."""
    from fxfarm._torch import scheme

    wanted: list[Any] = ["default"]
    if mode == "progressive":
        for i, settings in enumerate(scheme.progression(), 1):
            wanted.append({"name": f"progression-{i}", "options": settings})
    return stages.resolve(wanted)


def _take(
    mode: str, capture: Callable[[], _torch.GraphSnapshot], eager: scheme.Call
) -> scheme.FarmOutputCode:
    """Nothing is raised: what cannot be handed over stays eager."""
    from fxfarm._torch import scheme

    try:
        farm = runtime.get()
        slot = _core.Slot(eager)
        code = scheme.FarmOutputCode(slot)
        first_optimized = FIRST_OPTIMIZED if mode == "progressive" else None
        farm.add_inner(capture(), slot, plan_of(mode), code, first_optimized)
        return code
    except Exception as e:
        runtime.record_failed(f"{type(e).__name__}: {e}")
        return scheme.FarmOutputCode(eager)
