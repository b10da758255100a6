"""Fixtures of the tests that need a real farm."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Role

import fxfarm


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A farm of one engine, for all tests that ask for it."""
    folder = tmp_path_factory.mktemp("farm")
    with tempfile.TemporaryDirectory(prefix="fxfarm-") as sockets:
        socket = f"{sockets}/farm.sock"
        options = {"socket": socket, "python": sys.executable, "nice": 0, "metrics": "off"}
        # A folder that outlives the tests saves the next run the headers.
        engines = os.environ.get("TEST_ENGINE_CACHE", folder / "engines")
        options |= {"cache-dir": folder / "cache", "engine-cache-dir": engines}
        flags = [f"--{name}={value}" for name, value in options.items()]
        farm = Role(["local", *flags], os.environ)
        farm.wait_line("local farm ready")
        yield f"ipc://{socket}"
        assert farm.stop() == 0, farm.log


@pytest.fixture
def client(endpoint: str, tmp_path: Path) -> Iterator[None]:
    """This process as a client of that farm, with nothing compiled yet."""
    import torch

    from fxfarm import runtime

    torch._dynamo.reset()
    # Slots that other tests have left behind would be counted when they go.
    gc.collect()
    torch.manual_seed(0)
    # On a machine with other work a stage may rightly be found slower.
    fxfarm.configure(endpoints=[endpoint], local=False, roll_back=False, artifact_dir=tmp_path / "artifacts")
    yield
    fxfarm.shutdown()
    runtime._given = {}
    torch._dynamo.reset()
