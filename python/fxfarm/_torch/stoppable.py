"""A run of a compiler that another thread may stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

# A driver may be between two of its programs, so that there is nothing to kill for the moment.
_AGAIN_S = 0.02


class Run:
    """Programs that one thread runs, one after the other; that thread sets `ended` when it is done."""

    def __init__(self) -> None:
        self.stopped = False
        self.ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def run(self, command: Sequence[str], directory: str) -> tuple[int, bytes]:
        """Exit status and output of a program. Once stopped, none is started. Raises OSError."""
        with self._lock:
            if self.stopped:
                return -signal.SIGKILL, b""
            # Of this process's group, which is what the worker kills with it.
            process = self._process = subprocess.Popen(
                command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        assert process.stdout is not None
        with process.stdout:
            output = process.stdout.read()
        with self._lock:
            # Until here its number is nobody else's.
            status = process.wait()
            self._process = None
        return status, output

    def stop(self) -> None:
        """Has what the thread runs fail soon, and returns once it has set `ended`.

        What the compiler's driver has started is killed, not the driver: it then takes away what it has
        written so far, and leaves nobody behind who could still write. Where the system does not tell who
        that is, the compiler runs to its end.
        """
        with self._lock:
            self.stopped = True
        while not self.ended.wait(_AGAIN_S):
            with self._lock:
                if self._process is not None:
                    _kill_last(self._process.pid)


def _kill_last(pid: int) -> None:
    """Kills those of its descendants that have no children."""
    for child in _children(pid):
        if _children(child):
            _kill_last(child)
            continue
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(child)
            try:
                # Its number may have gone to another process before it was opened.
                if child in _children(pid):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
