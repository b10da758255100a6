"""CUDA graphs around compiled code: Inductor's own (torch._inductor.cudagraph_trees), recorded by the client.

The worker compiles such a stage in parts that can be recorded and records nothing. The client's first calls
of the stage record (recording.py), on the thread that calls.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import types
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from fxfarm import pace

from . import recording
from .replaced import replaced

_COMPILER = "torch._inductor.compile_fx"
_TREES = "torch._inductor.cudagraph_trees"


def asked(options: Mapping[str, str], device: str) -> bool:
    """Whether a stage with these options, as JSON texts by name, is to be recorded on a device of type
    `device`.
    """
    return device == "cuda" and options.get("triton.cudagraphs") == "true"


@contextlib.contextmanager
def unrecorded() -> Iterator[None]:
    """Has no CUDA graph put around what is compiled in the body (worker side)."""
    # torch 2.11-2.13: CompiledFxGraph.post_compile calls one of them, found in its module.
    from torch._inductor import output_code

    def leave(*_args: Any) -> None:
        """Records nothing."""

    with replaced(output_code, cudagraph_post_compile=leave, cudagraph_partition_post_compile=leave):
        yield


@contextlib.contextmanager
def wrapping(wanted: bool, device: int | None) -> Iterator[None]:
    """Has CompiledFxGraph.post_compile find what it puts CUDA graphs around code with, in the body; `device`
    is CUDA's number of the GPU that they will be recorded on, None where it is not known.

    torch 2.11-2.13 take that, and cudagraph_trees a few small functions, from the compiler's main module,
    whose import would hold the interpreter lock for a tenth of a second at a time. On the loader thread; what
    other threads load or compile meanwhile finds the same.
    """
    if not wanted:
        yield
        return
    if _COMPILER in sys.modules:
        recording.prepare(importlib.import_module(_TREES), device)
        with _backwards_told_later():
            yield
        return
    stand_in = _StandIn(_COMPILER)
    stand_in.enter()
    try:
        with pace.paced_imports():
            trees = importlib.import_module(_TREES)
        pace.step()
        recording.prepare(trees, device)
        with _backwards_told_later():
            yield
    finally:
        stand_in.leave()


@contextlib.contextmanager
def _backwards_told_later() -> Iterator[None]:
    """Has a backward that is not recorded, of a forward that is, say so when it runs.

    torch 2.11-2.13, output_code.maybe_handle_backward_generation, looks up when it is loaded what the forward
    has recorded, and wants to find something; here neither has run then, and it may run on another thread.
    So it is for what Inductor itself makes on another thread meanwhile.
    """
    from torch._inductor import output_code

    def handle(code: Any, forward_device: Any) -> None:
        if not code.fx_kwargs["is_backward"] or forward_device is None or forward_device.value is None:
            return
        run, device = code.current_callable, forward_device.value

        def backward(args: list[Any]) -> Any:
            manager = sys.modules[_TREES].get_manager(device, create_if_none_exists=False)
            if manager is not None:
                manager.set_to_running_backward()
            return run(args)

        code.current_callable = on_any_thread(backward)

    with replaced(output_code, maybe_handle_backward_generation=handle):
        yield


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
    """Gives this thread what cudagraph_trees (torch 2.11-2.13) gives the one that imports it."""
    local, stash = sys.modules[_TREES].local, torch._C._stash_obj_in_tls
    local.tree_manager_containers = {}
    local.tree_manager_locks = defaultdict(threading.Lock)
    stash("tree_manager_containers", local.tree_manager_containers)
    stash("tree_manager_locks", local.tree_manager_locks)


class _StandIn(types.ModuleType):
    """The few functions of the compiler's main module that CUDA graphs need. Whoever asks for another one
    meanwhile gets it from the real module.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        from torch._inductor import output_code, utils

        for module in (output_code, utils):
            self.__dict__.update({k: getattr(module, k) for k in _TAKEN if hasattr(module, k)})
        self.static_input = _like
        self.get_input_idxs_to_check = _to_align
        self.cudagraphify = _record_later

    def enter(self) -> None:
        """Takes the name, as a module and in its package."""
        sys.modules[_COMPILER] = self
        package: Any = sys.modules["torch._inductor"]
        package.compile_fx = self

    def leave(self) -> None:
        """Gives the name back."""
        package: Any = sys.modules["torch._inductor"]
        if package.__dict__.get("compile_fx") is self:
            del package.compile_fx
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.leave()
        return getattr(importlib.import_module(_COMPILER), name)


# Functions of output_code and utils that cudagraph_trees knows by the compiler's main module.
_TAKEN = (
    *("align_inputs_from_check_idxs", "copy_misaligned_inputs", "remove_unaligned_input_idxs"),
    *("get_expanded_dims", "index_expanded_dims", "copy_strided_storage_"),
)


def _like(x: torch.Tensor) -> torch.Tensor:
    """As compile_fx.static_input (torch 2.11-2.13): memory for an input of that shape and those strides."""
    return torch.empty_strided(x.size(), x.stride(), dtype=x.dtype, device=x.device)


def _to_align(inputs: Sequence[Any], static: Sequence[int]) -> list[int]:
    """Positions of tensors that a call may bring at an address that Triton's code cannot take; `static` are
    those of tensors that stay where they are. As compile_fx.get_input_idxs_to_check (torch 2.11-2.13).
    """
    from torch._inductor.utils import should_assume_input_aligned, tensor_is_aligned

    stay = {i for i in static if isinstance(inputs[i], torch.Tensor) and tensor_is_aligned(inputs[i])}
    tensors = [i for i, x in enumerate(inputs) if isinstance(x, torch.Tensor) and x.is_cuda]
    return [i for i in tensors if i not in stay and should_assume_input_aligned(inputs[i])]


def _record_later(model: Callable[..., Any], static: Sequence[int] = (), **about: Any) -> Callable[..., Any]:
    """Code that is recorded once it is called, by each thread for itself; `static` as in _to_align, `about`
    as in cudagraph_trees.cudagraphify_impl. As compile_fx.cudagraphify (torch 2.11-2.13).
    """
    static = about.pop("static_input_idxs", static)
    # What is recorded belongs to the thread that has recorded it.
    own = threading.local()

    def run(inputs: list[Any]) -> Any:
        recorded = getattr(own, "recorded", None)
        if recorded is None:
            from torch._dynamo.utils import preserve_rng_state
            from torch._inductor.cudagraph_trees import cudagraphify_impl

            with preserve_rng_state():
                recorded = own.recorded = cudagraphify_impl(model, inputs, static, compile_id=None, **about)
        return recorded(inputs)

    return run
