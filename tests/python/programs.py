"""Programs that tests start: waits for what they say and for their end, always with a deadline."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fxfarm

PROGRAM = Path(fxfarm.__file__).parent / "bin" / "fxfarm"
DEADLINE_S = 60.0
"""For what must happen; long, since nothing is measured here."""


def until(what: str, happened: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """Asks again until `happened` tells something true, and returns that."""
    end = time.monotonic() + deadline_s
    while not (answer := happened()):
        if time.monotonic() > end:
            raise AssertionError(f"in {deadline_s} s it did not happen: {what}; the last answer: {answer!r}")
    return answer


def wait_gone(pid: int, deadline_s: float = DEADLINE_S) -> bool:
    """Waits for the end of a process that need not be a child."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], deadline_s)[0])
    finally:
        os.close(handle)


def signalled(pid: int, how: signal.Signals = signal.SIGKILL) -> bool:
    """Sends a signal to a process that may leave by itself; False if it has."""
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return False
    return True


def forked(check: Callable[[], bool]) -> int | None:
    """0 when `check` is true in a child that is forked; None, and the child is killed, when it hangs."""
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = 0 if check() else 1
        finally:
            # Else it would go on with the tests after this one.
            os._exit(status)
    ended = wait_gone(child)
    if not ended:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if ended else None


class Role:
    """A process of the farm that the test started, with what it logs. `prefix` is a command that runs it."""

    def __init__(
        self,
        args: list[str],
        env: Mapping[str, str],
        prefix: Sequence[str] = (),
        program: Path = PROGRAM,
        **popen: Any,
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, str(program), *args],
            env=env,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **popen,
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        with self._changed:
            return "\n".join(self.lines)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_line(self, part: str, number: int = 1, deadline_s: float = DEADLINE_S) -> str:
        """The first line of the log with `part` in it, or the second, and so on."""

        def found() -> str | None:
            lines = [line for line in self.lines if part in line]
            return lines[number - 1] if len(lines) >= number else None

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._ended, deadline_s)
            line = found()
        assert line is not None, f"no line with {part!r} in the log:\n{self.log}"
        return line

    def fact(self, line: str, name: str) -> str:
        """`value` of `name=value` in the line that has `line` in it."""
        return self.wait_line(line).split(f" {name}=", 1)[1].split(" ", 1)[0]

    def ended(self) -> int:
        """Waits for the end and tells the exit status."""
        status = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return status

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.ended()

    def kill(self) -> None:
        assert self.stop(signal.SIGKILL) == -signal.SIGKILL
