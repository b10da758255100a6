"""Puts what a compile made into an artifact (worker side)."""

from __future__ import annotations

import dataclasses
import importlib.util
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from . import assumptions, cuda_graphs, wrapper
from .errors import CompileError
from .pack import Artifact, GpuKernel, digest, pack
from .rebuild import RebuiltGraph
from .triton_tuning import TritonRecorder


@dataclasses.dataclass(frozen=True)
class Whole:
    """AOTAutograd's cache entry for a graph from Dynamo: forward and backward (BundledAOTAutogradResult,
    torch 2.11-2.13).
    """

    entry: Any


@dataclasses.dataclass(frozen=True)
class Half:
    """Inductor's code of a graph from below AOTAutograd (CompiledFxGraph, torch 2.13), the assumptions on
    sizes that it rests on, and what the compile said.
    """

    code: Any
    guards: str | None
    said: dict[str, Any]


def packed(
    graph: RebuiltGraph,
    made: Whole | Half,
    stage: dict[str, Any],
    target: dict[str, Any],
    kernels: Mapping[str, Path],
    triton: TritonRecorder,
) -> bytes:
    """The artifact's bytes; `kernels` are the shared objects by the key of their source, `triton` has the
    Triton kernels.
    """
    parts = _Parts(triton.packed())
    particular = parts.whole(graph, made.entry) if isinstance(made, Whole) else parts.half(graph, made)
    files = parts.files(kernels)
    manifest = {
        "platform": dict(target),
        "stage": {"name": stage["name"], "options": dict(stage["options"])},
        "cuda_graphs": isinstance(made, Whole) and cuda_graphs.asked(stage["options"], target["device"]),
        "inputs": len(graph.inputs) - len(graph.constants),
        "needs": sorted(parts.needs),
        "guard_positions": graph.symbolic_positions,
        "pinned": graph.pinned(),
        "unmeasured": triton.unmeasured,
        "kernels": [{"name": f["name"], "bytes": len(f["data"])} for f in files],
        "bytes": {"entry": len(parts.entry), "code": sum(len(c["code"]) for c in parts.codes)},
        **particular,
    }
    return pack(Artifact(manifest, parts.entry, parts.codes, files, parts.gpu_kernels(), graph.constants))


class _Parts:
    """What an artifact carries beside its manifest."""

    def __init__(self, triton: Mapping[str, GpuKernel]) -> None:
        self.entry = b""
        self.codes: list[dict[str, Any]] = []
        self.needs: set[str] = set()
        self._kernels: list[str] = []
        self._triton = triton
        self._triton_kernels: list[str] = []

    def whole(self, graph: RebuiltGraph, entry: Any) -> dict[str, Any]:
        """Takes both halves of `entry`; returns what the manifest says of them."""
        guards, entry.guards_expr = entry.guards_expr, None
        meta = entry.runtime_metadata
        # The client's loader tests for exactly []: None would read as "buffers may have been donated".
        meta.bw_donated_idxs = []
        for name in (
            "aot_joint_graph_str",
            "aot_forward_graph_str",
            "aot_backward_graph_str",
            "min_cut_info_str",
        ):
            setattr(entry, name, None)
        entry.serialized_bw_module = None
        # ViewAndMutationMeta.input_info (torch 2.11-2.13): one per input less duplicates; constants are the
        # last and unique.
        changes = [
            i.mutates_data or i.mutates_metadata or i.mutates_storage_metadata for i in meta.input_info
        ]
        _check_constants(graph, any(changes[-len(graph.constants) :]))
        mutated = _mutated(graph, changes)
        for half in (entry.compiled_fw, entry.compiled_bw):
            if half is not None:
                self._take_code(half.result)
        self.entry = pickle.dumps(entry)
        return {
            "inner": None,
            "guards": guards,
            "mutated": mutated,
            "aliasing": assumptions.aliasing(graph.inputs, graph.static, mutated),
            "has_backward": entry.compiled_bw is not None,
        }

    def half(self, graph: RebuiltGraph, made: Half) -> dict[str, Any]:
        """Takes one inner graph; returns what the manifest says of it."""
        written = made.code.mutated_input_idxs
        _check_constants(graph, any(i >= len(graph.inputs) - len(graph.constants) for i in written))
        made.code.prepare_for_serialization()
        self._take_code(made.code)
        self.entry = pickle.dumps(made.code)
        return {
            "inner": {"is_backward": made.code.fx_kwargs["is_backward"], "said": made.said},
            "guards": made.guards,
            # What is written to, and what overlaps it, has been dealt with above this graph.
            "mutated": [],
            "aliasing": None,
            "has_backward": False,
        }

    def _take_code(self, result: Any) -> None:
        rewritten = wrapper.Rewritten(result.source_code, self._triton)
        magic = importlib.util.MAGIC_NUMBER
        self.codes.append({"source": rewritten.source, "code": rewritten.code, "magic": magic})
        self.needs |= rewritten.needs
        self._kernels += rewritten.kernels
        self._triton_kernels += rewritten.triton_kernels
        if rewritten.triton_kernels:
            # CompiledFxGraph._triton_bundle (torch 2.11-2.13): the same kernels as Triton's cache has them.
            result._triton_bundle = None
        # CompiledFxGraph (torch 2.11-2.13): texts for logs only; the wrapper travels beside the entry.
        result.source_code = ""
        for text in ("runnable_graph_str", "inductor_post_grad_graph_str"):
            if hasattr(result, text):
                setattr(result, text, "")
        result.cache_linemap = None
        # The decomposition table's function alone would make unpickling import half a second of modules.
        if getattr(result, "fx_kwargs", None):
            result.fx_kwargs = {k: v for k, v in result.fx_kwargs.items() if k != "get_decomp_fn"}

    def files(self, kernels: Mapping[str, Path]) -> list[dict[str, Any]]:
        """The shared objects that the wrappers use."""
        found = []
        for name in dict.fromkeys(self._kernels):
            data = kernels[name].read_bytes()
            found.append({"name": name, "digest": digest(data), "data": data})
        return found

    def gpu_kernels(self) -> list[GpuKernel]:
        """The Triton kernels that the wrappers use."""
        return [self._triton[name] for name in dict.fromkeys(self._triton_kernels)]


def _mutated(graph: RebuiltGraph, changes: list[bool]) -> list[int]:
    """The positions of inputs that the graph writes to; every tensor's where AOTAutograd has merged some."""
    if not any(changes):
        return []
    if len(changes) == len(graph.inputs):
        return [i for i, changed in enumerate(changes) if changed]
    return [i for i, value in enumerate(graph.inputs) if isinstance(value, torch.Tensor)]


def _check_constants(graph: RebuiltGraph, written: bool) -> None:
    if graph.constants and written:
        raise CompileError("unserializable", "the graph writes to one of its constants")
