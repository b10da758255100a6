"""The logger `fxfarm`, and what the option `log` does to it.

A library leaves levels and handlers to the program: without the option, lines go where the program's logging
sends them, which for a program that has set up nothing is standard error, from warnings on. Who sets the
option asks for more: the logger gets that level, and lines that no handler of the program's would take are
written to standard error.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

log = logging.getLogger("fxfarm")

FORMAT = "%(asctime)s fxfarm %(levelname)s %(message)s"


class _LastResort(logging.StreamHandler[Any]):
    """Writes to what is standard error at that time, as long as the program has no handler of its own."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter(FORMAT))

    @property
    def stream(self) -> Any:
        """Standard error; None in a program without one."""
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record, unless another handler gets it."""
        if self.stream is not None and not _is_taken(record):
            super().emit(record)


_last_resort = _LastResort()


def _is_taken(record: logging.LogRecord) -> bool:
    """Whether a handler of the program's takes the record."""
    found: logging.Logger | None = log
    while found is not None:
        for handler in found.handlers:
            silent = handler is _last_resort or isinstance(handler, logging.NullHandler)
            if not silent and record.levelno >= handler.level:
                return True
        found = found.parent if found.propagate else None
    return False


def set_up(level: str) -> None:
    """`level` as the option has it; empty: the program's own logging is left alone."""
    if level:
        log.setLevel(logging.CRITICAL + 1 if level == "off" else level.upper())
        log.addHandler(_last_resort)
    elif _last_resort in log.handlers:
        # An earlier start had the option.
        log.removeHandler(_last_resort)
        log.setLevel(logging.NOTSET)
