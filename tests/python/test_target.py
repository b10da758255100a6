"""Kernels are made for the CPU level that the client names, whatever the worker's CPU is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from model_farm import client_of, farmed, same, switched

from fxfarm import _torch
from fxfarm._torch import platform

LEVEL = platform.isa_rank(platform.cpu_isa())


def disassembled(artifacts: Path) -> str:
    files = list(artifacts.glob("*.so"))
    assert files
    return "".join(
        subprocess.run(["objdump", "-d", str(f)], capture_output=True, text=True, check=True).stdout
        for f in files
    )


@pytest.mark.skipif(LEVEL < 3, reason="needs a CPU of level v3")
@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump")
def test_a_client_gets_kernels_of_the_level_that_it_names(model_farm: str, tmp_path: Path) -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return (x.exp() * 3).softmax(-1).sum(0)

    x, keys, code = torch.randn(64, 64), {}, {}
    for isa in ("x86-64-v3", ""):
        with client_of(model_farm, tmp_path / f"artifacts{isa}", isa=isa):
            compiled = farmed(fn)
            compiled(x)
            (graph,) = switched(1)
            same(compiled(x), fn(x))
            keys[isa] = (graph.key, graph.stages[0].key)
            # On a CPU without AVX-512 its own level is v3, too, and this process has that kernel already.
            files = "x86-64-v3" if LEVEL == 3 else isa
            code[isa] = disassembled(tmp_path / f"artifacts{files}")
    assert "%ymm" in code["x86-64-v3"]
    assert "%zmm" not in code["x86-64-v3"]
    assert ("%zmm" in code[""]) is (LEVEL == 4)
    assert keys["x86-64-v3"][0] == keys[""][0], "the level is the platform's and not the graph's"
    assert (keys["x86-64-v3"][1] == keys[""][1]) is (LEVEL == 3)


@pytest.mark.parametrize(
    ("isa", "capability", "wanted"),
    [
        ("", None, "x86-64-v4"),
        ("x86-64-v3", None, "x86-64-v3"),
        ("x86-64-v2", "avx2", "x86-64-v2"),
        ("", "avx2", "x86-64-v3"),
        ("", "default", "x86-64-v2"),
        ("", "avx512", "x86-64-v4"),
    ],
)
def test_the_level_wanted_is_the_lowest_of_cpu_option_and_atens_own_limit(
    isa: str, capability: str | None, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "cpu_isa", lambda: "x86-64-v4")
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    if capability is not None:
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", capability)
    assert _torch.target_platform("cpu", isa)["isa"] == wanted


def test_a_level_above_the_cpus_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    monkeypatch.setattr(platform, "cpu_isa", lambda: "x86-64-v2")
    assert _torch.target_platform("cpu", "x86-64-v4")["isa"] == "x86-64-v2"
    monkeypatch.setattr(platform, "cpu_isa", lambda: "")
    assert _torch.target_platform("cpu", "x86-64-v3")["isa"] == ""


def stage(**options: object) -> dict[str, object]:
    return {"name": "s", "options": {name: json.dumps(value) for name, value in options.items()}}


@pytest.mark.parametrize(
    ("stages", "configured", "wanted"),
    [
        ([stage()], {}, "sm_90"),
        ([stage(max_autotune=False)], {}, "sm_90"),
        ([stage(**{"triton.cudagraphs": True})], {}, "sm_90"),
        ([stage(), stage(max_autotune=True)], {}, "H200 sm_90"),
        ([stage(max_autotune_gemm=True)], {}, "H200 sm_90"),
        ([stage(coordinate_descent_tuning=True)], {}, "H200 sm_90"),
        ([stage()], {"max_autotune_pointwise": True}, "H200 sm_90"),
    ],
)
def test_a_gpu_model_is_wanted_only_where_kernels_are_measured(
    stages: list[dict[str, object]],
    configured: dict[str, bool],
    wanted: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch._inductor.config as config

    monkeypatch.setattr(platform, "client_platform", lambda device: {"gpu": "H200 sm_90", "isa": ""})
    with config.patch(configured):
        assert _torch.target_platform("cuda", "", stages)["gpu"] == wanted


@pytest.mark.parametrize(
    ("made_for", "served"),
    [
        ("H200 sm_90", True),
        ("sm_90", True),
        ("H100 sm_90", False),
        ("sm_9", False),
        ("sm_80", False),
        ("", False),
    ],
)
def test_code_for_a_gpu_runs_on_its_model_or_its_capability(made_for: str, served: bool) -> None:
    assert platform.gpu_serves("H200 sm_90", made_for) == served
    assert platform.gpu_serves("", "")
