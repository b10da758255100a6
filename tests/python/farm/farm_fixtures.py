"""Fixtures of tests of the farm: a farm of the test's own, and a client in the test's process."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import torch
from cluster import Farm, farm_in, until
from farm_client import Client, client_of
from farm_models import PREPARED, UNLOADABLE, Wave, graph_digest, wave_input
from unloadable import needing_a_newer_library

from fxfarm import _torch

LARGE_BYTES = 32 << 20


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="ff-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def graphs() -> dict[float, str]:
    """The digest of each height's graph."""
    return {height: graph_digest(payload) for height, payload in _payloads((*PREPARED, 3.0)).items()}


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fast engine answers with: compiled once, by Inductor, for this machine."""
    directory = tmp_path_factory.mktemp("artifacts")
    platform = dict(_torch.client_platform())
    (directory / "platform").write_bytes(msgpack.packb(platform))
    for payload in _payloads(PREPARED).values():
        made = _torch.compile_graph(payload, {"name": "default", "options": {}}, platform).data
        (directory / graph_digest(payload)).write_bytes(made)
    (unloadable,) = _payloads((UNLOADABLE,)).values()
    (directory / graph_digest(unloadable)).write_bytes(needing_a_newer_library(made))
    # The last one is as large as a real model's.
    (directory / graph_digest(payload)).write_bytes(_padded(made, LARGE_BYTES))
    return directory


def _padded(artifact: bytes, size: int) -> bytes:
    body = msgpack.packb({**msgpack.unpackb(artifact[32:], strict_map_key=False), "padding": bytes(size)})
    return hashlib.sha256(body).digest() + body


def _payloads(heights: tuple[float, ...]) -> dict[float, bytes]:
    found: dict[float, bytes] = {}
    for height in heights:

        def backend(gm: Any, inputs: Any, height: float = height) -> Any:
            found[height] = _torch.serialize(_torch.snapshot(gm, inputs)).payload
            return gm.forward

        torch._dynamo.reset()
        with torch.no_grad():
            torch.compile(Wave(height), backend=backend, dynamic=False)(wave_input())
    torch._dynamo.reset()
    return found


@pytest.fixture(scope="session")
def real_farm() -> Iterator[tuple[Farm, str]]:
    """One local farm with a real engine for all tests that need one, and its endpoint."""
    with tempfile.TemporaryDirectory(prefix="ff-") as directory, farm_in(Path(directory)) as farm:
        # It is not to leave while tests that need none go on.
        _, endpoint = farm.local("--nice", "0", "--idle-timeout", "12h")
        farm.until_workers(endpoint)
        until("the engine is warm", lambda: farm.counts(endpoint, "engines_now_idle") == (1,), 300)
        yield farm, endpoint


@pytest.fixture
def farm(place: Path, artifacts: Path) -> Iterator[Farm]:
    """A place for a farm whose engines are fast."""
    with farm_in(place, artifacts) as made:
        yield made


@pytest.fixture
def client(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of that farm in this process; without endpoints it uses a local farm."""
    with client_of(farm, monkeypatch) as made:
        yield made
