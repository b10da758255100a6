"""Kinds of graphs and calls: each answers as in eager before, while and after its graph switches."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from model_farm import agree, farmed, same, switched
from torch._higher_order_ops.associative_scan import associative_scan
from torch._higher_order_ops.map import map as map_over
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.nn.attention.flex_attention import flex_attention

import fxfarm

pytestmark = pytest.mark.usefixtures("farm_client")


def seeded(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7)).to(dtype)


def one(*shape: int, **kwargs: Any) -> Callable[[], tuple[Any, ...]]:
    return lambda: (seeded(*shape, **kwargs),)


@dataclasses.dataclass
class Pair:
    left: torch.Tensor
    right: int


Named = collections.namedtuple("Named", "first rest")


def test_control_flow_is_compiled_with_the_graph() -> None:
    weight = seeded(3)

    def counted(x: torch.Tensor) -> Any:
        return while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (torch.tensor(0), x))

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Any:
        return flex_attention(q, k, v, score_mod=lambda s, b, h, i, j: s + (i - j) * 0.1)

    cases: dict[str, Any] = {
        "cond": (lambda x: torch.cond(x.sum() > 0, lambda x: x * weight, lambda x: x - weight, (x,)), one(3)),
        "while_loop": (counted, one(3)),
        "map": (lambda xs: map_over(lambda x, y: x.sin() + y, xs, weight), one(5, 3)),
        "scan": (lambda xs: scan(lambda c, x: (c + x, c * x), torch.zeros(3), xs, dim=0), one(5, 3)),
        "associative_scan": (
            lambda xs: associative_scan(lambda a, b: a + b, xs, 0, combine_mode="generic"),
            one(5, 3),
        ),
        "flex_attention": (attend, lambda: tuple(seeded(1, 2, 32, 16) for _ in "qkv")),
    }
    with torch.no_grad():
        agree(cases)


def test_outputs_of_any_structure_and_inputs_of_any_kind() -> None:
    def structured(x: torch.Tensor, pair: Pair, flag: bool, names: list[str]) -> dict[str, Any]:
        rest = [x - 1, (x * 3, None)] if flag else []
        return {
            "pair": Pair(x * 2, pair.right + 1),
            "named": Named(x + 1, rest),
            names[0]: x.shape,
            "top": torch.max(x, dim=0),
        }

    x = seeded(3, 4)
    fn = farmed(structured)
    for _ in range(2):
        got = fn(x, Pair(x, 3), True, ["size"])
        want = structured(x, Pair(x, 3), True, ["size"])
        assert (got["pair"].right, type(got["named"]), got["size"]) == (4, Named, (3, 4))
        same(got["pair"].left, want["pair"].left)
        same(tuple(got["named"]), tuple(want["named"]))
        assert type(got["top"]) is type(want["top"])
        same(tuple(got["top"]), tuple(want["top"]))
        switched(1)


def test_constants_are_carried_and_numbers_may_vary() -> None:
    table = torch.tensor([1.0, 2.0, 3.0])

    def with_constants(x: torch.Tensor) -> torch.Tensor:
        return x * table + torch.tensor([4.0, 5.0, 6.0]) * 1.5

    agree({"constants": (with_constants, one(3)), "complex": (lambda x: torch.fft.fft(x).abs(), one(8))})
    fn = farmed(lambda x, n, s: (x * n + s, n * 2), dynamic=True)
    x = seeded(3)
    same(fn(x, 3, 1.5), (x * 3 + 1.5, 6))
    assert fxfarm.wait(timeout=600)
    for n, s in ((3, 1.5), (5, 2.5), (9, 0.5)):
        same(fn(x, n, s), (x * n + s, n * 2))


def test_memory_formats_and_low_precision_are_kept() -> None:
    layer = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()).eval()
    layer = layer.to(memory_format=torch.channels_last)
    image = seeded(2, 3, 8, 8).to(memory_format=torch.channels_last)
    low = torch.nn.Linear(16, 16).bfloat16()
    fns = farmed(layer), farmed(low)
    with torch.no_grad():
        for _ in range(2):
            got, want = fns[0](image), layer(image)
            same(got, want)
            assert got.stride() == want.stride() != got.contiguous().stride()
            x = seeded(4, 16, dtype=torch.bfloat16)
            torch.testing.assert_close(fns[1](x), low(x), rtol=2e-2, atol=2e-2)
            switched(2)


def test_modes_of_inference_have_graphs_of_their_own() -> None:
    def fn(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 2, x.view(-1)

    compiled = farmed(fn)
    for _ in range(2):
        kinds = []
        for mode in (torch.no_grad(), torch.inference_mode()):
            with mode:
                x = torch.ones(2, 2)
                got, want = compiled(x), fn(x)
                same(got, want)
                kinds.append([[t.is_inference() for t in ts] for ts in (got, want)])
        assert kinds == [[[False, False]] * 2, [[True, True]] * 2]
        switched(2)


def test_autocast_and_gradients_that_come_and_go_are_graphs_of_their_own() -> None:
    def product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return x @ weight

    # An argument: of a module's parameter Dynamo (torch 2.11) does not see whether it still needs a gradient.
    compiled, x, weight = farmed(product), torch.ones(2, 4), seeded(4, 4).requires_grad_()
    for expected in (1, 3):
        same(compiled(x, weight), product(x, weight))
        assert compiled(x, weight).requires_grad
        if expected == 3:
            with torch.autocast("cpu", torch.bfloat16):
                assert compiled(x, weight).dtype == torch.bfloat16
            weight.requires_grad_(False)
            assert not compiled(x, weight).requires_grad
            weight.requires_grad_(True)
        switched(expected)
    assert compiled(x, weight).requires_grad
    assert compiled(x, weight).dtype == torch.float32
    weight.requires_grad_(False)
    same(compiled(x, weight), product(x, weight))
    assert not compiled(x, weight).requires_grad


def test_a_module_that_is_frozen_and_trained_again_answers_as_in_eager() -> None:
    layer = torch.nn.Linear(4, 4)
    compiled, x = farmed(layer), torch.ones(2, 4)
    for frozen in (False, True, False, True):
        layer.requires_grad_(not frozen)
        for _ in range(2):
            same(compiled(x), layer(x))
            assert compiled(x).requires_grad is not frozen
            switched()


def test_updates_of_inputs_reach_them() -> None:
    def write(cache: torch.Tensor, at: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        cache.index_copy_(1, at, value)
        return cache.sum(1)

    def turn(x: torch.Tensor) -> torch.Tensor:
        x.t_()
        return x + 1

    def step(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        a.add_(1)
        return b * 2

    def halves() -> tuple[torch.Tensor, torch.Tensor]:
        base = seeded(8)
        return base[:4], base[2:6]

    cases: dict[str, Any] = {
        "a cache": (write, lambda: (torch.zeros(2, 8, 4), torch.tensor([3]), seeded(2, 1, 4))),
        "a shape": (turn, one(2, 3)),
        "what overlaps": (step, halves),
    }
    with torch.inference_mode():
        agree(cases)


def test_inputs_that_overlap_otherwise_than_at_the_compile_run_eager_and_are_counted() -> None:
    # In one loop, which would read parts of `b` after it has written them.
    def step(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        y = b * 2
        a.add_(1)
        return y + a

    def called(fn: Any, a: slice, b: slice, apart: bool = False) -> list[torch.Tensor]:
        base, other = seeded(256), seeded(256)
        return [fn(base[a], (other if apart else base)[b]), base, other]

    compiled = farmed(step)
    called(compiled, slice(0, 64), slice(0, 64), apart=True)
    (graph,) = switched(1)
    overlapping = slice(2, 66), slice(0, 64)
    for _ in range(2):
        same(called(compiled, *overlapping), called(step, *overlapping))
    for calls in ((slice(0, 64), slice(128, 192)), (slice(64, 128), slice(0, 64))):
        same(called(compiled, *calls), called(step, *calls))
    (graph,) = fxfarm.graphs()
    assert (graph.guard_misses, graph.runs) == (2, {"eager": 3, "default": 2})


def test_an_input_may_start_anywhere_in_memory() -> None:
    fn = lambda x: (x * 2).softmax(-1)  # noqa: E731
    compiled = farmed(fn)
    compiled(torch.ones(8, 64))
    switched(1)
    x = seeded(8 * 64 + 1)[1:].view(8, 64)
    same(compiled(x), fn(x))


def test_forward_mode_differentiation_stays_with_eager() -> None:
    from torch.autograd import forward_ad

    fn = lambda x: x.sin() * 2  # noqa: E731
    compiled = farmed(fn)
    with forward_ad.dual_level():
        x = forward_ad.make_dual(seeded(3), torch.ones(3))
        for _ in range(2):
            got, want = forward_ad.unpack_dual(compiled(x)), forward_ad.unpack_dual(fn(x))
            assert want.tangent is not None
            same(tuple(got), tuple(want))
            assert fxfarm.wait(timeout=600)
    (graph,) = fxfarm.graphs()
    assert "forward mode" in graph.error


def test_tensors_of_other_layouts_stay_with_eager() -> None:
    dense = torch.eye(3)
    inputs = {
        "sparse": dense.to_sparse(),
        "quantized": torch.quantize_per_tensor(dense, 0.1, 0, torch.qint8),
        "nested": torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=torch.jagged),
    }
    for kind, x in inputs.items():
        compiled = farmed(lambda x: x * 2 if x.is_nested else x.dequantize() if x.is_quantized else x @ x)
        for _ in range(2):
            got = compiled(x)
            assert fxfarm.wait(timeout=600)
        assert got.layout == (x.dequantize() if x.is_quantized else x).layout, kind
    assert [g.stage for g in fxfarm.graphs()] == ["eager"] * len(fxfarm.graphs())
    assert all(g.error for g in fxfarm.graphs())


def test_transforms_of_a_compiled_function_are_right() -> None:
    fn = lambda x: (x.sin() * 2).sum()  # noqa: E731
    compiled, x = farmed(fn), seeded(4, 3)
    compiled(x[0])
    switched()
    same(torch.func.vmap(compiled)(x), torch.func.vmap(fn)(x))
    same(torch.func.grad(compiled)(x[0]), torch.func.grad(fn)(x[0]))
