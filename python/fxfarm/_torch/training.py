"""What autograd is doing at the moment, in the calling thread; and which graphs draw random numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch

_DRAWS = re.compile(
    "rand|bernoulli|multinomial|normal|poisson|uniform|exponential|cauchy|geometric|rrelu|lstm|gru|rnn_"
)


def keeps_graph() -> bool:
    """Whether the backward that runs now keeps its graph for another one (torch 2.11-2.13, C++ engine's graph
    task).
    """
    return bool(torch._C._autograd._get_current_graph_task_keep_graph())


def in_backward() -> bool:
    """Whether a backward runs in this thread (torch 2.11-2.13, as FSDP asks it)."""
    return torch._C._current_graph_task_id() != -1


def at_end_of_backward(action: Callable[[], None]) -> None:
    """Runs `action` once the backward that runs now has succeeded (torch 2.11-2.13, as DDP and FSDP do)."""
    torch.autograd.Variable._execution_engine.queue_callback(action)


def has_saved_tensor_hooks() -> bool:
    """Whether what a forward saves goes through hooks, as in torch.utils.checkpoint without reentry
    (torch 2.11-2.13, as AOTAutograd asks it).
    """
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def is_recomputed(example_inputs: Sequence[Any]) -> bool:
    """Whether a graph may be one half of a checkpoint with reentry: a forward that keeps nothing, or the
    forward that is run again within the backward.
    """
    if torch.is_grad_enabled():
        return in_backward()
    return any(isinstance(t, torch.Tensor) and t.requires_grad for t in example_inputs)


def draws_numbers(gm: torch.fx.GraphModule) -> bool:
    """Whether `gm` may draw random numbers; by the names of its operators, and true where these do not
    tell.
    """
    return any(
        _draws(node)
        for module in gm.modules()
        if isinstance(module, torch.fx.GraphModule)
        for node in module.graph.nodes
        if node.op in ("call_function", "call_method")
    )


def _draws(node: torch.fx.Node) -> bool:
    name = str(getattr(node.target, "__name__", node.target))
    if "dropout" in name:
        return bool(_argument(node, 2, "training", True))
    if "scaled_dot_product" in name:
        return bool(_argument(node, 4, "dropout_p", 0.0) != 0.0)
    return _DRAWS.search(name) is not None


def _argument(node: torch.fx.Node, position: int, name: str, default: Any) -> Any:
    if name in node.kwargs:
        return node.kwargs[name]
    return node.args[position] if len(node.args) > position else default
