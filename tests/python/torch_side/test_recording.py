"""What makes recording a CUDA graph cheaper answers as torch's own does."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch._inductor import cudagraph_trees

from fxfarm._torch import cuda_graphs, recording
from fxfarm._torch.errors import LoadError

# Taken before anything can have put others in their place.
NODE: Any = cudagraph_trees.CUDAGraphNode
TORCHS = NODE._is_cuda_graph_recorded_tensor, NODE._is_alias_of_live_recorded_tensor


def path(tensors: list[list[torch.Tensor | None]]) -> Any:
    """A node whose path has recorded these outputs."""
    node = NODE.__new__(NODE)
    wrap = cudagraph_trees.StorageWeakRefWrapper
    node.path_weakrefs = [[None if t is None else wrap(t) for t in outputs] for outputs in tensors]
    return node


def test_searches_find_what_torchs_find() -> None:
    alive = [torch.arange(4.0) + i for i in range(4)]
    node = path([[alive[0], None], [], [alive[1], alive[2], alive[1][2:]]])
    asked = [*alive, alive[1][1:], torch.zeros(1)]
    wanted = [((0, 0), True), ((2, 0), True), ((2, 1), True), (None, False), ((2, 0), True), (None, False)]
    for tensor, (place, recorded) in zip(asked, wanted, strict=True):
        for search in (TORCHS[1], recording._live_output):
            assert search(node, tensor) == place
        for search in (TORCHS[0], recording._is_recorded):
            assert search(node, tensor) is recorded


def test_an_output_that_has_died_is_recorded_and_not_alive() -> None:
    class At(torch.Tensor):
        """A tensor that says that it is at an address."""

        address: int

        def untyped_storage(self) -> Any:
            return self

        def data_ptr(self) -> int:
            return self.address

    gone = torch.arange(4.0)
    node = path([[gone]])
    asked = torch.zeros(1).as_subclass(At)
    asked.address = gone.untyped_storage().data_ptr()
    del gone
    assert [search(node, asked) for search in (TORCHS[1], recording._live_output)] == [None, None]
    assert [search(node, asked) for search in (TORCHS[0], recording._is_recorded)] == [True, True]


class Node:
    """As torch's class."""

    _is_cuda_graph_recorded_tensor, _is_alias_of_live_recorded_tensor = TORCHS


class Manager:
    """As torch's class, as far as it decides whether a graph is recorded: function 1 never is."""

    def __init__(self, in_recording: bool) -> None:
        self.in_recording = in_recording

    def exceed_rerecord_limit(self, node: Any, function: int) -> bool:
        return (node, function) == ("node", 1)


class Trees:
    """As torch's module."""

    CUDAGraphNode, CUDAGraphTreeManager = Node, Manager


def test_searches_take_the_place_of_torchs() -> None:
    recording.prepare(Trees, None)
    assert Node._is_cuda_graph_recorded_tensor is recording._is_recorded
    assert Node._is_alias_of_live_recorded_tensor is recording._live_output


@pytest.mark.parametrize(
    ("in_recording", "function", "left"),
    [(False, 0, False), (False, 1, True), (True, 0, True), (True, 1, True)],
)
def test_what_follows_a_recording_in_its_step_is_not_recorded(
    in_recording: bool, function: int, left: bool
) -> None:
    for _ in range(2):  # for each stage that is loaded
        recording.prepare(Trees, None)
    assert Manager(in_recording).exceed_rerecord_limit("node", function) is left


def test_torch_asks_before_it_records() -> None:
    source = inspect.getsource(cudagraph_trees.CUDAGraphTreeManager._run)
    asked, recorded = source.index("self.exceed_rerecord_limit("), source.index("self.record_function(")
    assert source.index("self.try_end_curr_recording(") < asked < recorded


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), LoadError("no"), OSError("no libcuda")])
def test_a_stage_is_loaded_though_the_copies_of_its_inputs_cannot_be(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, said = [], []

    def load(device: int) -> None:
        asked.append(device)
        raise error

    monkeypatch.setattr(recording, "_load_copies", load)
    monkeypatch.setattr(recording.log, "info", lambda text, *about: said.append(text % about))
    with cuda_graphs.wrapping(True, 3):
        pass
    assert asked == [3]
    assert len(said) == 1
    assert str(error) in said[0]
