"""The farm where Inductor puts its own FxCompile schemes, so that a program keeps backend="inductor".

torch 2.13: compile_fx.fx_codegen_and_compile chooses a scheme, _AsyncFxCompile and _ProgressiveFxCompile
among them, and has it compile one graph from below AOTAutograd. `install` stands in for that function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch._inductor import compile_fx
from torch._inductor.codecache import FxGraphCache
from torch._inductor.output_code import OutputCode
from torch._inductor.utils import BoxedBool
from torch._inductor.virtualized import V

from .capture import GraphSnapshot
from .first_tier import first_tier
from .inner import inner_snapshot

Call = Callable[[list[Any]], Any]


class FarmOutputCode(OutputCode):
    """What Inductor takes for the compiled graph: calls `run`, whose stages change behind it."""

    def __init__(self, run: Call) -> None:
        super().__init__()
        self.run = run
        # In __dict__, where functools.wraps finds it: the caller passes a list.
        self._boxed_call = True

    def __call__(self, inputs: Any) -> Any:
        """Runs the best stage there is; it may empty `inputs`, which is a list."""
        return self.run(inputs)

    # Never set, so that AOTAutogradCache makes no entry that leads to none of FxGraphCache's.
    @property
    def _fx_graph_cache_key(self) -> None:
        return None

    @_fx_graph_cache_key.setter
    def _fx_graph_cache_key(self, _: str | None) -> None:
        pass

    def post_compile(self, *_: Any) -> None:
        """Each stage has its own when it is loaded."""

    def set_triton_bundle(self, triton_bundle: Any) -> None:
        """Nothing was compiled here."""

    def __deepcopy__(self, _: dict[int, Any]) -> FarmOutputCode:
        return self


Take = Callable[[Callable[[], GraphSnapshot], Call], FarmOutputCode]
"""Hands a graph to the farm: given how to capture it and its first tier, returns what to run in its place."""


class FarmFxCompile(compile_fx.FxCompile):
    """Returns at once with code that runs eager until the farm has better."""

    def __init__(self, take: Take) -> None:
        self._take = take

    def codegen_and_compile(
        self,
        gm: torch.fx.GraphModule,
        example_inputs: Sequence[Any],
        inputs_to_check: Sequence[int],
        graph_kwargs: Any,
    ) -> OutputCode:
        """The counterpart of _AsyncFxCompile.codegen_and_compile."""
        # CUDA graphs are recorded of one callable and replayed without it.
        BoxedBool.disable(graph_kwargs["cudagraphs"])
        capture = functools.partial(inner_snapshot, gm, example_inputs, inputs_to_check, graph_kwargs)
        code = self._take(capture, first_tier(gm))
        self._compile_stats[type(self)].codegen_and_compile += 1
        return code


_original_compile = compile_fx.fx_codegen_and_compile
_original_save = FxGraphCache._save_graph
_installed: Take | None = None


def install(take: Take) -> None:
    """Has `take` called for every graph that Inductor is to compile from now on, until `uninstall`."""
    global _installed
    _installed = take
    compile_fx.fx_codegen_and_compile = _fx_codegen_and_compile
    FxGraphCache._save_graph = staticmethod(_save_graph)  # type: ignore[assignment,method-assign]


def uninstall() -> None:
    """Gives Inductor its own back, unless somebody else has taken the place meanwhile: theirs stays."""
    global _installed
    _installed = None
    if compile_fx.fx_codegen_and_compile is _fx_codegen_and_compile:
        compile_fx.fx_codegen_and_compile = _original_compile
    if FxGraphCache._save_graph is _save_graph:
        FxGraphCache._save_graph = staticmethod(_original_save)  # type: ignore[method-assign]


def progression() -> list[dict[str, Any]]:
    """The settings of Inductor's own progressive mode, worst to best (torch 2.13)."""
    return compile_fx._get_progression_configs()


def _fx_codegen_and_compile(
    gm: torch.fx.GraphModule,
    example_inputs: Sequence[Any],
    inputs_to_check: Sequence[int],
    compile_region_name: str | None = None,
    **graph_kwargs: Any,
) -> OutputCode:
    if _installed is None or not _can_wait(graph_kwargs):
        return _original_compile(gm, example_inputs, inputs_to_check, compile_region_name, **graph_kwargs)
    scheme = FarmFxCompile(_installed)
    scheme.compile_region_name = compile_region_name
    return scheme.codegen_and_compile(gm, example_inputs, inputs_to_check, graph_kwargs)


def _can_wait(graph_kwargs: Mapping[str, Any]) -> bool:
    """Whether the caller wants something to call, and not the compiled code itself to keep or to package."""
    from torch._functorch._aot_autograd.autograd_cache import should_bundle_autograd_cache

    packaged = V.aot_compilation or should_bundle_autograd_cache()
    unlike_python = ("cpp_wrapper", "fx_wrapper", "extern_node_serializer")
    return not packaged and not any(graph_kwargs.get(name) for name in unlike_python)


def _save_graph(key: str, compiled_graph: OutputCode, *rest: Any) -> None:
    # The original asserts that the graph is compiled (torch 2.13).
    if not isinstance(compiled_graph, FarmOutputCode):
        _original_save(key, compiled_graph, *rest)
