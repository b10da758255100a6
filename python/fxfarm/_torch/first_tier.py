"""The first tier of an inner graph: its operators run one by one, and nothing is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch._inductor.inductor_prims  # torch 2.13: registers the operators below
from torch.fx.graph import _BoxedCodeGen  # torch 2.13: code that takes a list and empties it

# torch 2.13: what replace_random_passes puts in the place of random operators, and which argument of theirs
# is the seed.
_prims: Any = torch.ops.prims
_SEEDS = (_prims.inductor_seed.default, _prims.inductor_seeds.default, _prims.inductor_lookup_seed.default)
_SEED_OF = {
    _prims.inductor_lookup_seed.default: 0,
    _prims.inductor_random.default: 1,
    _prims.inductor_randint.default: 3,
}


def first_tier(gm: torch.fx.GraphModule) -> Callable[[list[Any]], Any]:
    """`gm` as a function of a list, which it empties. It keeps nothing of `gm` but its constants.

    A copy: the original is Inductor's to alter.
    """
    graph = torch.fx.Graph()
    graph.output(graph.graph_copy(gm.graph, {}))
    for node in graph.nodes:
        # Names of sources and fake tensors are of no use here.
        node.meta.clear()
    if shares_seeds(gm):
        for node in graph.nodes:
            node.target = _SEEDED.get(node.target, node.target)
    graph.set_codegen(_BoxedCodeGen())
    call: Callable[[list[Any]], Any] = torch.fx.GraphModule(gm, graph).forward
    return call


def shares_seeds(gm: torch.fx.GraphModule) -> bool:
    """Whether forward and backward draw the same random numbers, each by itself: a seed is one of the
    outputs, or one of the inputs. Operators and compiled code make different numbers of one seed.
    """
    for node in gm.graph.nodes:
        if node.op == "output":
            return any(isinstance(v, torch.fx.Node) and v.target in _SEEDS for v in node.args[0])
        seed = node.args[_SEED_OF[node.target]] if node.target in _SEED_OF else None
        if isinstance(seed, torch.fx.Node) and seed.op == "placeholder":
            return True
    return False


def _generator(seed: torch.Tensor) -> torch.Generator:
    return torch.Generator(seed.device).manual_seed(int(seed))


def _random(
    size: list[int], seed: torch.Tensor, mode: str, *, align_dtype: torch.dtype | None = None
) -> torch.Tensor:
    """inductor_random, whose operator draws anew instead of from its seed."""
    draw = {"rand": torch.rand, "randn": torch.randn}[mode]
    return draw(size, generator=_generator(seed), device=seed.device, dtype=torch.float32)


def _randint(low: int, high: int, size: list[int], seed: torch.Tensor) -> torch.Tensor:
    """inductor_randint, likewise."""
    return torch.randint(low, high, size, generator=_generator(seed), device=seed.device)


_SEEDED = {_prims.inductor_random.default: _random, _prims.inductor_randint.default: _randint}
