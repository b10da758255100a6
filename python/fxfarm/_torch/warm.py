"""Brings an engine's Inductor to working temperature, and clears what a job leaves behind."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch._inductor import codecache
from torch._subclasses.fake_tensor import FakeTensorMode  # torch 2.11-2.13

from fxfarm import disk

from . import compiler, platform
from .capture import snapshot
from .compat import check_version
from .compiler import compile_graph
from .errors import HeadersMissingError, describe
from .graph_codec import serialize
from .replaced import replaced


def device() -> str:
    """The device that this engine compiles for."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def warm(kernels: Path, headers: Path) -> None:
    """Compiles a tiny graph into `kernels`: imports the compiler, has the precompiled header in `headers` or,
    where there is a GPU, CUDA's context and Triton's compilers, proves that it all works. Raises
    HeadersMissingError for a header that is not in `headers` and could only be made by somebody who may write
    there.
    """
    check_version()
    kept = _KeptHeaders(headers)
    if device() == "cuda":
        # What it is there for; a graph for CPUs finds its header, or has it built, when it comes.
        compiler.start_triton_compilers()
        compiler.await_triton_compilers()
        with disk.unfinished(kernels):
            _compile_tiny("cuda")
        kept.warming = False
        return
    try:
        with disk.unfinished(kernels):
            _compile_tiny("cpu")
    except Exception as error:
        if kept.missed:
            raise HeadersMissingError(f"{headers} lacks a precompiled header of this torch") from error
        raise
    kept.warming = False


def _compile_tiny(device: str) -> None:
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    with FakeTensorMode():
        x.meta["example_value"] = torch.empty(64, device=device)
    graph.output([graph.call_function(torch.sin, (x,))])
    module = torch.fx.GraphModule(torch.nn.Module(), graph)
    payload = serialize(snapshot(module, [x.meta["example_value"]])).payload
    compile_graph(payload, {"name": "default", "options": {}}, platform.client_platform(device))


def lost() -> str:
    """Why nothing more can be compiled for the GPU in this process, such as a kernel that read where it must
    not; empty where all is well.
    """
    if not torch.cuda.is_initialized():
        return ""
    if compiler.triton_compilers_lost():
        return "a process that compiles Triton kernels has died"
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        return describe(error)
    return ""


class _KeptHeaders:
    """Has precompiled headers built and kept in `shared`, which engines share, instead of a directory that
    everyone can guess. Where that is to be read only, those that it lacks are this process's alone; none is
    built while it warms.
    """

    def __init__(self, shared: Path) -> None:
        self.warming = True
        self.missed = False
        self._shared = shared
        # torch 2.11-2.13: _precompile_header reads these two and builds straight into its result's name, so a
        # build that was killed would leave a broken header there for good.
        self._build = codecache._precompile_header
        self._use(shared)
        codecache._precompile_header = functools.cache(self._keep)

    def _use(self, directory: Path) -> None:
        codecache._HEADER_DIR = str(directory)
        codecache._HEADER_LOCK_DIR = str(directory / "locks")

    def _keep(self, header: str, command: str, **options: Any) -> str:
        if not os.access(self._shared, os.W_OK):
            return self._keep_apart(header, command, **options)
        with disk.locked(self._shared / "build.lock"):
            disk.discard_unfinished(self._shared)
            with disk.unfinished(self._shared):
                return self._build(header, command, **options)

    @functools.cached_property
    def _own(self) -> Path:
        self._temporary = tempfile.TemporaryDirectory(prefix="headers-")
        return Path(self._temporary.name)

    def _keep_apart(self, header: str, command: str, **options: Any) -> str:
        # What is in `shared` counts as built.
        for made in self._shared.glob("*.h*"):
            link = self._own / made.name
            if not link.is_symlink():
                link.symlink_to(made)
        self._use(self._own)
        if not self.warming:
            return self._build(header, command, **options)
        # torch 2.11-2.13: the stock one builds what is not there.
        with replaced(codecache, _worker_compile_cpp=self._look_only):
            return self._build(header, command, **options)

    def _look_only(self, lock: str, builders: Sequence[Any]) -> None:
        for builder in builders:
            if not Path(builder.get_target_file_path()).exists():
                self.missed = True
                raise HeadersMissingError(f"{self._shared} lacks a precompiled header of this torch")


def forget(cache: Path) -> None:
    """Drops what a compile keeps in memory and on disk, save compiled kernels, which later jobs may share."""
    from torch._inductor import lowering
    from torch._inductor.codecache import CppPythonBindingsCodeCache, PyCodeCache  # torch 2.11-2.13

    torch._dynamo.reset()
    # torch 2.11-2.13: warned of once in a process, and here each job is for another one.
    lowering._warn_complex_not_supported.cache_clear()
    PyCodeCache.cache_clear(purge=True)
    CppPythonBindingsCodeCache.cache_clear()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    # Entries of the stock graph caches; fxfarm never looks one up.
    for name in ("fxgraph", "aotautograd", "locks"):
        shutil.rmtree(cache / name, ignore_errors=True)
