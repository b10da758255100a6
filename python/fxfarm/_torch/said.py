"""What a compile says besides its code: log records, warnings, counts of Inductor's metrics.

An engine records it, the artifact's manifest carries it as plain data, and the client says it once more when
the stage is loaded, as Inductor's own out-of-process compile does (torch 2.13, compile_fx_ext). A stage that
was compiled for another client tells what that one wanted to be told; what this one does not, is left out.
"""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from fxfarm import pace

RECORDS_MAX = 1000
"""Log records and warnings of one compile that are kept; the first ones."""
TEXT_BYTES_MAX = 1024 * 1024
"""Of all their texts together."""
LOGGERS_MAX = 1000
"""Whose levels a client may set."""
_ROOT = "torch._inductor"
_LOST = "%d more records of this compile were not kept"


def log_levels() -> Mapping[str, int]:
    """The levels that this process has set for Inductor's loggers."""
    chosen = [(logger.name, logger.level) for logger in _loggers() if logger.level != logging.NOTSET]
    return {_ROOT: logging.getLogger(_ROOT).getEffectiveLevel(), **dict(chosen[: LOGGERS_MAX - 1])}


def checked_levels(levels: Mapping[Any, Any]) -> dict[str, int]:
    """What a client sent as its levels; raises ValueError for what they cannot be."""
    for name, level in levels.items():
        if not isinstance(name, str) or not (name == _ROOT or name.startswith(_ROOT + ".")):
            raise ValueError(f"{name!r} is no logger of Inductor's")
        if type(level) is not int:
            raise ValueError(f"{level!r} is no level of logger {name}")
    if len(levels) > LOGGERS_MAX:
        raise ValueError(f"levels of {len(levels)} loggers, at most {LOGGERS_MAX} are allowed")
    return dict(levels)


def _loggers() -> list[logging.Logger]:
    known = list(logging.root.manager.loggerDict.values())
    return [x for x in known if isinstance(x, logging.Logger) and x.name.startswith(_ROOT + ".")]


@dataclasses.dataclass
class Said:
    """What is kept of one compile."""

    logs: list[list[Any]] = dataclasses.field(default_factory=list)
    warnings: list[list[Any]] = dataclasses.field(default_factory=list)
    metrics: dict[str, int] = dataclasses.field(default_factory=dict)
    lost: int = 0
    _bytes: int = 0

    def add(self, to: list[list[Any]], text: str, *rest: Any) -> None:
        """Keeps one record or warning, or counts it as lost."""
        size = len(text.encode(errors="replace"))
        if len(self.logs) + len(self.warnings) >= RECORDS_MAX or self._bytes + size > TEXT_BYTES_MAX:
            self.lost += 1
            return
        self._bytes += size
        to.append([text, *rest])

    def as_data(self) -> dict[str, Any]:
        """As the manifest carries it."""
        return {"logs": self.logs, "warnings": self.warnings, "metrics": self.metrics, "lost": self.lost}


class _Keeper(logging.Handler):
    def __init__(self, said: Said) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        where = (record.pathname, record.lineno, record.funcName)
        self._said.add(self._said.logs, record.getMessage(), record.name, record.levelno, *where)


@contextlib.contextmanager
def recorded(levels: Mapping[str, int]) -> Iterator[Said]:
    """Keeps what the body's compile says at the client's levels; complete once the body has ended."""
    from torch._inductor.metrics import CachedMetricsHelper  # torch 2.13

    said, helper = Said(), CachedMetricsHelper()
    with _logging_at(levels, _Keeper(said)), warnings.catch_warnings(record=True) as caught:
        yield said
    for w in caught:
        said.add(said.warnings, str(w.message), w.category.__name__, w.filename, w.lineno)
    said.metrics = dataclasses.asdict(helper.get_deltas())


@contextlib.contextmanager
def _logging_at(levels: Mapping[str, int], handler: logging.Handler) -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in levels}
    # Loggers that pass nothing on to their parents (torch 2.13: artifact logs that are off) need it as well.
    heard = [logging.getLogger(_ROOT), *(x for x in _loggers() if not x.propagate)]
    try:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for logger in heard:
            logger.addHandler(handler)
        yield
    finally:
        for logger in heard:
            logger.removeHandler(handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def replay(said: Mapping[str, Any]) -> None:
    """Says it in this process, by its loggers, filters and counters."""
    from torch._inductor import metrics  # torch 2.13

    for text, name, level, path, line, function in said["logs"]:
        pace.step()
        logger = logging.getLogger(name)
        if logger.isEnabledFor(level):
            logger.handle(logger.makeRecord(name, level, path, line, text, (), None, function))
    if said["lost"]:
        logging.getLogger(_ROOT).warning(_LOST, said["lost"])
    for text, category, path, line in said["warnings"]:
        pace.step()
        warnings.warn_explicit(text, _category(category), path, line)
    known = {name: said["metrics"].get(name, 0) for name in metrics.get_metric_fields()}
    metrics.CachedMetricsHelper.apply_deltas(metrics.CachedMetricsDeltas(**known))


def _category(name: str) -> type[Warning]:
    found = getattr(builtins, name, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else UserWarning
