"""A switch never lands between an eager forward that updates its inputs and that forward's backward."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from programs import exit_status

from fxfarm import _core
from fxfarm.outstanding import OutstandingForwards


class Step:
    """A batch norm behind a slot, with a compiled stand-in that marks the statistics as modified, as
    AOTAutograd does."""

    def __init__(self) -> None:
        self.norm = torch.nn.BatchNorm1d(3)
        self.forwards = OutstandingForwards(lambda x: (self.norm(x),))
        self.slot = _core.Slot(self.forwards)
        self.forwards.bind(self.slot)

    def __call__(self) -> torch.Tensor:
        out: torch.Tensor = self.slot(torch.randn(4, 3))[0]
        return out

    def compiled(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        with torch.no_grad():
            self.norm.running_mean.add_(0.0)  # type: ignore[union-attr]
            self.norm.running_var.add_(0.0)  # type: ignore[union-attr]
        return (self.norm(x),)

    def arrive(self, guard: Callable[..., Any] | None = None) -> None:
        self.forwards.publish(lambda g: self.slot.publish(1, self.compiled, guard=g), guard)


@pytest.fixture
def step() -> Step:
    return Step()


def test_without_care_the_switch_breaks_the_backward(step: Step) -> None:
    first = step()
    step.slot.publish(1, step.compiled)
    step()
    with pytest.raises(RuntimeError, match="inplace"):
        first.sum().backward()


def test_two_forwards_around_an_arrival_then_both_backwards(step: Step) -> None:
    first = step()
    step.arrive()
    second = step()
    assert step.slot.stage == 0
    first.sum().backward()
    assert step.slot.stage == 0
    second.sum().backward()
    assert step.slot.stage == 1
    step().sum().backward()
    assert step.slot.runs == [2, 1]


def test_switches_at_once_when_nothing_is_open(step: Step) -> None:
    step().sum().backward()
    step.arrive()
    assert step.slot.stage == 1


def test_a_backward_that_retains_the_graph_keeps_the_forward_open(step: Step) -> None:
    loss = step().sum()
    step.arrive()
    loss.backward(retain_graph=True)
    assert step.slot.stage == 0
    loss.backward()
    assert step.slot.stage == 1


def test_switches_after_the_whole_backward_and_not_within_it(step: Step) -> None:
    stages: list[int] = []
    x = torch.randn(4, 3, requires_grad=True)
    x.register_hook(lambda _: stages.append(step.slot.stage))
    out = step.slot(x)[0]
    step.arrive()
    out.sum().backward()
    assert (stages, step.slot.stage) == ([0], 1)


def test_a_forgotten_forward_is_not_waited_for(step: Step) -> None:
    out = step()
    step.arrive()
    assert step.slot.stage == 0
    del out
    gc.collect()
    assert step.slot.stage == 1


def test_forwards_without_gradients_do_not_hold_the_switch(step: Step) -> None:
    with torch.no_grad():
        kept = step()
    step.arrive()
    assert step.slot.stage == 1
    assert not kept.requires_grad


def test_a_failed_forward_does_not_hold_the_switch(step: Step) -> None:
    with pytest.raises(ValueError, match="expected 2D or 3D"):
        step.slot(torch.randn(3))
    assert step.forwards.open == 0


def test_an_arrival_during_a_forward_waits_for_its_backward() -> None:
    entered, arrived = threading.Event(), threading.Event()
    norm = torch.nn.BatchNorm1d(3)

    def eager(x: torch.Tensor) -> tuple[torch.Tensor]:
        entered.set()
        assert arrived.wait(10)
        return (norm(x),)

    forwards = OutstandingForwards(eager)
    slot = _core.Slot(forwards)
    forwards.bind(slot)
    outputs: list[torch.Tensor] = []
    caller = threading.Thread(target=lambda: outputs.extend(slot(torch.randn(4, 3))))
    caller.start()
    assert entered.wait(10)
    forwards.publish(lambda _: slot.publish(1, eager), None)
    arrived.set()
    caller.join()
    assert slot.stage == 0
    outputs[0].sum().backward()
    assert slot.stage == 1


def test_a_call_that_was_on_its_way_to_eager_is_sent_on_after_the_switch(step: Step) -> None:
    step.arrive()
    step.forwards(torch.randn(4, 3))
    assert step.slot.runs == [0, 1]


def test_a_guarded_stage_is_left_alone_while_an_eager_forward_is_open(step: Step) -> None:
    fits = [False]
    step.arrive(guard=lambda _: fits[0])
    first = step()
    fits[0] = True
    second = step()
    first.sum().backward()
    second.sum().backward()
    step()
    assert (step.slot.runs, step.slot.guard_misses) == ([2, 1], 2)


def test_every_stage_that_arrived_is_published_in_order(step: Step) -> None:
    out = step()
    taken: list[int] = []
    step.forwards.publish(lambda _: taken.append(1), None)
    step.forwards.publish(lambda _: taken.append(2), None)
    out.sum().backward()
    assert taken == [1, 2]


def test_a_guarded_stage_after_one_without_a_guard_runs_its_misses_eagerly(step: Step) -> None:
    step.arrive()
    step.forwards.publish(lambda g: step.slot.publish(2, step.compiled, guard=g), lambda _: False)
    assert step().shape == (4, 3)
    assert (step.slot.stage, step.slot.guard_misses, step.slot.runs) == (2, 1, [1, 0, 0])


def test_a_stage_that_was_not_published_leaves_calls_with_eager(step: Step) -> None:
    step.forwards.publish(lambda _: False, None)
    assert step().shape == (4, 3)
    assert step.slot.runs == [1]


def without_torchs_threads() -> None:
    """In the child of a fork, which torch's own threads do not reach either."""
    torch.set_num_threads(1)


def test_a_fork_while_another_thread_publishes_does_not_hang_the_childs_calls(step: Step) -> None:
    publishing, forked = threading.Event(), threading.Event()

    def publish(guard: Any) -> bool:
        publishing.set()
        assert forked.wait(10)
        return step.slot.publish(1, step.compiled, guard=guard)

    loader = threading.Thread(target=step.forwards.publish, args=(publish, None))
    loader.start()
    assert publishing.wait(10)
    child = os.fork()
    if child == 0:
        without_torchs_threads()
        step().sum().backward()
        os._exit(0 if (step.slot.stage, step.slot.runs) == (0, [1]) else 1)
    assert exit_status(child) == 0
    forked.set()
    loader.join()
    step()
    assert step.slot.runs == [0, 1]


def test_a_stage_that_waited_at_a_fork_is_published_in_the_parent_alone(step: Step) -> None:
    first = step()
    told: list[int] = []

    def publish(guard: Any) -> bool:
        told.append(os.getpid())
        return step.slot.publish(1, step.compiled, guard=guard)

    step.forwards.publish(publish, None)
    child = os.fork()
    if child == 0:
        without_torchs_threads()
        first.sum().backward()
        step()
        os._exit(0 if (told, step.slot.stage) == ([], 0) else 1)
    assert exit_status(child) == 0
    first.sum().backward()
    assert (told, step.slot.stage) == ([os.getpid()], 1)
