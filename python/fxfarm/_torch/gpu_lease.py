"""A GPU for one engine alone while it measures kernels (worker side).

The scheduler gives a worker one job at a time whose stage searches for kernels. Engines of one host that
share their directory of headers take turns beside that, at whatever they time, whoever gave them their jobs;
what a model does on the same GPU is not their business, save that they leave it memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import Any

import torch

from .replaced import replaced

MEMORY_PART = 0.5
"""How much of the memory that nobody uses an engine takes to measure. The model may be on the same GPU, and
must not meet an error for want of it."""


# An engine compiles one graph at a time, on one thread; what it measures may have it measure something else.
_within = False


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Runs the body while no other engine measures, after those that are at it; it raises
    torch.OutOfMemoryError rather than take more than its part of the memory of the current GPU. Within
    another one it changes nothing. One thread of a process.
    """
    global _within
    if _within:
        yield
        return
    with _turn():
        free, total = torch.cuda.mem_get_info()
        # What torch has taken and not given back counts as its own.
        own = torch.cuda.memory_reserved()
        torch.cuda.set_per_process_memory_fraction(min(1.0, (own + free * MEMORY_PART) / total))
        _within = True
        try:
            yield
        finally:
            _within = False
            # A context that is lost refuses that, too, and the body's error says more.
            with contextlib.suppress(RuntimeError):
                torch.cuda.set_per_process_memory_fraction(1.0)


@contextlib.contextmanager
def measuring() -> Iterator[None]:
    """Has Inductor, in the body, take turns with other engines to choose between kernels for products of
    matrices, save where it measures them in processes of its own.
    """
    # torch 2.11-2.13: its class method makes the inputs, runs and times each choice.
    from torch._inductor.select_algorithm import AlgorithmSelectorCache

    stock: Any = vars(AlgorithmSelectorCache)["benchmark_in_current_process"]

    def benchmark(cls: Any, *args: Any, **options: Any) -> Any:
        with alone():
            return stock.__func__(cls, *args, **options)

    with replaced(AlgorithmSelectorCache, benchmark_in_current_process=classmethod(benchmark)):
        yield


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """Holds the lock that this host's engines share; without a directory to share it is free. Raises OSError
    when the directory is not there.
    """
    # Set by the worker; in a sandbox it can be read only, and be locked as it is.
    # The wait has the job's deadline: the worker ends an engine that waits past it, or measures so long.
    directory = os.environ.get("FXFARM_ENGINE_HEADERS_DIR")
    if not directory:
        yield
        return
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
