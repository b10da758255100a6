"""Models through a real farm: each answers as in eager before, at and after the switch, or says why not."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import served_operators
import torch
from model_farm import STAGE_S, farmed, same, stats_of, switched
from programs import until
from torch.utils.checkpoint import checkpoint

import fxfarm
from fxfarm import _torch

HINDERED_S = 0.05
"""More than what calls take longer by when other programs want the cores."""

Call = Callable[[Callable[..., Any]], Any]

pytestmark = pytest.mark.usefixtures("farm_client")


def transformer(name: str) -> tuple[torch.nn.Module, Call]:
    t: Any = importlib.import_module("transformers")
    ids = torch.randint(3, 90, (2, 12))
    shape = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 48}
    if name == "gpt2":
        config = t.GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=90, bos_token_id=1, eos_token_id=2)
        return t.GPT2LMHeadModel(config), lambda f: f(input_ids=ids).logits
    if name == "bert":
        config = t.BertConfig(**shape, vocab_size=90)
        return t.BertModel(config), lambda f: f(input_ids=ids).last_hidden_state
    if name == "llama":
        config = t.LlamaConfig(**shape, num_key_value_heads=1, vocab_size=90)
        return t.LlamaForCausalLM(config), lambda f: f(input_ids=ids).logits
    if name == "vit":
        config = t.ViTConfig(**shape, image_size=16, patch_size=8)
        image = torch.randn(2, 3, 16, 16)
        return t.ViTModel(config), lambda f: f(pixel_values=image).last_hidden_state
    config = t.T5Config(
        d_model=32, d_kv=16, d_ff=48, num_layers=1, num_heads=2, vocab_size=90, decoder_start_token_id=0
    )
    model = t.T5ForConditionalGeneration(config)
    return model, lambda f: f(input_ids=ids, decoder_input_ids=ids).logits


@pytest.mark.parametrize("name", ["gpt2", "bert", "llama", "vit", "t5"])
def test_a_transformer_answers_as_in_eager_through_the_switch(name: str) -> None:
    model, call = transformer(name)
    model.eval()
    compiled = farmed(model)
    with torch.no_grad():
        want = call(model)
        same(call(compiled), want)
        while not fxfarm.wait(timeout=0.02):
            same(call(compiled), want)
        before = [g.runs["default"] for g in switched()]
        same(call(compiled), want)
    assert [g.runs["default"] for g in fxfarm.graphs()] == [runs + 1 for runs in before]


def trained(
    make: Callable[[], torch.nn.Module], x: torch.Tensor, *, before: int = 2, after: int = 2, **kwargs: Any
) -> None:
    """Trains two copies, one eagerly and one through the farm with the switch in between; both must agree."""
    model = make()
    other = copy.deepcopy(model)
    compiled = farmed(other, **kwargs)
    steps = [
        (m, torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9), call)
        for m, call in ((model, model), (other, compiled))
    ]
    for i in range(before + after):
        if i == before:
            switched()
        losses = []
        for _, optimizer, call in steps:
            torch.manual_seed(i)
            optimizer.zero_grad()
            loss = call(x).float().square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        same(losses[1], losses[0])
    state = model.state_dict()
    for key, value in other.state_dict().items():
        same(value, state[key])


def convnet() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten()
    ).append(torch.nn.Linear(144, 5))


def test_batch_normalization_is_trained_across_the_switch() -> None:
    trained(convnet, torch.randn(4, 3, 8, 8))


def test_dropout_draws_as_eager_does_when_asked_to() -> None:
    def make() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Dropout(0.5), torch.nn.Linear(16, 4))

    trained(make, torch.randn(8, 16), options={"fallback_random": True})


def test_dropout_keeps_its_rate_and_its_mask_in_the_backward() -> None:
    layer = farmed(torch.nn.Dropout(0.25))
    x = torch.ones(4096, requires_grad=True)
    layer(x)
    switched(1)
    y = layer(x)
    y.sum().backward()
    assert x.grad is not None
    same(x.grad, y.detach())
    assert 0.70 < float((y != 0).float().mean()) < 0.80


def test_autocast_travels_with_the_graph() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.GELU(), torch.nn.Linear(32, 8)).eval()
    compiled, x = farmed(model), torch.randn(4, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        want = model(x)
        assert compiled(x).dtype == torch.bfloat16
        switched(1)
        torch.testing.assert_close(compiled(x), want, rtol=3e-2, atol=3e-2)


def test_checkpointed_activations_give_the_same_gradients() -> None:
    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Sequential(
                torch.nn.Linear(16, 32), torch.nn.Tanh(), torch.nn.Linear(32, 16)
            )

        def forward(self, x: torch.Tensor) -> Any:
            return checkpoint(self.inner, x, use_reentrant=False)

    trained(Block, torch.randn(4, 16))


def test_dynamic_sizes_share_one_graph() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Softmax(-1)).eval()
    compiled = farmed(model, dynamic=True)
    with torch.no_grad():
        for rows in (3, 5, 8):
            x = torch.randn(rows, 16)
            same(compiled(x), model(x))
        switched(1)
        for rows in (2, 3, 64):
            x = torch.randn(rows, 16)
            same(compiled(x), model(x))


def test_a_marked_dimension_is_dynamic() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return (x.softmax(0) * x.shape[0]).sum(0)

    x = torch.randn(6, 4)
    torch._dynamo.mark_dynamic(x, 0)
    compiled = farmed(fn)
    same(compiled(x), fn(x))
    switched(1)
    for rows in (6, 9, 33):
        x = torch.randn(rows, 4)
        same(compiled(x), fn(x))


def test_a_second_size_makes_the_dimension_dynamic() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return x.cumsum(0) / x.shape[0]

    compiled = farmed(fn)
    for rows in (4, 7, 9):
        x = torch.randn(rows, 3)
        same(compiled(x), fn(x))
    switched(2)
    for rows in (4, 7, 12):
        x = torch.randn(rows, 3)
        same(compiled(x), fn(x))


def test_a_stage_that_is_slower_is_left_again_and_the_farm_is_told(
    model_farm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return x.tan() - 7

    load = _torch.load_artifact

    def hindered(data: Any, directory: Path, groups: Any) -> Any:
        stage = load(data, directory, groups)

        def call(args: list[Any]) -> Any:
            time.sleep(HINDERED_S)
            return stage.call(args)

        return dataclasses.replace(stage, call=call)

    monkeypatch.setattr(_torch, "load_artifact", hindered)
    fxfarm.configure(roll_back=True)
    compiled, x = farmed(fn), torch.randn(5)
    for _ in range(50):
        same(compiled(x), fn(x))
    switched(1)

    def why() -> str:
        same(compiled(x), fn(x))
        return fxfarm.graphs()[0].stages[0].error

    assert until("the stage is left again", why).startswith("slower: ")
    (graph,) = fxfarm.graphs()
    assert (graph.stage, graph.stages[0].state) == ("eager", "rolled_back")
    assert stats_of(model_farm)["stages_rolled_back"] == 1


def test_graphs_on_both_sides_of_a_break_switch() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        y = x.sin() * 2
        torch._dynamo.graph_break()
        return y.cos() + x

    compiled, x = farmed(fn), torch.randn(5, 5)
    same(compiled(x), fn(x))
    switched(2)
    same(compiled(x), fn(x))


def test_numbers_and_lists_are_inputs() -> None:
    def fn(xs: list[torch.Tensor], scale: float, power: int) -> list[torch.Tensor]:
        return [x * scale + power for x in xs]

    compiled, xs = farmed(fn, dynamic=True), [torch.randn(3), torch.randn(3)]
    same(compiled(xs, 1.5, 3), fn(xs, 1.5, 3))
    assert fxfarm.wait(timeout=STAGE_S)
    for scale, power in ((1.5, 3), (2.5, 3), (0.5, 7)):
        same(compiled(xs, scale, power), fn(xs, scale, power))


def test_inputs_are_updated_and_outputs_share_memory_as_in_eager() -> None:
    def fn(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x.mul_(2)
        return x.view(-1), x.t(), x + 1

    compiled = farmed(fn)
    compiled(torch.ones(2, 3))
    switched(1)
    x = torch.arange(6.0).reshape(2, 3)
    flat, turned, more = compiled(x)
    same(x, torch.arange(6.0).reshape(2, 3) * 2)
    flat[0] = 42
    assert (float(x[0, 0]), float(turned[0, 0]), float(more[0, 0])) == (42, 42, 1)


def test_a_graph_without_operators_is_harmless() -> None:
    compiled, x = farmed(lambda x: (x, 3)), torch.randn(2)
    for _ in range(2):
        assert compiled(x)[0] is x
        assert fxfarm.wait(timeout=STAGE_S)


def test_an_operator_of_a_package_that_engines_may_import_is_served() -> None:
    def fn(x: torch.Tensor) -> Any:
        return served_operators.thrice(x.sin()) + 1

    compiled = farmed(fn)
    leaves = [torch.arange(3.0).requires_grad_() for _ in range(2)]
    same(compiled(leaves[0]), fn(leaves[1]))
    switched(1)
    compiled(leaves[0]).sum().backward()
    fn(leaves[1]).sum().backward()
    same(leaves[0].grad, leaves[1].grad)


def test_an_operator_that_the_engine_lacks_leaves_eager_with_the_reason() -> None:
    @torch.library.custom_op("fxfarm_models::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @twice.register_fake
    def _(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)

    def fn(x: torch.Tensor) -> Any:
        return twice(x) + 1

    compiled, x = farmed(fn), torch.randn(3)
    same(compiled(x), fn(x))
    assert fxfarm.wait(timeout=STAGE_S)
    (graph,) = fxfarm.graphs()
    assert graph.stage == "eager"
    assert "fxfarm_models::twice is not registered" in graph.stages[0].error
    same(compiled(x), fn(x))


def test_a_tensor_subclass_leaves_eager_with_the_reason() -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    compiled, x = farmed(lambda x: x.sin() + 1), TwoTensor(torch.ones(3), torch.zeros(3))
    for _ in range(2):
        y = compiled(x)
        same(y.a, torch.ones(3).sin() + 1)
        same(y.b, torch.ones(3))
        assert fxfarm.wait(timeout=STAGE_S)
    (graph,) = fxfarm.graphs()
    assert (graph.stage, graph.settled) == ("eager", True)
    assert "TwoTensor" in graph.error
