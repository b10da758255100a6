"""What bench/operators.py runs in its children: samples through a backend, compared with eager."""

from __future__ import annotations

import collections
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from operator_samples import Row, Sample, Settings, describe, row_of, samples_of

WAIT_S_MAX = 800.0
ROUNDS_MAX = 3
"""Calls after the first one until no call makes Dynamo trace again."""
OPTIONS: dict[str, Any] = {"fallback_random": True}
"""Random operators then draw as eager does, and can be compared."""


def check(names: Sequence[str], backend: str, rows: str, settings: dict[str, Any]) -> None:
    """Adds a line to the file `rows` for each case, once its samples have been compared."""
    warnings.simplefilter("ignore")
    how = Settings(**settings)
    _configure_dynamo(how)
    checker = _Farmed(how) if backend == "fxfarm" else _Compiled(how)
    begun = {case: _begun(case, checker, how) for case in names}
    checker.wait()
    with Path(rows).open("a") as file:
        for case, prepared in begun.items():
            found = [finish() for finish in prepared]
            file.write(json.dumps({"case": case, "rows": found}) + "\n")
            file.flush()


def _begun(case: str, checker: _Compiled, settings: Settings) -> list[Callable[[], Row]]:
    begun = []
    try:
        for sample in samples_of(case, settings):
            begun.append(checker.begin(sample))
    except Exception as error:
        # PyTorch's own maker of samples failed; `begin` does not raise.
        operator, _, dtype = case.rpartition(":")
        row = row_of(operator, dtype, None, "eager refuses", f"no samples: {describe(error)}")
        begun.append(lambda: row)
    return begun


def _configure_dynamo(settings: Settings) -> None:
    import torch

    config: Any = torch._dynamo.config
    # Frames that operators share are compiled once for each of their callers.
    config.recompile_limit = 10_000
    config.accumulated_recompile_limit = 10_000
    config.capture_scalar_outputs = settings.capture
    config.capture_dynamic_output_shape_ops = settings.capture


class _Compiled:
    """Inductor, which has compiled when the first call returns."""

    def __init__(self, settings: Settings) -> None:
        # None leaves it to Dynamo, which makes sizes symbolic that change.
        self._dynamic = True if settings.dynamic else None

    def begin(self, sample: Sample) -> Callable[[], Row]:
        """Calls `sample` in eager and then compiled; what is returned gives the row once `wait` is over."""
        try:
            sample.want = sample.run(sample.call)
        except Exception as error:
            row = sample.row("eager refuses", describe(error))
            return lambda: row
        try:
            return self._called(sample)
        except Exception as error:
            row = sample.row("raises", describe(error))
            return lambda: row

    def wait(self) -> None:
        """Nothing to wait for."""

    def _called(self, sample: Sample) -> Callable[[], Row]:
        import torch

        dynamo: Any = torch._dynamo
        inductor = dynamo.lookup_backend("inductor")
        refused: list[str] = []

        def backend(gm: Any, inputs: Any) -> Any:
            try:
                return inductor(gm, inputs, config_patches=OPTIONS)
            except dynamo.exc.RestartAnalysis:
                raise
            except Exception as error:
                # Dynamo takes some of them for a reason to break the graph there.
                refused.append(describe(error))
                raise

        call: Any = torch.compile(sample.call, backend=backend, dynamic=self._dynamic)
        difference = sample.difference(sample.run(call))
        outcome = "wrong" if difference else "eager" if refused else "served"
        row = sample.row(outcome, difference or "; ".join(refused))
        return lambda: row


class _Farmed(_Compiled):
    """fxfarm: many graphs are under way while the next ones are traced."""

    def wait(self) -> None:
        """Until every graph has its stage or has failed."""
        import fxfarm

        if not fxfarm.wait(timeout=WAIT_S_MAX):
            raise RuntimeError(f"no stage in {WAIT_S_MAX} s")

    def _called(self, sample: Sample) -> Callable[[], Row]:
        import torch

        call: Any = torch.compile(sample.call, backend="fxfarm", dynamic=self._dynamic, options=OPTIONS)
        before = _refused()
        difference = sample.difference(sample.run(call))
        refused = [reason for name, reason in _refused().items() if name not in before]
        if difference:
            row = sample.row("wrong", f"before the switch: {difference}")
            return lambda: row
        if refused:
            row = sample.row("eager", "; ".join(refused))
            return lambda: row
        return lambda: self._switched(sample, call)

    def _switched(self, sample: Sample, call: Callable[..., Any]) -> Row:
        for _ in range(ROUNDS_MAX):
            before = _graphs()
            try:
                difference = sample.difference(sample.run(call))
            except Exception as error:
                return sample.row("raises", describe(error))
            after = _graphs()
            if not after.keys() - before.keys():
                break
            self.wait()
        ran = [g for name, g in after.items() if name not in before or g.runs != before[name].runs]
        eager = [g for g in ran if _stage_run(g, before.get(g.name)) == "eager"]
        if difference:
            return sample.row("wrong", difference)
        if not ran:
            return sample.row("no graph")
        if eager:
            return sample.row("eager", "; ".join(_why(g) for g in eager))
        return sample.row("served")


def _stage_run(graph: Any, before: Any) -> str:
    """The stage that ran in a call, the lowest of them when there were several."""
    earlier = collections.Counter(before.runs if before is not None else {})
    found: str = next(stage for stage, runs in graph.runs.items() if runs > earlier[stage])
    return found


def _graphs() -> dict[str, Any]:
    import fxfarm

    return {g.name: g for g in fxfarm.graphs()}


def _refused() -> dict[str, str]:
    """Graphs that the backend turned down at once, with the reason."""
    return {name: g.error for name, g in _graphs().items() if g.error and not g.runs}


def _why(graph: Any) -> str:
    stages = [s.error for s in graph.stages if s.error]
    if graph.guard_misses:
        stages.append(f"{graph.guard_misses} calls outside of the guards")
    return graph.error or "; ".join(stages) or f"stage {graph.stage}, for no reason that it tells"
