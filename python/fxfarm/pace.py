"""Background work in small steps, so that the model's calls get the interpreter lock soon.

A thread that runs Python keeps the lock for a switch interval (5 ms) each time another thread wants it, and
an eager call wants it back after every operator. So threads of fxfarm work in `paced()` and pass `step()`
often: it pauses, and the pauses are long beside the work, so that even a call that lasts longer than all of
the work meets only a part of it. While somebody waits for the result (`hurried()`), nothing pauses. Work
that is no longer wanted ends at its next step.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

STEP_S = 0.0005
"""Processor time between two pauses, at least."""
DUTY = 0.1
"""Part of the time that is worked."""
PAUSE_S_MAX = 0.05


class Stopped(BaseException):
    """Raised by `step` when the work is not wanted any longer. No Exception, so that nothing on the way up
    takes it for a failure of the work."""


class _Worked(threading.local):
    since: float | None = None
    stopping: threading.Event | None = None


class _Hurry:
    """How many wait, and what a pause waits for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = 0
        self.wanted = threading.Event()

    def change(self, by: int) -> None:
        """Counts those who wait."""
        with self._lock:
            self._waiting += by
            if self._waiting:
                self.wanted.set()
            else:
                self.wanted.clear()


_own = _Worked()
_hurry = _Hurry()


@contextlib.contextmanager
def paced(stopping: threading.Event | None = None) -> Iterator[None]:
    """Makes this thread pause in `step` while the body runs, and leave it there once `stopping` is set."""
    _own.since, _own.stopping = time.thread_time(), stopping
    try:
        yield
    finally:
        _own.since = _own.stopping = None


def step() -> None:
    """A place where this thread may pause; nothing outside `paced`. Raises Stopped."""
    _pause()
    if _own.stopping is not None and _own.stopping.is_set():
        raise Stopped


def _pause() -> None:
    if _own.since is None:
        return
    worked = time.thread_time() - _own.since
    if worked < STEP_S:
        return
    _hurry.wanted.wait(min(worked * (1 / DUTY - 1), PAUSE_S_MAX))
    _own.since = time.thread_time()


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Lets nobody pause while the body runs: somebody waits for the work. Any thread."""
    _hurry.change(1)
    try:
        yield
    finally:
        _hurry.change(-1)


class _Finder:
    """Finds nothing; the import system asks it before each module."""

    @staticmethod
    def find_spec(
        _name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # Not a place to stop: a module that is left half imported may not be importable again.
        _pause()
        return None


@contextlib.contextmanager
def paced_imports() -> Iterator[None]:
    """Makes this thread's imports pause before each module as in `step`."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _after_fork_in_child() -> None:
    global _hurry
    _hurry = _Hurry()


os.register_at_fork(after_in_child=_after_fork_in_child)
