"""Triton kernels of one compile: which they are, how each is best launched, and all that a client needs to
launch it without Triton (worker side).

Inductor decides some of that when a kernel is called first: it measures configurations beside each other. So
compiled code is run here once, on made-up inputs, before it is packed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import marshal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import torch

from .errors import CompileError, describe


def triton_key(name: str, source: str, device: str) -> str:
    """The name under which an artifact carries the Triton kernel of this source."""
    return hashlib.sha256(msgpack.packb(["triton", name, source, device])).hexdigest()


class TritonRecorder:
    """Notes the Triton kernels of one compile, and the modules that call them."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """How long compiled code ran to be measured."""
        self._kernels: dict[str, Any] = {}
        self._wrappers: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Notes what is compiled in the body. One compile at a time in a process."""
        # torch 2.11-2.13: a wrapper calls AsyncCompile.triton once per kernel, then AsyncCompile.wait with
        # its globals, where a future then gives way to the CachingAutotuner. CompileResult.make_launcher
        # makes what launches one configuration.
        from torch._inductor.async_compile import AsyncCompile
        from torch._inductor.runtime.triton_heuristics import StaticTritonCompileResult

        recorder = self
        pending: dict[str, Any] = {}
        stock = AsyncCompile.triton, AsyncCompile.wait, StaticTritonCompileResult.make_launcher

        def triton(self: Any, name: str, source: str, device_str: str = "cuda") -> Any:
            made = pending[triton_key(name, source, device_str)] = stock[0](self, name, source, device_str)
            return made

        def wait(self: Any, scope: dict[str, Any]) -> None:
            names = {id(value): name for name, value in scope.items()}
            keys = {key: names[id(made)] for key, made in pending.items() if id(made) in names}
            stock[1](self, scope)
            recorder._kernels |= {key: scope[name] for key, name in keys.items()}
            recorder._wrappers.append(scope)
            pending.clear()

        def make_launcher(self: Any) -> Any:
            launcher = stock[2](self)
            launcher._fxfarm_result = self
            return launcher

        patched: Any = AsyncCompile
        results: Any = StaticTritonCompileResult
        patched.triton, patched.wait, results.make_launcher = triton, wait, make_launcher
        try:
            yield
        finally:
            patched.triton, patched.wait, results.make_launcher = stock

    def tune(self) -> None:
        """Runs what was compiled, so that Inductor measures the configurations of its kernels. Where that is
        not possible, kernels keep the configuration that Inductor puts first. Raises CompileError when the
        GPU has too little memory for it.
        """
        if not self._kernels:
            return
        start = time.perf_counter()
        for wrapper in self._wrappers:
            # Wrappers of torch 2.11-2.13 bring them along under `benchmark_harness`.
            if "get_args" not in wrapper:
                continue
            try:
                wrapper["call"](wrapper["get_args"]())
                torch.cuda.synchronize()
            except torch.OutOfMemoryError as error:
                raise CompileError("compile_failed", f"to measure kernels: {describe(error)}") from error
            # Made-up inputs may be none that the graph can take, such as sizes that disagree, and collectives
            # have no other ranks here.
            except Exception:
                continue
        for kernel in self._kernels.values():
            kernel.launchers = kernel.launchers[:1]
        self.seconds += time.perf_counter() - start

    def packed(self) -> dict[str, dict[str, Any]]:
        """By key, what is needed to launch each kernel that can be launched without Triton."""
        found = {key: _packed(kernel) for key, kernel in self._kernels.items()}
        return {key: kernel for key, kernel in found.items() if kernel is not None}


def _packed(kernel: Any) -> dict[str, Any] | None:
    """A CachingAutotuner's one launcher (torch 2.11-2.13)."""
    launchers = getattr(kernel, "launchers", [])
    result = getattr(launchers[0], "_fxfarm_result", None) if launchers else None
    if result is None:
        return None
    static = result.kernel
    # StaticallyLaunchedCudaKernel.run: each sort of scratch memory that a kernel knows of is one argument.
    scratch = int(static.has_global_scratch) + int(static.has_profile_scratch)
    return {
        "function": static.name,
        "cubin": _cubin(result).read_bytes(),
        "device": int(result.compile_meta.get("device") or 0),
        "shared_bytes": int(static.shared),
        "warps": int(static.num_warps),
        "types": static.arg_tys + "O" * scratch,
        "scratch": scratch,
        "launcher": marshal.dumps(launchers[0].__code__),
        "magic": importlib.util.MAGIC_NUMBER,
    }


def _cubin(result: Any) -> Path:
    """As StaticTritonCompileResult.reload_cubin_path finds it (torch 2.11-2.13)."""
    from torch._inductor.runtime.cache_dir_utils import triton_cache_dir
    from torch._inductor.runtime.runtime_utils import triton_hash_to_path_key

    directory = Path(triton_cache_dir(result.compile_meta.get("device") or 0))
    return directory / triton_hash_to_path_key(result.kernel.hash) / f"{result.kernel.name}.cubin"
