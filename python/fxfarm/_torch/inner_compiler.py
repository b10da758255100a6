"""Compiles a graph from below AOTAutograd (worker side): what an FxCompile scheme of Inductor's does."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from . import said
from .capture import InnerFacts
from .errors import CompileError
from .packer import Half
from .rebuild import RebuiltGraph


def compile_inner(graph: RebuiltGraph, facts: InnerFacts) -> Half:
    """Compiles `graph` with the settings that Inductor was told beside it."""
    # torch 2.13: importing these imports the compiler.
    from torch._inductor.compile_fx import _InProcessFxCompile
    from torch._inductor.debug import DebugContext
    from torch._inductor.triton_bundler import TritonBundler

    # As _compile_fx_inner and _run_in_child do around the scheme that they call.
    with said.recorded(graph.log_levels) as heard, DebugContext():
        outputs = _propagate(graph)
        TritonBundler.begin_compile()
        try:
            code: Any = _InProcessFxCompile().codegen_and_compile(
                graph.module, graph.inputs, facts.inputs_to_check, _settings(facts)
            )
            code.set_triton_bundle(TritonBundler.collect()[0])
        finally:
            TritonBundler.end_compile()
    if not facts.is_inference and not facts.is_backward:
        _check_strides(code, outputs)
    return Half(code, _guards(graph), heard.as_data())


def _settings(facts: InnerFacts) -> Any:
    """_CompileFxKwargs (torch 2.13)."""
    from torch._inductor.utils import BoxedBool

    return {
        "cudagraphs": BoxedBool(False),
        "static_input_idxs": list(facts.static_inputs),
        "is_backward": facts.is_backward,
        "is_inference": facts.is_inference,
        "layout_opt": facts.layout_opt,
        "graph_id": None,
        "cpp_wrapper": False,
        "fx_wrapper": False,
        "extern_node_serializer": None,
        "boxed_forward_device_index": None,
    }


def _propagate(graph: RebuiltGraph) -> list[Any]:
    """Gives nodes the fake values that tracing has given them in the client; returns those of the outputs."""
    from torch.fx.experimental.proxy_tensor import _should_save_eager_input_vals  # torch 2.13
    from torch.fx.passes.fake_tensor_prop import FakeTensorProp  # torch 2.13

    modules = [m for m in graph.module.modules() if isinstance(m, torch.fx.GraphModule)]
    outer, *nested = [FakeTensorProp(m, graph.fake_mode) for m in modules]
    for propagation in nested:
        # Operators of higher order call their graphs.
        propagation.module.forward = propagation.propagate_dont_convert_inputs
    with torch.no_grad():
        outputs = outer.propagate_dont_convert_inputs(*graph.inputs)
    for propagation in nested:
        del propagation.module.forward
    for node in itertools.chain.from_iterable(m.graph.nodes for m in modules):
        # Operators that ask for the strides that they were traced with.
        if _should_save_eager_input_vals(node.target, (node.args, node.kwargs)):
            values = torch.fx.map_arg((node.args, node.kwargs), lambda n: n.meta["val"])
            node.meta["eager_input_vals"] = values
    return list(outputs)


def _guards(graph: RebuiltGraph) -> str | None:
    """As FxGraphCache._save_graph makes them (torch 2.13); over the symbolic inputs in their order."""
    env = graph.fake_mode.shape_env
    sizes = [value for value in graph.inputs if isinstance(value, torch.SymInt)]
    guards = env.get_pruned_guards(sizes)
    if len(guards) < len(env.guards):
        lost = next(g.expr for g in env.guards if g not in guards)
        raise CompileError("unserializable", f"nothing in a call tells whether {lost}")
    made: str | None = env.produce_guards_expression(placeholders=sizes, guards=guards)
    return made


def _check_strides(code: Any, outputs: list[Any]) -> None:
    """A forward's backward may run from another stage: each output must have the strides that were traced."""
    from torch.fx.experimental.symbolic_shapes import SymExprPrinter  # torch 2.13

    printer = SymExprPrinter()
    for i, (output, made) in enumerate(zip(outputs, code.output_strides, strict=True)):
        if not isinstance(output, torch.Tensor) or made is None or output.numel() == 0:
            continue
        wanted = tuple(printer.doprint(getattr(getattr(s, "node", s), "expr", s)) for s in output.stride())
        for size, stride, other in zip(output.shape, wanted, made, strict=True):
            if stride != other and not (isinstance(size, int) and size == 1):
                reason = f"output {i} of the forward has strides {', '.join(made)}, not {', '.join(wanted)}"
                raise CompileError("compile_failed", reason)
