"""Triton kernels of one compile: which they are, how each is best launched, and all that a client needs to
launch it without Triton (worker side).

Inductor decides some of that when a kernel is first called, so compiled code is run here once, on made-up
inputs, before it is packed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import itertools
import marshal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import torch

from . import gpu_lease
from .errors import CompileError, describe
from .pack import GpuKernel
from .replaced import replaced


def triton_key(name: str, source: str, device: str) -> str:
    """The name under which an artifact carries the Triton kernel of this source."""
    return hashlib.sha256(msgpack.packb(["triton", name, source, device])).hexdigest()


_ATTEMPTS_MAX = 2
"""Attempts at a job in which kernels of a plain stage are measured: an engine may have been lost to something
else, and what is made in place of it is for all who ask for the stage."""


class TritonRecorder:
    """Notes the Triton kernels of one compile, and the modules that call them.

    Inductor measures the configurations of a kernel when it is first called. That happens here, while no
    other engine measures: with each kernel alone while the code around it is written, and with what was
    compiled as a whole in `tune`. Where it is not possible, kernels keep the configuration that Inductor
    puts first, and `unmeasured` says why.

    With `must_measure` the stage is there for what is measured: want of memory raises CompileError
    (compile_failed) then. Of any other stage no kernel is run if two engines have had the job before, of
    which there are `attempts` with this one: what was run there may have cost both their GPU.
    """

    def __init__(self, must_measure: bool, attempts: int) -> None:
        self.seconds = 0.0
        """How long compiled code ran to be measured."""
        self.unmeasured = ""
        """Why kernels were not measured; empty where they were."""
        self._must_measure = must_measure
        self._measures = must_measure or attempts <= _ATTEMPTS_MAX
        if not self._measures:
            self.unmeasured = f"attempt {attempts}: none before it has come to an end"
        self._kernels: dict[str, Any] = {}
        self._wrappers: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Notes what is compiled in the body, and nothing of an attempt before it. One compile at a time in a
        process.
        """
        # torch 2.11-2.13: a wrapper calls AsyncCompile.triton once per kernel, then AsyncCompile.wait with
        # its globals, where a future then gives way to the CachingAutotuner. CompileResult.make_launcher
        # makes what launches one configuration.
        from torch._inductor.async_compile import AsyncCompile
        from torch._inductor.runtime.triton_heuristics import StaticTritonCompileResult, TritonCompileResult

        recorder = self
        # Of an attempt before this one, which was given up.
        self._kernels.clear()
        self._wrappers.clear()
        pending: dict[str, Any] = {}
        stock_triton, stock_wait = AsyncCompile.triton, AsyncCompile.wait

        def triton(self: Any, kernel_name: str, source_code: str, device_str: str = "cuda") -> Any:
            made = stock_triton(self, kernel_name, source_code, device_str)
            pending[triton_key(kernel_name, source_code, device_str)] = made
            return made

        def wait(self: Any, scope: dict[str, Any]) -> None:
            names = {id(value): name for name, value in scope.items()}
            keys = {key: names[id(made)] for key, made in pending.items() if id(made) in names}
            stock_wait(self, scope)
            recorder._kernels |= {key: scope[name] for key, name in keys.items()}
            recorder._wrappers.append(scope)
            pending.clear()

        static, other = StaticTritonCompileResult, TritonCompileResult
        with (
            replaced(AsyncCompile, triton=triton, wait=wait),
            replaced(static, make_launcher=_with_result(static.make_launcher)),
            replaced(other, make_launcher=_with_result(other.make_launcher)),
        ):
            yield

    @contextlib.contextmanager
    def taking_turns(self) -> Iterator[None]:
        """Has Inductor measure in the body, where it compiles for a GPU, while no other engine does."""
        # torch 2.11-2.13: standalone_compile has each kernel called in there, with inputs of its own.
        from torch._inductor.codegen.wrapper import PythonWrapperCodegen

        stock: Any = PythonWrapperCodegen.generate_and_run_autotune_block

        def block(codegen: Any) -> None:
            if self._measures:
                with self._alone():
                    stock(codegen)

        with gpu_lease.measuring(), replaced(PythonWrapperCodegen, generate_and_run_autotune_block=block):
            yield

    def tune(self) -> None:
        """Runs what was compiled, in the body of `recording`. Afterwards each kernel has one launcher."""
        if not self._kernels:
            return
        for wrapper in self._wrappers if self._measures else ():
            with self._alone():
                _run(wrapper)
        for kernel in self._kernels.values():
            kernel.launchers = kernel.launchers[:1]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Runs the body while no other engine measures, and notes what it fails with."""
        start = time.perf_counter()
        with gpu_lease.alone():
            try:
                yield
            # Made-up inputs may be none that the graph can take, such as sizes that disagree, and collectives
            # have no other ranks here.
            except Exception as error:
                reason = describe(error)
                self.unmeasured = self.unmeasured or reason
                # Inductor wraps what the kernels of a block fail with.
                full = any(isinstance(e, torch.OutOfMemoryError) for e in (error, error.__cause__))
                if full and self._must_measure:
                    raise CompileError("compile_failed", f"to measure kernels: {reason}") from error
        self.seconds += time.perf_counter() - start

    def packed(self) -> dict[str, GpuKernel]:
        """By key, each kernel that can be launched without Triton; after `tune`."""
        found = {key: _packed(key, kernel) for key, kernel in self._kernels.items()}
        return {key: kernel for key, kernel in found.items() if kernel is not None}


def _run(wrapper: dict[str, Any]) -> None:
    """Calls a wrapper's code, given its globals, with inputs made up for it. Raises whatever that raises."""
    # Wrappers of torch 2.11-2.13 bring them along under `benchmark_harness`.
    if "get_args" in wrapper:
        _restore_parts(wrapper)
        wrapper["call"](wrapper["get_args"]())
        torch.cuda.synchronize()


def _restore_parts(wrapper: dict[str, Any]) -> None:
    """The parts that CUDA graphs would be recorded of: CompiledFxGraph (torch 2.11-2.13) takes them out of
    its wrapper when it goes.
    """
    runner = wrapper.get("runner")
    if runner is not None and not hasattr(runner, "partitions"):
        names = itertools.takewhile(wrapper.__contains__, map("partition_{}".format, itertools.count()))
        runner.partitions = [wrapper[name] for name in names]


def _with_result(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """CompileResult.make_launcher (torch 2.11-2.13) that notes in each launcher what it was made of."""

    def make_launcher(result: Any) -> Any:
        launcher = make(result)
        launcher._fxfarm_result = result
        return launcher

    return make_launcher


def _packed(key: str, kernel: Any) -> GpuKernel | None:
    """A CachingAutotuner's one launcher (torch 2.11-2.13); None: only Triton can launch it."""
    launchers = getattr(kernel, "launchers", [])
    result = getattr(launchers[0], "_fxfarm_result", None) if launchers else None
    if result is None:
        return None
    found = _static(result, launchers[0])
    if found is None:
        return None
    static, cubin, launcher = found
    # StaticallyLaunchedCudaKernel.run: each sort of scratch memory that a kernel knows of is one argument.
    scratch = int(static.has_global_scratch) + int(static.has_profile_scratch)
    return {
        "name": key,
        "function": static.name,
        "cubin": cubin,
        "device": int(result.compile_meta.get("device") or 0),
        "shared_bytes": int(static.shared),
        "warps": int(static.num_warps),
        "types": static.arg_tys + "O" * scratch,
        "scratch": scratch,
        "launcher": marshal.dumps(launcher.__code__),
        "magic": importlib.util.MAGIC_NUMBER,
    }


def _static(result: Any, launcher: Any) -> tuple[Any, bytes, Any] | None:
    """The StaticallyLaunchedCudaKernel of a compile result, its machine code and what launches it; None:
    only Triton can launch it.
    """
    from torch._inductor.runtime.static_triton_launcher import StaticallyLaunchedCudaKernel
    from torch._inductor.runtime.triton_heuristics import StaticTritonCompileResult

    if isinstance(result, StaticTritonCompileResult):
        return result.kernel, _cubin(result).read_bytes(), launcher
    # As StaticTritonCompileResult.can_statically_launch (torch 2.11-2.13) finds out, save that it looks for
    # the code in a file, whose name Triton cuts after 150 characters.
    kernel = result.kernel
    attributes = ("launch_pdl", "launch_cooperative_grid")
    if any(getattr(kernel.metadata, name, False) for name in attributes):
        return None
    kernel._cubin_path = None
    try:
        static = StaticallyLaunchedCudaKernel(kernel)
    except NotImplementedError:
        return None
    # Has the arguments of the stock launcher, which are those that the wrapper passes.
    made = StaticTritonCompileResult(static, result.config, result.compile_meta, result.inductor_meta)
    # Its code is loaded already, by Triton.
    static.cubin_path, static.function, static.n_regs, static.n_spills = "-", 0, 0, 0
    return static, kernel.asm["cubin"], made.make_launcher()


def _cubin(result: Any) -> Path:
    """The file with its machine code, as StaticTritonCompileResult.reload_cubin_path (torch 2.11-2.13) finds
    it.
    """
    from torch._inductor.runtime.cache_dir_utils import triton_cache_dir
    from torch._inductor.runtime.runtime_utils import triton_hash_to_path_key

    directory = Path(triton_cache_dir(result.compile_meta.get("device") or 0))
    return directory / triton_hash_to_path_key(result.kernel.hash) / f"{result.kernel.name}.cubin"
