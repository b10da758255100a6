from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fxfarm import pace


class Pauses:
    """Stands for the event that a pause waits for; remembers how long each was to last."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.taken.append(seconds)
        return False


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    made = Pauses()
    monkeypatch.setattr(pace._hurry, "wanted", made)
    return made


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The thread's processor time, as a test sets it."""
    now = [0.0]
    monkeypatch.setattr(time, "thread_time", lambda: now[0])
    yield now


@pytest.mark.parametrize(
    ("seconds", "want"),
    [
        (0.0, []),
        (pace.STEP_S / 2, []),
        (pace.STEP_S, [pace.STEP_S * 9]),
        (0.002, [0.018]),
        (1.0, [pace.PAUSE_S_MAX]),
    ],
)
def test_a_pause_is_long_beside_the_work(
    seconds: float, want: list[float], pauses: Pauses, worked: list[float]
) -> None:
    with pace.paced():
        worked[0] += seconds
        pace.step()
        pace.step()
    assert pauses.taken == pytest.approx(want)


def test_who_is_not_paced_never_pauses(pauses: Pauses, worked: list[float]) -> None:
    with pace.paced():
        pass
    worked[0] += 1.0
    pace.step()
    assert pauses.taken == []


def test_one_thread_is_paced_and_not_the_others(pauses: Pauses, worked: list[float]) -> None:
    with pace.paced():
        worked[0] += 1.0
        other = threading.Thread(target=pace.step)
        other.start()
        other.join()
    assert pauses.taken == []


def test_nothing_pauses_while_somebody_waits() -> None:
    with pace.hurried(), pace.hurried():
        assert pace._hurry.wanted.is_set()
    assert not pace._hurry.wanted.is_set()


def test_a_step_is_where_unwanted_work_ends(pauses: Pauses, worked: list[float]) -> None:
    stopping = threading.Event()
    with pace.paced(stopping):
        pace.step()
        stopping.set()
        with pytest.raises(pace.Stopped):
            pace.step()
    pace.step()


def test_an_import_pauses_and_is_not_left_half_done(
    pauses: Pauses, worked: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "paced_three.py").write_text("import paced_four")
    (tmp_path / "paced_four.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    stopping = threading.Event()
    stopping.set()
    with pace.paced(stopping), pace.paced_imports():
        importlib.import_module("paced_three")
    assert sys.modules.keys() >= {"paced_three", "paced_four"}


def test_imports_pause_before_each_module(
    pauses: Pauses, worked: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "paced_one.py").write_text("import paced_two")
    (tmp_path / "paced_two.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    with pace.paced(), pace.paced_imports():
        worked[0] += 1.0
        importlib.import_module("paced_one")
    assert pauses.taken == [pace.PAUSE_S_MAX]
    assert sys.modules.keys() >= {"paced_one", "paced_two"}
    assert sys.meta_path == finders
