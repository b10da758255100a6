"""Directories of files that can be made again: private, claimed by one process at a time, bounded."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import fnmatch
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

CLAIMS_MAX = 1024
"""Processes of one user that may claim a part of one directory at the same time."""
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
def locked(file: Path, *, wait: bool = True) -> Iterator[bool]:
    """Holds the lock that `file` stands for; false when somebody has it and `wait` is not wanted.

    The kernel drops the lock with the process, however that ends. Programs started meanwhile do not keep it.
    """
    with _locked(file, wait) as handle:
        yield handle is not None


@contextlib.contextmanager
def _locked(file: Path, wait: bool) -> Iterator[int | None]:
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
        else:
            yield handle
    finally:
        os.close(handle)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A directory that this process has for itself, until somebody deletes it or the lock on it."""

    directory: Path
    _lock: Path
    _handle: int

    @property
    def holds(self) -> bool:
        """Whether it is still so. Once either is deleted, another process may make and claim it anew."""
        return _is_open_as(self._handle, self._lock) and self.directory.is_dir()


def _is_open_as(handle: int, path: Path) -> bool:
    """Whether the file that is open is the one that has the name. As long as it is open, no other file has
    its number."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def claimed(base: Path) -> Iterator[Claim]:
    """The first of the directories base/0, base/1, ... that no other process has, while the body runs.

    So what a process leaves behind serves the next one, and two never meet in one directory.
    """
    make_private(base)
    for number in range(CLAIMS_MAX):
        lock, directory = base / f"{number}.lock", base / str(number)
        with _locked(lock, wait=False) as handle:
            # A lock that was deleted before it was ours keeps nobody away.
            if handle is not None and _is_open_as(handle, lock):
                make_private(directory)
                discard_unfinished(directory)
                yield Claim(directory, lock, handle)
                return
    raise OSError(f"{base}: {CLAIMS_MAX} processes use it already")


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
