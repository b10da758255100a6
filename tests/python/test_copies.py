"""Copies of models, of processes and of calls: what is shared stays right, what is not stays apart."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from marks import forks
from model_farm import STAGE_S, farmed, same, stats_of, switched
from torch.utils.data import DataLoader, Dataset

import fxfarm

pytestmark = pytest.mark.usefixtures("farm_client")


def layers(width: int = 8) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))


def test_copies_of_a_model_have_weights_of_their_own() -> None:
    model, x = layers(), torch.randn(3, 8)
    compiled = farmed(model)
    same(compiled(x), model(x))
    early, plain = copy.deepcopy(compiled), copy.deepcopy(model)
    switched(1)
    late = copy.deepcopy(compiled)
    with torch.no_grad():
        for factor, other in ((2, early), (3, plain), (4, late)):
            for parameter in other.parameters():
                parameter.mul_(factor)
    want = model(x)
    same(compiled(x), want)
    for other in (early, plain, late, farmed(plain)):
        same(other(x), copy.deepcopy(getattr(other, "_orig_mod", other))(x))
        assert not torch.allclose(other(x), want)
    switched()
    for other in (early, late):
        same(other(x), copy.deepcopy(other._orig_mod)(x))


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = layers()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.layers(x)
        return answer


def test_a_model_that_is_compiled_in_place_keeps_its_type_and_names() -> None:
    model, x = Net(), torch.randn(3, 8)
    names, want = list(model.state_dict()), model(x)
    model.compile(backend="fxfarm")
    same(model(x), want)
    switched(1)
    same(model(x), want)
    assert type(model) is Net
    assert list(model.state_dict()) == names


def test_models_of_one_process_do_not_mix() -> None:
    models = [layers(), layers(), layers(6)]
    compiled = [farmed(m) for m in models]
    inputs = [torch.randn(3, 8), torch.randn(3, 8), torch.randn(3, 6)]
    for _ in range(2):
        for model, call, x in zip(models, compiled, inputs, strict=True):
            same(call(x), model(x))
        switched()


def test_after_a_reset_of_dynamo_the_stage_is_there_without_a_job(farm_client: str) -> None:
    compiled, x = farmed(lambda x: x.sin() * 11), torch.randn(4)
    want = compiled(x)
    (graph,) = switched(1)
    jobs = stats_of(farm_client)["jobs_started"]
    torch._dynamo.reset()
    same(compiled(x), want)
    again = switched()[-1]
    assert (again.key, again.stages[0].source) == (graph.key, "memory")
    assert stats_of(farm_client)["jobs_started"] == jobs


class Rows(Dataset[torch.Tensor]):
    """Rows that are made by a compiled function, in the worker that loads them."""

    def __init__(self, fn: Any) -> None:
        self._fn = fn

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = self._fn(torch.full((8,), float(index)))
        return found


@forks
def test_workers_of_a_data_loader_are_forked_while_a_compile_is_pending_and_after() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return (x * 0.3).sin() + 5

    model = layers()
    row, compiled = farmed(fn), farmed(model)
    with torch.no_grad():
        row(torch.ones(8))
    want = torch.stack([fn(torch.full((8,), float(i))) for i in range(8)])
    for _ in range(3):
        loader = DataLoader(
            Rows(row), batch_size=4, num_workers=2, multiprocessing_context="fork", timeout=120
        )
        batches = list(loader)
        same(torch.cat(batches), want)
        for batch in batches:
            same(compiled(batch), model(batch))
        switched(2)
    assert all(g.runs["eager"] <= 2 for g in fxfarm.graphs()), "what workers call is not counted here"


def test_threads_may_call_while_the_stage_is_switched_in() -> None:
    model, threads = layers().eval(), 4
    compiled, x = farmed(model), torch.randn(3, 8)
    want = model(x).detach()
    compiled(x)
    stop, problems, calls = threading.Event(), [], [0] * threads

    def call(number: int) -> None:
        try:
            while not stop.is_set():
                same(compiled(x).detach(), want)
                calls[number] += 1
        except BaseException as problem:
            problems.append(problem)
            raise

    callers = [threading.Thread(target=call, args=(i,)) for i in range(threads)]
    for caller in callers:
        caller.start()
    try:
        assert fxfarm.wait(timeout=STAGE_S)
        while not fxfarm.graphs()[0].runs.get("default", 0) > threads:
            assert all(c.is_alive() for c in callers), problems
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert problems == []
    (graph,) = switched(1)
    assert sum(graph.runs.values()) == sum(calls) + 1
