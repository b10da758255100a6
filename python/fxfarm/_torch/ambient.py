"""The process state that changes what a compile produces: captured with the graph, restored on the worker."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from .errors import CompileError, Unserializable
from .values import is_plain

# Settings that describe a machine, its tools or its logs, or that fxfarm sets for the target itself.
_NOT_SENT = frozenset(
    [
        "TYPE_CHECKING",
        "compile_threads",
        "worker_start_method",
        "worker_log_path",
        "worker_suppress_logging",
        "quiesce_async_compile_pool",
        "torchinductor_worker_logpath",
        "disable_progress",
        "verbose_progress",
        "debug",
        "debug_fusion",
        "debug_ir_traceback",
        "cpp.cxx",
        "cpp.threads",
        "cpp.dynamic_threads",
        "cpp.march",
        "cpp.simdlen",
        "cpp.vec_isa_ok",
        "cpp_cache_precompile_headers",
        "precompilation_timeout_seconds",
        "file_lock_timeout",
        "compile_worker_wait_timeout",
        "enabled_metric_tables",
        "autoheuristic_log_path",
        "benchmark_harness",
        "memory_budget_pareto_dir",
        "debug_partitioner",
        "torch_compile_graph_format",
        "donated_buffer",
        "bundled_autograd_cache",
        "force_non_lazy_backward_lowering",
        "enable_autograd_cache",
        "enable_remote_autograd_cache",
        "bypass_autograd_cache_key",
        "strict_autograd_cache",
        "force_autograd_cache",
        "autograd_cache_allow_custom_autograd_functions",
        "autograd_cache_normalize_inputs",
        "fx_graph_cache",
        "fx_graph_remote_cache",
        "force_disable_caches",
        "remote_gemm_autotune_cache",
        "bundled_autotune_remote_cache",
        "non_blocking_remote_cache_write",
        "autotune_local_cache",
        "autotune_remote_cache",
        "save_args",
        "sleep_sec_TESTING_ONLY",
        "generate_intermediate_hooks",
        "run_jit_post_compile_hook",
        "cpp_wrapper",
        "kernel_name_max_ops",
        "max_kernel_dump_occurrences",
        # Notes of the settings on themselves, and what their tests use.
        "_save_config_ignore",
        "_cache_config_ignore_prefix",
        "_cache_config_factory_keys",
        "_profile_var",
        "_raise_error_for_testing",
        "cuda.version",
        "cuda.cuda_cxx",
        "cuda.arch",
    ]
)
_NOT_SENT_GROUPS = (
    "aot_inductor",
    "halide",
    "rocm",
    "xpu",
    "mtia",
    "trace",
    "test_configs",
    "aot_inductor_mode",
)
_DEVICE_TYPES = ("cpu", "cuda")
# Code of the user's own that a compile runs, and that no worker has. save_config_portable (torch 2.11-2.13)
# leaves these out, or calls what they hold.
_OWN_CODE = {
    "inductor": (
        "pre_grad_custom_pass",
        "joint_custom_pre_pass",
        "joint_custom_post_pass",
        "post_grad_custom_pre_pass",
        "post_grad_custom_post_pass",
        "_pre_fusion_custom_pass",
        "_post_fusion_custom_pass",
        "inductor_choices_class",
        "cudagraph_policy",
    ),
    "functorch": (
        "joint_custom_pass",
        "activation_memory_budget_runtime_estimator",
        "activation_memory_budget_solver",
    ),
}
# torch.backends (2.11-2.13): what each setting of float32 precision is for, the general ones first.
_PRECISION_OF = (
    *(("generic", "all"), ("cuda", "all"), ("mkldnn", "all")),
    *(("cuda", "matmul"), ("cuda", "conv"), ("cuda", "rnn")),
    *(("mkldnn", "matmul"), ("mkldnn", "conv"), ("mkldnn", "rnn")),
)


def _switches() -> dict[str, tuple[Any, Any]]:
    """Process-wide flags that tracing or lowering reads: name -> (getter, setter)."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn

    def attribute(owner: Any, name: str) -> tuple[Any, Any]:
        return (lambda: getattr(owner, name)), (lambda value: setattr(owner, name, value))

    return {
        "float32_matmul_precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        **{f"float32_precision.{b}.{op}": _precision(b, op) for b, op in _PRECISION_OF},
        "fp16_reduction": attribute(cuda.matmul, "allow_fp16_reduced_precision_reduction"),
        "bf16_reduction": attribute(cuda.matmul, "allow_bf16_reduced_precision_reduction"),
        "fp16_accumulation": attribute(cuda.matmul, "allow_fp16_accumulation"),
        "flash_sdp": (cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        "mem_efficient_sdp": (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
        "math_sdp": (cuda.math_sdp_enabled, cuda.enable_math_sdp),
        "cudnn_sdp": (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
        "cudnn.enabled": attribute(cudnn, "enabled"),
        "cudnn.benchmark": attribute(cudnn, "benchmark"),
        "cudnn.deterministic": attribute(cudnn, "deterministic"),
        # torch 2.11-2.13: torch.backends.mkldnn.enabled is a read-only property over the first of these, and
        # torch.backends.mkldnn.set_flags would set precisions, too.
        "mkldnn": (torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
        "fill_uninitialized_memory": attribute(torch.utils.deterministic, "fill_uninitialized_memory"),
    }


def _precision(backend: str, op: str) -> tuple[Any, Any]:
    """Of float32 operations. No setting means IEEE to matrix products, and that is what it reads as: else a
    process that has set and unset it would differ from one that never has.
    """
    c: Any = torch._C  # what the attributes in torch.backends are made of (2.11-2.13)

    def get() -> str:
        found: str = c._get_fp32_precision_getter(backend, op)
        return "ieee" if (op, found) == ("matmul", "none") else found

    return get, lambda value: c._set_fp32_precision_setter(backend, op, value)


def _config_modules() -> dict[str, Any]:
    # torch 2.11-2.13: config modules are cheap to import and share torch.utils._config_module.ConfigModule.
    import torch._functorch.config as functorch
    import torch._inductor.config as inductor

    return {"inductor": inductor, "functorch": functorch}


def capture() -> dict[str, Any]:
    """The state of the calling thread and process as plain data."""
    autocast = {
        device: [
            torch.is_autocast_enabled(device),
            str(torch.get_autocast_dtype(device)).removeprefix("torch."),
        ]
        for device in _DEVICE_TYPES
    }
    return {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": autocast,
        "autocast_cache": torch.is_autocast_cache_enabled(),
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "deterministic": [
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ],
        "switches": {name: get() for name, (get, _) in _switches().items()},
        "code": _code_in_settings(),
        "config": {name: _settings(module) for name, module in _config_modules().items()},
    }


def _settings(module: Any) -> dict[str, Any]:
    # ConfigModule.save_config_portable (torch 2.11-2.13) leaves out what has no influence on caches. Of the
    # private settings some change code.
    found: dict[str, Any] = module.save_config_portable(ignore_private_configs=False)
    return found


def _code_in_settings() -> list[str]:
    """Full names of the settings that hold code."""
    modules = _config_modules()
    found = []
    for module, names in _OWN_CODE.items():
        values = {name: getattr(modules[module], name, None) for name in names}
        # Some take the name of a function of torch's own, too.
        own = [name for name, value in values.items() if value is not None and not isinstance(value, str)]
        found += [f"torch._{module}.config.{name}" for name in own]
    return found


def reduce_config(state: dict[str, Any]) -> dict[str, Any]:
    """`state` with the settings that describe one machine taken out; refuses settings that cannot be sent."""
    for name in state["code"]:
        raise Unserializable(f"{name} is code of this process, which no worker has")
    config: dict[str, dict[str, Any]] = {}
    for module, values in state["config"].items():
        kept = {}
        for name, value in sorted(values.items()):
            if name in _NOT_SENT or name.split(".")[0] in _NOT_SENT_GROUPS:
                continue
            if not is_plain(value):
                raise Unserializable(f"torch._{module}.config.{name} is a {type(value).__name__}")
            kept[name] = value
        config[module] = kept
    return {**{k: v for k, v in state.items() if k != "code"}, "config": config}


@contextlib.contextmanager
def applied(state: dict[str, Any]) -> Iterator[None]:
    """Runs the body under a captured state and puts the process back as it was."""
    switches = _switches()
    before = {name: get() for name, (get, _) in switches.items()}
    dtype, deterministic = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        for name, value in state["switches"].items():
            if name not in switches:
                raise CompileError("bad_input", f"the graph was captured with an unknown switch {name}")
            if before[name] != value:
                switches[name][1](value)
        torch.set_default_dtype(getattr(torch, state["default_dtype"]))
        torch.use_deterministic_algorithms(state["deterministic"][0], warn_only=state["deterministic"][1])
        with contextlib.ExitStack() as stack:
            for device, (enabled, name) in state["autocast"].items():
                if device == "cpu" or torch.cuda.is_available():
                    wanted = getattr(torch, name)
                    cached = state["autocast_cache"]
                    stack.enter_context(torch.autocast(device, wanted, enabled=enabled, cache_enabled=cached))
            stack.enter_context(torch.inference_mode(state["inference"]))
            stack.enter_context(torch.set_grad_enabled(state["grad"]))
            for name, module in _config_modules().items():
                stack.enter_context(module.patch(_differences(name, module, state["config"][name])))
            yield
    finally:
        for name, value in before.items():
            if switches[name][0]() != value:
                switches[name][1](value)
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


def _differences(name: str, module: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    current = _settings(module)
    for key in wanted:
        if key not in current:
            raise CompileError("bad_input", f"torch._{name}.config has no setting {key} here")
    return {k: v for k, v in wanted.items() if _plain(current[k]) != _plain(v)}


def _plain(value: Any) -> Any:
    """Lists for tuples, as msgpack gives them back."""
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
