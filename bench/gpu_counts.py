"""Counts what a process compiles and starts, without importing anything for it."""

from __future__ import annotations

import collections
import functools
import importlib.abc
import importlib.machinery
import multiprocessing.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Wrap = Callable[[Any], None]
STARTS = ("subprocess.Popen", "os.system")
"""Audit events of a new process whose first argument is its program or command."""


class _Finder(importlib.abc.MetaPathFinder):
    """Has a function called with a module as soon as that has been imported."""

    def __init__(self, wraps: dict[str, Wrap]) -> None:
        self._wraps = wraps

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec that the other finders have, of the modules in question alone."""
        if name not in self._wraps:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        execute, wrap = loader.exec_module, self._wraps[name]

        def execute_and_wrap(module: Any) -> None:
            execute(module)
            wrap(module)

        loader.exec_module = execute_and_wrap
        return spec


class Counts:
    """Programs that this process's Python has started, by name; compiles by Triton and measured kernels."""

    def __init__(self) -> None:
        self.programs: collections.Counter[str] = collections.Counter()
        self.calls: collections.Counter[str] = collections.Counter()

    def begin(self) -> None:
        """From here on all is counted, until the process ends."""
        sys.addaudithook(self._heard)
        # Of its processes that are not forks there is no event.
        self._count(multiprocessing.util, "spawnv_passfds", "spawned")
        wraps: dict[str, Wrap] = {
            # Before others take the function out of it (Triton 3.x).
            "triton.compiler.compiler": lambda module: self._count(module, "compile", "triton"),
            # Torch 2.11-2.13: `bench` measures one configuration, the other all of a kernel's.
            "torch._inductor.runtime.triton_heuristics": self._count_tuning,
        }
        sys.meta_path.insert(0, _Finder(wraps))
        for name in wraps:
            if name in sys.modules:
                raise RuntimeError(f"{name} is imported already, and others may hold what is to be counted")

    def taken(self) -> dict[str, Any]:
        """What was counted since the last call of this."""
        programs, calls = dict(self.programs), dict(self.calls)
        self.programs.clear()
        self.calls.clear()
        return {
            "children": sum(programs.values()) + calls.get("spawned", 0),
            "programs": programs,
            "triton": calls.get("triton", 0),
            "ptxas": sum(count for name, count in programs.items() if name.startswith("ptxas")),
            "tuned": calls.get("tuned", 0),
            "measured": calls.get("measured", 0),
        }

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in STARTS:
            self.programs[Path(os.fsdecode(arguments[0]).split()[0]).name] += 1
        elif event in ("os.fork", "os.forkpty"):
            self.programs["fork"] += 1

    def _count_tuning(self, module: Any) -> None:
        self._count(module.CachingAutotuner, "benchmark_all_configs", "tuned")
        self._count(module.CachingAutotuner, "bench", "measured")

    def _count(self, holder: Any, name: str, counted_as: str) -> None:
        function = getattr(holder, name)

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls[counted_as] += 1
            return function(*args, **kwargs)

        setattr(holder, name, counted)
