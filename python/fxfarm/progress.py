"""One line on standard error that tells, again and again, how far the process's graphs are.

It is for somebody who looks at a terminal: where standard error is none there is nothing, and of a job's
ranks only the first has a line. A thread of its own writes it, never the model's, and it ends with the
runtime.
"""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from fxfarm.status import GraphStatus

PERIOD_S = 0.5
_CLEAR = "\x1b[2K"
_STATES = {
    **{"running": "compiling", "queued": "queued", "waiting": "waiting", "fetched": "loading"},
    **{"armed": "armed", "failed": "failed", "rolled_back": "rolled back"},
}
"""What the line tells of stages; of others it is seen in what graphs run."""


def wanted(environ: Mapping[str, str], stream: TextIO | None = None) -> bool:
    """Whether this process is one that may show a line."""
    stream = stream or sys.stderr
    with contextlib.suppress(ValueError, AttributeError):
        # A stream that was closed, and a process without one.
        first = environ.get("RANK", environ.get("SLURM_PROCID", "0")) == "0"
        return first and stream.isatty() and environ.get("TERM") != "dumb"
    return False


def line(graphs: Sequence[GraphStatus]) -> str:
    """What is told of those graphs: what they run, then what is on its way."""
    running = collections.Counter(g.stage for g in graphs)
    states = collections.Counter(s.state for g in graphs if not g.error for s in g.stages)
    text = f"fxfarm: {len(graphs)} graph{'s' * (len(graphs) != 1)}"
    text += "".join(f", {count} on {stage}" for stage, count in sorted(running.items()))
    under_way = [f"{states[s]} {word}" for s, word in _STATES.items() if states[s]]
    stays = sum(bool(g.error) for g in graphs)
    if stays:
        under_way.append(f"{stays} cannot be sent")
    return text + ("; " + ", ".join(under_way) if under_way else "")


class Line:
    """Shows the line until `stop`, in a thread."""

    def __init__(self, graphs: Callable[[], Sequence[GraphStatus]], stream: TextIO | None = None) -> None:
        self._graphs = graphs
        self._stream = stream or sys.stderr
        self._over = threading.Event()
        self._shown = ""
        self._thread = threading.Thread(target=self._run, name="fxfarm-progress", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """The line stays as it was last; nothing is written later. Waits for the thread, but not from it."""
        self._over.set()
        if self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while not self._over.wait(PERIOD_S):
                self._show(line(self._graphs()))
            if self._shown:
                self._show(line(self._graphs()))
                self._write("\n")
        except (OSError, ValueError):
            # Nobody looks any longer: the terminal is gone, or the stream was closed.
            return

    def _show(self, text: str) -> None:
        if text == self._shown:
            return
        self._shown = text
        try:
            width = os.get_terminal_size(self._stream.fileno()).columns
        except OSError:
            width = 80
        # The cursor waits at the line's begin, so that what others write does not come behind it.
        self._write(f"{_CLEAR}{text[: max(1, width - 1)]}\r")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
