"""The ways to compile that bench/gpu.py compares, and the device they compile for."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import harness

NAMES = {"async": ("first", "compiled"), "progressive": ("fast", "optimized")}
"""What calls run with PyTorch's own modes: what is compiled within the first call, and in the end."""
PARTLY = "partly"
"""A stage when not all of a model's graphs have been switched to the next one."""


class Device:
    """Waits for the device and tells of its memory; on a CPU there is nothing to wait for."""

    def __init__(self, name: str) -> None:
        import torch

        self._cuda = torch.cuda if name == "cuda" else None
        self.facts: dict[str, Any] = {"cuda": torch.version.cuda}
        if self._cuda is not None:
            self.facts = {"gpu": self._cuda.get_device_name(), "cuda": torch.version.cuda}

    def wait(self) -> None:
        """Until all that was asked of the device is done."""
        if self._cuda is not None:
            self._cuda.synchronize()

    def memory_mib(self) -> list[float] | None:
        """Allocated and reserved."""
        if self._cuda is None:
            return None
        return [self._cuda.memory_allocated() / 2**20, self._cuda.memory_reserved() / 2**20]

    def free(self) -> None:
        """Leaves nothing of what was compiled before."""
        import torch

        torch._dynamo.reset()
        gc.collect()
        if self._cuda is not None:
            self._cuda.empty_cache()


class Inductor:
    """A compile that is over when the first call is."""

    def __init__(self, stages: Sequence[str]) -> None:
        self.stage = stages[0]

    def compiled(self, module: Any) -> Callable[..., Any]:
        """Torch.compile in the mode of the stage's name."""
        import torch

        made: Callable[..., Any]
        if self.stage in ("eager", "traced"):
            made = module if self.stage == "eager" else torch.compile(module, backend="eager")
        else:
            made = torch.compile(module, mode=self.stage)
        return made

    def level(self) -> int:
        """A number that changes when calls begin to run something else; asked after each of them."""
        return 0

    def look(self) -> tuple[str, bool]:
        """What calls run now, and whether that is the last."""
        return self.stage, True

    def segments(self, levels: Sequence[int]) -> list[tuple[int, str]]:
        """Index of the first call and name of each stage, of those that calls have run."""
        return [(0, self.stage)]

    def sources(self) -> dict[str, str]:
        """Where each stage came from, if from elsewhere."""
        return {}

    def notes(self) -> list[str]:
        """What went wrong."""
        return []


class Upstream(Inductor):
    """PyTorch's own modes, which are variables; their code counts the compiles that have been taken over.

    Those that were sent are counted here (torch 2.11-2.13): a graph that cannot be sent keeps what the first
    call has compiled, and nothing but the log says so.
    """

    def __init__(self, way: str) -> None:
        super().__init__((NAMES[way][1],))
        from torch._inductor import compile_fx_async, compile_fx_subproc

        name = "_AsyncFxCompile" if way == "async" else "_ProgressiveFxCompile"
        self._mode: Any = getattr(compile_fx_async, name)
        self._before = NAMES[way][0]
        self._mode._reset_stats()
        self._sent = 0
        sender: Any = compile_fx_subproc._SubprocessFxCompile
        send = sender._send_to_child_async

        def counted(*args: Any) -> Any:
            self._sent += 1
            return send(*args)

        sender._send_to_child_async = counted

    def compiled(self, module: Any) -> Callable[..., Any]:
        """The mode comes from the environment."""
        return harness.compiled(module, "inductor")

    def level(self) -> int:
        """Compiles that have been taken over."""
        return int(self._mode._stat_bg_finished)

    def look(self) -> tuple[str, bool]:
        """A forward and a backward are two compiles, both sent within the first call."""
        finished = self.level()
        return self._name(finished), finished >= self._sent

    def segments(self, levels: Sequence[int]) -> list[tuple[int, str]]:
        """As the levels of the calls say."""
        names = [self._name(level) for level in levels]
        return [(i, n) for i, n in enumerate(names) if i == 0 or names[i - 1] != n]

    def notes(self) -> list[str]:
        """Whether there was anything to wait for."""
        return [] if self._sent else ["no compile was sent to the other process; see torch's log"]

    def _name(self, finished: int) -> str:
        if finished == 0:
            return self._before
        return self.stage if finished >= self._sent else PARTLY


class Farmed(Inductor):
    """The farm, which switches by itself."""

    def __init__(self, stages: Sequence[str]) -> None:
        super().__init__(stages)
        self._stages = list(stages)
        import fxfarm

        self._farm = fxfarm
        self._old = len(fxfarm.graphs())

    def compiled(self, module: Any) -> Callable[..., Any]:
        """With the plan given."""
        import torch

        options: Any = {"stages": self._stages}
        made: Callable[..., Any] = torch.compile(module, backend="fxfarm", options=options)
        return made

    def _graphs(self) -> list[Any]:
        return list(self._farm.graphs())[self._old :]

    def look(self) -> tuple[str, bool]:
        """Of several graphs the stage counts that all run."""
        graphs = self._graphs()
        names = {graph.stage for graph in graphs}
        settled = bool(graphs) and all(graph.settled for graph in graphs)
        return (names.pop() if len(names) == 1 else PARTLY), settled

    def segments(self, levels: Sequence[int]) -> list[tuple[int, str]]:
        """From how often each graph has run each stage: a better one always follows a worse one."""
        borders: dict[int, dict[int, str]] = {}
        for number, graph in enumerate(self._graphs()):
            if sum(graph.runs.values()) != len(levels):
                raise RuntimeError(
                    f"graph {number} was not called once a call: {graph.runs} in {len(levels)}"
                )
            at = 0
            for stage, count in graph.runs.items():
                if count:
                    borders.setdefault(at, {})[number] = stage
                    at += count
        now: dict[int, str] = {}
        found = []
        for at in sorted(borders):
            now.update(borders[at])
            names = set(now.values())
            found.append((at, names.pop() if len(names) == 1 else PARTLY))
        return found

    def sources(self) -> dict[str, str]:
        """A store or the worker that compiled it."""
        told = {(s.name, s.source) for graph in self._graphs() for s in graph.stages if s.source}
        return {name: " ".join(sorted(s for n, s in told if n == name)) for name, _ in told}

    def notes(self) -> list[str]:
        """Stages that failed and graphs that stay eager, with the reason."""
        graphs = self._graphs()
        told = [f"{graph.name} stays eager: {graph.error}" for graph in graphs if graph.error]
        told += [
            f"stage {stage.name} of {graph.name} is {stage.state}: {stage.error}"
            for graph in graphs
            for stage in graph.stages
            if stage.state in ("failed", "rolled_back")
        ]
        told += [f"{g.guard_misses} calls of {g.name} missed" for g in graphs if g.guard_misses]
        return told if graphs else ["fxfarm got no graph"]


def way_of(way: str, stages: Sequence[str]) -> Inductor:
    """What compiles."""
    if way == "fxfarm":
        return Farmed(stages)
    return Upstream(way) if way in NAMES else Inductor(stages)


def gpus() -> int:
    """How many there are."""
    import torch

    return torch.cuda.device_count()
