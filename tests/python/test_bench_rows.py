"""What benchmarks make of their rounds: rows, ratios, targets; and the tables that are made of results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"


def told(code: str) -> Any:
    """The last line that the code prints, with bench/ as its directory."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCH, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def reported(module: str, call: str) -> tuple[list[dict[str, Any]], dict[str, bool]]:
    """The rows and targets after a call of `module.rows` with a report."""
    document = told(
        f"import json, results, {module}; report = results.Report('b'); {module}.{call}; "
        "print(json.dumps(report.document))"
    )
    return document["rows"], {target["target"]: target["met"] for target in document["targets"]}


def test_a_measurement_that_fails_does_not_cost_what_the_others_found() -> None:
    found, targets = told(
        """
import json, results, turns
def fails(error): raise error
report = results.Report("b")
tried, late = turns.Turns(report, 60.0).tried, turns.Turns(report, -1.0).tried
found = [tried("a", lambda: 1), tried("b", lambda: fails(RuntimeError("why"))), tried("c", lambda: 2)]
found += [tried("d", lambda: fails(turns.Missing("a server"))), late("e", lambda: 3)]
print(json.dumps([found, report.document["targets"]]))
"""
    )
    assert found == [1, None, 2, None, None]
    assert targets == [{"target": "b: is measured", "met": False}]


def test_a_first_call_is_timed_with_a_farm_that_runs(tmp_path: Path) -> None:
    file = tmp_path / "first_call.json"
    command = [sys.executable, "first_call.py", "--models", "mlp", "--ways", "eager,fxfarm", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--json", file], cwd=BENCH, capture_output=True, text=True, timeout=600, check=False
    )
    assert file.exists(), done.stderr
    document = json.loads(file.read_text())
    eager, farm = document["rows"]
    assert (eager["way"], farm["way"]) == ("eager", "fxfarm"), done.stderr
    assert 0 < eager["first_s"][0] < eager["all_s"][0]
    assert 0 < farm["first_s"][0] < farm["compiled_s"][0]
    # How long it takes is the machine's, which others use, too.
    met = {target["target"]: target["met"] for target in document["targets"]}
    assert met["mlp, fxfarm: modules of the compiler imported by the switch: none"]


def test_first_calls_are_held_against_eagers_of_the_same_round() -> None:
    def one(first: float, compiled: float | None = None, **more: Any) -> dict[str, Any]:
        times = {"first": first, "all": first, "thread": first}
        return {**times, **({} if compiled is None else {"compiled": compiled}), **more}

    farm = [one(2.0, 9.0, compiler_modules=[]), one(2.0, 6.0, compiler_modules=["torch._inductor.ir"])]
    rounds = [
        {"eager": one(1.0), "inductor": one(10.0, 10.0), "fxfarm": farm[0]},
        {"eager": one(2.0), "inductor": one(12.0, 12.0), "fxfarm": farm[1]},
        {"eager": one(2.0)},
    ]
    rows, targets = reported("first_call", f"rows({rounds!r}, report, 'm')")
    assert [(row["way"], row["rounds"]) for row in rows] == [("eager", 3), ("fxfarm", 2), ("inductor", 2)]
    assert "compiled_s" not in rows[0]
    assert (rows[1]["first_ratio"], rows[1]["compiled_ratio"]) == ([2.0, 1.0], [0.9, 0.5])
    assert targets == {
        "m, fxfarm: first in terms of eager's: 1.50, at most 1.15": False,
        "m, fxfarm: all in terms of eager's: 1.50, at most 1.15": False,
        "m, fxfarm: modules of the compiler imported by the switch: torch._inductor.ir": False,
    }


def test_cold_compiles_are_held_against_inductors_of_the_same_round() -> None:
    def one(compiled: float) -> dict[str, float]:
        return {"first": 1.0, "compiled": compiled, "kernels": 3}

    ways = ["inductor", "fxfarm+0", "local", "called"]
    rounds = [
        dict(zip(ways, map(one, (10.0, 8.0, 20.0, 100.0)), strict=True)),
        dict(zip(ways, map(one, (20.0, 10.0, 20.0, 100.0)), strict=True)),
        # One for which there was no time for Inductor says nothing.
        {"called": one(1.0)},
    ]
    rows, targets = reported("cold", f"rows(report, 'm', {rounds!r}, {ways!r})")
    assert [(row["way"], row.get("slots_added"), row.get("ratio")) for row in rows] == [
        *(("inductor", None, None), ("fxfarm", 0, [0.8, 0.5])),
        *(("local", None, [2.0, 1.0]), ("called", None, [10.0, 5.0])),
    ]
    # Where the host has the cores for it.
    assert all(met for target, met in targets.items())


def test_what_ranks_compile_is_what_they_take_over_eager() -> None:
    def one(cpu: float, **more: int) -> dict[str, float]:
        return {"slowest": cpu, "first": 1.0, "cpu": cpu, **more}

    rounds = [
        {"eager": one(10.0), "fxfarm": one(15.0, jobs=1), "inductor": one(30.0), "shared": one(20.0)},
        {"eager": one(10.0), "fxfarm": one(20.0, jobs=2), "inductor": one(30.0)},
    ]
    rows, targets = reported("ranks", f"rows(report, 'm', 4, {rounds!r})")
    assert [(row["way"], row.get("compile_cpu_s"), row.get("ratio")) for row in rows] == [
        *(("eager", None, None), ("fxfarm", [5.0, 10.0], [0.25, 0.5])),
        *(("inductor", [20.0, 20.0], None), ("shared", [10.0], [0.5])),
    ]
    assert targets == {"4 ranks, fxfarm: compiles started for them all: [1, 2], want 1": False}


def test_processor_time_of_detached_processes_counts() -> None:
    """Of one whose parent does not wait for it, while it lives and when it has ended."""
    living, ended, left = told(
        """
import cpu_time, harness, json, subprocess, sys
from pathlib import Path
cpu_time.adopt()
before = cpu_time.spent()
with harness.Place() as place:
    done = Path(place.fresh("done")) / "done"
    burn = f'''
import time
from pathlib import Path
while time.process_time() < 0.5: pass
Path({str(done)!r}).touch()
time.sleep(600)
'''
    detach = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"
    subprocess.run([sys.executable, "-c", detach], env=place.environment(), check=True)
    harness.wait_until(done.exists, 60)
    living = cpu_time.spent() - before
    cpu_time.stopped(place)
    print(json.dumps([living, cpu_time.spent() - before, len(place.processes())]))
"""
    )
    assert 0.4 <= living < 30
    assert 0.4 <= ended < 30
    assert left == 0


def test_workers_are_held_against_the_fewest_of_the_same_round() -> None:
    rounds = "[{1: 10.0, 2: 5.0, 4: 5.0}, {1: 12.0, 2: 8.0}]"
    rows, _ = reported("workers", f"rows(report, 'inductor', {rounds}, [1, 2, 4], 64)")
    assert [(row["workers"], row["seconds"], row["efficiency"]) for row in rows] == [
        *((1, [10.0, 12.0], [1.0, 1.0]), (2, [5.0, 8.0], [1.0, 0.75])),
        (4, [5.0], [0.5]),
    ]


@pytest.mark.parametrize(("ratio", "close"), [(1.0, True), (1.5, False)])
def test_each_stage_has_targets_of_its_own(ratio: float, close: bool) -> None:
    one = {
        "ms": {"eager": 4.0, "inductor": 2.0, "fxfarm": 2.0 * ratio},
        "ratio": {"eager": 2.0, "inductor": 1.0, "fxfarm": ratio},
        **{"from_inductor": 0.5, "from_eager": 0.25, "equal": False, "close": close},
    }
    rows, targets = reported("steady", f"rows(report, 'm', 'max-autotune', [{one!r}, {one!r}])")
    assert [(row["way"], row.get("ratio_to_inductor")) for row in rows] == [
        *(("eager", [2.0, 2.0]), ("inductor", None), ("fxfarm", [ratio, ratio])),
    ]
    assert targets == {
        f"m, max-autotune: a call in terms of Inductor's: {ratio:.2f}, at most 1.02": close,
        "m, max-autotune: outputs are Inductor's: 0.5 apart": close,
    }


def test_a_first_call_that_compiles_is_the_switch() -> None:
    found, row = told(
        """
import json, timeline
timeline.AFTER_S = 0.2
found = timeline.recorded(lambda: None, timeline.runs_of("inductor"))
row = timeline.figures({"quiet": [1.0], "first_s": 2.0, **found})
print(json.dumps([{"calls": len(found["calls"]), "switch": found["switch"]}, row]))
"""
    )
    assert found["calls"] > 1
    assert (found["switch"], row["switched"], "before_ms" in row) == (0, "0.0 s", False)


def test_results_tell_of_the_machine_and_of_what_is_compared() -> None:
    machine, versions = told("import facts, json; print(json.dumps([facts.machine(), facts.versions()]))")
    assert {"cpu", "cores", "kernel", "memory_gib"} <= machine.keys()
    assert {"python", "torch", "fxfarm"} <= versions.keys()
    assert re.match(r"\d+\.\d+\.\d+", versions["fxfarm"])


RESULT = {
    "name": "workers",
    "machine": {"cores": 16, "cpu": "a CPU", "memory_gib": 1.5, "kernel": "6"},
    "versions": {"python": "3.12", "torch": "2", "fxfarm": "0+g1"},
    "targets": [{"target": "fast", "met": False}],
}
PAGE = "Before.\n<!-- from: one two -->\nanything\n<!-- end -->\nAfter.\n"


def test_a_page_has_the_rounds_of_all_results_that_its_mark_names(tmp_path: Path) -> None:
    for name, seconds in (("one", [1.0, 2.0]), ("two", [3.0])):
        rows = [{"way": "fxfarm", "workers": 4, "graphs": 64, "seconds": seconds, "efficiency": [0.5]}]
        (tmp_path / f"{name}.json").write_text(json.dumps({**RESULT, "rows": rows}))
    page = told(
        f"import json, report; from pathlib import Path; "
        f"print(json.dumps(report.page({PAGE!r}, Path({str(tmp_path)!r}))))"
    )
    assert page == (
        "Before.\n<!-- from: one two -->\n"
        "16 cores of a CPU, 1.5 GiB, Linux 6; Python 3.12, torch 2, fxfarm 0+g1.\n\n"
        "| way | workers | seconds | part of linear |\n| --- | --- | --- | --- |\n"
        "| fxfarm | 4 | 2.00 (1.00-3.00) | 0.50 (0.50-0.50) |\n\n"
        "Missed: fast; fast.\n<!-- end -->\nAfter.\n"
    )


def test_results_of_other_versions_do_not_count_together() -> None:
    other = {**RESULT, "versions": {**RESULT["versions"], "torch": "3"}}
    said = told(
        f"import json, report\ntry: report.merged([{ {**RESULT, 'rows': []}!r}, {other!r}])\n"
        "except ValueError as why: print(json.dumps(str(why)))"
    )
    assert said == "two results of workers are of other versions or of workers"


def test_benchmarks_have_the_names_that_they_are_known_by() -> None:
    done = subprocess.run([ROOT / "scripts/bench", "--list"], capture_output=True, text=True, check=True)
    names = {line.split()[0] for line in done.stdout.splitlines()}
    assert names >= {
        *("first-call", "second-machine", "timeline", "overhead", "steady", "ranks", "dispatch", "workers"),
        *("simulate", "faults", "footprint", "strangers"),
    }
