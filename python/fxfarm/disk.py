"""Directories of files that can be made again: private, bounded."""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

TEMPORARY_S = 3600.0
"""A file of `write_whole` that is older and has not got its name is a dead process's."""
_UNFINISHED = ".unfinished"


def make_private(directory: Path) -> None:
    """Makes `directory` for its owner alone; raises PermissionError for one that others could write to."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = directory.stat()
    if state.st_uid != os.geteuid() or state.st_mode & 0o022:
        raise PermissionError(f"{directory} belongs to or can be written by other users")


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Holds the lock that `file` stands for.

    The kernel drops the lock with the process, however that ends. Programs started meanwhile do not keep it.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def unfinished(directory: Path) -> Iterator[None]:
    """Marks `directory` while programs write into it, who may be killed halfway."""
    mark = directory / _UNFINISHED
    mark.touch(mode=0o600)
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def discard_unfinished(directory: Path) -> None:
    """Deletes what a body of `unfinished` that never ended has written; nobody else may use `directory`."""
    mark = directory / _UNFINISHED
    try:
        since = mark.stat().st_mtime_ns
    except FileNotFoundError:
        return
    for path, state in _files(directory):
        if state.st_mtime_ns >= since and path != mark:
            path.unlink(missing_ok=True)
    mark.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Writes a file that appears as a whole; the umask is taken from `mode`. Raises OSError."""
    # Processes of several machines, which may have the same id, write into one directory.
    unfinished = path.parent / f".{path.name}.{secrets.token_hex(8)}.tmp"
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as sink:
            sink.write(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def discard_temporary(directory: Path, pattern: str) -> None:
    """Deletes what processes that died in `write_whole` have left of files whose names match, as far as this
    process may."""
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            if fnmatch.fnmatchcase(path.name, f".{pattern}.*.tmp"):
                # Another process may delete as well.
                with contextlib.suppress(OSError):
                    if path.lstat().st_mtime < time.time() - TEMPORARY_S:
                        path.unlink()


def touch(path: Path) -> None:
    """Counts as a use of `path` for `prune`."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(path)


def prune(directory: Path, bytes_max: int, *, suffix: str = "", deep: bool = True) -> int:
    """Deletes the least recently used files until at most `bytes_max` are left; tells how many are. Not
    `deep`: of the directory itself, not of those in it.

    Files whose names are equal up to the first dot go together. Only names that end in `suffix` count. Safe
    while others use the files: an open or mapped file stays until it is closed.
    """
    groups: dict[tuple[Path, str], list[tuple[Path, os.stat_result]]] = {}
    for path, state in _files(directory, deep):
        if path.name.endswith(suffix) and not path.name.startswith("."):
            groups.setdefault((path.parent, path.name.split(".")[0]), []).append((path, state))
    ages = sorted((max(_used(s) for _, s in files), key) for key, files in groups.items())
    left = sum(s.st_size for files in groups.values() for _, s in files)
    for _, key in ages:
        if left <= bytes_max:
            break
        for path, state in groups[key]:
            path.unlink(missing_ok=True)
            left -= state.st_size
    return left


def _used(state: os.stat_result) -> int:
    return max(state.st_mtime_ns, state.st_atime_ns)


def _files(directory: Path, deep: bool = True) -> Iterator[tuple[Path, os.stat_result]]:
    for root, inner, names in os.walk(directory):
        if not deep:
            inner.clear()
        for name in names:
            path = Path(root, name)
            # Another process may delete as well.
            with contextlib.suppress(FileNotFoundError):
                yield path, path.lstat()
