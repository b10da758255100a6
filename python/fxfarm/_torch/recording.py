"""What a call pays that records CUDA graphs: moved out of it, made less, spread over several (client side).

Measured with gpt2 on an H200 (torch 2.11): recording an inference took 29 ms, of which 20 were the first copy
of inputs, and recording a training's backward 100, of which about 70 were spent in looking for its inputs
among the forward's outputs.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from . import cuda_kernels
from .errors import LoadError, describe
from .replaced import replaced

log = logging.getLogger("fxfarm")

# Of inputs that are copied to where a recorded graph reads them.
_COPIED = (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.bool)


def prepare(trees: Any, device: int | None) -> None:
    """Does that for `trees`, which is torch._inductor.cudagraph_trees, and for that GPU, which is not the
    loader thread's own; None: no GPU is known. A thread that captures meanwhile does not mind. What cannot be
    done is left to the call that records.
    """
    _search_by_address(trees.CUDAGraphNode)
    _in_one_step(trees.CUDAGraphNode, trees.is_live)
    _one_at_a_time(trees.CUDAGraphTreeManager)
    if device is None:
        return
    try:
        _load_copies(device)
    # Want of memory is a RuntimeError of torch's.
    except (RuntimeError, OSError, LoadError) as error:
        log.info("the call that records CUDA graphs will take longer: %s", describe(error))


@functools.cache
def _load_copies(device: int) -> None:
    """Has CUDA load the kernels with which recorded graphs get their inputs (torch._foreach_copy_): it loads
    each when it is first called, for which the driver took 20 ms.
    """
    with cuda_kernels.context(device):
        for dtype in _COPIED:
            to, source = (torch.zeros(1, dtype=dtype, device=f"cuda:{device}") for _ in range(2))
            torch._foreach_copy_([to], [source])


def _one_at_a_time(manager: Any) -> None:
    """Has `manager`, torch's CUDAGraphTreeManager, do one thing that takes long in a step of the model: come
    to be, give memory back that nobody uses, warm up one graph, or record one. Graphs after it in that step
    run as they were compiled.

    torch 2.11-2.13, CUDAGraphTreeManager._run: what exceed_rerecord_limit answers True to is run so, among
    graphs that are replayed, too. The manager is `in_warmup` or `in_recording` from then on to the end of the
    step, or to the death of what came out. So it is for Inductor's own graphs, too.
    """
    stock_init, stock = manager.__init__, manager.exceed_rerecord_limit
    if getattr(stock, "_fxfarm_singly", False):
        return

    def init(self: Any, *args: Any) -> None:
        # It records a graph of nothing, for which torch.cuda.graph makes room as for any other.
        with _nothing_given_back():
            stock_init(self, *args)
        # What the steps that follow begin with, and graphs that have run in this one. The first that comes
        # again begins the next step.
        self._fxfarm_first = [torch.cuda.empty_cache]
        self._fxfarm_seen = set()

    def leave(self: Any, node: Any, function: Any) -> bool:
        if (seen := getattr(self, "_fxfarm_seen", None)) is not None:
            if function not in seen:
                seen.add(function)
                return True
            if self._fxfarm_first:
                self._fxfarm_seen = {function}
                self._fxfarm_first.pop()()
                return True
            self._fxfarm_seen = None
        return bool(self.in_warmup or self.in_recording or stock(self, node, function))

    leave._fxfarm_singly = True  # type: ignore[attr-defined]
    manager.__init__, manager.exceed_rerecord_limit = init, leave


@contextlib.contextmanager
def _nothing_given_back() -> Iterator[None]:
    """Has torch.cuda.empty_cache do nothing in the body, on this thread."""
    stock, this = torch.cuda.empty_cache, threading.get_ident()

    def leave() -> None:
        if threading.get_ident() != this:
            stock()

    with replaced(torch.cuda, empty_cache=leave):
        yield


def _search_by_address(node: Any) -> None:
    """Gives `node`, torch's CUDAGraphNode, searches that ask for each address once.

    torch 2.11-2.13: of each tensor the two go through all outputs recorded on the path and ask the tensor for
    its address anew for each; the second asks each output first whether it lives. Here an output's address,
    which it keeps when it is dead, is compared first, and while a graph is recorded the outputs before it are
    put in order by it once. What they answer is the same, for Inductor's own graphs too.
    """
    if node._is_cuda_graph_recorded_tensor is _is_recorded:
        return
    node._is_cuda_graph_recorded_tensor = _is_recorded
    node._is_alias_of_live_recorded_tensor = _live_output


def _in_one_step(node: Any, is_live: Callable[[Any], bool]) -> None:
    """Has `node`, torch's CUDAGraphNode, find out in one step each what it asks of each of its inputs and
    outputs; `is_live` is torch's, for an output.

    torch 2.11-2.13: a node looks in lists of its inputs for each input, several times, and asks for what
    lives by a general walk over trees, though outputs are a list.
    """
    if isinstance(node.__dict__.get("static_input_idxs"), _Numbers):
        return
    for name in ("static_input_idxs", "cudagraph_managed_idxs"):
        setattr(node, name, _Numbers(name))

    def liveness(path: list[list[Any]]) -> list[list[bool]]:
        return [[is_live(output) for output in outputs] for outputs in path]

    node._get_liveness = staticmethod(liveness)


class _Numbers:
    """An attribute that is a list of numbers, which it keeps as _Searched."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, node: Any, owner: type) -> Any:
        if node is None:
            return self
        try:
            return node.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None

    def __set__(self, node: Any, numbers: Iterable[int]) -> None:
        node.__dict__[self._name] = _Searched(numbers)


class _Searched(list[int]):
    """A list that stays as it was made."""

    def __init__(self, numbers: Iterable[int]) -> None:
        super().__init__(numbers)
        self._all = frozenset(self)

    def __contains__(self, number: object) -> bool:
        return number in self._all


def _is_recorded(self: Any, tensor: torch.Tensor) -> bool:
    """Whether the tensor is an output of a node on this path, alive or not."""
    return next(_outputs_at(self, tensor.untyped_storage().data_ptr()), None) is not None


def _live_output(self: Any, tensor: torch.Tensor) -> tuple[int, int] | None:
    """Depth and number of the first living output on this path with the tensor's storage."""
    for depth, number, output in _outputs_at(self, tensor.untyped_storage().data_ptr()):
        if output() is not None:
            return depth, number
    return None


_Output = tuple[int, int, Any]


def _outputs_at(node: Any, address: int) -> Iterator[_Output]:
    """Depth, number and reference of each output on this path that is or was there, in order."""
    # CUDAGraphNode (torch 2.11-2.13): has none before the node is recorded, and then its own outputs', too.
    if node.__dict__.get("recorded_liveness_after_graph"):
        node.__dict__.pop("_fxfarm_outputs", None)
        return (found for found in _outputs(node) if found[2].data_ptr() == address)
    by_address: dict[int, list[_Output]] | None = node.__dict__.get("_fxfarm_outputs")
    if by_address is None:
        by_address = node._fxfarm_outputs = {}
        for found in _outputs(node):
            by_address.setdefault(found[2].data_ptr(), []).append(found)
    return iter(by_address.get(address, ()))


def _outputs(node: Any) -> Iterator[_Output]:
    for depth, refs in enumerate(node.path_weakrefs):
        for number, output in enumerate(refs):
            if output is not None:
                yield depth, number, output
