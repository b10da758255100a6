"""CUDA graphs around compiled code: Inductor's own (torch._inductor.cudagraph_trees), recorded by the client.

The worker compiles such a stage in parts that can be recorded and records nothing. The client's second call
of the stage records, on the thread that calls.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

NEEDS = ("torch._inductor.compile_fx", "torch._inductor.cudagraph_trees")
"""Modules of torch that wrap compiled code; most of the compiler comes with the first."""


def asked(options: Mapping[str, str], device: str) -> bool:
    """Whether a stage with these options, as JSON texts, is to be recorded on `device`."""
    return device == "cuda" and options.get("triton.cudagraphs") == "true"


@contextlib.contextmanager
def unrecorded() -> Iterator[None]:
    """Has what is compiled in the body left as it is in this process (worker side)."""
    # torch 2.11-2.13: CompiledFxGraph.post_compile calls one of them, found in its module.
    from torch._inductor import output_code

    module: Any = output_code
    stock = module.cudagraph_post_compile, module.cudagraph_partition_post_compile

    def leave(*_args: Any) -> None:
        """Records nothing."""

    module.cudagraph_post_compile = module.cudagraph_partition_post_compile = leave
    try:
        yield
    finally:
        module.cudagraph_post_compile, module.cudagraph_partition_post_compile = stock


def on_any_thread(call: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    """`call` for threads other than the one that has imported Inductor's CUDA graphs."""

    def called(args: list[Any]) -> Any:
        # cudagraph_trees (torch 2.11-2.13) keeps what it has recorded by thread, and puts the place for it
        # into the importing thread alone.
        if not torch._C._is_key_in_tls("tree_manager_containers"):
            _make_place()
        return call(args)

    return called


def _make_place() -> None:
    trees: Any = sys.modules["torch._inductor.cudagraph_trees"]
    local, stash = trees.local, torch._C._stash_obj_in_tls
    local.tree_manager_containers = {}
    local.tree_manager_locks = defaultdict(threading.Lock)
    stash("tree_manager_containers", local.tree_manager_containers)
    stash("tree_manager_locks", local.tree_manager_locks)
