"""The backend of `torch.compile(model, backend="fxfarm")`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

try:
    import torch
except ImportError as e:
    raise ImportError(
        "fxfarm compiles PyTorch models, and torch is not installed: pip install 'torch>=2.11,<2.14'"
    ) from e

from fxfarm import _core, _torch, runtime, stages
from fxfarm._torch import training
from fxfarm.outstanding import OutstandingForwards


def fxfarm(
    gm: torch.fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    mode: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:
    """Returns at once what runs `gm`, at eager speed until the farm has better.

    `mode` and `options` are torch.compile's: `options={"stages": [...]}` names the stages wanted, worst to
    best; other options go to each stage's compile. Nothing is raised: a graph that cannot be handed over
    stays eager, with the reason in the log and in `fxfarm.graphs()`.
    """
    eager = _eager(gm)
    try:
        return _handed_over(gm, example_inputs, eager, mode, dict(options or {}))
    except Exception as e:
        runtime.record_failed(f"{type(e).__name__}: {e}")
        return eager


def _handed_over(
    gm: torch.fx.GraphModule,
    example_inputs: Sequence[Any],
    eager: Callable[..., Any],
    mode: str | None,
    options: dict[str, Any],
) -> Callable[..., Any]:
    _torch.check_version()
    _torch.watch()
    farm = runtime.get()
    wanted = options.pop("stages", None)
    if wanted is None and mode is None:
        wanted = farm.options.stages or None
    if training.is_recomputed(example_inputs) and training.draws_numbers(gm):
        # A checkpoint's forward and its second run are two graphs, which may be at different stages and must
        # draw the same.
        options.setdefault("fallback_random", True)
    plan = stages.resolve(wanted, mode, options, farm.options.stage_options)
    if not plan:
        # Eager alone was asked for.
        return eager
    snapshot = _torch.snapshot(gm, example_inputs)
    if snapshot.problem is not None or not _is_trained(example_inputs):
        slot = _core.Slot(eager)
        farm.add(snapshot, slot, plan)
        return slot
    forwards = OutstandingForwards(eager)
    slot = _core.Slot(forwards)
    forwards.bind(slot)
    farm.add(snapshot, slot, plan, forwards)
    return slot


def _eager(gm: torch.fx.GraphModule) -> Callable[..., Any]:
    # Dynamo's graphs may put off generating their code until the first call, and would then ask at every
    # call.
    generate = getattr(gm, "real_recompile", None)
    if generate is not None:
        generate()
    return gm.forward


def _is_trained(example_inputs: Sequence[Any]) -> bool:
    return torch.is_grad_enabled() and any(
        isinstance(t, torch.Tensor) and t.requires_grad for t in example_inputs
    )
