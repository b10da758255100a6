"""Everything that touches torch's private API, behind twelve functions and `scheme`; importing this imports
nothing of torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .capture import GraphSnapshot, snapshot
    from .compat import check_seam, check_version
    from .compiler import CompiledArtifact, compile_graph, compile_kernel
    from .errors import CompileError, CorruptArtifact, LoadError, Unserializable
    from .graph_codec import SerializedGraph, serialize
    from .loader import LoadedStage, load_artifact
    from .platform import client_platform, target_platform
    from .said import replay
    from .spans import span, watch

_HOMES = {
    "CompileError": "errors",
    "CompiledArtifact": "compiler",
    "CorruptArtifact": "errors",
    "GraphSnapshot": "capture",
    "LoadError": "errors",
    "LoadedStage": "loader",
    "SerializedGraph": "graph_codec",
    "Unserializable": "errors",
    "check_seam": "compat",
    "check_version": "compat",
    "client_platform": "platform",
    "compile_graph": "compiler",
    "compile_kernel": "compiler",
    "load_artifact": "loader",
    "replay": "said",
    "serialize": "graph_codec",
    "snapshot": "capture",
    "span": "spans",
    "target_platform": "platform",
    "watch": "spans",
}

__all__ = [
    "CompileError",
    "CompiledArtifact",
    "CorruptArtifact",
    "GraphSnapshot",
    "LoadError",
    "LoadedStage",
    "SerializedGraph",
    "Unserializable",
    "check_seam",
    "check_version",
    "client_platform",
    "compile_graph",
    "compile_kernel",
    "load_artifact",
    "replay",
    "serialize",
    "snapshot",
    "span",
    "target_platform",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
