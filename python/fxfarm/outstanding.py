"""Keeps the switch away from training steps that are half done.

An eager forward that updates its inputs in place (batch normalization's running statistics) has saved them
for its backward. A compiled forward marks them as modified, and that backward would then raise. So the switch
waits until every eager forward has had its backward, or has been forgotten.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch

Guard = Callable[..., Any]


def _keeps_graph() -> bool:
    """Whether the backward that runs now keeps its graph for another one (torch 2.13, C++ engine's graph
    task)."""
    return bool(torch._C._autograd._get_current_graph_task_keep_graph())


def _at_end_of_backward(action: Callable[[], None]) -> None:
    """Runs `action` once the backward that runs now has succeeded (torch 2.13, as DDP and FSDP do)."""
    torch.autograd.Variable._execution_engine.queue_callback(action)


class _Watch:
    """A hook of one output's autograd node; the node owns it, so its end is the node's end."""

    __slots__ = ("_close",)

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close

    def __call__(self, *_gradients: object) -> None:
        if not _keeps_graph():
            _at_end_of_backward(self._close)

    def __del__(self) -> None:
        self._close()


class OutstandingForwards:
    """Runs eager for a graph that is trained, and knows which of its forwards still wait for their backward.

    A forward counts as open from its call until, for each of its outputs, a backward that did not retain the
    graph has run through it or the output is gone. Any thread; the lock is reentrant since freeing a node can
    happen anywhere.
    """

    def __init__(self, eager: Callable[..., Any]) -> None:
        self._eager = eager
        self._slot: Callable[[], Callable[..., Any] | None] = lambda: None
        self._lock = threading.RLock()
        self._tokens = itertools.count()
        self._open: set[int] = set()
        self._waiting: list[Callable[[], None]] = []
        self._switched = False
        _all.add(self)

    def bind(self, slot: Callable[..., Any]) -> None:
        """Says which slot calls this; held weakly."""
        self._slot = weakref.ref(slot)

    @property
    def open(self) -> int:
        """Number of outputs and running calls that the switch waits for."""
        return len(self._open)

    def __call__(self, *args: Any) -> Any:
        token = next(self._tokens)
        with self._lock:
            # First counted, then looked: a switch sees this call, or this call sees the switch.
            self._open.add(token)
            switched = self._switched
        try:
            slot = self._slot() if switched else None
            if slot is not None:
                return slot(*args)
            outputs = self._eager(*args)
            if torch.is_grad_enabled():
                self._watch(outputs if isinstance(outputs, (tuple, list)) else (outputs,))
            return outputs
        finally:
            self._close(token)

    def publish(self, publish: Callable[[Guard | None], bool], guard: Guard | None) -> None:
        """Calls `publish` with the guard to use as soon as no forward is open: now, or from the thread that
        closes the last one. It raises nothing, and says whether the slot runs that stage now."""

        def act() -> None:
            if publish(None if guard is None else self._guarded(guard)):
                # A guard's misses come here after the switch too.
                self._switched = guard is None

        with self._lock:
            self._waiting.append(act)
        self._settle()

    def after_fork(self) -> None:
        """In the child of a fork: goes on without the thread that may have held the lock."""
        self._lock = threading.RLock()
        _left_behind.extend(self._waiting)
        self._waiting = []

    def _guarded(self, guard: Guard) -> Guard:
        # Misses run eager after the switch too, so the switch is decided anew at each call.
        def fits(*args: Any) -> Any:
            return not self._open and guard(*args)

        return fits

    def _watch(self, outputs: Sequence[object]) -> None:
        nodes = {o.grad_fn for o in outputs if isinstance(o, torch.Tensor) and o.grad_fn is not None}
        for node in nodes:
            token = next(self._tokens)
            self._open.add(token)
            node.register_hook(_Watch(lambda token=token: self._close(token)))  # type: ignore[misc]

    def _close(self, token: int) -> None:
        self._open.discard(token)
        if self._waiting:
            self._settle()

    def _settle(self) -> None:
        with self._lock:
            if self._open:
                return
            ready, self._waiting = self._waiting, []
            for act in ready:
                act()


_all: weakref.WeakSet[OutstandingForwards] = weakref.WeakSet()
# Kept for good: a stage that is published or freed answers its client, whose threads the child does not have.
_left_behind: list[Callable[[], None]] = []


def _after_fork_in_child() -> None:
    for forwards in list(_all):
        forwards.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
