"""Brings an engine's Inductor to working temperature, and clears what a job leaves behind."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode  # torch 2.11-2.13

from fxfarm import disk

from . import platform
from .capture import snapshot
from .compat import check_version
from .compiler import compile_graph
from .graph_codec import serialize


def device() -> str:
    """The device that this engine compiles for."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def warm(kernels: Path, headers: Path) -> None:
    """Compiles a tiny graph into `kernels`: imports the compiler, has the precompiled header in `headers`,
    proves that it all works.
    """
    check_version()
    _keep_headers(headers)
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    with FakeTensorMode():
        x.meta["example_value"] = torch.empty(64)
    graph.output([graph.call_function(torch.sin, (x,))])
    module = torch.fx.GraphModule(torch.nn.Module(), graph)
    payload = serialize(snapshot(module, [x.meta["example_value"]])).payload
    with disk.unfinished(kernels):
        compile_graph(payload, {"name": "default", "options": {}}, platform.client_platform("cpu"))


def _keep_headers(directory: Path) -> None:
    """Has precompiled headers built and kept in `directory`, which engines share, instead of a directory that
    everyone can guess.
    """
    from torch._inductor import codecache

    # torch 2.11-2.13: _precompile_header reads these two and builds straight into its result's name, so a
    # build that was killed would leave a broken header there for good.
    build = codecache._precompile_header
    codecache._HEADER_DIR = str(directory)
    codecache._HEADER_LOCK_DIR = str(directory / "locks")

    @functools.cache
    def keep(header: str, command: str, **options: Any) -> str:
        with disk.locked(directory / "build.lock"):
            disk.discard_unfinished(directory)
            with disk.unfinished(directory):
                return build(header, command, **options)

    codecache._precompile_header = keep


def forget(cache: Path) -> None:
    """Drops what a compile keeps in memory and on disk, save compiled kernels, which later jobs may share."""
    from torch._inductor import lowering
    from torch._inductor.codecache import CppPythonBindingsCodeCache, PyCodeCache  # torch 2.11-2.13

    torch._dynamo.reset()
    # torch 2.11-2.13: warned of once in a process, and here each job is for another one.
    lowering._warn_complex_not_supported.cache_clear()
    PyCodeCache.cache_clear(purge=True)
    CppPythonBindingsCodeCache.cache_clear()
    # Entries of the stock graph caches; fxfarm never looks one up.
    for name in ("fxgraph", "aotautograd", "locks"):
        shutil.rmtree(cache / name, ignore_errors=True)
