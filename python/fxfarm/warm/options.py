"""What `fxfarm warm` may be told. The program `fxfarm` takes the same options and passes them on."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

SHAPES_MAX = 1000
SIZE_DIGITS_MAX = 18
TIMEOUT_S = 3600.0
LOG_LEVELS = ("error", "warning", "info", "debug")

Shape = tuple[int, ...]


class UsageError(Exception):
    """The command line cannot be used; the text says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """The command line; `target` or `manifest` is there, not both."""

    target: str
    manifest: Path | None
    shapes: tuple[Shape, ...]
    stages: tuple[str, ...]
    training: bool
    endpoints: tuple[str, ...]
    endpoint: str
    timeout_s: float
    json: bool
    log_level: str


def parse(argv: Sequence[str]) -> Options:
    """Raises UsageError; SystemExit after --help."""
    given = _parser().parse_args(argv)
    if bool(given.target) == bool(given.manifest):
        raise UsageError("want either FILE.py:FUNCTION, MODULE:FUNCTION or --manifest DIRECTORY")
    if given.training and given.inference:
        raise UsageError("want either --training or --inference")
    if given.manifest and (given.shapes or given.stages or given.training or given.inference):
        raise UsageError("a manifest has its shapes and stages, and says what is for training")
    return Options(
        target=given.target or "",
        manifest=Path(given.manifest).expanduser() if given.manifest else None,
        shapes=parse_shapes(given.shapes),
        stages=_texts(given.stages),
        training=given.training,
        endpoints=_texts(given.endpoints),
        endpoint=given.endpoint,
        timeout_s=given.timeout,
        json=given.json,
        log_level=given.log_level,
    )


def parse_shapes(text: str) -> tuple[Shape, ...]:
    """ "4x128,8x128" as numbers. Raises UsageError."""
    shapes = []
    for part in _texts(text):
        numbers = part.split("x")
        if not all(n.isascii() and n.isdecimal() and len(n) <= SIZE_DIGITS_MAX for n in numbers):
            raise UsageError(f"{part!r} is no shape; want whole numbers with x between them, such as 4x128")
        shapes.append(tuple(map(int, numbers)))
    if len(shapes) > SHAPES_MAX:
        raise UsageError(f"{len(shapes)} shapes, at most {SHAPES_MAX} are allowed")
    return tuple(shapes)


def _texts(text: str) -> tuple[str, ...]:
    return tuple(p.strip() for p in text.split(",") if p.strip())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fxfarm warm", description=__doc__, allow_abbrev=False)
    parser.add_argument("target", nargs="?", help="FILE.py:FUNCTION or MODULE:FUNCTION")
    parser.add_argument("--manifest", default="", help="directory of recorded graphs")
    parser.add_argument("--shapes", default="", help="what the function is called with, such as 4x128,8x128")
    parser.add_argument("--stages", default="", help="stages wanted, worst to best")
    parser.add_argument("--training", action="store_true")
    parser.add_argument("--inference", action="store_true")
    parser.add_argument("--endpoints", default="")
    parser.add_argument("--endpoint", default="")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="SECONDS")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--log-level", default="", choices=("", *LOG_LEVELS))
    return parser
