"""What a farm-made wrapper imports in place of Inductor's compiler: about a second of imports less.

Names match those that Inductor's generated wrappers use (torch 2.11-2.13). Kernels of one artifact are bound
by `bound` for the thread that runs its wrapper, so that compiles and loads on other threads are not affected.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from .errors import LoadError

_kernels: contextvars.ContextVar[Mapping[str, Any] | None] = contextvars.ContextVar(
    "fxfarm_kernels", default=None
)


@contextlib.contextmanager
def bound(kernels: Mapping[str, Any]) -> Iterator[None]:
    """Makes `kernels` those that a wrapper run in this context finds."""
    token = _kernels.set(kernels)
    try:
        yield
    finally:
        _kernels.reset(token)


def kernel(key: str) -> Any:
    """The kernel of the artifact being loaded: of C++ a function, of Triton one with `run`; a miss is an
    error, never a compile.
    """
    kernels = _kernels.get()
    if kernels is None or key not in kernels:
        raise LoadError(f"the artifact has no kernel {key[:16]}")
    return kernels[key]


def align(nbytes: int) -> int:
    """Rounds up to 64 as torch._inductor.codegen.memory_planning._align does."""
    return (nbytes + 63) & -64


def _bias_addmm(inp: Any, mat1: Any, mat2: Any, *, out: Any = None, alpha: int = 1, beta: int = 1) -> Any:
    # torch._inductor.kernel.mm.bias_addmm: a broadcast bias as its one row takes cuBLAS's faster path.
    if (inp.stride(0) == 0 or inp.size(0) == 1) and inp.device.type != "xpu":
        return torch.addmm(inp[0], mat1, mat2, out=out, alpha=alpha, beta=beta)
    return torch.addmm(inp, mat1, mat2, out=out, alpha=alpha, beta=beta)


class _ExternKernels:
    """The ATen functions that torch._inductor.select_algorithm.extern_kernels holds under the same names."""

    mm = staticmethod(torch.mm)
    addmm = staticmethod(torch.addmm)
    bmm = staticmethod(torch.bmm)
    baddbmm = staticmethod(torch.baddbmm)
    _int_mm = staticmethod(torch._int_mm)
    _scaled_mm = staticmethod(torch._scaled_mm)
    convolution = staticmethod(torch.convolution)
    bias_addmm = staticmethod(_bias_addmm)

    @property
    def _mm_plus_mm(self) -> Any:
        return torch.ops.inductor._mm_plus_mm


extern_kernels = _ExternKernels()
EXTERN_NAMES = frozenset(n for n in vars(_ExternKernels) if not n.startswith("__"))


def run_intermediate_hooks(name: str, value: Any) -> None:
    """Inductor's debugging hooks; a farm-made wrapper has none."""


class AsyncCompile:
    """Stands for torch._inductor.async_compile.AsyncCompile in wrappers whose kernels the artifact brings."""

    def wait(self, scope: dict[str, Any]) -> None:
        """Kernels are bound already."""
