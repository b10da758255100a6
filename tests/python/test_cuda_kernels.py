"""What loading a GPU's kernel leaves of the thread that does it, with a driver that only takes notes."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

import pytest
import torch

from fxfarm._torch import cuda_kernels
from fxfarm._torch.errors import LoadError

GLOBAL, RELAXED = 0, 2
OURS, TORCHS = 0x10, 0x20


class Driver:
    """This thread's context and its mode of capture; a call named in `refuses` fails."""

    def __init__(self, *refuses: str) -> None:
        self.context: int | None = OURS
        self.mode = GLOBAL
        self.refuses = refuses

    def cuCtxGetCurrent(self, found: Any) -> int:  # noqa: N802
        found._obj.value = self.context
        return 0

    def cuCtxSetCurrent(self, wanted: ctypes.c_void_p) -> int:  # noqa: N802
        self.context = wanted.value
        return 0

    def cuThreadExchangeStreamCaptureMode(self, mode: Any) -> int:  # noqa: N802
        if "mode" in self.refuses:
            return 1
        self.mode, mode._obj.value = mode._obj.value, self.mode
        return 0

    def cuGetErrorString(self, status: int, text: Any) -> int:  # noqa: N802
        text._obj.value = b"invalid value"
        return 0


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(cuda_kernels, "_primary", lambda device: ctypes.c_void_p(TORCHS))


@pytest.mark.parametrize("error", [None, LoadError("no such function")])
def test_a_thread_has_its_context_and_its_mode_of_capture_back_however_loading_ends(
    error: Exception | None,
) -> None:
    driver = Driver()
    with contextlib.suppress(LoadError), cuda_kernels._context(driver, 0):
        assert (driver.context, driver.mode) == (TORCHS, RELAXED)
        if error is not None:
            raise error
    assert (driver.context, driver.mode) == (OURS, GLOBAL)


def test_a_thread_has_its_context_back_where_the_mode_cannot_be_changed() -> None:
    driver = Driver("mode")
    with (
        pytest.raises(LoadError, match=r"^CUDA's driver: invalid value \(1\)$"),
        cuda_kernels._context(driver, 0),
    ):
        pass
    assert (driver.context, driver.mode) == (OURS, GLOBAL)
