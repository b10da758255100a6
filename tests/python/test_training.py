"""Training through a real farm: gradients and parameters are eager's, whenever the switch comes."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from model_farm import STAGE_S, farmed, same, switched
from torch.utils.checkpoint import checkpoint

import fxfarm

pytestmark = pytest.mark.usefixtures("farm_client")

Model = torch.nn.Module


def perceptron() -> Model:
    return torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))


def twins(make: Callable[[], Model], **kwargs: Any) -> tuple[list[Model], list[Any]]:
    """Two equal models, and what calls them: the first is eager, the second goes through the farm."""
    model = make()
    other = copy.deepcopy(model)
    return [model, other], [model, farmed(other, **kwargs)]


def until_state(state: str) -> None:
    """Waits until the stage of the only graph is in that state."""
    while (found := fxfarm.graphs()[0].stages) == () or found[0].state != state:
        assert not found or not found[0].error, found
        fxfarm.wait(timeout=0.01)


def gradients(model: Model) -> list[Any]:
    return [p.grad for p in model.parameters()]


def test_gradients_add_up_across_the_switch_and_optimizers_step() -> None:
    models, calls = twins(perceptron)
    optimizers = [torch.optim.AdamW(m.parameters(), lr=0.01) for m in models]
    for step in range(3):
        for part in range(3):
            if (step, part) == (1, 1):
                switched(1)
            x = torch.randn(8, 16)
            for call in calls:
                (call(x).square().mean() / 3).backward()
        same(gradients(models[1]), gradients(models[0]))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=step == 0)
    same(models[1].state_dict(), models[0].state_dict())


def test_a_compiled_optimizer_stays_eager_and_says_why() -> None:
    models, _ = twins(perceptron)
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.01) for m in models]
    steps = [optimizers[0].step, farmed(optimizers[1].step)]
    for _ in range(3):
        x = torch.randn(8, 16)
        for model, optimizer, step in zip(models, optimizers, steps, strict=True):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            step()
        assert fxfarm.wait(timeout=STAGE_S)
    same(models[1].state_dict(), models[0].state_dict())
    # Dynamo makes parameters and state a part of the graph.
    assert all("a tensor of the program's inside the graph" in g.error for g in fxfarm.graphs())
    assert fxfarm.graphs()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision_with_a_scaler_trains_as_eagerly(dtype: torch.dtype) -> None:
    models, calls = twins(perceptron)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in models]
    scalers = [torch.amp.GradScaler("cpu", init_scale=256.0) for _ in models]
    for i in range(4):
        x = torch.randn(8, 16)
        for call, optimizer, scaler in zip(calls, optimizers, scalers, strict=True):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype):
                loss = call(x).float().square().mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        if i == 1:
            switched(1)
    same(models[1].state_dict(), models[0].state_dict(), rtol=2e-2, atol=2e-3)
    assert scalers[1].get_scale() == scalers[0].get_scale() == 256.0


def test_a_backward_may_be_retained_over_the_switch_and_after_it() -> None:
    models, calls = twins(perceptron)
    x = torch.randn(8, 16)
    losses = [call(x).square().mean() for call in calls]
    for loss in losses:
        loss.backward(retain_graph=True)
    switched(1)
    for loss in losses:
        loss.backward()
    for call in calls:
        loss = call(x).square().mean()
        loss.backward(retain_graph=True)
        loss.backward()
    same(gradients(models[1]), gradients(models[0]))
    assert fxfarm.graphs()[0].runs == {"eager": 1, "default": 1}


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward and backward"])
def test_hooks_of_modules_tensors_and_parameters_run_as_in_eager(backward: bool) -> None:
    seen: list[list[str]] = [[], []]
    models, calls = twins(perceptron)
    for model, told in zip(models, seen, strict=True):
        model.register_forward_hook(lambda *_, told=told: told.append("forward"))
        if backward:
            model.register_full_backward_hook(lambda *_, told=told: told.append("backward"))
        model[0].weight.register_post_accumulate_grad_hook(lambda _, told=told: told.append("parameter"))  # type: ignore[index]
    for _ in range(3):
        for call, told in zip(calls, seen, strict=True):
            x = torch.ones(8, 16, requires_grad=True)
            x.register_hook(lambda _, told=told: told.append("tensor"))
            call(x).sum().backward()
        assert fxfarm.wait(timeout=STAGE_S)
        # Of a module with a backward hook Dynamo makes no graph, or (torch 2.13) sometimes one.
        assert backward or switched()
    assert seen[1] == seen[0] != []


def test_checkpoints_around_compiled_code_survive_a_switch_between_forward_and_backward() -> None:
    models, calls = twins(perceptron)
    x = torch.randn(8, 16, requires_grad=True)
    losses = [checkpoint(call, x, use_reentrant=False).square().mean() for call in calls]
    until_state("fetched")
    assert fxfarm.graphs()[0].stage == "eager", "the forward will be run again within the backward"
    for loss in losses:
        loss.backward()
    switched(1)
    for call in calls:
        checkpoint(call, x, use_reentrant=False).square().mean().backward()
    same(gradients(models[1]), gradients(models[0]))
    assert fxfarm.graphs()[0].runs == {"eager": 2, "default": 2}


def mask_is_kept(layer: Any) -> bool:
    """Whether a checkpoint's second run within the backward draws what the first one drew."""
    x = torch.ones(64, 64, requires_grad=True)
    y = checkpoint(layer, x, use_reentrant=True)
    y.sum().backward()
    assert x.grad is not None
    return 0 < int((y == 0).sum()) < y.numel() and torch.equal(x.grad, y.detach())


def test_checkpoints_with_reentry_draw_the_same_numbers_at_any_two_stages() -> None:
    layer = farmed(torch.nn.Sequential(torch.nn.Identity(), torch.nn.Dropout(0.5)))
    with torch.no_grad():
        layer(torch.ones(64, 64, requires_grad=True))
    switched(1)
    assert mask_is_kept(layer)
    stages = {g.stage for g in fxfarm.graphs()}
    assert stages == {"default", "eager"}, "the two runs are two graphs, of which one is new"
    switched(2)
    assert mask_is_kept(layer)


def test_batch_statistics_that_two_graphs_share_are_left_to_backwards_that_are_open() -> None:
    models, calls = twins(lambda: torch.nn.BatchNorm1d(3), dynamic=False)
    small, large = torch.randn(4, 3), torch.randn(6, 3)
    for call in calls:
        call(small).square().sum().backward()
    switched(1)
    for call in calls:
        # The second graph is new and runs eager; the first is compiled and updates what that one has saved.
        losses = call(large).square().sum(), call(small).square().sum()
        sum(losses).backward()
    same(gradients(models[1]), gradients(models[0]))
    same(dict(models[1].named_buffers()), dict(models[0].named_buffers()))
    assert sorted(g.guard_misses for g in fxfarm.graphs()) == [0, 1]
    switched(2)
    for call in calls:
        (call(large).square().sum() + call(small).square().sum()).backward()
    same(gradients(models[1]), gradients(models[0]))
    assert sorted(g.guard_misses for g in fxfarm.graphs()) == [0, 1]


def penalized(call: Any, x: torch.Tensor) -> torch.Tensor:
    """A loss with the gradient's own size in it."""
    x = x.clone().requires_grad_()
    loss = call(x).square().mean()
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    return loss + gradient.square().sum()


def test_a_gradient_of_a_gradient_keeps_its_graph_eager() -> None:
    models, calls = twins(perceptron)
    x = torch.randn(8, 16)
    for _ in range(2):
        for call in calls:
            penalized(call, x).backward()
        assert fxfarm.wait(timeout=STAGE_S)
    same(gradients(models[1]), gradients(models[0]))
    (graph,) = fxfarm.graphs()
    assert graph.stage == "eager"
    assert graph.stages[0].state in ("failed", "rolled_back"), "it may have come before the second backward"
    assert graph.stages[0].error.startswith("refused: its backward is differentiated (create_graph=True)")


def test_a_gradient_of_a_gradient_after_the_switch_is_refused_once_and_says_how_to_avoid_it() -> None:
    models, calls = twins(perceptron)
    x = torch.randn(8, 16)
    for call in calls:
        call(x.clone().requires_grad_()).square().mean().backward()
    switched(1)
    inputs = [x.clone().requires_grad_() for _ in calls]
    losses = [call(i).square().mean() for call, i in zip(calls, inputs, strict=True)]
    first = [
        torch.autograd.grad(loss, i, create_graph=True)[0] for loss, i in zip(losses, inputs, strict=True)
    ]
    same(first[1], first[0])
    with pytest.raises(RuntimeError, match=re.escape('options={"stages": ["eager"]}')):
        first[1].square().sum().backward()
    for model, call in zip(models, calls, strict=True):
        model.zero_grad()
        penalized(call, x).backward()
    same(gradients(models[1]), gradients(models[0]))
    (graph,) = fxfarm.graphs()
    assert graph.stage == "eager"
    while not fxfarm.graphs()[0].stages[0].error:
        fxfarm.wait(timeout=0.01)
    stage = fxfarm.graphs()[0].stages[0]
    assert (stage.state, stage.error.partition(":")[0]) == ("rolled_back", "refused")


def test_compiled_autograd_keeps_graphs_eager() -> None:
    models, calls = twins(perceptron)
    x = torch.randn(8, 16)
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
        for _ in range(2):
            for call in calls:
                call(x).square().mean().backward()
            assert fxfarm.wait(timeout=STAGE_S)
    same(gradients(models[1]), gradients(models[0]))
    assert "compiled autograd" in fxfarm.graphs()[0].error
