"""The same with Inductor itself: a compile is right, survives a kill in its middle, and leaves nothing."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import torch
from cluster import Farm, farm_in, until
from farm_client import PATIENCE_S, Client, client_of
from farm_models import Wave, wave_input

import fxfarm
from fxfarm import _core, _torch
from fxfarm.backend import fxfarm as farm_backend


@pytest.fixture
def real_client(real_farm: tuple[Farm, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    farm, endpoint = real_farm
    with client_of(farm, monkeypatch) as client:
        client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
        yield client


def engine_pids(farm: Farm) -> list[int]:
    """Not those of the sandbox around it."""
    found = {pid: text for pid, text in farm.processes().items() if "-m fxfarm.engine" in text}
    return [pid for pid, text in found.items() if not text.startswith("bwrap ")]


def open_files(pid: int) -> list[Path]:
    files = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # It was closed in the meantime.
            files.append(file.readlink())
    return files


def test_a_real_engine_that_is_killed_in_a_compile_does_it_again(
    real_farm: tuple[Farm, str], real_client: Client
) -> None:
    farm, endpoint = real_farm
    names = ("jobs_started", "jobs_retried", "jobs_finished", "engine_restarts")
    before = farm.counts(endpoint, *names)
    model = real_client.model()
    model.until_state("running")
    (engine,) = engine_pids(farm)
    os.kill(engine, signal.SIGKILL)
    model()
    assert model.status.stage == "eager"
    model.until_compiled()
    counts = zip(farm.counts(endpoint, *names), before, strict=True)
    assert [after - earlier for after, earlier in counts] == [2, 1, 1, 1]
    # What the dead engine had in its temporary files went with it.
    assert len(engine_pids(farm)) == len(list((farm.directory / "tmp").glob("fxfarm-work-*/*"))) == 1


def test_an_engine_whose_cache_was_deleted_makes_way_for_one_with_a_new_one(
    real_farm: tuple[Farm, str], real_client: Client
) -> None:
    farm, endpoint = real_farm
    names = ("jobs_started", "jobs_retried", "jobs_finished", "engine_restarts")
    before = farm.counts(endpoint, *names)
    # The worker holds it for the engine.
    (lock,) = (f for f in open_files(farm.roles[0].pid) if f.suffix == ".lock" and f.parent.name == "engines")
    shutil.rmtree(lock.with_suffix(""))
    real_client.model(height=7.5).until_compiled()
    counts = zip(farm.counts(endpoint, *names), before, strict=True)
    assert [after - earlier for after, earlier in counts] == [2, 1, 1, 1]
    assert lock.with_suffix("").is_dir()


def artifact_of(endpoint: str, payload: bytes) -> bytes:
    client = _core.Client(endpoints=[endpoint])
    stages: Any = [{"name": "default", "options": {}}]
    client.submit(_core.digest(payload), "wave", payload, stages, dict(_torch.client_platform()))
    task = client.next_task(int(PATIENCE_S * 1000))
    assert task is not None, client.graphs()
    artifact = bytes(task.artifact)
    task.done()
    client.stop()
    return artifact


def parts(artifact: bytes) -> dict[str, Any]:
    """All of an artifact, kernels' code included, but torch's own entry, which has times and so differs from
    one compile to the next.
    """
    made: dict[str, Any] = msgpack.unpackb(artifact[32:], strict_map_key=False)
    assert made.pop("entry")
    assert made["manifest"]["bytes"].pop("entry")
    return made


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="there is no bubblewrap here")
def test_a_sandbox_changes_nothing_of_what_is_made(place: Path) -> None:
    payloads: list[bytes] = []

    def backend(gm: Any, inputs: Any) -> Any:
        payloads.append(_torch.serialize(_torch.snapshot(gm, inputs)).payload)
        return gm.forward

    with torch.no_grad():
        torch.compile(Wave(1.5), backend=backend, dynamic=False)(wave_input())
    made = {}
    with farm_in(place) as farm:
        for sandbox in ("none", "bubblewrap"):
            role, endpoint = farm.local("--engine-sandbox", sandbox, "--cache-bytes", "0", "--nice", "0")
            (worker,) = farm.until_workers(endpoint)
            assert worker["sandbox"] == sandbox
            made[sandbox] = artifact_of(endpoint, payloads[0])
            names = ("jobs_finished", "jobs_failed", "engine_restarts", f"sandbox_{sandbox}")
            assert farm.counts(endpoint, *names) == (1, 0, 0, 1)
            assert role.stop() == 0
            # The second is not to use what the first has left, headers apart.
            shutil.rmtree(farm.directory / "cache" / "fxfarm" / "engines" / "0")
    without, within = (parts(made[sandbox]) for sandbox in ("none", "bubblewrap"))
    assert without.keys() >= {"manifest"}
    assert without == within


def test_a_model_is_trained_through_its_switch(real_client: Client) -> None:
    torch.manual_seed(0)
    models = [
        torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)) for _ in "ab"
    ]
    models[1].load_state_dict(models[0].state_dict())
    steps = [models[0], torch.compile(models[1], backend="fxfarm")]
    optimizers = [torch.optim.SGD(m.parameters(), 0.1) for m in models]

    def train() -> list[float]:
        losses = []
        for model, optimizer in zip(steps, optimizers, strict=True):
            optimizer.zero_grad()
            loss = model(torch.linspace(-1, 1, 64).reshape(8, 8)).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
        return losses

    def switched() -> bool:
        want, got = train()
        assert got == pytest.approx(want, rel=1e-5)
        return fxfarm.graphs()[0].stage == "default"

    until("training runs the compiled stage", switched, PATIENCE_S)
    for _ in range(3):
        want, got = train()
        assert got == pytest.approx(want, rel=1e-5)
    assert fxfarm.graphs()[0].runs["default"] >= 3


def test_after_its_last_stage_a_model_does_without_dynamos_graph(real_client: Client) -> None:
    real_client.set(FXFARM_ROLL_BACK="false")
    kept: list[weakref.ref[torch.fx.GraphModule]] = []

    def backend(gm: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        kept.append(weakref.ref(gm))
        return farm_backend(gm, inputs)

    compiled: Any = torch.compile(torch.nn.BatchNorm1d(3).eval(), backend=backend)

    def step() -> None:
        with torch.no_grad():
            compiled(torch.randn(4, 3))

    def freed() -> bool:
        gc.collect()
        return kept[0]() is None

    step()
    assert not freed()
    assert fxfarm.wait(timeout=PATIENCE_S)
    # The loader's own hold on the graph ends a moment after the answer that ends the wait.
    until("the graph is freed", freed)
    step()
    (graph,) = fxfarm.graphs()
    assert graph.runs == {"eager": 1, "default": 1}
