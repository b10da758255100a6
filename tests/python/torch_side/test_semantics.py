"""Whatever eager does, the artifact does: outputs, gradients, mutation, aliasing, random numbers, guards."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import bert, classifier, gpt2

from fxfarm._torch import pack, platform

close = torch.testing.assert_close


@pytest.mark.parametrize("model", [gpt2, bert])
def test_language_models_agree_with_eager(model: Callable[..., Any], through_farm: Any) -> None:
    net, inputs = model()
    compiled, done = through_farm(net)
    with torch.no_grad():
        got, want = compiled(**inputs), net(**inputs)
    close(got[0], want[0], atol=1e-4, rtol=1e-4)
    assert len(done) == 1
    assert not done[0].stage.has_backward
    assert done[0].stage.mutated == ()
    assert done[0].stage.manifest["needs"] == []


def _gradients(model: torch.nn.Module) -> list[Any]:
    return [p.grad for p in model.parameters()]


def test_training_with_batch_norm_agrees_with_eager(through_farm: Any) -> None:
    net = classifier()
    twin = copy.deepcopy(net)
    compiled, done = through_farm(net)
    x = torch.randn(2, 3, 8, 8)
    for _ in range(2):
        got, want = compiled(x), twin(x)
        close(got, want, atol=1e-5, rtol=1e-4)
        got.square().mean().backward()
        want.square().mean().backward()
    close(_gradients(net), _gradients(twin), atol=1e-5, rtol=1e-4)
    close(dict(net.named_buffers()), dict(twin.named_buffers()))
    assert done[0].stage.has_backward
    assert done[0].stage.mutated, "running statistics are inputs that the graph writes to"


def test_a_backward_may_run_twice_when_the_graph_is_retained(through_farm: Any) -> None:
    net = classifier()
    twin = copy.deepcopy(net)
    compiled, _ = through_farm(net)
    x = torch.randn(2, 3, 8, 8)
    for model in (compiled, twin):
        loss = model(x).square().mean()
        loss.backward(retain_graph=True)
        loss.backward()
    close(_gradients(net), _gradients(twin), atol=1e-5, rtol=1e-4)


def test_dropout_with_fallback_random_is_bit_equal_to_eager(through_farm: Any) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Dropout(0.5))
    compiled, _ = through_farm(net, options={"fallback_random": True})
    x = torch.randn(4, 8)
    compiled(x)
    torch.manual_seed(1)
    got, state = compiled(x), torch.get_rng_state()
    torch.manual_seed(1)
    want = net(x)
    assert torch.equal(got == 0, want == 0)
    close(got, want)
    assert torch.equal(state, torch.get_rng_state())


def test_a_key_value_cache_is_written_in_place(through_farm: Any) -> None:
    def step(cache: torch.Tensor, at: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        cache.index_copy_(1, at, value)
        return cache.sum(1)

    compiled, done = through_farm(step)
    cache, value = torch.zeros(2, 8, 4), torch.randn(2, 1, 4)
    address = cache.data_ptr()
    close(compiled(cache, torch.tensor([3]), value), value.sum(1))
    assert torch.equal(cache[:, 3:4], value)
    assert cache.data_ptr() == address
    assert done[0].stage.mutated


def test_outputs_that_are_views_of_an_input_stay_views(through_farm: Any) -> None:
    def step(x: torch.Tensor) -> Any:
        x.mul_(2)
        return x.view(-1), x.t(), x

    compiled, _ = through_farm(step)
    x = torch.randn(3, 4)
    want = x * 2
    flat, turned, same = compiled(x)
    assert torch.equal(x, want)
    assert same is x
    flat[0] = 7
    assert x[0, 0] == 7
    assert turned[0, 0] == 7


def test_a_tensor_that_is_given_other_data_agrees_with_eager(through_farm: Any) -> None:
    def step(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        x.data = other * 2
        return x + 1

    compiled, _ = through_farm(step)
    ours, theirs = torch.zeros(4), torch.zeros(4)
    close(compiled(ours, torch.ones(4)), step(theirs, torch.ones(4)))
    close(ours, theirs)


def test_inputs_that_share_memory_agree_with_eager(through_farm: Any) -> None:
    def step(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        a.add_(1)
        return b * 2

    compiled, _ = through_farm(step)
    base = torch.randn(8)
    twin = base.clone()
    close(compiled(base[:4], base[2:6]), step(twin[:4], twin[2:6]))
    close(base, twin)


def test_inputs_that_share_memory_under_different_dtypes_agree_with_eager(through_farm: Any) -> None:
    compiled, _ = through_farm(lambda a, b: (a * 2, b + 1))
    a = torch.arange(8.0)
    close(compiled(a, a.view(torch.int32)[2:6]), (a * 2, a.view(torch.int32)[2:6] + 1))


def _with_numpy(x: Any) -> Any:
    table = np.ones((3, 4), dtype=np.float32) * 2
    return np.concatenate([np.sin(x), x.mean(axis=0, keepdims=True) + table]) < np.where(x.T[0, 0] > 0, 1, 2)


def test_numpy_that_dynamo_turns_into_tensors_agrees_with_numpy(through_farm: Any) -> None:
    compiled, done = through_farm(_with_numpy)
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(compiled(x), _with_numpy(x))
    assert len(done) == 1


def test_sizes_outside_the_assumptions_are_told_by_the_guard(through_farm: Any) -> None:
    def step(x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] % 16 == 0 and x.shape[0] < 512:
            return (x * 2).reshape(16, -1).sum(1)
        return x.sum()

    compiled, done = through_farm(step, dynamic=True)
    x = torch.randn(32, 4)
    close(compiled(x), step(x))
    stage = done[0].stage
    first, second = stage.manifest["guard_positions"]
    assert stage.guard is not None

    def fits(rows: int) -> bool:
        args: list[Any] = [None] * stage.manifest["inputs"]
        args[first], args[second] = rows, 4
        assert stage.guard is not None
        return stage.guard(*args)

    assert [n for n in (17, 32, 40, 496, 512, 1024) if fits(n)] == [32, 496]


def test_one_artifact_serves_many_sizes(through_farm: Any) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    compiled, done = through_farm(net, dynamic=True)
    for rows in (5, 9, 33):
        x = torch.randn(rows, 8)
        close(compiled(x), net(x))
    assert len(done) == 1


def _autocast_inside(x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return (x @ x).relu()


def _no_grad_inside(x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        y = x * 2
    return x + y


def _conditional(x: torch.Tensor) -> Any:
    return torch.cond(x.sum() > 0, lambda x: x * 2, lambda x: x - 1, (x,))


def _checkpointed(x: torch.Tensor) -> Any:
    from torch.utils.checkpoint import checkpoint

    return checkpoint(lambda y: (y @ y).relu() * 2, x, use_reentrant=False)


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * ctx.saved_tensors[0]


def _numpy_inside(x: torch.Tensor) -> torch.Tensor:
    a: Any = x.detach().numpy()
    return x * torch.from_numpy((np.sin(a) * 2 - a.sum(0)).T.reshape(4, 4))


@pytest.mark.parametrize(
    "fn",
    [
        _autocast_inside,
        _numpy_inside,
        _no_grad_inside,
        _conditional,
        _checkpointed,
        lambda x: _Doubled.apply(x) + 1,
        lambda x: (x * 2).t().contiguous() + torch.tensor([1.0, 2.0, 3.0, 4.0]),
        lambda x: torch.func.vmap(torch.func.grad(lambda y: (y**2).sum()))(x),
        lambda x: torch.nn.functional.scaled_dot_product_attention(x[None], x[None], x[None], is_causal=True),
    ],
    ids=[
        "autocast",
        "numpy",
        "no_grad",
        "cond",
        "checkpoint",
        "autograd.Function",
        "constant",
        "vmap of grad",
        "attention",
    ],
)
def test_what_models_are_made_of_agrees_with_eager(fn: Any, through_farm: Any) -> None:
    compiled, _ = through_farm(fn)
    results = []
    for f in (compiled, fn):
        leaf = torch.arange(16.0).reshape(4, 4).div(16).requires_grad_()
        out = f(leaf * 1)
        out.float().sum().backward()
        results.append([out.detach(), leaf.grad])
    close(results[0], results[1])


def test_a_float_that_changes_between_calls_needs_no_new_graph(through_farm: Any) -> None:
    compiled, done = through_farm(lambda x, s: x * s, dynamic=True)
    x = torch.randn(8)
    for scale in (2.5, 3.5):
        close(compiled(x, scale), x * scale)
    assert len(done) == 1


def _parts(x: torch.Tensor, count: int) -> Any:
    return x.chunk(count)


def _turned(x: torch.Tensor, order: tuple[int, ...]) -> torch.Tensor:
    return torch.permute_copy(x, order)


def _checked(x: torch.Tensor, rate: float) -> torch.Tensor:
    return torch.nn.functional.dropout2d(x, rate, training=False) + 1


@pytest.mark.parametrize(
    ("fn", "number"), [(_parts, 2), (_turned, (2, 0, 1)), (_checked, 0.25)], ids=["int", "ints", "float"]
)
def test_a_number_that_tracing_took_for_constant_is_one(fn: Any, number: Any, through_farm: Any) -> None:
    compiled, done = through_farm(fn, dynamic=True)
    for rows in (4, 6):
        x = torch.randn(rows, 5, 3)
        close(compiled(x, number), fn(x, number))
    assert [d.misses for d in done] == [0]


def test_a_number_that_depends_on_data_is_read_in_the_graph(through_farm: Any) -> None:
    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        compiled, done = through_farm(lambda x, one: x * one.item())
        x, one = torch.randn(3), torch.tensor(2.5)
        for factor in (one, one + 1):
            close(compiled(x, factor), x * factor)
    assert [d.misses for d in done] == [0]


@pytest.mark.parametrize(
    "fn",
    [
        lambda x, s: x.new_full((3,), s),
        lambda x, s: torch.addmm(x, x, x, beta=s),
        lambda x, s: x * s + x.new_full((), s),
    ],
    ids=["a fill", "a scalar argument", "a fill and a factor"],
)
def test_a_float_that_compiled_code_has_for_constant_is_guarded(fn: Any, through_farm: Any) -> None:
    compiled, done = through_farm(fn, dynamic=True)
    x = torch.randn(3, 3)
    for scale in (2.5, 2.5, 3.5):
        close(compiled(x, scale), fn(x, scale))
    assert [d.misses for d in done] == [1]


@pytest.mark.skipif(platform.isa_rank(platform.cpu_isa()) < 3, reason="needs a CPU of level v3")
@pytest.mark.parametrize("isa", ["x86-64-v2", "x86-64-v3"])
def test_kernels_for_a_lower_level_hold_no_wider_registers(
    isa: str, through_farm: Any, tmp_path: Path
) -> None:
    compiled, done = through_farm(lambda x: torch.softmax(x * 2, -1).sum(0), target={"isa": isa})
    x = torch.randn(64, 64)
    close(compiled(x), torch.softmax(x * 2, -1).sum(0))
    for file in pack.unpack(done[0].artifact).files:
        path = tmp_path / "kernel.so"
        path.write_bytes(file["data"])
        text = subprocess.run(["objdump", "-d", str(path)], capture_output=True, text=True, check=True).stdout
        assert "%zmm" not in text
        assert isa != "x86-64-v2" or "%ymm" not in text


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("", "x86-64-v1"),
        ("cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3", "x86-64-v2"),
        ("avx avx2 bmi1 bmi2 f16c fma abm movbe xsave", "x86-64-v1"),
    ],
)
def test_a_level_needs_all_features_of_those_below(flags: str, level: str) -> None:
    assert platform.isa_of(frozenset(flags.split())) == level
