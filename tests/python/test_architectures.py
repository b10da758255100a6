"""Architectures of transformers through a real farm, as bench/architectures.py examines them: a few that
differ most from those of test_models.py, and that the benchmark tells of what is not as it should be.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers.integrations.moe  # registers the experts' operators

BENCH = Path(__file__).parents[2] / "bench"
# Experts by an operator of another package, a scan, convolutions, sound, an encoder and a decoder.
MODELS = ("mixtral", "mamba", "resnet", "wav2vec2", "bart")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The benchmark's row of each model, for a training step."""
    answer = tmp_path_factory.mktemp("rows") / "rows.json"
    # A folder that outlives the tests saves the next run the headers.
    headers = os.environ.get("TEST_ENGINE_CACHE", answer.with_name("engines"))
    options = ["--kinds", "training", "--models", ",".join(MODELS), "--jobs", "1", "--json", answer]
    command = [sys.executable, BENCH / "architectures.py", *options, "--engine-cache-dir", headers]
    subprocess.run(command, check=True)
    return {row["model"]: row for row in json.loads(answer.read_text())["rows"]}


@pytest.mark.parametrize("model", MODELS)
def test_an_architecture_is_trained_as_in_eager_by_what_the_farm_compiled(
    model: str, rows: dict[str, Any]
) -> None:
    row = rows[model]
    if model == "mixtral" and not hasattr(transformers.integrations.moe, "_grouped_mm_fallback_bwd"):
        # An earlier transformers: its experts' backward depends on data, and Inductor refuses it as well.
        assert row["verdict"] == "eager"
        return
    assert (row["verdict"], row["stage"], row["guard_misses"], row["reason"]) == ("served", "default", 0, "")
    assert row["served"] == row["graphs"] >= 1


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark as a module."""
    monkeypatch.syspath_prepend(BENCH)
    import architectures

    return architectures


@pytest.mark.parametrize(
    ("found", "inductor", "word"),
    [
        ({"eager": [], "differs": []}, None, "served"),
        ({"eager": ["g: a socket"], "differs": []}, {"error": "cannot"}, "eager"),
        ({"eager": ["g: a socket"], "differs": []}, {"error": ""}, "not served"),
        ({"eager": [], "differs": ["loss by 1"]}, {"error": "", "differs": []}, "differs"),
        ({"eager": [], "differs": ["loss by 1"]}, {"error": "", "differs": ["loss by 2"]}, "differs"),
        (
            {"eager": [], "differs": ["loss by 1"]},
            {"error": "", "differs": ["loss by 1", ""]},
            "as inductor",
        ),
        ({"eager": ["g: x"], "differs": ["loss by 1"]}, {"error": "", "differs": ["loss by 1"]}, "differs"),
        ({"error": "killed"}, {"error": ""}, "failed"),
        ({"error": "no such size"}, {"error": "no such size"}, "not run"),
        ({"absent": "no such class"}, None, "absent"),
    ],
)
def test_a_row_says_what_became_of_the_model(found: Any, inductor: Any, word: str, bench: Any) -> None:
    assert bench.verdict({"error": "", **found}, inductor) == word
    assert (word in bench.GOOD) != (word in bench.BAD)


def test_a_graph_that_a_call_ran_eagerly_is_not_served_and_a_miss_is_counted(bench: Any) -> None:
    def graph(name: str, runs: dict[str, int], misses: int = 0, error: str = "") -> Any:
        return SimpleNamespace(name=name, runs=runs, guard_misses=misses, error=error, stages=())

    before = [
        graph("a", {"eager": 1}),
        graph("b", {"eager": 1}),
        graph("c", {"eager": 1}),
        graph("d", {"eager": 9}),
    ]
    after = [
        graph("a", {"eager": 1, "default": 1}),
        graph("b", {"eager": 2}, error="a socket"),
        graph("c", {"eager": 2, "default": 1}, misses=1),
        graph("d", {"eager": 9}),
    ]
    assert bench.served(before, after) == {
        "graphs": 3,
        "served": 1,
        "stage": "default, eager",
        "guard_misses": 1,
        "eager": ["b: a socket", "c: outside its guards"],
    }


def test_a_tensor_may_be_as_far_from_the_exact_one_as_twice_eager(bench: Any) -> None:
    exact = torch.full((4,), 100.0, dtype=torch.float64)
    eager = {"x": (exact + 1).float(), "n": torch.tensor([1])}
    reference = {"x": exact, "n": torch.tensor([1])}

    def off(by: float, number: int = 1) -> list[str]:
        return list(
            bench.differences({"x": (exact + by).float(), "n": torch.tensor([number])}, eager, reference)
        )

    assert off(1.9) == []
    assert off(2.1) == ["x by 1.1"]
    assert off(1, number=2) == ["n is not equal"]
    assert bench.differences({"x": eager["x"]}, eager, reference) == ["n is not in both"]
    assert bench.differences({**eager, "x": exact}, eager, reference) == [
        "x is torch.float64 [4], not torch.float32 [4]"
    ]


def test_a_graph_that_dynamo_runs_eagerly_since_inductor_refuses_it_is_refused(bench: Any) -> None:
    class Rows(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
            ctx.ends = ends
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> Any:
            return sum((gradient[:end] for end in ctx.ends.tolist() if end), gradient), None

    with torch.library._scoped_library("bench_rows", "FRAGMENT") as library:
        library.define("rows(Tensor x, Tensor ends) -> Tensor")
        library.impl("rows", lambda x, ends: x.clone(), "CompositeExplicitAutograd")
        library.impl("rows", lambda x, ends: Rows.apply(x, ends), "Autograd")

        compiled, refused = bench.inductor_compiled(lambda x, ends: torch.ops.bench_rows.rows(x, ends) * 2)
        x = torch.ones(3, 3, requires_grad=True)
        assert torch.equal(compiled(x, torch.tensor([3])), 2 * torch.ones(3, 3))
    assert len(refused) == 1
    assert "DataDependent" in refused[0]
