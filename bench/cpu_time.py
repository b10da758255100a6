"""Processor time of everything that a measurement starts, the detached processes too."""

from __future__ import annotations

import ctypes
import os
import resource
import time

import harness

REAP_S_MAX = 60.0
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
    """Stops all processes of the place, and waits for those that nobody else waits for.
    Raises RuntimeError when one stays."""
    place.stop_all()
    end = time.monotonic() + REAP_S_MAX
    while time.monotonic() < end:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            time.sleep(harness.POLL_S)
    raise RuntimeError(f"processes stay: {place.processes()}")
