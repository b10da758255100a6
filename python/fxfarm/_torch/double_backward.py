"""Compiled code can be differentiated once; here that is refused in words that help.

`create_graph=True` makes a graph of the backward itself. AOTAutograd's compiled functions give right
gradients then, too, but fail when these are differentiated, which eager's would not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

REASON = "its backward is differentiated (create_graph=True), which compiled code cannot be"
_ERROR = (
    "this gradient came out of code that fxfarm had compiled and switched in, which cannot be differentiated "
    "again (create_graph=True). From now on this graph runs eager, where that works. To have it so from the "
    'start: torch.compile(model, backend="fxfarm", options={"stages": ["eager"]})'
)


class Notice:
    """Tells that a compiled backward has run under create_graph=True; whoever publishes the stage sets
    `tell`.
    """

    def __init__(self) -> None:
        self.tell: Callable[[], None] = lambda: None


def refuse(metadata: Any) -> Notice:
    """Takes over the double backward of the compiled function that was just made from `metadata`.

    torch 2.11-2.13, runtime_wrappers.py: a subclass of torch.autograd.Function that keeps the
    ViewAndMutationMeta as `metadata`, and calls its `_double_backward` when a backward runs with gradients
    on.
    """
    notice = Notice()
    for made in torch.autograd.Function.__subclasses__():
        if made.__dict__.get("metadata") is metadata:
            made._double_backward = staticmethod(_once_only(notice))  # type: ignore[attr-defined]
    return notice


def _once_only(notice: Notice) -> Callable[..., Any]:
    def double_backward(_context: Any, run: Callable[[Any], Any], arguments: list[Any]) -> Any:
        class Once(torch.autograd.Function):
            @staticmethod
            def forward(context: Any, *_arguments: Any) -> Any:
                return run(context)

            @staticmethod
            def backward(_context: Any, *_gradients: Any) -> Any:
                raise RuntimeError(_ERROR)

        notice.tell()
        # What was saved requires no gradient, and without one that does there would be no graph to refuse.
        apply: Any = Once.apply
        return apply(torch.empty(0, requires_grad=True), *arguments)

    return double_backward
