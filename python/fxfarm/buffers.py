"""Has compiled forwards stand back from tensors that eager forwards may have saved.

Eager's batch normalization saves its running statistics for the backward and updates them without a mark. A
compiled forward marks what it updates, and the backward of an eager forward that saved it would then raise:
one of the same graph, or of another, such as that for a batch of another size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch

Guard = Callable[..., Any]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Forward:
    """An eager forward that has begun and waits for its backward."""

    storages: frozenset[int]
    """Of its inputs without gradients, such as buffers: what it may have saved and others may update."""
    hooked: bool
    """Whether its saved tensors went through hooks, so that it may be run again within the backward."""


# All of the process. Added to, taken from and copied in single steps, so that no lock is needed.
_waiting: set[Forward] = set()


def storages(args: Sequence[object]) -> frozenset[int]:
    """Those of the tensors without gradients."""
    return frozenset(
        t.untyped_storage()._cdata for t in args if isinstance(t, torch.Tensor) and not t.requires_grad
    )


def hold(forward: Forward) -> None:
    """Has compiled forwards stand back from the forward's inputs; once is enough."""
    if forward.storages:
        _waiting.add(forward)


def free(forward: Forward) -> None:
    """The forward has had its backward, or will have none."""
    _waiting.discard(forward)


def guarded(updated: Sequence[int], guard: Guard | None) -> Guard:
    """`guard`, and that no eager forward waits whose inputs are among the arguments at the positions
    `updated`."""

    def fits(*args: Any) -> Any:
        return not (_waiting and _is_held(args)) and (guard is None or guard(*args))

    def _is_held(args: Sequence[Any]) -> bool:
        mine = {args[i].untyped_storage()._cdata for i in updated}
        return any(not mine.isdisjoint(f.storages) for f in tuple(_waiting))

    return fits
