"""An operator of its own package, which engines of the tests may import."""

from __future__ import annotations

from typing import Any

import torch

__version__ = "1"


@torch.library.custom_op("fxfarm_served::thrice", mutates_args=())
def thrice(x: torch.Tensor) -> torch.Tensor:
    """Three times x, which no worker can know unless it imports this."""
    return x * 3


@thrice.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


def _backward(_ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
    return gradient * 3


thrice.register_autograd(_backward)
