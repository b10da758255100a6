"""A graph from below AOTAutograd, as Inductor's FxCompile schemes get it, taken on the caller's thread.

Forward and backward are two graphs here, whose stages may switch apart from each other. What the forward
hands to the backward is settled by then: which values, and by `visible_outputs` their strides too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from . import said
from .capture import GraphSnapshot, InnerFacts, Reader, TensorFacts, read_with
from .compat import graph_name
from .first_tier import shares_seeds


def inner_snapshot(
    gm: torch.fx.GraphModule,
    example_inputs: Sequence[Any],
    inputs_to_check: Sequence[int],
    settings: Mapping[str, Any],
) -> GraphSnapshot:
    """Captures `gm`; `settings` are those of _CompileFxKwargs (torch 2.13). Never raises for what the graph
    holds: `serialize` reports that.
    """
    facts = InnerFacts(
        is_inference=bool(settings.get("is_inference")),
        is_backward=bool(settings.get("is_backward")),
        static_inputs=tuple(settings.get("static_input_idxs") or ()),
        inputs_to_check=tuple(inputs_to_check),
        layout_opt=settings.get("layout_opt"),
        visible_outputs=_visible_outputs(gm, settings),
    )
    taken = read_with(_InnerReader(example_inputs), gm, example_inputs, _name(facts))
    problem = taken.problem
    if problem is None and shares_seeds(gm):
        problem = "its backward draws the random numbers of its forward again (fallback_random avoids that)"
    return dataclasses.replace(taken, inner=facts, log_levels=said.log_levels(), problem=problem)


class _InnerReader(Reader):
    """Takes inputs from Inductor's example inputs: nodes keep what was traced, before AOTAutograd gave the
    backward the strides that the forward has.
    """

    def __init__(self, example_inputs: Sequence[Any]) -> None:
        super().__init__()
        self._example_inputs = example_inputs

    def check(self) -> None:
        """Nothing: whatever differentiates does so above this graph."""

    def input(self, node: Any, value: Any) -> Any:
        """The facts that code depends on: gradients have been dealt with above."""
        at = len(self.inputs)
        facts = super().input(node, self._example_inputs[at] if at < len(self._example_inputs) else value)
        if not isinstance(facts, TensorFacts):
            return facts
        return dataclasses.replace(facts, requires_grad=False, is_leaf=True, is_parameter=False)


def _visible_outputs(gm: torch.fx.GraphModule, settings: Mapping[str, Any]) -> tuple[int, ...]:
    """The outputs whose strides a compile has to keep.

    Inductor may give what a forward saves other strides and has the backward compiled for these; here that
    backward may run from another stage, so that they stay as they were traced.
    """
    (output,) = gm.graph.find_nodes(op="output")
    if settings.get("is_inference") or settings.get("is_backward"):
        # torch 2.13, compile_fx.compile_fx_forward and compile_fx_backward.
        return tuple(output.meta.get("user_visible_output_idxs", ()))
    return tuple(i for i, value in enumerate(output.args[0]) if isinstance(value, torch.fx.Node))


def _name(facts: InnerFacts) -> str:
    half = "" if facts.is_inference else " backward" if facts.is_backward else " forward"
    # torch 2.13: None outside a compile of Dynamo's.
    compile_id = torch._guards.CompileContext.current_compile_id()
    return graph_name(str(compile_id or "graph")) + half
