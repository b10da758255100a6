"""The callable that stands in for a compiled graph."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from fxfarm import _core


def labelled(label: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return (label, args, kwargs)

    return call


def test_runs_eager_until_a_stage_is_published() -> None:
    slot = _core.Slot(labelled("eager"))
    assert slot(1, 2, k=3) == ("eager", (1, 2), {"k": 3})
    assert slot.publish(1, labelled("default"))
    assert slot(4) == ("default", (4,), {})
    assert (slot.stage, slot.runs) == (1, [1, 1])


@pytest.mark.parametrize(
    ("published", "then", "taken"), [(1, 2, True), (2, 1, False), (2, 2, False), (1, 16, True)]
)
def test_never_goes_back(published: int, then: int, taken: bool) -> None:
    slot = _core.Slot(labelled("eager"))
    assert slot.publish(published, labelled("first"))
    assert slot.publish(then, labelled("second")) is taken
    assert slot()[0] == ("second" if taken else "first")


@pytest.mark.parametrize("index", [-1, 0, 17])
def test_refuses_an_index_outside_the_bounds(index: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 16"):
        _core.Slot(labelled("eager")).publish(index, labelled("x"))


@pytest.mark.parametrize("publish", [{"target": 3}, {"target": print, "guard": 3}])
def test_refuses_what_cannot_be_called(publish: dict[str, Any]) -> None:
    slot = _core.Slot(labelled("eager"))
    with pytest.raises(TypeError):
        slot.publish(1, **publish)
    assert slot.stage == 0
    with pytest.raises(TypeError):
        _core.Slot(3)  # type: ignore[arg-type]


def test_a_boxed_stage_gets_one_list_that_it_may_empty() -> None:
    seen: list[Any] = []

    def boxed(arguments: list[Any]) -> int:
        seen.extend(arguments)
        arguments.clear()
        return len(seen)

    slot = _core.Slot(labelled("eager"))
    slot.publish(1, boxed, boxed=True)
    assert slot("a", "b") == 2
    assert seen == ["a", "b"]
    assert slot() == 2
    with pytest.raises(TypeError, match="no keyword"):
        slot("a", k=1)


def test_a_call_that_a_guard_refuses_runs_eager_and_is_counted() -> None:
    slot = _core.Slot(labelled("eager"))
    slot.publish(1, labelled("default"), guard=lambda n: n < 10)
    assert [slot(n)[0] for n in (1, 10, 2)] == ["default", "eager", "default"]
    assert (slot.guard_misses, slot.runs) == (1, [1, 2])


def test_a_guard_that_raises_refuses() -> None:
    slot = _core.Slot(labelled("eager"))
    slot.publish(1, labelled("default"), guard=lambda n: n.missing)
    assert slot(1)[0] == "eager"
    assert slot.guard_misses == 1


def test_ctrl_c_in_a_guard_reaches_the_caller() -> None:
    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    slot = _core.Slot(labelled("eager"))
    slot.publish(1, labelled("default"), guard=interrupted)
    with pytest.raises(KeyboardInterrupt):
        slot()
    assert (slot.guard_misses, slot.runs) == (0, [0, 0])


@pytest.mark.parametrize("boxed", [False, True])
def test_exceptions_pass_through(boxed: bool) -> None:
    error = RuntimeError("from the stage")

    def failing(*_: Any) -> None:
        raise error

    slot = _core.Slot(labelled("eager"))
    slot.publish(1, failing, boxed=boxed)
    with pytest.raises(RuntimeError) as caught:
        slot(1)
    assert caught.value is error


def test_a_replaced_stage_is_freed_and_eager_is_kept() -> None:
    eager, first, guard = labelled("eager"), labelled("first"), labelled("guard")
    alive = [weakref.ref(x) for x in (first, guard, eager)]
    slot = _core.Slot(eager)
    slot.publish(1, first, guard=guard)
    del eager, first, guard
    slot.publish(2, labelled("second"))
    assert [r() is None for r in alive] == [True, True, False]


@pytest.mark.parametrize(("guard", "freed"), [(None, True), (labelled("fits"), False)])
def test_sealing_frees_eager_unless_a_guard_needs_it(guard: Callable[..., Any] | None, freed: bool) -> None:
    eager = labelled("eager")
    gone = weakref.ref(eager)
    slot = _core.Slot(eager)
    del eager
    slot.publish(1, labelled("default"), guard=guard)
    slot.seal()
    assert (gone() is None) is freed
    assert slot()[0] == "default"
    assert slot.publish(2, labelled("late")) is False


def test_a_stage_replaced_during_its_call_lives_until_the_call_ends() -> None:
    slot = _core.Slot(labelled("eager"))
    alive: list[weakref.ref[Any]] = []

    class First:
        def __call__(self) -> str:
            slot.publish(2, labelled("second"))
            gc.collect()
            return "first" if alive[0]() is self else "freed"

    first = First()
    alive.append(weakref.ref(first))
    slot.publish(1, first)
    del first
    assert slot() == "first"
    assert alive[0]() is None


def test_a_guard_may_publish() -> None:
    slot = _core.Slot(labelled("eager"))

    def guard(*_: Any) -> bool:
        slot.publish(2, labelled("second"))
        slot.seal()
        return False

    slot.publish(1, labelled("first"), guard=guard)
    assert slot()[0] == "second"


def test_calls_leak_no_references() -> None:
    argument, result = object(), object()
    slot = _core.Slot(lambda *_: result)
    slot.publish(1, lambda _: result, boxed=True, guard=lambda n: n is argument)
    before = (sys.getrefcount(argument), sys.getrefcount(result))
    for _ in range(1000):
        slot(argument)
        slot(None)
    assert (sys.getrefcount(argument), sys.getrefcount(result)) == before


def test_a_cycle_through_a_slot_is_collected() -> None:
    def make() -> weakref.ref[_core.Slot]:
        cycle: list[Any] = []
        slot = _core.Slot(lambda: cycle)
        slot.publish(1, lambda: cycle, guard=lambda: cycle)
        cycle.append(slot)
        return weakref.ref(slot)

    gone = make()
    gc.collect()
    assert gone() is None


def test_counts_of_a_freed_slot_are_kept() -> None:
    before = _core.retired_runs()
    slot = _core.Slot(labelled("eager"))
    slot()
    slot.publish(1, labelled("default"))
    slot()
    slot()
    del slot
    after = _core.retired_runs()
    assert (after[0] - before[0], after[1] - before[1]) == (1, 2)


def test_copies_of_a_model_share_its_slot_and_pickling_says_why_not() -> None:
    slot = _core.Slot(labelled("eager"))
    assert copy.deepcopy({"slot": slot})["slot"] is slot
    assert copy.copy(slot) is slot
    with pytest.raises(TypeError, match=r"torch\.compile again"):
        pickle.dumps(slot)


def test_looks_like_a_function() -> None:
    slot = _core.Slot(labelled("eager"), name="graph")
    assert (slot.__name__, slot.__qualname__, slot.__module__) == ("graph", "graph", "fxfarm._core")
    slot.__dict__["note"] = 1
    assert vars(slot) == {"note": 1}
    assert "graph" in repr(slot)


def test_publishing_while_threads_call() -> None:
    slot = _core.Slot(lambda: 0)
    stages, callers, calls = 16, 4, 5000
    seen: list[list[int]] = [[] for _ in range(callers)]
    ready = threading.Barrier(callers + 1)

    def call(mine: list[int]) -> None:
        ready.wait()
        mine.extend(slot() for _ in range(calls))

    threads = [threading.Thread(target=call, args=(mine,)) for mine in seen]
    for t in threads:
        t.start()
    ready.wait()
    for index in range(1, stages + 1):
        assert slot.publish(index, lambda index=index: index)
        while slot.runs[index] == 0 and any(t.is_alive() for t in threads):
            pass
    for t in threads:
        t.join()
    assert all(mine == sorted(mine) for mine in seen), "a caller saw an earlier stage after a later one"
    assert sum(slot.runs) == callers * calls


def test_goes_back_once_to_what_was_replaced() -> None:
    slot = _core.Slot(labelled("eager"))
    slot.publish(1, labelled("default"))
    slot.publish(2, labelled("best"), measured=lambda: None)
    assert slot.roll_back(1) is False, "not the current stage"
    assert slot.roll_back(2) is True
    assert (slot()[0], slot.stage, slot.runs) == ("default", 1, [0, 1, 0])
    assert slot.roll_back(1) is False
    assert slot.publish(2, labelled("best again")) is False
    assert slot.publish(3, labelled("third"))


def test_what_was_replaced_is_freed_when_the_stage_is_kept() -> None:
    first, second = labelled("first"), labelled("second")
    dead = weakref.ref(first), weakref.ref(second)
    slot = _core.Slot(labelled("eager"))
    slot.publish(1, first)
    slot.publish(2, second, measured=lambda: None)
    del first, second
    assert dead[0]() is not None
    slot.keep(1)
    assert dead[0]() is not None, "not the current stage"
    slot.keep(2)
    assert dead[0]() is None
    slot.publish(3, labelled("third"))
    assert dead[1]() is None


def test_a_newer_stage_ends_the_trial_of_the_one_before() -> None:
    first = labelled("first")
    dead = weakref.ref(first)
    slot = _core.Slot(labelled("eager"))
    slot.publish(1, first)
    del first
    slot.publish(2, labelled("second"), measured=lambda: None)
    slot.publish(3, labelled("third"), measured=lambda: None)
    assert dead() is None
    assert slot.roll_back(3)
    assert slot()[0] == "second"


def test_a_seal_leaves_eager_while_the_last_stage_is_on_trial() -> None:
    eager = labelled("eager")
    dead = weakref.ref(eager)
    slot = _core.Slot(eager)
    del eager
    slot.publish(1, labelled("default"), measured=lambda: None)
    slot.seal()
    assert dead() is not None
    slot.keep(1)
    assert dead() is None


@pytest.mark.parametrize("kept", [True, False])
def test_a_sealed_slot_can_go_back_to_eager(kept: bool) -> None:
    slot = _core.Slot(labelled("eager"))
    slot.publish(1, labelled("default"), measured=(lambda: None) if kept else None)
    slot.seal()
    assert slot.roll_back(1) is kept
    assert slot()[0] == ("eager" if kept else "default")


def test_says_once_that_enough_calls_have_been_timed() -> None:
    told: list[int] = []
    slot = _core.Slot(labelled("eager"))
    slot.publish(1, labelled("default"), measured=lambda: told.append(len(slot.call_seconds(1))))
    for _ in range(200):
        slot()
    assert told == [32]
    assert (len(slot.call_seconds(0)), len(slot.call_seconds(1))) == (0, 64)
    assert all(0 < s < 1 for s in slot.call_seconds(1))


def test_calls_that_a_guard_refuses_or_that_raise_are_not_timed() -> None:
    def raises() -> None:
        raise ValueError

    slot = _core.Slot(raises)
    for _ in range(10):
        with pytest.raises(ValueError, match=""):
            slot()
    slot = _core.Slot(labelled("eager"))
    slot.publish(1, labelled("default"), guard=lambda n: False)
    for _ in range(10):
        slot(1)
    assert (slot.call_seconds(0), slot.call_seconds(1), slot.runs) == ([], [], [10, 0])


@pytest.mark.parametrize("index", [-1, 17])
def test_refuses_to_tell_of_a_stage_outside_the_bounds(index: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 16"):
        _core.Slot(labelled("eager")).call_seconds(index)
    with pytest.raises(TypeError):
        _core.Slot(labelled("eager")).roll_back("1")  # type: ignore[arg-type]


def test_what_is_due_is_called_before_that_call_and_may_publish() -> None:
    slot = _core.Slot(labelled("eager"))
    slot()
    assert slot.at_call(3, lambda: slot.publish(1, labelled("default")))
    assert [slot()[0] for _ in range(4)] == ["eager", "eager", "default", "default"]
    assert (slot.calls, slot.runs) == (5, [3, 2])


@pytest.mark.parametrize(("number", "taken"), [(0, False), (1, False), (2, True), (3, True)])
def test_nothing_is_due_before_a_call_that_has_begun(number: int, taken: bool) -> None:
    seen: list[int] = []
    slot = _core.Slot(labelled("eager"))
    slot(), slot()
    assert slot.at_call(number, lambda: seen.append(slot.calls)) is taken
    slot(), slot(), slot()
    assert seen == ([number] if taken else [])


def test_what_is_due_can_be_replaced_and_forgotten() -> None:
    seen: list[str] = []
    slot = _core.Slot(labelled("eager"))
    assert slot.at_call(1, lambda: seen.append("first"))
    assert slot.at_call(1, lambda: seen.append("second"))
    slot(), slot()
    assert seen == ["second"]
    assert slot.at_call(2, lambda: seen.append("third"))
    slot.forget_call()
    slot()
    assert seen == ["second"]


def test_a_call_goes_on_though_what_is_due_has_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def due() -> None:
        raise ValueError("no")

    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: told.append(raised.exc_type))
    slot = _core.Slot(labelled("eager"))
    assert slot.at_call(0, due)
    assert [slot()[0], slot()[0]] == ["eager", "eager"]
    assert told == [ValueError]


def test_what_is_due_interrupts_the_call_as_ctrl_c_does() -> None:
    def due() -> None:
        raise KeyboardInterrupt

    slot = _core.Slot(labelled("eager"))
    assert slot.at_call(0, due)
    with pytest.raises(KeyboardInterrupt):
        slot()
    assert slot.calls == 0
    assert slot()[0] == "eager"


def test_frees_what_was_due() -> None:
    def due() -> None: ...

    alive = weakref.ref(due)
    slot = _core.Slot(labelled("eager"))
    slot.at_call(5, due)
    del due, slot
    gc.collect()
    assert alive() is None
