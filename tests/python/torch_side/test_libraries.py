"""Operators of other packages: the graph tells where they come from, and an engine gets them from there or
says why not.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from farm import graphs_of

from fxfarm._torch import Unserializable, libraries

PACKAGE = {
    "__init__.py": '__version__ = "3.1"\n',
    "operators.py": """
import torch

@torch.library.custom_op("fxfarm_library::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2
""",
    "empty.py": "",
}
TWICE = ["fxfarm_library::twice", "fxfarm_library.operators", "3.1"]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package on the path that is not imported yet, and that engines may import from."""
    for name, text in PACKAGE.items():
        path = tmp_path / "fxfarm_library" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FXFARM_ENGINE_PACKAGES", "something_else,fxfarm_library")


@pytest.mark.usefixtures("library")
def test_an_operator_is_brought_by_the_module_that_defines_it() -> None:
    libraries.bring([TWICE])
    assert torch.equal(torch.ops.fxfarm_library.twice(torch.ones(2)), torch.full((2,), 2.0))
    assert libraries.origin(torch.ops.fxfarm_library.twice.default) == TWICE
    assert libraries.origin(torch.ops.fxfarm_library.twice) == TWICE
    with pytest.raises(
        Unserializable, match=r"is of fxfarm_library.operators 3\.0, and this engine has 3\.1"
    ):
        libraries.bring([[*TWICE[:2], "3.0"]])


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (
            "tests.operators",
            "tests.operators, which defines it, is in none of the engine's packages .*torchvision",
        ),
        (
            "fxfarm_library.nowhere",
            "fxfarm_library.nowhere, which defines it, cannot be imported: ModuleNotFound",
        ),
        ("fxfarm_library.empty", "fxfarm_library.empty, which defines it, does not register it here"),
    ],
)
def test_an_operator_that_cannot_be_brought_is_refused_with_the_reason(module: str, reason: str) -> None:
    with pytest.raises(Unserializable, match=f"fxfarm_library::more is not registered.*{reason}"):
        libraries.bring([["fxfarm_library::more", module, ""]])
    assert "tests.operators" not in sys.modules


def test_operators_that_come_with_torch_have_no_origin() -> None:
    assert libraries.origin(torch.ops.aten.sin.default) is None
    assert libraries.origin(torch.ops.aten.sin) is None
    assert libraries.origin(torch.sin) is None


def test_the_version_of_an_operators_package_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    @torch.library.custom_op("fxfarm_library::versioned", mutates_args=())
    def versioned(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @versioned.register_fake
    def _(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)

    def key() -> str:
        found: list[Any] = graphs_of(lambda x: versioned(x), torch.ones(2))
        return str(found[0].key)

    module = sys.modules[__name__]
    monkeypatch.setattr(module, "__version__", "1", raising=False)
    first = key()
    assert key() == first
    monkeypatch.setattr(module, "__version__", "2")
    assert key() != first
