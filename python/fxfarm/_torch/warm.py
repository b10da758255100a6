"""Brings an engine's Inductor to working temperature, and clears what a job leaves behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode  # torch 2.11-2.13

from . import platform
from .capture import snapshot
from .compat import check_version
from .compiler import compile_graph
from .graph_codec import serialize


def device() -> str:
    """The device that this engine compiles for."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def warm() -> None:
    """Compiles a tiny graph: imports the compiler, probes the CPU, builds the precompiled header, proves that
    it works.
    """
    check_version()
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    with FakeTensorMode():
        x.meta["example_value"] = torch.empty(64)
    graph.output([graph.call_function(torch.sin, (x,))])
    module = torch.fx.GraphModule(torch.nn.Module(), graph)
    payload = serialize(snapshot(module, [x.meta["example_value"]])).payload
    compile_graph(payload, {"name": "default", "options": {}}, platform.client_platform("cpu"))


def forget(cache: Path) -> None:
    """Drops what a compile keeps in memory and on disk, save compiled kernels, which later jobs may share."""
    from torch._inductor.codecache import CppPythonBindingsCodeCache, PyCodeCache  # torch 2.11-2.13

    torch._dynamo.reset()
    PyCodeCache.cache_clear(purge=True)
    CppPythonBindingsCodeCache.cache_clear()
    # Entries of the stock graph caches; fxfarm never looks one up.
    for name in ("fxgraph", "aotautograd"):
        shutil.rmtree(cache / name, ignore_errors=True)
