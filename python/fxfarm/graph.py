"""A graph that was handed over, as this process's side of the farm knows it."""

from __future__ import annotations

import dataclasses
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fxfarm import _core, status
from fxfarm.status import GraphStatus
from fxfarm.timeline import Times

if TYPE_CHECKING:
    from fxfarm._torch.collectives import Group
    from fxfarm.outstanding import OutstandingForwards
    from fxfarm.ranks import Place


def describe(e: BaseException) -> str:
    """Type and text of an exception."""
    return f"{type(e).__name__}: {e}" if str(e) else type(e).__name__


@dataclasses.dataclass(slots=True, eq=False)
class Graph:
    """A graph whose slot is alive, or one that stays eager without a slot."""

    name: str
    stages: Sequence[Any]
    life: weakref.ref[Any] | None = None
    """What the graph ends with: its slot, or the code of an inner graph, which calls the slot."""
    kept: _core.Slot | None = None
    """The slot of an inner graph, one that Inductor has handed over, until its runs have been counted."""
    first_optimized: int | None = None
    """The slot's index of the first stage whose calls are `optimized_runs`; None: they are not told apart."""
    snapshot: Any = None
    times: Times = dataclasses.field(default_factory=lambda: Times("", time.monotonic(), []))
    """When the program asked for it, and what happened since."""
    forwards: OutstandingForwards | None = None
    """Of a graph that is trained."""
    client_id: int | None = None
    groups: Sequence[Group] = ()
    """The process groups of its collectives."""
    place: Place | None = None
    """Among the ranks that have to switch together; None: this one switches for itself."""
    key: str = ""
    error: str = ""
    judged: bool = False
    """Whether a stage is compared with the one that it replaces."""
    failed: set[str] = dataclasses.field(default_factory=set)
    """Names of the stages that will not come."""
    published: int = 0
    """How many stages of the plan are behind: up to the best that calls have ever been switched to."""

    def living_slot(self) -> _core.Slot | None:
        """The slot, unless the model is gone."""
        found = self.life() if self.life is not None else None
        return found if found is None or self.kept is None else self.kept

    def publish(
        self, stage: int, call: Any, boxed: bool, guard: Any, measured: Callable[[], object] | None
    ) -> bool:
        """Switches calls to the loaded stage (index into `stages`); whether that is what they run now."""
        slot = self.living_slot()
        if slot is None:
            return False
        taken = slot.publish(stage + 1, call, boxed, guard, measured)
        self.published = max(self.published, stage + 1)
        self.free_if_settled()
        return taken

    def free_if_settled(self) -> None:
        """Once no better stage can come: frees eager's callable and with it the model's graph, unless a guard
        may still need it or training may go back to it."""
        if self.forwards is not None or any(
            s["name"] not in self.failed for s in self.stages[self.published :]
        ):
            return
        slot = self.living_slot()
        if slot is not None:
            slot.seal()

    def status(self, told: Any, waits_for_ranks: bool = False) -> GraphStatus:
        """With what the client tells of the graph; None: nothing yet."""
        names = [s["name"] for s in self.stages]
        return status.of_graph(
            self.name, self.key, self.error, names, self.living_slot(), told, waits_for_ranks
        )
