"""What a compile for a GPU does where its kernels cannot be measured; without a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch

from fxfarm._torch import gpu_lease
from fxfarm._torch.errors import CompileError
from fxfarm._torch.triton_tuning import TritonRecorder


@pytest.fixture(autouse=True)
def turns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engine's turns at the GPU, begun and ended."""
    seen: list[str] = []

    @contextlib.contextmanager
    def alone() -> Iterator[None]:
        seen.append("begun")
        try:
            yield
        finally:
            seen.append("ended")

    monkeypatch.setattr(gpu_lease, "alone", alone)
    return seen


def test_what_cannot_be_run_costs_a_plain_stage_its_measures_and_no_more(turns: list[str]) -> None:
    recorder = TritonRecorder(must_measure=False, attempts=1)
    for error in (torch.OutOfMemoryError("full"), RuntimeError("sizes disagree")):
        with recorder._alone():
            raise error
    assert recorder.unmeasured == "OutOfMemoryError: full", "the first reason"
    assert recorder.seconds > 0
    assert turns == ["begun", "ended"] * 2


def test_want_of_memory_fails_a_stage_that_is_there_for_what_is_measured() -> None:
    recorder = TritonRecorder(must_measure=True, attempts=1)
    wrapped = RuntimeError("Failed to run autotuning code block")
    wrapped.__cause__ = torch.OutOfMemoryError("full")
    with recorder._alone():
        raise RuntimeError("sizes disagree")
    for error in (torch.OutOfMemoryError("full"), wrapped):
        with pytest.raises(CompileError, match="to measure kernels: "), recorder._alone():
            raise error


def test_a_turn_that_cannot_be_had_fails_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def alone() -> Iterator[None]:
        raise FileNotFoundError("the engines' directory")
        yield

    monkeypatch.setattr(gpu_lease, "alone", alone)
    recorder = TritonRecorder(must_measure=False, attempts=1)
    with pytest.raises(FileNotFoundError, match="the engines' directory"), recorder._alone():
        pass
    assert recorder.unmeasured == ""


@pytest.mark.parametrize(
    ("must_measure", "attempts", "reason"),
    [(False, 2, ""), (False, 3, "attempt 3: none before it has come to an end"), (True, 3, "")],
)
def test_the_third_attempt_at_a_plain_stage_runs_nothing(
    must_measure: bool, attempts: int, reason: str
) -> None:
    recorder = TritonRecorder(must_measure, attempts)
    assert recorder.unmeasured == reason
    assert recorder._measures == (reason == "")
