"""Compiles a graph into an artifact (worker side). This module, and only it, runs Inductor's compiler."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import torch

from fxfarm.stages import MEASURING

from . import ambient, collectives, cpp_kernels, cuda_graphs, packer, platform
from .compat import check_version, compiled_for
from .cpp_kernels import KernelRecorder, compile_threads
from .errors import CompileError, describe
from .inner_compiler import compile_inner
from .kernel_queue import Elsewhere
from .rebuild import RebuiltGraph, rebuild
from .replaced import replaced
from .triton_tuning import TritonRecorder

# torch 2.11-2.13: `strict` makes a failure to serialize raise instead of being logged; 2.11 would put the
# backward off until it is called.
_AUTOGRAD_SETTINGS = {
    "donated_buffer": False,
    "enable_autograd_cache": True,
    "strict_autograd_cache": True,
    "force_non_lazy_backward_lowering": True,
}

Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class CompiledArtifact:
    """The bytes of an artifact, the seconds that each phase took, and how many C++ kernels were compiled by
    whom: `here`, by this process, and `elsewhere`."""

    data: bytes
    phases: dict[str, float]
    kernels: dict[str, int] = dataclasses.field(default_factory=dict)


def compile_graph(
    payload: bytes,
    stage: dict[str, Any],
    target: dict[str, Any],
    progress: Progress | None = None,
    attempts: int = 1,
    elsewhere: Elsewhere | None = None,
) -> CompiledArtifact:
    """Compiles `payload` under the options of `stage` for the platform `target`; raises CompileError.
    `attempts` is the number of engines that have had the job, this one included; `elsewhere` are engines that
    may compile some of its C++ kernels.
    """
    check_version()
    phases = _Phases(progress or (lambda phase: None))
    _check_target(target)
    options = stage_options(stage)
    with phases("deserialize"):
        graph = rebuild(payload)
    kernels = KernelRecorder(elsewhere if target["device"] == "cpu" else None)
    triton = TritonRecorder(any(options.get(name) for name in MEASURING), attempts)
    recorders = kernels, triton
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(target["threads"])))
    try:
        with phases("compile"):
            graph, made = _compile_with_constants(payload, graph, options, target, recorders)
        with phases("pack"):
            data = packer.packed(graph, made, stage, target, kernels.paths, triton)
    except CompileError:
        raise
    except Exception as error:  # whatever the compiler raises ends this job and not the engine
        raise CompileError("compile_failed", describe(error)) from error
    finally:
        torch.set_num_threads(threads)
    # Disjoint, so that they add up to the whole.
    phases.seconds["kernels"] = kernels.seconds
    if triton.seconds:
        phases.seconds["tune"] = triton.seconds
    phases.seconds["compile"] = max(0.0, phases.seconds["compile"] - kernels.seconds - triton.seconds)
    return CompiledArtifact(data, phases.seconds, kernels.counts)


def compile_kernel(
    source: bytes, stage: dict[str, Any], target: dict[str, Any], progress: Progress | None = None
) -> CompiledArtifact:
    """Compiles one C++ kernel of a job that another engine has; `source` is what that one has asked for. The
    artifact is the kernel's library, which is not loaded here. Raises CompileError.
    """
    import torch._inductor.config as inductor_config

    check_version()
    phases = _Phases(progress or (lambda phase: None))
    _check_target(target)
    if target["device"] != "cpu":
        raise CompileError("bad_input", f"C++ kernels are for a cpu, not for {str(target['device'])[:64]}")
    options = stage_options(stage)
    argtypes, text = cpp_kernels.decode(source)
    try:
        with (
            phases("kernels"),
            inductor_config.patch(_inductor_settings(target, options)),
            _instruction_set(target["isa"]),
        ):
            library = cpp_kernels.build(argtypes, text).read_bytes()
    except Exception as error:  # as of a graph
        raise CompileError("compile_failed", describe(error)) from error
    return CompiledArtifact(library, phases.seconds)


class _Phases:
    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._progress(name)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - start


def _check_target(target: dict[str, Any]) -> None:
    mine = platform.client_platform("cpu")
    for field in ("torch", "python", "arch"):
        if target[field] != mine[field]:
            raise CompileError("bad_input", f"target has {field} {target[field]}, this engine {mine[field]}")
    if mine["isa"] and not 0 < platform.isa_rank(target["isa"]) <= platform.isa_rank(mine["isa"]):
        raise CompileError("bad_input", f"target has ISA {target['isa']}, this engine's CPU {mine['isa']}")


def stage_options(stage: dict[str, Any]) -> dict[str, Any]:
    """The stage's Inductor settings from their JSON texts; unknown names and wrong types are bad_input."""
    import torch._inductor.config as config

    known = config.get_config_copy()  # ConfigModule, torch 2.11-2.13
    options = {}
    for name, text in stage["options"].items():
        if name not in known:
            raise CompileError("bad_input", f"stage {stage['name']}: unknown option {name}")
        try:
            value = json.loads(text)
        except ValueError as error:
            raise CompileError(
                "bad_input", f"stage {stage['name']}: option {name} is not JSON: {error}"
            ) from error
        expected = type(known[name])
        if (expected in (bool, str) and type(value) is not expected) or (
            expected is int and type(value) is not int
        ):
            kind = type(value).__name__
            raise CompileError(
                "bad_input", f"stage {stage['name']}: option {name} takes {expected.__name__}, not {kind}"
            )
        options[name] = value
    return options


def _inductor_settings(target: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    settings = {
        # C++ kernels are compiled by threads of `cpp_kernels`, Triton's by a pool of child processes.
        "compile_threads": compile_threads() if target["device"] == "cuda" else 1,
        # Brings the inputs on which TritonRecorder runs what was compiled.
        "benchmark_harness": target["device"] == "cuda",
        "fx_graph_cache": True,
        "fx_graph_remote_cache": False,
        # A kernel sized for the worker's threads overruns its arrays on a client that has more.
        "cpp.dynamic_threads": True,
        **options,
    }
    if target["isa"]:
        settings["cpp.simdlen"] = platform.VECTOR_BITS[target["isa"]]
    return settings


def start_triton_compilers() -> None:
    """Starts Inductor's pool of processes that compile Triton kernels; it ends with this process. Forked,
    they have all that this process has imported; to be called before it runs anything on the GPU.
    """
    import torch._inductor.config as inductor_config
    from torch._inductor.async_compile import AsyncCompile  # torch 2.11-2.13

    with inductor_config.patch({"compile_threads": compile_threads(), "worker_start_method": "fork"}):
        # Of use_process_pool: gives the pool its first piece of work.
        AsyncCompile.use_process_pool()


def await_triton_compilers() -> None:
    """Returns once they take work; until then kernels would be compiled in this process, one by one."""
    import torch._inductor.config as inductor_config
    from torch._inductor.async_compile import AsyncCompile

    with inductor_config.patch({"compile_threads": compile_threads()}):
        AsyncCompile.wait_pool_ready()


def triton_compilers_lost() -> bool:
    """Whether one of them has died, after which the pool (concurrent.futures) takes no more work."""
    from torch._inductor.async_compile import AsyncCompile

    if compile_threads() <= 1:
        return False
    # Made by start_triton_compilers, and kept by a functools.cache.
    return bool(getattr(AsyncCompile.process_pool(), "_broken", False))


def _compile_with_constants(
    payload: bytes,
    graph: RebuiltGraph,
    options: dict[str, Any],
    target: dict[str, Any],
    recorders: tuple[KernelRecorder, TritonRecorder],
) -> tuple[RebuiltGraph, packer.Whole | packer.Half]:
    """Compiles `graph`, with those floats as constants that compiled code cannot take as tensors.

    Inductor says which by asking Dynamo to trace again (torch 2.11-2.13, tensorify_python_scalars); here the
    graph is made again, and the artifact is guarded by their values.
    """
    from torch._dynamo.exc import TensorifyScalarRestartAnalysis
    from torch._dynamo.symbolic_convert import TensorifyState

    try:
        while True:
            try:
                with _compiling(graph, options, target, recorders):
                    inner = graph.inner
                    made = _compile_whole(graph) if inner is None else compile_inner(graph, inner)
                    recorders[1].tune()
                    return graph, made
            except TensorifyScalarRestartAnalysis:
                fixed = graph.fixed | TensorifyState.force_specializations
                if fixed == graph.fixed:
                    raise
                graph = rebuild(payload, fixed)
    finally:
        TensorifyState.clear()


@contextlib.contextmanager
def _compiling(
    graph: RebuiltGraph,
    options: dict[str, Any],
    target: dict[str, Any],
    recorders: tuple[KernelRecorder, TritonRecorder],
) -> Iterator[None]:
    """Has the body compile under the graph's state and the stage's options, for the target."""
    import torch._functorch.config as functorch_config
    import torch._inductor.config as inductor_config

    with (
        ambient.applied(graph.ambient),
        collectives.stand_ins(graph.groups),
        inductor_config.patch(_inductor_settings(target, options)),
        functorch_config.patch(_AUTOGRAD_SETTINGS),
        recorders[0].recording(),
        recorders[1].recording(),
        cuda_graphs.unrecorded(),
        recorders[1].taking_turns() if target["device"] == "cuda" else contextlib.nullcontext(),
        _instruction_set(target["isa"]),
        torch._guards.tracing(torch._guards.TracingContext(graph.fake_mode)),
    ):
        yield


def _compile_whole(graph: RebuiltGraph) -> packer.Whole:
    """Forward and backward of a graph from Dynamo."""
    from torch._inductor.standalone_compile import standalone_compile  # torch 2.11-2.13

    with _unique_cache_keys():
        # from_tracing_context makes standalone_compile use the graph's own shape environment.
        compiled: Any = standalone_compile(
            graph.module, graph.inputs, dynamic_shapes="from_tracing_context", options={}, aot=True
        )
    # AOTCompiledArtifact.inner_fn.compiled_fn.serialize() (torch 2.11-2.13) gives the cache entry itself.
    return packer.Whole(compiled.inner_fn.compiled_fn.serialize())


@contextlib.contextmanager
def _instruction_set(level: str) -> Iterator[None]:
    """Has C++ compiled for the CPUs of `level`; empty: for this machine's."""
    march = compiled_for(platform.MARCH[level]) if level else contextlib.nullcontext()
    with march, _vector_isa(level):
        yield


@contextlib.contextmanager
def _vector_isa(level: str) -> Iterator[None]:
    """Has kernels written for the vectors of `level` and no more.

    The stock choice (torch 2.11-2.13, cpu_vec_isa.pick_vec_isa) takes the best set of this machine that has
    vectors as wide, say AMX, which a client of that level may lack; and it finds out what this machine has
    by six runs of the C++ compiler.
    """
    from torch._inductor import cpu_vec_isa

    if not level:
        yield
        return
    known: dict[int, Any] = {256: cpu_vec_isa.VecAVX2, 512: cpu_vec_isa.VecAVX512}
    found = known.get(platform.VECTOR_BITS[level])
    # The stock truth value of a set is what runs the C++ compiler.
    chosen = [] if found is None else [type(found.__name__, (found,), {"__bool__": lambda _: True})()]
    with replaced(cpu_vec_isa, valid_vec_isa_list=lambda: chosen):
        yield


@contextlib.contextmanager
def _unique_cache_keys() -> Iterator[None]:
    """Gives each compile an AOTAutograd cache key of its own, so that no earlier entry is ever taken for it.

    The stock key (torch 2.11-2.13, autograd_cache.autograd_cache_key) refuses graphs that fxfarm can send,
    such as those with custom operators, and its fallback draws from `random`, which compiles rewind: two
    graphs may get one key.
    """
    from torch._functorch._aot_autograd import autograd_cache

    def unique(*_args: Any, **_kwargs: Any) -> tuple[str, list[str]]:
        return f"fxfarm-{uuid.uuid4().hex}", []

    with replaced(autograd_cache, autograd_cache_key=unique):
        yield
