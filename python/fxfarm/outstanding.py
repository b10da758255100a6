"""Keeps switches away from training steps that are half done.

An eager forward that updates its inputs in place (batch normalization's running statistics) has saved them
for its backward, which would raise once a compiled forward has marked them as modified. A forward in
torch.utils.checkpoint is run again within the backward and must then save just as many tensors as before,
which the code of two stages does not. So such a switch waits until every forward has had its backward, or has
been forgotten. And a graph whose backward is differentiated (`create_graph=True`) stays with eager.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch

from fxfarm import buffers
from fxfarm._torch import double_backward, training
from fxfarm.buffers import Forward, Guard


class _Watch:
    """A hook of one output's autograd node; the node owns it, so its end is the node's end."""

    __slots__ = ("_close", "_differentiated")

    def __init__(self, close: Callable[[], None], differentiated: Callable[[], None]) -> None:
        self._close = close
        self._differentiated = differentiated

    # Compiled autograd, which traces hooks, leaves this one alone.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, *_gradients: object) -> None:
        if torch.is_grad_enabled():
            self._differentiated()
        if not training.keeps_graph():
            training.at_end_of_backward(self._close)

    def __del__(self) -> None:
        self._close()


@dataclasses.dataclass(frozen=True, slots=True)
class Arrival:
    """A loaded stage that waits to be switched in; the three functions may be called in any thread, and raise
    nothing."""

    stage: Any
    """A _torch.LoadedStage."""
    guard: Guard | None
    is_last: bool
    """Whether no other will follow."""
    publish: Callable[[Callable[..., Any], Guard | None], bool]
    """Switches calls to a callable, with a guard; tells whether the slot runs that now."""
    refuse: Callable[[str], None]
    """Gives the stage up for that reason."""
    retreat: Callable[[str], None]
    """Goes back to eager for good."""


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
        self._open: set[Forward] = set()
        self._waiting: list[Arrival] = []
        self._switched = False
        self._retreat: Callable[[str], None] | None = None
        self._is_differentiated = False
        self._is_hooked = False
        _all.add(self)

    def bind(self, slot: Callable[..., Any]) -> None:
        """Says which slot calls this; held weakly."""
        self._slot = weakref.ref(slot)

    @property
    def open(self) -> int:
        """Number of outputs and running calls that may be waited for."""
        return len(self._open)

    def __call__(self, *args: Any) -> Any:
        forward = Forward(buffers.storages(args), training.has_saved_tensor_hooks())
        self._is_hooked = self._is_hooked or forward.hooked
        with self._lock:
            # First counted, then looked: a switch sees this call, or this call sees the switch.
            self._open.add(forward)
            switched = self._switched
        slot = self._slot() if switched else None
        if slot is not None:
            self._close(forward)
            return slot(*args)
        return self._run(forward, lambda: self._eager(*args))

    def publish(self, arrival: Arrival) -> None:
        """Has the stage switched in as soon as no forward is open that it would disturb: now, or in the
        thread that closes the last one."""
        with self._lock:
            self._waiting.append(arrival)
        self._settle()

    @property
    def stays(self) -> str | None:
        """Why ranks cannot be told to leave eager together; None: they can."""
        if self._is_differentiated:
            return double_backward.REASON
        if self._is_hooked:
            return "it has collectives and may run again within its backward, under torch.utils.checkpoint"
        return None

    def watch_differentiation(self, stage: Any, retreat: Callable[[str], None]) -> None:
        """Goes back to eager once a backward is differentiated, for a stage that others switch in."""
        with self._lock:
            stage.double_backward.tell = self._differentiated
            self._retreat = retreat

    def after_fork(self) -> None:
        """In the child of a fork: goes on without the thread that may have held the lock."""
        self._lock = threading.RLock()
        _left_behind.extend(self._waiting)
        self._waiting = []

    def _run(self, forward: Forward, run: Callable[[], Any]) -> Any:
        self._open.add(forward)
        buffers.hold(forward)
        try:
            outputs = run()
            if torch.is_grad_enabled():
                self._watch(outputs if isinstance(outputs, (tuple, list)) else (outputs,), forward)
            return outputs
        finally:
            self._close(forward)

    def _watch(self, outputs: Sequence[object], forward: Forward) -> None:
        nodes = {o.grad_fn for o in outputs if isinstance(o, torch.Tensor) and o.grad_fn is not None}
        for node in nodes:
            part = dataclasses.replace(forward)
            self._open.add(part)
            buffers.hold(part)
            watch = _Watch(lambda part=part: self._close(part), self._differentiated)  # type: ignore[misc]
            node.register_hook(watch)

    def _close(self, forward: Forward) -> None:
        buffers.free(forward)
        self._open.discard(forward)
        if self._waiting:
            self._settle()

    def _differentiated(self) -> None:
        with self._lock:
            self._is_differentiated = True
            self._switched = False
            retreat, self._retreat = self._retreat, None
        if retreat is not None:
            retreat(double_backward.REASON)
        self._settle()

    def _settle(self) -> None:
        with self._lock:
            while self._waiting and (self._is_differentiated or not self._is_disturbed(self._waiting[0])):
                self._act(self._waiting.pop(0))

    def _is_disturbed(self, arrival: Arrival) -> bool:
        return any(forward.hooked or arrival.stage.mutated for forward in tuple(self._open))

    def _act(self, arrival: Arrival) -> None:
        if self._is_differentiated:
            arrival.refuse(double_backward.REASON)
            return
        stage = arrival.stage
        stage.double_backward.tell = self._differentiated
        self._retreat = arrival.retreat
        call = stage.call if arrival.is_last else self._until_the_next(stage.call)
        if arrival.publish(call, arrival.guard):
            # A guard's misses come here after the switch too.
            self._switched = arrival.guard is None

    def _until_the_next(self, call: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
        """`call`, whose forwards under hooks keep the next stage waiting as eager's do."""

        def run(args: list[Any]) -> Any:
            if not training.has_saved_tensor_hooks():
                return call(args)
            return self._run(Forward(frozenset(), True), lambda: call(args))

        return run


_all: weakref.WeakSet[OutstandingForwards] = weakref.WeakSet()
# Kept for good: a stage that is published or freed answers its client, whose threads the child does not have.
_left_behind: list[Arrival] = []


def _after_fork_in_child() -> None:
    for forwards in list(_all):
        forwards.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
