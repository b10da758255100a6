"""Guards over sizes that run no Python tell what Python's own evaluation of the same text tells."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from fxfarm import _core
from fxfarm._torch import assumptions, integer_guard

NUMBERS = (-7, -1, 0, 1, 2, 3, 16, 512, 2**40)


def evaluated(expression: str, a: tuple[int, ...]) -> bool | str:
    try:
        return bool(eval(expression, {"a": a}))
    except ZeroDivisionError:
        return "raises"


@pytest.mark.parametrize(
    "expression",
    [
        "a[0] == 16",
        "a[0] != a[1]",
        "2 <= a[0] and a[0] <= 512",
        "1 < a[0] < a[1] <= 512",
        "a[0] > 3 or a[1] >= 16",
        "not (a[0] < 3)",
        "(a[0] % 16) == 0 and a[0] // 2 > a[1]",
        "a[0] * a[1] + 3 - a[0] < 1000",
        "a[0] // a[1] == -1",
        "-a[0] < -(a[1] % 7)",
        "a[0]**2 + a[1]**3 >= 8*a[0]",
        "max(a[0], a[1], 4) == 16",
        "min(a[0], a[1]) < 2",
        "True and a[0] < 3",
    ],
)
def test_an_expression_means_what_it_means_in_python(expression: str) -> None:
    steps = integer_guard.steps_of(expression)
    assert steps is not None
    asked: list[tuple[int, ...]] = []

    def otherwise(*a: int) -> bool:
        asked.append(a)
        return bool(eval(expression, {"a": a}))

    guard = _core.IntegerGuard(steps, otherwise)
    for a in itertools.product(NUMBERS, repeat=2):
        wanted = evaluated(expression, a)
        asked.clear()
        if wanted == "raises":
            with pytest.raises(ZeroDivisionError):
                guard(*a)
        else:
            assert guard(*a) is wanted, a
            assert not asked or max(map(abs, a)) > 512, f"{a} needed Python"


@pytest.mark.parametrize(
    "expression",
    [
        "a[0] / 2 == 1",
        "math.floor(a[0]) == 1",
        "a[0] < math.inf",
        "a[0].item() == 1",
        "a[0]**a[1] == 1",
        "(a[0] < 3) + 1 == 2",
        "a[0]",
        "a[0] ==",
        "",
    ],
)
def test_what_steps_cannot_do_is_left_to_python(expression: str) -> None:
    assert integer_guard.steps_of(expression) is None


class Symbolic:
    """As torch.SymInt: a number to Python code, and no int."""


@pytest.mark.parametrize("a", [(), (1.0,), (Symbolic(),), (2**63,), (-(2**63) - 1,)])
def test_python_is_asked_about_other_arguments(a: tuple[Any, ...]) -> None:
    steps = integer_guard.steps_of("a[0] + 0 == 1")
    assert steps is not None
    asked: list[tuple[Any, ...]] = []

    def otherwise(*arguments: Any) -> bool:
        asked.append(arguments)
        return True

    assert _core.IntegerGuard(steps, otherwise)(*a) is True
    assert asked == [a]


@pytest.mark.parametrize(
    "steps",
    [[("divide", 0)], [("add", 0)], [], [("number", 1), ("number", 1)], [("number", 1)] * 5000],
)
def test_steps_that_are_not_well_formed_are_refused(steps: list[tuple[str, int]]) -> None:
    with pytest.raises(ValueError, match=r"unknown step|finds too little|not one value|too many"):
        _core.IntegerGuard(steps, bool)


def manifest_of(guards: str, *positions: int) -> dict[str, Any]:
    return {"guards": guards, "guard_positions": positions, "pinned": [], "aliasing": None}


def test_an_artifacts_guard_over_sizes_needs_no_python() -> None:
    guard = assumptions.guard_of(manifest_of("2 <= L['t0'] and L['t1'] % 8 == 0", 1, 3))
    assert isinstance(guard, _core.IntegerGuard)
    assert [guard(None, n, None, m) for n, m in ((2, 8), (1, 8), (2, 9))] == [True, False, False]


def test_a_guard_of_more_steps_than_are_taken_is_left_to_python() -> None:
    guard = assumptions.guard_of(manifest_of(" and ".join(f"L['t0'] != {n}" for n in range(2000)), 0))
    assert guard is not None
    assert [guard(n) for n in (2000, 1999)] == [True, False]


@pytest.mark.parametrize("through_a_slot", [False, True])
def test_sizes_that_fitted_last_time_are_no_answer_for_others(through_a_slot: bool) -> None:
    guard = assumptions.guard_of(manifest_of("2 <= L['t0'] and L['t1'] % 8 == 0", 1, 3))
    assert isinstance(guard, _core.IntegerGuard)
    slot = _core.Slot(lambda *_: False)
    slot.publish(1, lambda *_: True, guard=guard)
    asked = slot if through_a_slot else guard
    sizes = [(2, 8), (2, 8), (2, 9), (2, 8), (1, 8), (2, 16), (8, 2), (2, 16), (True, 8), (2, 8)]
    fits = [True, True, False, True, False, True, False, True, False, True]
    assert [asked(None, n, None, m) for n, m in sizes] == fits
    assert slot.guard_misses == (4 if through_a_slot else 0)


def test_a_slot_asks_python_where_a_guard_over_sizes_cannot_tell() -> None:
    steps = integer_guard.steps_of("a[0] + 0 == 1")
    assert steps is not None
    asked: list[tuple[Any, ...]] = []

    def otherwise(*arguments: Any) -> bool:
        asked.append(arguments)
        return len(asked) == 1

    slot = _core.Slot(lambda *_: "eager")
    slot.publish(1, lambda *_: "compiled", guard=_core.IntegerGuard(steps, otherwise))
    assert [slot(1), slot(2**63), slot(2**63), slot(), slot(1)] == [
        "compiled",
        "compiled",
        "eager",
        "eager",
        "compiled",
    ]
    assert asked == [(2**63,), (2**63,), ()]
