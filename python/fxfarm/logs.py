"""The logger `fxfarm`, and what the option `log` does to it.

A library leaves levels and handlers to the program: without the option, lines go where the program's logging
sends them, which for a program that has set up nothing is standard error, from warnings on. Who sets the
option asks for more: the logger gets that level, and lines that no handler of the program's would take are
written to standard error.

Lines are written in the middle of work that goes on whatever becomes of them, so nothing that a filter or
handler of the program's raises gets out of here.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from typing import Any

_logger = logging.getLogger("fxfarm")

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
    found: logging.Logger | None = _logger
    while found is not None:
        for handler in found.handlers:
            silent = handler is _last_resort or isinstance(handler, logging.NullHandler)
            if not silent and record.levelno >= handler.level:
                return True
        found = found.parent if found.propagate else None
    return False


class _Log:
    """Writes lines, and never raises."""

    def info(self, text: str, *args: object) -> None:
        """What goes on."""
        self._write(logging.INFO, text, args)

    def warning(self, text: str, *args: object) -> None:
        """What fails."""
        self._write(logging.WARNING, text, args)

    def _write(self, level: int, text: str, args: tuple[object, ...]) -> None:
        try:
            # The line is its caller's caller's.
            _logger.log(level, text, *args, stacklevel=3)
        except Exception:
            # As logging does with what a handler's `emit` catches.
            if logging.raiseExceptions and sys.stderr is not None:
                with contextlib.suppress(OSError, ValueError):
                    traceback.print_exc(file=sys.stderr)


log = _Log()


def set_up(level: str) -> None:
    """`level` as the option has it; empty: the program's own logging is left alone."""
    if level:
        _logger.setLevel(logging.CRITICAL + 1 if level == "off" else level.upper())
        _logger.addHandler(_last_resort)
    elif _last_resort in _logger.handlers:
        # An earlier start had the option.
        _logger.removeHandler(_last_resort)
        _logger.setLevel(logging.NOTSET)
