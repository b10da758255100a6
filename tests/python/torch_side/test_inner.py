"""Graphs from below AOTAutograd: artifacts and first tier do what eager does, in any mixture."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import torch
from farm import Farmed, inductor_farm, stage_of
from models import classifier
from torch.utils.checkpoint import checkpoint

from fxfarm import _torch
from fxfarm._torch import first_tier, inner, scheme

close = torch.testing.assert_close


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    import torch._functorch.config as functorch_config
    import torch._inductor.config as inductor_config

    torch._dynamo.reset()
    torch.manual_seed(0)
    # What other tests have compiled is not for these.
    with inductor_config.patch(fx_graph_cache=False), functorch_config.patch(enable_autograd_cache=False):
        yield
    torch._dynamo.reset()


def gradients(fn: Callable[..., Any], module: torch.nn.Module, x: torch.Tensor) -> list[Any]:
    """Output, gradients and buffers of one step."""
    torch.manual_seed(1)
    x = x.clone().requires_grad_()
    module.zero_grad()
    y = fn(x)
    y.float().square().mean().backward()
    return [y.detach(), x.grad, *(p.grad for p in module.parameters()), *module.buffers()]


def is_backward(done: Farmed) -> bool:
    found: bool = done.stage.manifest["inner"]["is_backward"]
    return found


@pytest.mark.parametrize(
    "choose",
    [lambda _: True, is_backward, lambda done: not is_backward(done), lambda _: False],
    ids=["both compiled", "compiled backward", "compiled forward", "both eager"],
)
def test_a_training_step_is_eagers_whichever_half_is_compiled(
    choose: Callable[[Farmed], bool], tmp_path: Path
) -> None:
    # Of a convolution Inductor would save weights and activations as channels last, were it free to.
    model = classifier()
    other = copy.deepcopy(model)
    x = torch.randn(2, 3, 8, 8)
    with inductor_farm(tmp_path, choose) as done:
        compiled = torch.compile(other)
        for _ in range(2):
            close(gradients(compiled, other, x), gradients(model, model, x), atol=1e-5, rtol=1e-4)
    assert [is_backward(d) for d in done] == [False, True]


def test_one_compile_of_a_training_step_serves_many_sizes(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 4))
    other = copy.deepcopy(model)
    with inductor_farm(tmp_path) as done:
        compiled = torch.compile(other, dynamic=True)
        for rows in (5, 9, 33):
            x = torch.randn(rows, 8)
            close(gradients(compiled, other, x), gradients(model, model, x), atol=1e-5, rtol=1e-4)
    assert [is_backward(d) for d in done] == [False, True]


def test_sizes_outside_the_assumptions_of_the_compile_are_told_by_the_guard(tmp_path: Path) -> None:
    def step(x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] % 16 == 0 and x.shape[0] < 512:
            return (x * 2).reshape(16, -1).sum(1)
        return x.sum()

    x = torch.randn(32, 4)
    with inductor_farm(tmp_path) as done:
        close(torch.compile(step, dynamic=True)(x), step(x))
    guard = done[0].stage.guard
    assert guard is not None

    def fits(rows: int) -> bool:
        args: list[Any] = [None] * done[0].stage.manifest["inputs"]
        first, second = done[0].stage.manifest["guard_positions"]
        args[first], args[second] = rows, 4
        return bool(guard(args))

    assert [n for n in (17, 32, 40, 496, 512, 1024) if fits(n)] == [32, 496]


def _constant(x: torch.Tensor) -> Any:
    return x * 2 + torch.tensor([1.0, 2.0, 3.0, 4.0])


def _conditional(x: torch.Tensor) -> Any:
    return torch.cond(x.sum() > 0, lambda x: x * 2, lambda x: x - 1, (x,))


def _view_of_input(x: torch.Tensor) -> Any:
    return x.t(), x.view(-1) + 1, x.shape[0]


def _updated(x: torch.Tensor) -> Any:
    y = x.clone()
    y.mul_(3)
    return y.t(), y


@pytest.mark.parametrize("fn", [_constant, _conditional, _view_of_input, _updated])
def test_what_graphs_hold_agrees_with_eager(fn: Any, tmp_path: Path) -> None:
    x = torch.arange(16.0).reshape(4, 4)
    with inductor_farm(tmp_path) as done:
        compiled = torch.compile(fn, dynamic=True)
        close(compiled(x), fn(x))
    assert len(done) == 1


def test_an_input_is_updated_in_place_by_both_tiers(tmp_path: Path) -> None:
    def step(cache: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        cache[:, 2:3] = value
        return cache.sum(1)

    value = torch.randn(2, 1, 4)
    for choose in (lambda _: True, lambda _: False):
        torch._dynamo.reset()
        cache = torch.zeros(2, 8, 4)
        address = cache.data_ptr()
        with inductor_farm(tmp_path, choose):
            close(torch.compile(step)(cache, value), value.sum(1))
        assert torch.equal(cache[:, 2:3], value)
        assert cache.data_ptr() == address


class Checkpointed(torch.nn.Module):
    """Draws its dropout's mask in the forward, and again in the backward."""

    def forward(self, x: torch.Tensor) -> Any:
        return checkpoint(lambda y: torch.nn.functional.dropout(y.sin(), 0.5).cos(), x, use_reentrant=False)


def test_a_backward_draws_what_its_forward_has_drawn_with_fallback_random(tmp_path: Path) -> None:
    import torch._inductor.config as config

    model, x = Checkpointed(), torch.randn(256)
    with config.patch(fallback_random=True), inductor_farm(tmp_path, is_backward) as done:
        close(gradients(torch.compile(model), model, x), gradients(model, model, x))
    assert len(done) == 2


def test_random_numbers_that_a_backward_draws_again_are_the_same_in_the_first_tier() -> None:
    problems = []

    def take(capture: Callable[[], Any], eager: Any) -> Any:
        problems.append(capture().problem)
        return scheme.FarmOutputCode(eager)

    x = torch.randn(4096, requires_grad=True)
    scheme.install(take)
    try:
        y = torch.compile(Checkpointed())(x)
        y.sum().backward()
    finally:
        scheme.uninstall()
    dropped = y == 1
    assert 0.4 < float(dropped.float().mean()) < 0.6
    want = torch.where(dropped, 0, -(2 * x.sin()).sin() * 2 * x.cos())
    close(x.grad, want.detach())
    assert all("draws the random numbers" in p for p in problems)
    assert len(problems) == 2


def test_a_first_tier_keeps_nothing_but_constants_and_empties_its_list() -> None:
    gm = torch.fx.symbolic_trace(lambda x: (x * 2,))
    run = first_tier.first_tier(gm)
    args = [torch.ones(3)]
    assert run(args)[0].tolist() == [2, 2, 2]
    assert args == []
    for node in gm.graph.nodes:
        node.target = None
    assert run([torch.ones(3)])[0].tolist() == [2, 2, 2]


def _settings(**other: Any) -> dict[str, Any]:
    return {
        "is_inference": True,
        "is_backward": False,
        "static_input_idxs": (0,),
        "layout_opt": None,
        **other,
    }


def _inner(inputs_to_check: tuple[int, ...] = (), visible: Any = (0,), **other: Any) -> _torch.GraphSnapshot:
    from torch._subclasses.fake_tensor import FakeTensorMode

    gm = torch.fx.symbolic_trace(lambda x: (x * 2,))
    (output,) = gm.graph.find_nodes(op="output")
    output.meta["user_visible_output_idxs"] = visible
    with FakeTensorMode():
        example = torch.empty(3)
    for node in gm.graph.find_nodes(op="placeholder"):
        node.meta["example_value"] = example
    return inner.inner_snapshot(gm, [example], inputs_to_check, _settings(**other))


def test_what_inductor_is_told_beside_a_graph_is_part_of_its_key() -> None:
    plain = _inner()
    keys = {
        "plain": plain,
        "from Dynamo": dataclasses.replace(plain, inner=None),
        "inputs to check": _inner(inputs_to_check=(0,)),
        "visible outputs": _inner(visible=()),
        "training": _inner(is_inference=False),
        "backward": _inner(is_inference=False, is_backward=True),
        "static inputs": _inner(static_input_idxs=()),
        "layout": _inner(layout_opt=False),
    }
    found = {name: _torch.serialize(snapshot).key for name, snapshot in keys.items()}
    assert len(set(found.values())) == len(found), found
    assert _torch.serialize(_inner()).key == found["plain"]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("log_levels", {"root": 10}, "'root' is no logger of Inductor's"),
        ("log_levels", {"torch._inductor.graph": "DEBUG"}, "'DEBUG' is no level"),
        ("log_levels", {f"torch._inductor.{i}": 10 for i in range(1001)}, "at most 1000"),
        ("inner", {"is_inference": True}, "missing 5 required"),
    ],
)
def test_an_engine_refuses_what_no_client_sends(field: str, value: Any, reason: str) -> None:
    outer = msgpack.unpackb(_torch.serialize(_inner()).payload)
    if field == "inner":
        outer["graph"] = msgpack.packb({**msgpack.unpackb(outer["graph"]), field: value})
    else:
        outer[field] = value
    with pytest.raises(_torch.CompileError, match=reason) as caught:
        _torch.compile_graph(msgpack.packb(outer), stage_of(), _torch.client_platform())
    assert caught.value.code == "bad_input"


def test_what_a_client_wants_to_be_told_is_no_part_of_the_key() -> None:
    logger = logging.getLogger("torch._inductor.compile_fx")
    before, quiet = logger.level, _inner()
    logger.setLevel(logging.INFO)
    try:
        loud = _inner()
    finally:
        logger.setLevel(before)
    assert loud.log_levels != quiet.log_levels
    assert _torch.serialize(loud).key == _torch.serialize(quiet).key
