"""A switch never disturbs a training step that is half done."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from farm_double import Loaded
from marks import forks
from programs import forked
from torch.utils.checkpoint import checkpoint

from fxfarm import _core, buffers
from fxfarm.outstanding import Arrival, OutstandingForwards

STATISTICS = (1, 2)
"""Positions of what batch normalization updates."""


class Step:
    """A batch norm behind a slot, as a graph that takes its statistics as arguments. Its compiled stand-in
    marks the statistics as modified, as AOTAutograd does.
    """

    def __init__(
        self, norm: torch.nn.BatchNorm1d | None = None, eager: Callable[..., Any] | None = None
    ) -> None:
        self.norm = torch.nn.BatchNorm1d(3) if norm is None else norm
        self.forwards = OutstandingForwards(eager or self.eager)
        self.slot = _core.Slot(self.forwards)
        self.forwards.bind(self.slot)
        self.told: list[str] = []

    def __call__(self, rows: int = 4) -> torch.Tensor:
        out: torch.Tensor = self.slot(torch.randn(rows, 3), self.norm.running_mean, self.norm.running_var)[0]
        return out

    def eager(self, x: torch.Tensor, *_statistics: Any) -> tuple[torch.Tensor]:
        return (self.norm(x),)

    def compiled(self, x: torch.Tensor, *statistics: torch.Tensor) -> tuple[torch.Tensor]:
        with torch.no_grad():
            for s in statistics:
                s.add_(0.0)
        return (self.norm(x),)

    def arrive(self, guard: Callable[..., Any] | None = None, **changes: Any) -> Loaded:
        given = {"call": self.compiled, "mutated": STATISTICS, **changes}
        index, last, publish = given.pop("index", 1), given.pop("last", True), given.pop("publish", None)
        stage = Loaded(**given)
        self.forwards.publish(
            Arrival(
                stage=stage,
                guard=buffers.guarded(stage.mutated, guard) if stage.mutated else guard,
                is_last=last,
                publish=publish or (lambda call, guard: self.slot.publish(index, call, stage.boxed, guard)),
                refuse=lambda why: self.told.append(f"refused: {why}"),
                retreat=lambda why: self.told.append(f"{self.slot.retreat()}: {why}"),
            )
        )
        return stage


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


def test_an_arrival_during_a_forward_waits_for_its_backward(step: Step) -> None:
    entered, arrived = threading.Event(), threading.Event()
    run = step.norm.forward

    def slowly(x: torch.Tensor) -> torch.Tensor:
        entered.set()
        assert arrived.wait(10)
        return run(x)

    step.norm.forward = slowly  # type: ignore[method-assign]
    outputs: list[torch.Tensor] = []
    caller = threading.Thread(target=lambda: outputs.append(step()))
    caller.start()
    assert entered.wait(10)
    step.arrive()
    arrived.set()
    caller.join()
    assert step.slot.stage == 0
    outputs[0].sum().backward()
    assert step.slot.stage == 1


def test_a_call_that_was_on_its_way_to_eager_is_sent_on_after_the_switch(step: Step) -> None:
    step.arrive(mutated=())
    step.forwards(torch.randn(4, 3))
    assert step.slot.runs == [0, 1]


def test_compiled_forwards_stand_back_while_an_eager_one_is_open(step: Step) -> None:
    fits = [False]
    step.arrive(guard=lambda *_: fits[0])
    first = step()
    fits[0] = True
    second = step()
    first.sum().backward()
    second.sum().backward()
    step()
    assert (step.slot.runs, step.slot.guard_misses) == ([2, 1], 2)


def test_a_forward_of_another_graph_with_the_same_statistics_is_open_for_both() -> None:
    one = Step()
    other = Step(one.norm)
    one.arrive()
    loss = other(6)
    one()
    loss.sum().backward()
    one().sum().backward()
    assert (one.slot.runs, one.slot.guard_misses) == ([1, 1], 1)


def test_a_graph_that_is_not_trained_stands_back_too(step: Step) -> None:
    slot = _core.Slot(lambda *args: ("eager", *args))
    slot.publish(1, lambda *args: ("compiled", *args), guard=buffers.guarded(STATISTICS, None))
    loss = step()
    statistics = (step.norm.running_mean, step.norm.running_var)
    assert slot(None, *statistics)[0] == "eager"
    assert slot(None, torch.ones(3), torch.ones(3))[0] == "compiled"
    loss.sum().backward()
    assert slot(None, *statistics)[0] == "compiled"


def test_every_stage_that_arrived_is_published_in_order(step: Step) -> None:
    out = step()
    step.arrive(last=False)
    step.arrive(index=2)
    assert step.slot.stage == 0
    out.sum().backward()
    assert step.slot.stage == 2
    assert step.slot.publish(1, step.compiled) is False


def test_a_guarded_stage_after_one_without_a_guard_runs_its_misses_eagerly(step: Step) -> None:
    step.arrive(mutated=(), last=False)
    step.arrive(guard=lambda *_: False, index=2)
    assert step().shape == (4, 3)
    assert (step.slot.stage, step.slot.guard_misses, step.slot.runs) == (2, 1, [1, 0, 0])


def test_a_stage_that_was_not_published_leaves_calls_with_eager(step: Step) -> None:
    step.arrive(publish=lambda *_: False)
    assert step().shape == (4, 3)
    assert step.slot.runs == [1]


def without_torchs_threads() -> None:
    """In the child of a fork, which torch's own threads do not reach either."""
    torch.set_num_threads(1)


@forks
def test_a_fork_while_another_thread_publishes_does_not_hang_the_childs_calls(step: Step) -> None:
    publishing, go_on = threading.Event(), threading.Event()

    def publish(call: Any, guard: Any) -> bool:
        publishing.set()
        assert go_on.wait(10)
        return step.slot.publish(1, call, guard=guard)

    loader = threading.Thread(target=lambda: step.arrive(publish=publish))
    loader.start()
    assert publishing.wait(10)

    def trains() -> bool:
        without_torchs_threads()
        step().sum().backward()
        return (step.slot.stage, step.slot.runs) == (0, [1])

    assert forked(trains) == 0
    go_on.set()
    loader.join()
    step()
    assert step.slot.runs == [0, 1]


@forks
def test_a_stage_that_waited_at_a_fork_is_published_in_the_parent_alone(step: Step) -> None:
    first = step()
    told: list[int] = []

    def publish(call: Any, guard: Any) -> bool:
        told.append(os.getpid())
        return step.slot.publish(1, call, guard=guard)

    step.arrive(publish=publish)

    def trains() -> bool:
        without_torchs_threads()
        first.sum().backward()
        step()
        return (told, step.slot.stage) == ([], 0)

    assert forked(trains) == 0
    first.sum().backward()
    assert (told, step.slot.stage) == ([os.getpid()], 1)


def twice(x: torch.Tensor) -> tuple[torch.Tensor]:
    return (x.sin() * x.cos(),)


def twice_compiled(args: list[torch.Tensor]) -> tuple[torch.Tensor]:
    """Saves less for its backward."""
    return (args[0].sin(),)


@pytest.fixture
def plain() -> Step:
    """A graph that updates nothing."""
    return Step(eager=twice)


def test_the_forward_of_a_checkpoint_is_run_again_by_the_same_stage(plain: Step) -> None:
    x = torch.randn(3, requires_grad=True)
    out = checkpoint(lambda x: plain.slot(x)[0], x, use_reentrant=False)
    plain.arrive(call=twice_compiled, boxed=True, mutated=())
    assert plain.slot.stage == 0
    out.sum().backward()
    assert (plain.slot.stage, plain.slot.runs) == (1, [2, 0])


def test_so_it_is_when_one_compiled_stage_follows_another(plain: Step) -> None:
    plain.arrive(call=lambda args: twice(*args), boxed=True, mutated=(), last=False)
    x = torch.randn(3, requires_grad=True)
    out = checkpoint(lambda x: plain.slot(x)[0], x, use_reentrant=False)
    plain.arrive(call=twice_compiled, boxed=True, mutated=(), index=2)
    assert plain.slot.stage == 1
    out.sum().backward()
    assert (plain.slot.stage, plain.slot.runs) == (2, [0, 2, 0])


def test_a_graph_that_updates_nothing_switches_while_a_forward_is_open(plain: Step) -> None:
    out = plain.slot(torch.randn(3, requires_grad=True))
    plain.arrive(call=twice_compiled, boxed=True, mutated=())
    assert plain.slot.stage == 1
    assert out[0].requires_grad


def test_a_graph_whose_backward_is_differentiated_stays_with_eager(plain: Step) -> None:
    x = torch.randn(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(plain.slot(x)[0].sum(), x, create_graph=True)
    gradient.sum().backward()
    plain.arrive(call=twice_compiled, boxed=True, mutated=())
    assert plain.slot.stage == 0
    assert ["create_graph=True" in why for why in plain.told] == [True]


def test_and_goes_back_to_it_when_that_is_seen_after_the_switch(plain: Step) -> None:
    x = torch.randn(3, requires_grad=True)
    out = plain.slot(x)[0]
    plain.arrive(call=twice_compiled, boxed=True, mutated=(), last=False)
    assert plain.slot.stage == 1
    torch.autograd.grad(out.sum(), x, create_graph=True)
    plain.arrive(call=twice_compiled, boxed=True, mutated=(), index=2)
    assert (plain.slot.stage, [why.partition(":")[0] for why in plain.told]) == (0, ["True", "refused"])
    plain.slot(x)
    assert plain.slot.runs[0] == 2


def test_a_compiled_backward_that_is_differentiated_ends_the_stage(plain: Step) -> None:
    stage = plain.arrive(call=twice_compiled, boxed=True, mutated=())
    stage.double_backward.tell()
    assert (plain.slot.stage, len(plain.told)) == (0, 1)
