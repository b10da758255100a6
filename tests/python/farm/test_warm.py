"""`fxfarm warm`: a farm is filled before the processes come that need it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cluster import PROGRAM, Farm, until
from farm_client import PATIENCE_S, Client, client_of

import fxfarm
from fxfarm import manifest
from fxfarm._torch import platform

MODEL = """
import os

import torch

class Mixed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mix = torch.nn.Linear(8, 8)

    def forward(self, x):
        return torch.tanh(self.mix(x)) * 3

def build(shape):
    print("what a model prints")
    os.write(1, b"what a program that it starts prints")
    return Mixed(), torch.ones(shape)

def fixed():
    return Mixed(), {"x": torch.ones(2, 8)}
"""


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.py"
    path.write_text(MODEL)
    return path


def warm(farm: Farm, *args: str) -> tuple[int, dict[str, Any], str]:
    """Its exit status, what it printed as JSON, and what it wrote as errors."""
    # What the command line says of the farm wins. Nothing here forbids a local farm.
    env = {**farm.env, "FXFARM_ENDPOINTS": f"ipc://{farm.directory}/nobody.sock"}
    command = [str(PROGRAM), "warm", "--json", "--python", sys.executable, *args]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


class Terminal:
    """What a program shows on a terminal of so many columns."""

    def __init__(self, columns: int) -> None:
        self._ours, self.theirs = pty.openpty()
        termios.tcsetwinsize(self.theirs, (24, columns))
        self._seen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._ours)
        os.close(self.theirs)

    def _read(self) -> bool:
        # Nothing more comes when it ends, since the test has the other end open, too.
        ready = select.select([self._ours], [], [], 0)[0]
        if ready:
            self._seen += os.read(self._ours, 4096)
        return bool(ready)

    def until(self, part: str) -> None:
        def shown() -> bool:
            while self._read():
                pass
            return part.encode() in self._seen

        try:
            until(f"the terminal shows {part!r}", shown, PATIENCE_S)
        except AssertionError as e:
            raise AssertionError(f"{e}; it shows {self._seen!r}") from None

    def rest(self) -> str:
        """All that was shown, when nobody writes any longer."""
        while self._read():
            pass
        return self._seen.decode()


@pytest.fixture
def real_client(real_farm: tuple[Farm, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    farm, endpoint = real_farm
    with client_of(farm, monkeypatch) as client:
        client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
        yield client


def test_a_process_after_warm_compiles_nothing(
    real_farm: tuple[Farm, str],
    real_client: Client,
    model_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    farm, endpoint = real_farm
    before = farm.counts(endpoint, "jobs_started")[0]
    status, told, progress = warm(
        farm, f"{model_file}:build", "--shapes", "2x8,4x8", "--endpoints", endpoint, "--inference"
    )
    assert (status, told["problems"]) == (0, []), progress
    assert (told["stages_ready"], told["stages_compiled"], len(told["graphs"])) == (2, 2, 2)
    assert progress.count(" default: there after ") == 2
    assert (told["farms"], [g["farm"] for g in told["graphs"]]) == ([endpoint], [endpoint] * 2)
    assert "what a model prints" in progress
    assert "what a program that it starts prints" in progress

    monkeypatch.syspath_prepend(str(model_file.parent))
    import mixed

    for rows in (2, 4):
        torch._dynamo.reset()
        model, x = mixed.build((rows, 8))
        run = torch.compile(model.eval(), backend="fxfarm")
        with torch.no_grad():
            run(x)
            assert fxfarm.wait(timeout=PATIENCE_S)
            run(x)
        (graph,) = fxfarm.graphs()
        assert (graph.stage, graph.stages[0].source) == ("default", "memory")
        assert graph.key in [g["key"] for g in told["graphs"]]
    assert farm.counts(endpoint, "jobs_started")[0] - before == 2


def test_training_after_warm_compiles_nothing(
    real_farm: tuple[Farm, str],
    real_client: Client,
    model_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    farm, endpoint = real_farm
    before = farm.counts(endpoint, "jobs_started")[0]
    status, told, said = warm(farm, f"{model_file}:fixed", "--training", "--endpoint", endpoint)
    assert (status, told["stages_compiled"]) == (0, 1), (told, said)

    monkeypatch.syspath_prepend(str(model_file.parent))
    import mixed

    model, inputs = mixed.fixed()
    run = torch.compile(model, backend="fxfarm")
    run(**inputs).sum().backward()
    assert fxfarm.wait(timeout=PATIENCE_S)
    run(**inputs).sum().backward()
    (graph,) = fxfarm.graphs()
    assert (graph.stage, graph.stages[0].source) == ("default", "memory")
    assert farm.counts(endpoint, "jobs_started")[0] - before == 1


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A manifest with a graph that any farm takes, and no worker has to compile."""
    request = manifest.Request(
        **{"key": "a" * 64, "name": "recorded", "payload": b"graph", "parts": {}},
        **{"stages": [{"name": "default", "options": {}}], "target": platform.host_platform()},
    )
    manifest.Recorder(tmp_path / "record", 1 << 20).write(request)
    return tmp_path / "record"


def test_a_farm_that_is_not_there_is_not_replaced_by_a_local_one(farm: Farm, recorded: Path) -> None:
    nobody = f"ipc://{farm.directory}/run/nobody.sock"
    status, told, said = warm(farm, "--manifest", str(recorded), "--endpoints", nobody, "--timeout", "8s")
    (problem,) = told["problems"]
    reason = f"unreachable: no farm can be reached: {nobody}: "
    assert status == 1
    assert f"recorded default: not in time, waiting: {reason}" in problem
    assert (said.count(reason), told["farms"]) == (1, [])
    assert not farm.processes()


def test_a_farm_without_a_worker_is_not_replaced_by_a_local_one(farm: Farm, recorded: Path) -> None:
    coordinator, endpoint = farm.coordinator()
    status, told, _ = warm(farm, "--manifest", str(recorded), "--endpoints", endpoint)
    (problem,) = told["problems"]
    assert (status, told["farms"]) == (1, [endpoint])
    assert "recorded default: failed: no_worker: " in problem
    assert list(farm.processes()) == [coordinator.pid]


def test_a_manifest_fills_an_empty_farm_without_the_model(farm: Farm, client: Client, tmp_path: Path) -> None:
    _, first = farm.coordinator()
    farm.worker(first, name="a")
    client.set(FXFARM_ENDPOINTS=first, FXFARM_LOCAL="false", FXFARM_RECORD=str(tmp_path / "record"))
    for height in (1.0, 2.0):
        client.model(height).until_compiled()
    assert len(manifest.files_of(tmp_path / "record")) == 2
    client.leave()

    _, second = farm.coordinator("--cache-dir", str(farm.directory / "cache-second"))
    farm.worker(second, name="b")
    farm.until_workers(second)
    arguments = ("--manifest", str(tmp_path / "record"), "--endpoints", second)
    status, told, _ = warm(farm, *arguments)
    assert (status, told["stages_ready"], told["problems"]) == (0, 2, [])
    assert farm.counts(second, "jobs_started") == (2,)
    client.set(FXFARM_ENDPOINTS=second)
    model = client.model(1.0)
    model.until_compiled()
    assert model.stage.source in ("memory", "disk")
    assert farm.counts(second, "jobs_started") == (2,)


def test_a_stage_that_fails_is_named_with_its_reason(farm: Farm, client: Client, tmp_path: Path) -> None:
    assert farm.control is not None
    _, endpoint = farm.coordinator()
    farm.worker(endpoint)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false", FXFARM_RECORD=str(tmp_path / "record"))
    farm.control.on("fail")
    client.model().until_state("failed")
    client.leave()
    status, told, _ = warm(farm, "--manifest", str(tmp_path / "record"), "--endpoint", endpoint)
    assert status == 1
    (problem,) = told["problems"]
    assert "the test wants it so" in problem


def test_a_terminal_shows_in_one_line_how_far_it_is(farm: Farm, client: Client, tmp_path: Path) -> None:
    assert farm.control is not None
    _, first = farm.coordinator()
    farm.worker(first, name="a")
    client.set(FXFARM_ENDPOINTS=first, FXFARM_LOCAL="false", FXFARM_RECORD=str(tmp_path / "record"))
    for height in (1.0, 2.0):
        client.model(height).until_compiled()
        farm.control.job()
    client.leave()

    _, second = farm.coordinator("--cache-dir", str(farm.directory / "cache-second"))
    farm.worker(second, name="b")
    farm.until_workers(second)
    farm.control.on("wait")
    width = 60  # less than the first line would take
    with Terminal(width) as terminal:
        command = [str(PROGRAM), "warm", "--python", sys.executable, "--manifest", str(tmp_path / "record")]
        with subprocess.Popen(
            [*command, "--endpoints", second, "--timeout", f"{PATIENCE_S:.0f}s"],
            **{"env": farm.env, "stdout": subprocess.PIPE, "stderr": terminal.theirs},
        ) as running:
            terminal.until("[------------------------] 0 of 2 stages, 1 compiling, 1 qu\r")
            farm.control.job()
            farm.control.open_gate()
            terminal.until("[############------------] 1 of 2 stages, 1 compiling")
            farm.control.job()
            farm.control.open_gate()
            terminal.until("[########################] 2 of 2 stages")
            said, _ = running.communicate(timeout=PATIENCE_S)
        assert running.returncode == 0
        assert b"2 graphs, 2 stages ready: 2 compiled, 0 from the store" in said
        shown = terminal.rest()
    clear = "\x1b[2K"
    assert shown.endswith(clear), "the line is free again"
    bars = shown.removesuffix(clear).split("\r")
    assert all(bar.startswith(clear) for bar in bars if bar), "each takes the place of the one before"
    assert all(len(bar.removeprefix(clear)) < width for bar in bars)
    assert "\n" not in shown
