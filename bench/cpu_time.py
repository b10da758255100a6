"""Processor time of everything that a measurement starts, the detached processes too."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from pathlib import Path

import harness

STOP_S_MAX = 60.0
_PR_SET_CHILD_SUBREAPER = 36


def adopt() -> None:
    """From here on processes whose parent ends become this one's children: what they used is then counted.
    Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl: not the parent of orphans")


def spent() -> float:
    """Seconds that all that this process has started has used so far: those that were waited for, and those
    that live, whose own are asked for before they are killed. Of what dies with its process namespace, as
    engines do, nobody hears afterwards."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            # Its own time, and that of children that it has waited for.
            parents[pid], ticks[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    found = [pid for pid in parents if descends(pid, parents)]
    return used.ru_utime + used.ru_stime + sum(ticks[pid] for pid in found) / os.sysconf("SC_CLK_TCK")


def descends(pid: int, parents: dict[int, int]) -> bool:
    """Whether this process is among its ancestors."""
    while pid in parents:
        pid = parents[pid]
        if pid == os.getpid():
            return True
    return False


def stopped(place: harness.Place) -> None:
    """Stops all processes of the place, and waits for them and all other children of this process. One that
    is no longer there for others may still give its memory back: only its parent knows when it has ended.
    Raises RuntimeError when one stays."""
    place.stop_all()
    if not harness.wait_until(lambda: not children_left(), STOP_S_MAX):
        raise RuntimeError(f"processes stay: {place.processes()}")


def children_left() -> bool:
    """Whether there are children that have not ended; those that have are none any more."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        return False
    return True
