"""Where an artifact meets what it was not made for: vector widths, sizes, strides, addresses, grad mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from farm import farm, run_client, stage_of
from models import row_sum

from fxfarm import _core, _torch
from fxfarm._torch import platform

close = torch.testing.assert_close

WIDE = [level for level, bits in platform.VECTOR_BITS.items() if bits >= 256]
"""Levels whose kernels have the width of a vector written into their C++."""


@pytest.fixture(scope="module")
def by_level(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same graph compiled for each level that this machine can compile for."""
    folder = tmp_path_factory.mktemp("levels")
    made = {}
    for level in WIDE:
        if platform.isa_rank(level) <= platform.isa_rank(platform.cpu_isa()):
            torch._dynamo.reset()
            compiled, done = farm(row_sum, folder / "kernels", target={"isa": level})
            compiled(torch.ones(64, 64))
            made[level] = folder / level
            made[level].write_bytes(done[0].artifact)
    return made


@pytest.mark.skipif(platform.isa_rank(platform.cpu_isa()) < 3, reason="needs a CPU of level v3")
@pytest.mark.parametrize(("asked", "got"), [("avx2", "AVX2"), ("default", "DEFAULT")])
def test_torch_at_another_vector_width_runs_kernels_of_each(
    asked: str, got: str, by_level: dict[str, Path], tmp_path: Path
) -> None:
    env = {"ATEN_CPU_CAPABILITY": asked}
    report = run_client("run", "row_sum", ",".join(map(str, by_level.values())), str(tmp_path), env=env)
    assert report["capability"] == got
    assert len(report["errors"]) == 2 * len(by_level)
    assert report["error"] <= 1e-5 * report["scale"]
    assert report["programs"] == []


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"torch": "1.0.0"}, "target has torch 1.0.0, this engine "),
        ({"python": "2.7"}, "target has python 2.7, this engine "),
        ({"arch": "riscv64"}, "target has arch riscv64, this engine "),
        ({"isa": "x86-64-v4"}, "target has ISA x86-64-v4, this engine's CPU x86-64-v3"),
        ({"isa": "x86-64-v9"}, "target has ISA x86-64-v9, this engine's CPU x86-64-v3"),
        ({"isa": ""}, "target has ISA , this engine's CPU x86-64-v3"),
    ],
    ids=lambda value: " ".join(value.values()) if isinstance(value, dict) else "",
)
def test_an_engine_refuses_a_target_that_it_cannot_compile_for(
    target: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "cpu_isa", lambda: "x86-64-v3")
    with pytest.raises(_torch.CompileError) as caught:
        _torch.compile_graph(b"", stage_of(), {**_torch.client_platform(), **target})
    assert caught.value.code == "bad_input"
    assert said in str(caught.value)


def test_a_size_past_the_bound_of_a_compile_runs_eager_and_is_counted(tmp_path: Path) -> None:
    slots: list[_core.Slot] = []
    guards: list[str] = []

    def backend(gm: torch.fx.GraphModule, inputs: list[Any]) -> _core.Slot:
        graph = _torch.serialize(_torch.snapshot(gm, inputs))
        made = _torch.compile_graph(graph.payload, stage_of(), _torch.client_platform())
        stage = _torch.load_artifact(made.data, tmp_path / "kernels")
        slot = _core.Slot(gm.forward)
        slot.publish(1, stage.call, stage.boxed, stage.guard)
        slots.append(slot)
        guards.append(stage.manifest["guards"])
        return slot

    # Inductor adds up in another way above 4096 elements, and a compile is for one of the two: its guard.
    # Dynamo has returned to the caller before there is such a guard, so it sees no reason to trace again.
    compiled = torch.compile(lambda x: (x * 2).sum(), backend=backend, dynamic=True)
    sizes = (100, 4096, 4097, 5000, 70000, 50)
    for size in sizes:
        x = torch.arange(float(size)) / size
        close(compiled(x), (x * 2).sum())
    (slot,) = slots
    assert "4096" in guards[0]
    past = sum(size > 4096 for size in sizes)
    assert (slot.guard_misses, slot.runs) == (past, [past, len(sizes) - past])


@pytest.mark.parametrize("offsets", [(0, 1), (1, 0)], ids=["aligned-first", "unaligned-first"])
def test_inputs_may_start_at_any_element(offsets: tuple[int, int], through_farm: Any) -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x * 2, -1) + x

    compiled, done = through_farm(fn, dynamic=False)
    storage = torch.randn(4 * 64 + 1)
    for offset in offsets:
        x = storage[offset : offset + 4 * 64].view(4, 64)
        assert (x.data_ptr() % 16 == 0) == (offset == 0)
        close(compiled(x), fn(x))
    # An artifact is for inputs at any address.
    close(done[0].stage.call([storage[1:257].view(4, 64)])[0], fn(storage[1:257].view(4, 64)))


def test_other_strides_are_refused_before_any_work_and_traced_anew(through_farm: Any) -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        x.mul_(2)
        return x.sum(0)

    compiled, done = through_farm(fn, dynamic=False)
    x = torch.randn(4, 4)
    want = x * 2
    close(compiled(x), want.sum(0))
    close(x, want)

    turned = want.clone().t()
    with pytest.raises(AssertionError, match="stride"):
        done[0].stage.call([turned])
    close(turned, want.t())
    close(compiled(turned), (want.t() * 2).sum(0))
    close(turned, want.t() * 2)
    assert len(done) == 2


def test_a_stage_for_training_is_not_what_runs_without_gradients(through_farm: Any) -> None:
    net = torch.nn.Linear(4, 3)
    compiled, done = through_farm(net)
    x = torch.randn(2, 4)
    assert compiled(x).requires_grad
    with torch.no_grad():
        got = compiled(x)
        close(got, net(x))
        assert not got.requires_grad
    assert [one.stage.has_backward for one in done] == [True, False]
