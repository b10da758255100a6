"""Which graphs draw random numbers, told from the graph alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as f

from fxfarm._torch import training

X = torch.ones(4, 4)


def draws(fn: Callable[..., Any]) -> bool:
    found = []

    def backend(gm: torch.fx.GraphModule, _inputs: Any) -> Any:
        found.append(training.draws_numbers(gm))
        return gm.forward

    torch._dynamo.reset()
    torch.compile(fn, backend=backend)(X)
    (answer,) = found
    return answer


@pytest.mark.parametrize(
    ("fn", "answer"),
    [
        (lambda x: f.dropout(x, 0.5), True),
        (lambda x: f.dropout(x, 0.5, training=False), False),
        (torch.nn.Dropout(0.5).train(), True),
        (torch.nn.Dropout(0.5).eval(), False),
        (lambda x: x + torch.rand(4), True),
        (lambda x: x + torch.randn_like(x), True),
        (lambda x: x.clone().bernoulli_(0.5), True),
        (lambda x: x.clone().normal_(), True),
        (lambda x: f.rrelu(x, training=True), True),
        (lambda x: f.scaled_dot_product_attention(x, x, x, dropout_p=0.5), True),
        (lambda x: f.scaled_dot_product_attention(x, x, x), False),
        (lambda x: torch.cond(x.sum() > 0, lambda x: f.dropout(x, 0.5), lambda x: x * 2, (x,)), True),
        (lambda x: f.layer_norm(f.relu(x @ x), (4,)), False),
    ],
)
def test_draws(fn: Callable[..., Any], answer: bool) -> None:
    assert draws(fn) is answer


def test_what_a_checkpoint_runs_twice_is_seen_in_both_runs() -> None:
    leaf, plain = torch.ones(2, requires_grad=True), torch.ones(2)
    seen = []

    class Recording(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            seen.append(training.is_recomputed([x]))
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            with torch.enable_grad():
                seen.append(training.is_recomputed([leaf]))
            return gradients[0]

    Recording.apply(leaf).sum().backward()  # type: ignore[no-untyped-call]
    assert seen == [True, True]
    assert not training.is_recomputed([leaf]), "a forward of its own"
    with torch.no_grad():
        assert not training.is_recomputed([plain])
