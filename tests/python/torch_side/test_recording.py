"""What makes recording a CUDA graph cheaper answers as torch's own does."""

from __future__ import annotations

import inspect
import threading
from typing import Any

import pytest
import torch
from torch._inductor import cudagraph_trees

from fxfarm._torch import cuda_graphs, recording
from fxfarm._torch.errors import LoadError

# Taken before anything can have put others in their place.
NODE: Any = cudagraph_trees.CUDAGraphNode
LIVENESS = NODE._get_liveness
TORCHS = NODE._is_cuda_graph_recorded_tensor, NODE._is_alias_of_live_recorded_tensor


def path(tensors: list[list[torch.Tensor | None]], recorded: bool) -> Any:
    """A node whose path has recorded these outputs; itself is being `recorded`, or has been."""
    node = NODE.__new__(NODE)
    node.recorded_liveness_after_graph = [[True]] if recorded else []
    wrap = cudagraph_trees.StorageWeakRefWrapper
    node.path_weakrefs = [[None if t is None else wrap(t) for t in outputs] for outputs in tensors]
    return node


@pytest.mark.parametrize("been", [False, True])
def test_searches_find_what_torchs_find(been: bool) -> None:
    alive = [torch.arange(4.0) + i for i in range(4)]
    node = path([[alive[0], None], [], [alive[1], alive[2], alive[1][2:]]], been)
    asked = [*alive, alive[1][1:], torch.zeros(1)]
    wanted = [((0, 0), True), ((2, 0), True), ((2, 1), True), (None, False), ((2, 0), True), (None, False)]
    for tensor, (place, recorded) in zip(asked, wanted, strict=True):
        for search in (TORCHS[1], recording._live_output):
            assert search(node, tensor) == place
        for search in (TORCHS[0], recording._is_recorded):
            assert search(node, tensor) is recorded


def test_what_a_node_has_recorded_itself_is_found_once_it_has() -> None:
    before, own = torch.arange(4.0), torch.arange(4.0)
    node = path([[before], []], False)
    assert recording._live_output(node, own) is None
    node.path_weakrefs[1].append(cudagraph_trees.StorageWeakRefWrapper(own))
    node.recorded_liveness_after_graph = [[True], [True]]
    assert [search(node, own) for search in (TORCHS[1], recording._live_output)] == [(1, 0), (1, 0)]


@pytest.mark.parametrize("been", [False, True])
def test_an_output_that_has_died_is_recorded_and_not_alive(been: bool) -> None:
    class At(torch.Tensor):
        """A tensor that says that it is at an address."""

        address: int

        def untyped_storage(self) -> Any:
            return self

        def data_ptr(self) -> int:
            return self.address

    gone = torch.arange(4.0)
    node = path([[gone]], been)
    asked = torch.zeros(1).as_subclass(At)
    asked.address = gone.untyped_storage().data_ptr()
    del gone
    assert [search(node, asked) for search in (TORCHS[1], recording._live_output)] == [None, None]
    assert [search(node, asked) for search in (TORCHS[0], recording._is_recorded)] == [True, True]


def test_what_lives_is_what_lives_for_torch() -> None:
    alive, gone = torch.arange(4.0), torch.arange(4.0)
    path_weakrefs = path([[alive, None, gone], [], [alive[1:]]], recorded=True).path_weakrefs
    del gone
    wanted = LIVENESS(path_weakrefs)
    assert wanted == [[True, False, False], [], [True]]

    class Own(Node):
        """In place of torch's class."""

    recording._in_one_step(Own, cudagraph_trees.is_live)
    assert Own._get_liveness(path_weakrefs) == wanted


def test_a_list_of_inputs_is_a_list_that_finds_them() -> None:
    class Own(Node):
        """In place of torch's class."""

    for _ in range(2):  # for each stage that is loaded
        recording._in_one_step(Own, cudagraph_trees.is_live)
    node: Any = Own()
    with pytest.raises(AttributeError):
        node.static_input_idxs  # noqa: B018
    node.static_input_idxs = [4, 0, 2]
    assert node.static_input_idxs == [4, 0, 2]
    assert isinstance(node.static_input_idxs, list)
    assert [i for i in range(6) if i not in node.static_input_idxs] == [1, 3, 5]


class Node:
    """As torch's class."""

    _is_cuda_graph_recorded_tensor, _is_alias_of_live_recorded_tensor = TORCHS


class Manager:
    """As torch's class, as far as it decides what is recorded: function 9 never is."""

    in_warmup = in_recording = False

    def __init__(self) -> None:
        torch.cuda.empty_cache()

    def exceed_rerecord_limit(self, node: Any, function: int) -> bool:
        return (node, function) == ("node", 9)


class Trees:
    """As torch's module."""

    CUDAGraphNode, CUDAGraphTreeManager = Node, Manager
    is_live = staticmethod(cudagraph_trees.is_live)


def test_searches_take_the_place_of_torchs() -> None:
    recording.prepare(Trees, None)
    assert Node._is_cuda_graph_recorded_tensor is recording._is_recorded
    assert Node._is_alias_of_live_recorded_tensor is recording._live_output


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads that have given back the memory that nobody uses."""
    found: list[int] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: found.append(threading.get_ident()))
    return found


def manager() -> Manager:
    for _ in range(2):  # for each stage that is loaded
        recording.prepare(Trees, None)
    return Manager()


def left(asked: Manager, *functions: int) -> list[bool]:
    """Of each whether it runs as it was compiled."""
    return [asked.exceed_rerecord_limit("node", function) for function in functions]


def test_a_manager_comes_to_be_and_memory_is_given_back_in_steps_of_their_own(given_back: list[int]) -> None:
    made = manager()
    assert left(made, 0, 1, 9) == [True, True, True]
    assert given_back == []
    assert left(made, 0, 1, 2, 9) == [True, True, True, True]
    assert given_back == [threading.get_ident()]
    assert left(made, 0, 1, 2, 9) == [False, False, False, True]
    assert len(given_back) == 1


def test_while_a_manager_comes_to_be_another_thread_gives_memory_back(given_back: list[int]) -> None:
    with recording._nothing_given_back():
        torch.cuda.empty_cache()
        other = threading.Thread(target=lambda: torch.cuda.empty_cache())
        other.start()
        other.join()
    assert given_back == [other.ident]
    torch.cuda.empty_cache()
    assert len(given_back) == 2


@pytest.mark.parametrize("state", ["in_warmup", "in_recording"])
def test_what_follows_a_warm_up_or_a_recording_in_its_step_is_not_recorded(state: str) -> None:
    made = manager()
    assert left(made, 0, 0, 0) == [True, True, False]
    setattr(made, state, True)
    assert left(made, 1, 9) == [True, True]
    setattr(made, state, False)
    assert left(made, 0, 1, 9) == [False, False, True]


def test_a_manager_that_was_there_before_goes_on() -> None:
    made = Manager.__new__(Manager)
    manager()
    assert left(made, 0, 1, 9) == [False, False, True]


def test_torch_asks_once_the_step_before_has_ended_and_before_it_warms_up_or_records() -> None:
    source = inspect.getsource(cudagraph_trees.CUDAGraphTreeManager._run)
    calls = ("try_end_curr_recording", "try_end_curr_warmup", "exceed_rerecord_limit", "run_eager")
    places = [source.index(f"self.{call}(") for call in (*calls, "record_function")]
    assert places == sorted(places)


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
