"""Processor time of everything that a measurement starts, the detached processes too."""

from __future__ import annotations

import ctypes
import os
import resource

import harness

STOP_S_MAX = 60.0
_PR_SET_CHILD_SUBREAPER = 36


def adopt() -> None:
    """From here on processes whose parent ends become this one's children: what they used is then counted.
    Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl: not the parent of orphans")


def ended() -> float:
    """Seconds that this process's children and theirs have used so far, of those that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
