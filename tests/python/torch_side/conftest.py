"""Fixtures of the tests of the torch side: one private Inductor cache for the whole run, small compiled
stages.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Before torch is imported: engines and in-process compiles of this run share kernels, and nothing outside it.
_cache = tempfile.TemporaryDirectory(prefix="fxfarm-tests-")
os.environ["TORCHINDUCTOR_CACHE_DIR"] = _cache.name

import torch  # noqa: E402
from farm import Farmed, farm  # noqa: E402


@pytest.fixture
def through_farm(tmp_path: Path) -> Iterator[Callable[..., tuple[Callable[..., Any], list[Farmed]]]]:
    """`torch.compile` whose graphs are serialized, compiled and loaded by fxfarm."""
    torch._dynamo.reset()

    def make(fn: Any, **kwargs: Any) -> tuple[Callable[..., Any], list[Farmed]]:
        return farm(fn, tmp_path / "kernels", **kwargs)

    yield make
    torch._dynamo.reset()
