"""Graphs for GPUs: functions of tensors, for the tests and the process that loads what they compile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch


@dataclasses.dataclass(frozen=True)
class Case:
    """`eager` returns a tuple or list of tensors; `arguments(seed)` makes what it takes."""

    eager: Callable[..., Any]
    arguments: Callable[[int], list[Any]]
    trains: bool = False


def _random(seed: int, *shapes: tuple[int, ...], grad: bool = False) -> list[Any]:
    made = torch.Generator("cuda").manual_seed(seed)
    return [torch.randn(s, device="cuda", generator=made).requires_grad_(grad) for s in shapes]


def block(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """A product of matrices between pointwise work and reductions over rows and columns."""
    y = torch.nn.functional.gelu(x @ w + b)
    return (torch.softmax(y, -1), torch.nn.functional.layer_norm(y, (y.shape[-1],)), y.sum(0))


def many_names(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """One kernel with a name of more than 150 characters, after which Triton cuts its files' names."""
    for f in (torch.sigmoid, torch.tanh, torch.erf, torch.expm1, torch.atan, torch.asinh, torch.exp2):
        x = f(x) + 0.5
    return (torch.nn.functional.hardswish(torch.nn.functional.softplus(torch.clamp(x, -2, 2))),)


def asserts(n: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Reads past the end of `x` when `n` is all zeros, as made-up inputs of whole numbers are."""
    return (torch.sin(x)[torch.where(n == 0, 1_000_000, n)],)


def vast(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Needs more memory than any GPU has."""
    z = x[:, None] + y[None, :]
    return (torch.sort(z)[0][:, 0] + z.sum(1),)


CASES = {
    "block": Case(block, lambda seed: _random(seed, (256, 512), (512, 512), (512,))),
    "training": Case(
        block, lambda seed: _random(seed, (256, 512), (512, 512), (512,), grad=True), trains=True
    ),
    "names": Case(many_names, lambda seed: _random(seed, (1000, 33))),
    "asserts": Case(
        asserts, lambda seed: [torch.ones(64, device="cuda", dtype=torch.int64), *_random(seed, (64,))]
    ),
    "vast": Case(vast, lambda seed: _random(seed, (150_000,), (150_000,))),
}
