"""Turns an artifact into a callable (client side): no compiler, no program started, no heavy import."""

from __future__ import annotations

import dataclasses
import importlib.util
import marshal
import pickle
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from fxfarm import disk, pace

from . import assumptions, collectives, cuda_graphs, cuda_kernels, double_backward, kernels, platform, slim
from .errors import CorruptArtifact, LoadError, describe
from .graph_codec import tensor_from
from .pack import Artifact, unpack


@dataclasses.dataclass(frozen=True)
class LoadedStage:
    """A stage ready to run. `call` takes a list of arguments and empties it. `guard` takes what the slot is
    called with: the arguments singly where `boxed` is set, and that list for an inner graph. `mutated` are
    the positions of the arguments that a graph from Dynamo writes to.
    """

    call: Callable[[list[Any]], Any]
    boxed: bool
    guard: assumptions.Guard | None
    mutated: tuple[int, ...]
    has_backward: bool
    manifest: dict[str, Any]
    double_backward: double_backward.Notice


def load_artifact(data: bytes | memoryview, directory: Path, groups: Sequence[str] = ()) -> LoadedStage:
    """Loads verified bytes, keeping their shared objects in `directory`; raises CorruptArtifact or LoadError.
    `groups` are the names of the graph's process groups in this process.

    The bytes are unpickled and executed: the caller has checked the farm's signature.
    """
    pace.step()
    artifact = unpack(data)
    manifest = artifact.manifest
    try:
        pace.step()
        _check_platform(manifest["platform"])
        _import_needs(manifest["needs"])
        disk.make_private(directory)
        functions: dict[str, Any] = {}
        for file in artifact.files:
            pace.step()
            functions[file["name"]] = kernels.load(directory, file["data"], file["digest"])
        for kernel in artifact.gpu_kernels:
            pace.step()
            functions[kernel["name"]] = cuda_kernels.load(kernel)
        device = artifact.gpu_kernels[0]["device"] if artifact.gpu_kernels else None
        with slim.bound(functions), cuda_graphs.wrapping(manifest["cuda_graphs"], device):
            call, notice = _restore(artifact, groups)
        guard, inner = assumptions.guard_of(manifest), manifest["inner"]
        if inner is not None and guard is not None:
            guard = _of_list(guard)
    except (CorruptArtifact, LoadError):
        raise
    except Exception as error:  # an artifact that cannot be used must never reach the model's call
        raise LoadError(describe(error)) from error
    mutated, has_backward = tuple(manifest["mutated"]), manifest["has_backward"]
    return LoadedStage(call, inner is None, guard, mutated, has_backward, manifest, notice)


def _import_needs(names: Sequence[str]) -> None:
    missing = [name for name in names if name not in sys.modules]
    if not missing:
        return
    with pace.paced_imports():
        for name in missing:
            importlib.import_module(name)


def _check_platform(made_for: dict[str, Any]) -> None:
    mine = platform.client_platform(made_for["device"])
    for field in ("torch", "python", "triton", "arch"):
        if made_for[field] != mine[field]:
            raise LoadError(f"made for {field} {made_for[field]!r}, this process has {mine[field]!r}")
    if not platform.gpu_serves(mine["gpu"], made_for["gpu"]):
        raise LoadError(f"made for gpu {made_for['gpu']!r}, this process has {mine['gpu']!r}")
    if platform.isa_rank(made_for["isa"]) > platform.isa_rank(mine["isa"]):
        raise LoadError(f"made for ISA {made_for['isa']}, this CPU has {mine['isa']}")


def _restore(
    artifact: Artifact, groups: Sequence[str]
) -> tuple[Callable[[list[Any]], Any], double_backward.Notice]:
    pace.step()
    entry = pickle.loads(artifact.entry)
    codes = (collectives.with_names(_code(carried), groups) for carried in artifact.codes)
    pace.step()
    inner, notice = artifact.manifest["inner"], double_backward.Notice()
    settings = _settings(artifact.manifest["cuda_graphs"])
    if inner is not None:
        settings["is_backward"] = inner["is_backward"]
        call = _Wrapper(entry, next(codes)).post_compile(entry, settings)
    else:
        entry.compiled_fw = _Wrapper(entry.compiled_fw.result, next(codes))
        if entry.compiled_bw is not None:
            entry.compiled_bw = _BackwardWrapper(entry.compiled_bw, next(codes))
        call = _post_compile(entry, settings)
        notice = double_backward.refuse(entry.runtime_metadata)
    if not artifact.constants:
        return call, notice
    constants = []
    for constant in artifact.constants:
        pace.step()
        constants.append(tensor_from(constant))

    def with_constants(args: list[Any]) -> Any:
        args.extend(constants)
        return call(args)

    return with_constants, notice


def _post_compile(entry: Any, settings: Any) -> Callable[[list[Any]], Any]:
    """AOTAutograd's runtime wrappers around the two halves (BundledAOTAutogradResult, torch 2.11-2.13)."""
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    context = torch._guards.TracingContext(FakeTensorMode(shape_env=ShapeEnv()))
    with torch._guards.tracing(context):
        call = entry.wrap_post_compile([], entry.sanitized_aot_config, settings)
    made: Callable[[list[Any]], Any] = call
    return made


def _settings(recorded: bool) -> Any:
    """_CompileFxKwargs (torch 2.11-2.13), as much of it as is read when code is loaded."""
    from torch._inductor.cudagraph_utils import BoxedDeviceIndex
    from torch._inductor.utils import BoxedBool

    return {"cudagraphs": BoxedBool(recorded), "boxed_forward_device_index": BoxedDeviceIndex(None)}


class _Wrapper:
    """Stands for BundledOutputCodeLoadable (torch 2.11-2.13), whose post_compile imports the compiler."""

    def __init__(self, result: Any, code: types.CodeType) -> None:
        self._result = result
        self._code = code

    def load(self, args: list[Any]) -> Any:
        """The compiled graph as it is; its callable comes with post_compile."""
        return self._result

    def post_compile(self, result: Any, settings: Any) -> Callable[[list[Any]], Any]:
        """Runs the wrapper, realigns inputs and takes the plain callable out of the CompiledFxGraph."""
        # CompiledFxGraphConstants and CompiledFxGraph.post_compile (torch 2.11-2.13).
        from torch._inductor.output_code import CompiledFxGraphConstants

        # CompiledFxGraph._triton_bundle (torch 2.11-2.13): cubins, put where Triton looks for them.
        if getattr(result, "_triton_bundle", None):
            from torch._inductor.triton_bundler import TritonBundler

            TritonBundler.read_and_emit(result._triton_bundle)
        constants = CompiledFxGraphConstants()
        module = types.ModuleType("fxfarm_artifact")
        module.__dict__.update(constants.unwrap(result))
        pace.step()
        exec(self._code, module.__dict__)
        pace.step()
        result.current_callable = module.__dict__["call"]
        result.recursively_apply_fns = module.__dict__.get("recursively_apply_fns")
        result.compiled_fn_runner = None
        result.post_compile([], constants, settings)
        run = result.current_callable
        if settings["cudagraphs"]:
            run = cuda_graphs.on_any_thread(run)

        def call(args: list[Any]) -> Any:
            return run(args)

        call._boxed_call = True  # type: ignore[attr-defined]
        call._fxfarm_module = module  # type: ignore[attr-defined]
        return call


def _code(carried: dict[str, Any]) -> types.CodeType:
    """The wrapper's code; made again from its text when another Python wrote it."""
    if carried["magic"] == importlib.util.MAGIC_NUMBER:
        loaded: types.CodeType = marshal.loads(carried["code"])
        return loaded
    made: types.CodeType = compile(carried["source"], "<fxfarm artifact>", "exec")
    return made


class _BackwardWrapper(_Wrapper):
    """Stands for GenericCompiledBackward."""

    def __init__(self, compiled: Any, code: types.CodeType) -> None:
        super().__init__(compiled.result, code)
        self.backward_state_indices = compiled.backward_state_indices
        self.num_symints_saved_for_bw_ = compiled.num_symints_saved_for_bw_

    def post_compile(self, result: Any, settings: Any) -> Any:
        """Dynamo must not trace into generated code when autograd runs it."""
        call = super().post_compile(result, settings)
        dynamo: Any = torch._dynamo
        return dynamo.disable(call, reason="do not trace generated backwards pass")


def _of_list(guard: Callable[..., bool]) -> Callable[[list[Any]], bool]:
    return lambda args: guard(*args)
