"""A part of PyTorch's operators through a real farm, as bench/operators.py does with all of them, and that
the benchmark tells of what is not as it should be.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCH = Path(__file__).parents[2] / "bench"
# Every so many operators, so that all kinds are among them.
RUNS = {"inference": ["--shard", "5/13"], "training": ["--shard", "7/30", "--gradients", "--dynamic"]}


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where engines keep what they need for every compile; a folder that outlives the tests saves the next
    run to make it.
    """
    return Path(os.environ.get("TEST_ENGINE_CACHE") or tmp_path_factory.mktemp("engines"))


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_operators_are_served_where_inductor_compiles_them(
    options: list[str], headers: Path, tmp_path: Path
) -> None:
    answer = tmp_path / "rows.json"
    command = [sys.executable, BENCH / "operators.py", "--samples", "1", "--json", answer, *options]
    subprocess.run([*command, "--engine-cache-dir", headers], check=True)
    outcomes = [row["outcome"] for row in json.loads(answer.read_text())["samples"]]
    assert len(outcomes) >= 10
    assert outcomes.count("served") >= 0.9 * len(outcomes), outcomes


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark as a module."""
    monkeypatch.syspath_prepend(BENCH)
    import operators

    return operators


def _twice(x: torch.Tensor, seen: torch.Tensor) -> Any:
    return x * 2, seen.add_(1)[:1]


@pytest.fixture
def sample(bench: Any) -> Any:
    """A sample of an operator that doubles its input, and what eager makes of it."""
    bench.operator_samples.operators()
    from torch.testing._internal.opinfo.core import SampleInput

    given = SampleInput(torch.arange(4.0).requires_grad_(), args=(torch.ones(2),))
    made = bench.operator_samples.Sample("twice", "float32", 0, _twice, given, seed=0)
    made.want = made.run(_twice)
    return made


@pytest.mark.parametrize(
    ("ours", "inductors", "outcome", "failed"),
    [
        ("served", None, "served", False),
        ("no graph", None, "no graph", False),
        ("eager refuses", None, "eager refuses", False),
        ("eager", "served", "not served", True),
        ("eager", "wrong", "not served", True),
        ("eager", "eager", "eager, as Inductor", False),
        ("eager", "raises", "eager, as Inductor", False),
        ("eager", "crashes", "eager, as Inductor", False),
        ("wrong", "served", "wrong", True),
        ("wrong", "eager", "wrong", True),
        ("wrong", "wrong", "wrong, as Inductor", False),
        ("raises", "served", "raises", True),
        ("raises", "raises", "raises, as Inductor", False),
        ("crashes", "served", "crashes", True),
        ("crashes", "crashes", "crashes, as Inductor", False),
        ("eager", None, "not served", True),
    ],
)
def test_a_row_says_what_became_of_a_sample(
    ours: str, inductors: str | None, outcome: str, failed: bool, bench: Any
) -> None:
    row = bench.operator_samples.row_of("twice", "float32", 0, ours, "why")
    inductor = inductors and bench.operator_samples.row_of("twice", "float32", 0, inductors, "")
    judged = bench.judged(row, inductor)
    assert (judged["outcome"], judged["failed"]) == (outcome, failed)


def test_a_crash_with_inductor_is_that_of_each_sample(bench: Any) -> None:
    rows = [bench.operator_samples.row_of("twice", "float32", i, "eager", "why") for i in range(2)]
    crash = bench.operator_samples.row_of("twice", "float32", None, "crashes", "")
    assert [r["outcome"] for r in bench.compared(rows, [crash])] == ["eager, as Inductor"] * 2


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (lambda x, seen: (x * 2, seen.add_(1)[:1]), ""),
        (lambda x, seen: (x * 2 + 1e-6, seen.add_(1)[:1]), ""),
        (lambda x, seen: (x * 2 + 1e-3, seen.add_(1)[:1]), "results: Tensor-likes are not close!"),
        (lambda x, seen: ((x * 2).double(), seen.add_(1)[:1]), "results: (torch.float64"),
        (lambda x, seen: [x * 2, seen.add_(1)[:1]], "results: a list where eager gives a tuple"),
        (lambda x, seen: (x * 2, seen[:1] + 1), "inputs afterwards: "),
        (lambda x, seen: (x.detach() * 2 + 0 * x, seen.add_(1)[:1]), "gradients: "),
        (lambda x, seen: (x * 2, seen.add_(1)[:1].clone()), "results that are views of inputs: "),
    ],
)
def test_whatever_a_call_does_otherwise_than_eager_is_told(other: Any, difference: str, sample: Any) -> None:
    found = sample.difference(sample.run(other))
    assert found.startswith(difference)
    assert bool(found) == bool(difference)


def test_an_operator_of_undefined_values_is_compared_by_all_else(sample: Any) -> None:
    empty = dataclasses.replace(sample, operator="empty_like")
    assert empty.difference(empty.run(lambda x, seen: (x * 2 + 1, seen.add_(1)[:1]))) == ""
    assert "float64" in empty.difference(empty.run(lambda x, seen: ((x * 2).double(), seen.add_(1)[:1])))


def test_shards_are_spread_and_cover_everything_once(bench: Any) -> None:
    cases = [f"op{i}:float32" for i in range(10)]
    shards = [bench.chosen(cases, "", f"{i}/3") for i in range(3)]
    assert shards[0] == cases[0::3]
    assert sorted(case for shard in shards for case in shard) == cases
    assert bench.chosen(cases, "op[12]$", "0/1") == cases[1:3]
    with pytest.raises(ValueError, match="no shard 3/3"):
        bench.chosen(cases, "", "3/3")
