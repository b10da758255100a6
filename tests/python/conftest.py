"""Fixtures of the tests of models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("model_farm")

from model_farm import client_of, local_farm  # noqa: E402


@pytest.fixture(scope="session")
def model_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a farm of one engine, for all tests of models."""
    with local_farm(tmp_path_factory.mktemp("farm")) as endpoint:
        yield endpoint


@pytest.fixture
def farm_client(model_farm: str, tmp_path: Path) -> Iterator[str]:
    """This process as a client of that farm, whose endpoint it is."""
    with client_of(model_farm, tmp_path / "artifacts"):
        yield model_farm
