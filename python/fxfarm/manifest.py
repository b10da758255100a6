"""Graphs on disk: what a process has asked the farm for, so that another can ask for it again without the
model (`fxfarm warm --manifest`).

A manifest is a directory with one file for each request, named by the digest of its content: a msgpack map of
the fields of `Request` and `format`. Files appear as a whole and never change. A farm that is asked with one
compiles what is in it: a manifest is to be trusted like code.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fxfarm import _core, disk

FORMAT = 1
SUFFIX = ".fxgraph"
REQUEST_BYTES_MAX = 1 << 30
"""A file that is larger is not read."""
SPARE = 16
"""What is full gets room for a part of so many, so that not every further graph costs a look at all files."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What a client submits."""

    key: str
    name: str
    payload: bytes
    stages: list[dict[str, Any]]
    target: dict[str, Any]
    parts: dict[str, str]


class DamagedRequest(Exception):
    """A file of a manifest that is not what its name says, or of a form that this version does not know."""


class OpenToAll(Exception):
    """A directory that every user may write to. What lies there is compiled, and run by who asks for it."""


class Recorder:
    """Writes requests into a directory, within bounds. For one thread."""

    def __init__(self, directory: Path, bytes_max: int) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        # In the directory, what others add meanwhile left out; None: nobody has looked.
        self._bytes: int | None = None

    def write(self, request: Request) -> None:
        """Adds the request unless it is there. Raises OSError."""
        import msgpack

        disk.make_private(self._directory)
        fields = {f.name: getattr(request, f.name) for f in dataclasses.fields(request)}
        data = msgpack.packb({"format": FORMAT, **fields})
        path = self._directory / (_core.digest(data) + SUFFIX)
        if path.exists():
            return disk.touch(path)
        disk.write_whole(path, data)
        self._bytes = None if self._bytes is None else self._bytes + len(data)
        if self._bytes is None:
            disk.discard_temporary(self._directory, "*" + SUFFIX)
            self._bytes = self._pruned(self._bytes_max)
        elif self._bytes > self._bytes_max:
            self._bytes = self._pruned(self._bytes_max - self._bytes_max // SPARE)
        return None

    def _pruned(self, bytes_max: int) -> int:
        return disk.prune(self._directory, bytes_max, suffix=SUFFIX, deep=False)


def files_of(directory: Path) -> list[Path]:
    """The files of a manifest, those recorded first before others. Raises OSError or OpenToAll."""
    # Its owner and group may be others than this process's: who warms a farm need not have recorded.
    if directory.stat().st_mode & 0o002:
        raise OpenToAll(
            f"{directory} can be written by every user: chmod o-w it, and look who has written there"
        )
    found = []
    for path in directory.iterdir():
        # Another process may prune.
        if path.name.endswith(SUFFIX) and not path.name.startswith("."):
            with contextlib.suppress(FileNotFoundError):
                found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found)]


def read(path: Path) -> Request:
    """Raises OSError or DamagedRequest."""
    import msgpack

    if path.stat().st_size > REQUEST_BYTES_MAX:
        raise DamagedRequest(f"{path.name} has more than {REQUEST_BYTES_MAX} bytes")
    data = path.read_bytes()
    if _core.digest(data) + SUFFIX != path.name:
        raise DamagedRequest(f"{path.name} does not hold what its name says")
    try:
        body = msgpack.unpackb(data)
    except ValueError as e:
        raise DamagedRequest(f"{path.name} is no msgpack: {e}") from e
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise DamagedRequest(f"{path.name} is of a format that this version does not know")
    return Request(**dict(_checked(path, body)))


def _checked(path: Path, body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    kinds = {"key": str, "name": str, "payload": bytes, "stages": list, "target": dict, "parts": dict}
    for name, kind in kinds.items():
        if not isinstance(body.get(name), kind):
            raise DamagedRequest(f"{path.name}: {name} is no {kind.__name__}")
        yield name, body[name]
