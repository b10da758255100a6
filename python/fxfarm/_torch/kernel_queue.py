"""Which C++ kernel of a job is compiled where: by this process, or by another engine of the farm."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of a kernel that was asked for elsewhere: its library, or None; then `busy` tells whether
    nobody was free for it."""

    kernel: str
    library: bytes | None
    busy: bool = False


class Elsewhere(Protocol):
    """The engines that may help with one job."""

    at_once: int
    """How many of the job's kernels may be asked for and not be answered."""

    def ask(self, kernel: str, source: bytes) -> None:
        """Has somebody compile the kernel; there may never be an answer."""

    def wait(self, wake: int) -> Sequence[Answer] | None:
        """The answers that have come. Waits for one, or until the descriptor `wake` can be read, which it
        leaves to its caller. None: there will be no more."""


class KernelQueue:
    """Decides; others compile, send and wait.

    Kernels wait in one list. This process takes from its front, others are asked for those at its back, as
    long as more wait than this process has threads for. When none waits any longer, this process compiles
    what it still awaits from elsewhere: whoever is first counts, and nobody is waited for.

    Somebody who has no time for a kernel says so at once. Then no more is asked for until a kernel has been
    made, here or elsewhere; each one that has been makes room for one more.
    """

    def __init__(self, threads: int, elsewhere: int) -> None:
        self.here = 0
        """Kernels that were made by this process."""
        self.elsewhere = 0
        """Those that were made by others."""
        self._threads = threads
        self._limit = self._room = elsewhere
        self._waiting: list[str] = []
        self._running: set[str] = set()
        # In the order in which they were asked for, and until they are answered, made or not.
        self._asked: dict[str, None] = {}
        # What nobody else is to be asked for again.
        self._failed_elsewhere: set[str] = set()
        self._made: set[str] = set()

    @property
    def under_way(self) -> int:
        """Kernels that may yet come from elsewhere."""
        return len(self._asked)

    def made(self, kernel: str) -> bool:
        """Whether it is done with."""
        return kernel in self._made

    def add(self, kernel: str) -> None:
        """One more is wanted."""
        self._waiting.append(kernel)

    def next_here(self) -> str | None:
        """What this process is to compile now, beside what it compiles already."""
        if len(self._running) >= self._threads:
            return None
        if self._waiting:
            kernel = self._waiting.pop(0)
        else:
            awaited = (k for k in self._asked if k not in self._running and k not in self._made)
            if (found := next(awaited, None)) is None:
                return None
            kernel = found
        self._running.add(kernel)
        return kernel

    def next_elsewhere(self) -> str | None:
        """What is to be asked for elsewhere now, beside what has been; after `next_here` has no more."""
        idle = self._threads - len(self._running)
        if len(self._asked) >= min(self._limit, self._room) or len(self._waiting) <= idle:
            return None
        for place in range(len(self._waiting) - 1, -1, -1):
            if self._waiting[place] not in self._failed_elsewhere:
                kernel = self._waiting.pop(place)
                self._asked[kernel] = None
                return kernel
        return None

    def made_here(self, kernel: str) -> None:
        """This process has compiled it. If it was asked for elsewhere, that answer is still under way."""
        self._running.discard(kernel)
        if kernel not in self._made:
            self.here += 1
            self._finish(kernel)

    def failed_here(self, kernel: str) -> None:
        """It cannot be compiled, here or anywhere: it is done with."""
        self._running.discard(kernel)
        self._finish(kernel)

    def stopped_here(self, kernel: str) -> None:
        """This process has given it up, since it has come from elsewhere."""
        self._running.discard(kernel)

    def came(self, kernel: str) -> bool:
        """A library has come; whether it is of use. If so, `made_elsewhere` or `failed_elsewhere` follows."""
        if kernel not in self._asked:
            return False
        del self._asked[kernel]
        return kernel not in self._made

    def made_elsewhere(self, kernel: str) -> None:
        """The library that came is as it should be."""
        self.elsewhere += 1
        self._finish(kernel)

    def refused(self, kernel: str, *, busy: bool) -> None:
        """Nobody was free for it, or it could not be compiled elsewhere."""
        if kernel not in self._asked:
            return
        del self._asked[kernel]
        if busy:
            self._room = len(self._asked)
            self._put_back(kernel, len(self._waiting))
        else:
            self.failed_elsewhere(kernel)

    def failed_elsewhere(self, kernel: str) -> None:
        """Others cannot help with this one."""
        self._failed_elsewhere.add(kernel)
        self._put_back(kernel, 0)

    def nothing_comes(self) -> None:
        """There is nobody to ask any longer, and there will be no more answers."""
        self._limit = 0
        for kernel in list(self._asked):
            del self._asked[kernel]
            self._put_back(kernel, len(self._waiting))

    def _put_back(self, kernel: str, place: int) -> None:
        if kernel not in self._made and kernel not in self._running:
            self._waiting.insert(place, kernel)

    def _finish(self, kernel: str) -> None:
        self._made.add(kernel)
        self._room = min(self._limit, self._room + 1)
