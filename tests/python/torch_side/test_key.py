from __future__ import annotations

import contextlib
import gc
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import torch
from farm import graphs_of, key_of, run_client

from fxfarm import _torch
from fxfarm._torch.graph_codec import list_of, map_of


def test_two_processes_give_one_model_the_same_key(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    one = run_client("capture", "gpt2", env={"PYTHONHASHSEED": "1"})
    two = run_client(
        *("capture", "gpt2"),
        env={
            "PYTHONHASHSEED": "77",
            "HOME": str(other),
            "USER": "someone",
            "RANK": "3",
            "OMP_NUM_THREADS": "1",
        },
        cwd=other,
    )
    assert one["key"] == two["key"]
    assert len(one["key"]) == 64
    assert one["compiler_modules"] == [], "hashing must not import Inductor's compiler"


def test_names_in_the_source_are_no_part_of_the_key() -> None:
    def one(x: torch.Tensor) -> torch.Tensor:
        first = x * 2
        return first + 1

    def two(renamed: torch.Tensor) -> torch.Tensor:
        other = renamed * 2
        return other + 1

    assert key_of(one, torch.ones(3)) == key_of(two, torch.ones(3))


def test_parameter_values_are_no_part_of_the_key() -> None:
    assert key_of(torch.nn.Linear(4, 4), torch.ones(2, 4)) == key_of(torch.nn.Linear(4, 4), torch.zeros(2, 4))


def _f(x: torch.Tensor) -> Any:
    return x * 2


X = torch.ones(4, 6)
CONSTANT = torch.nn.Parameter(torch.tensor([1.0]))
GRAPHS: dict[str, Callable[[], str]] = {
    "as it is": lambda: key_of(_f, X),
    "operator": lambda: key_of(lambda x: x / 2, X),
    "argument": lambda: key_of(lambda x: x * 3, X),
    "argument's type": lambda: key_of(lambda x: x * 2.0, X),
    "keyword": lambda: key_of(lambda x: torch.sum(x, dim=0), X),
    "keyword's value": lambda: key_of(lambda x: torch.sum(x, dim=1), X),
    "dtype": lambda: key_of(_f, X.double()),
    "shape": lambda: key_of(_f, torch.ones(6, 4)),
    "strides": lambda: key_of(_f, torch.ones(6, 4).t()),
    "requires grad": lambda: key_of(_f, X.clone().requires_grad_()),
    "dynamic shape": lambda: key_of(_f, X, dynamic=True),
    "one size for two dimensions": lambda: key_of(_f, torch.ones(4, 4), dynamic=True),
    "another output": lambda: key_of(lambda x: (x * 2, x * 5), X),
    "output order": lambda: key_of(lambda x: (x * 2, x * 5)[::-1], X),
    "two inputs": lambda: key_of(lambda a, b: a * b, X, X.clone()),
    "two inputs that share memory": lambda: key_of(lambda a, b: a * b, X[:], X[:]),
    "two inputs that are parts of one": lambda: key_of(lambda a, b: a * b, *torch.ones(8, 6).split(4)),
    "storage offset": lambda: key_of(_f, torch.ones(5, 6)[1:]),
    "a parameter": lambda: key_of(_f, torch.nn.Parameter(X)),
    "a static address": lambda: key_of(_f, _static(X)),
    "a size that is hinted otherwise": lambda: key_of(_f, torch.ones(5, 6), dynamic=True),
    "a view of a leaf": lambda: key_of(_f, X.clone().requires_grad_()[:]),
    "a number": lambda: key_of(lambda x, n: x * n, X, 7),
    "a number that may vary": lambda: key_of(lambda x, n: x * n, X, 7, dynamic=True),
    "another precision inside": lambda: key_of(_with_autocast, X),
    "no gradients inside": lambda: key_of(_with_no_grad, X),
}


def _static(x: torch.Tensor) -> torch.Tensor:
    found = x.clone()
    torch._dynamo.mark_static_address(found)
    return found


def _with_autocast(x: torch.Tensor) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        y = x @ x.t()
    return y + 1


def _with_no_grad(x: torch.Tensor) -> Any:
    with torch.no_grad():
        y = x * 2
    return y + x


def _alike(keys: dict[str, str]) -> list[list[str]]:
    """Names of those that have the same key."""
    named: dict[str, list[str]] = {}
    for name, key in keys.items():
        named.setdefault(key, []).append(name)
    return [names for names in named.values() if len(names) > 1]


def test_whatever_changes_the_graph_changes_the_key() -> None:
    assert _alike({name: make() for name, make in GRAPHS.items()}) == []


@contextlib.contextmanager
def _set(get: Any, put: Any, value: Any) -> Any:
    before = get()
    put(value)
    try:
        yield
    finally:
        put(before)


def _attribute(owner: Any, name: str, value: Any) -> Any:
    return _set(lambda: getattr(owner, name), lambda v: setattr(owner, name, v), value)


def _ambient() -> dict[str, Any]:
    import torch._functorch.config
    import torch._inductor.config

    cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    return {
        "no grad": torch.no_grad(),
        "autocast": torch.autocast("cpu", torch.bfloat16),
        "autocast dtype": torch.autocast("cpu", torch.float16),
        "default dtype": _set(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
        "matmul precision": _set(
            torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "high"
        ),
        "deterministic": _set(
            torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
        ),
        "deterministic with warnings": _set(
            torch.are_deterministic_algorithms_enabled,
            lambda on: torch.use_deterministic_algorithms(on, warn_only=on),
            True,
        ),
        "uninitialized memory": _attribute(torch.utils.deterministic, "fill_uninitialized_memory", False),
        "other matmul precision": _set(
            torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
        ),
        "precision of convolutions": _attribute(mkldnn.conv, "fp32_precision", "bf16"),
        "precision of a GPU's convolutions": _attribute(cudnn, "allow_tf32", False),
        "fp16 reductions": _attribute(cuda.matmul, "allow_fp16_reduced_precision_reduction", False),
        "bf16 reductions": _attribute(cuda.matmul, "allow_bf16_reduced_precision_reduction", False),
        "fp16 accumulation": _attribute(cuda.matmul, "allow_fp16_accumulation", True),
        "no oneDNN": _set(torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled, False),
        "no flash attention": _set(cuda.flash_sdp_enabled, cuda.enable_flash_sdp, False),
        "no efficient attention": _set(cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp, False),
        "no math attention": _set(cuda.math_sdp_enabled, cuda.enable_math_sdp, False),
        "no cuDNN": _attribute(cudnn, "enabled", False),
        "cuDNN's benchmark": _attribute(cudnn, "benchmark", True),
        "cuDNN's determinism": _attribute(cudnn, "deterministic", True),
        "inductor config": torch._inductor.config.patch({"epilogue_fusion": False}),
        "random numbers": torch._inductor.config.patch({"fallback_random": True}),
        "a nested setting": torch._inductor.config.patch({"cpp.min_chunk_size": 77}),
        "a private setting": torch._inductor.config.patch({"_micro_pipeline_tp": True}),
        "functorch config": torch._functorch.config.patch({"cse": False}),
    }


def test_the_state_around_the_graph_is_part_of_the_key() -> None:
    keys = {"plain": key_of(_f, X)}
    for name, context in _ambient().items():
        with context:
            keys[name] = key_of(_f, X)
    assert _alike(keys) == []
    assert key_of(_f, X) == keys["plain"]


def test_settings_of_one_machine_are_no_part_of_the_key() -> None:
    import torch._inductor.config as config

    plain = key_of(_f, X)
    with config.patch(
        {"compile_threads": 7, "cpp.threads": 3, "cpp.cxx": ("other-g++",), "cpp.simdlen": 128}
    ):
        assert key_of(_f, X) == plain


def test_contents_of_a_constant_are_part_of_the_key() -> None:
    def keyed(value: float) -> str:
        gm, x = _module_with_constant(value)
        return _torch.serialize(_torch.snapshot(gm, [x])).key

    assert keyed(1.0) == keyed(1.0)
    assert keyed(1.0) != keyed(2.0)


def _module_with_constant(value: float) -> tuple[torch.fx.GraphModule, Any]:
    from torch._subclasses.fake_tensor import FakeTensorMode

    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    with FakeTensorMode():
        x.meta["example_value"] = torch.empty(2)
    graph.output([graph.call_function(torch.add, (x, graph.get_attr("k")))])
    root = torch.nn.Module()
    root.register_buffer("k", torch.full((2,), value))
    return torch.fx.GraphModule(root, graph), x.meta["example_value"]


def test_a_constant_that_changes_on_the_way_is_noticed() -> None:
    gm, x = _module_with_constant(1.0)
    snap = _torch.snapshot(gm, [x])
    gm.k.add_(1)
    with pytest.raises(_torch.Unserializable, match="changed"):
        _torch.serialize(snap)


def test_serializing_after_the_graph_was_altered_gives_the_graph_as_it_was() -> None:
    keys = []

    def backend(gm: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        snap = _torch.snapshot(gm, inputs)
        keys.append(_torch.serialize(snap).key)
        for node in gm.graph.nodes:
            if node.op == "call_function":
                node.args = (*node.args[:1], 99)
        keys.append(_torch.serialize(snap).key)
        return lambda *a: (a[0],)

    torch._dynamo.reset()
    torch.compile(_f, backend=backend)(X)
    assert keys[0] == keys[1]


def test_a_snapshot_keeps_no_tensor_of_the_user_alive() -> None:
    import gc
    import weakref

    taken = []

    def backend(gm: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        taken.append(_torch.snapshot(gm, inputs))
        return gm.forward

    torch._dynamo.reset()
    x = torch.ones(5)
    torch.compile(_f, backend=backend)(x)
    alive = weakref.ref(x)
    del x
    torch._dynamo.reset()
    gc.collect()
    assert alive() is None
    assert _torch.serialize(taken[0]).key


@torch._dynamo.allow_in_graph
def _user_function(x: torch.Tensor) -> torch.Tensor:
    return x + 1


def test_a_function_that_no_worker_has_is_refused_by_name() -> None:
    with pytest.raises(Exception, match="_user_function, which a worker cannot import"):
        graphs_of(lambda x: _user_function(x), X)


class _Pass:
    """Code of the user's own, with the identity that Inductor's caches ask for."""

    def __call__(self, graph: Any) -> None:
        raise AssertionError("nobody runs it")

    def uuid(self) -> str:
        return "pass-1"


@pytest.mark.parametrize(
    ("module", "setting"),
    [
        ("inductor", "pre_grad_custom_pass"),
        ("inductor", "joint_custom_pre_pass"),
        ("inductor", "joint_custom_post_pass"),
        ("inductor", "post_grad_custom_pre_pass"),
        ("inductor", "post_grad_custom_post_pass"),
        ("inductor", "custom_partitioner_fn"),
        ("inductor", "_pre_fusion_custom_pass"),
        ("inductor", "_post_fusion_custom_pass"),
        ("inductor", "inductor_choices_class"),
        ("inductor", "external_matmul"),
        ("functorch", "joint_custom_pass"),
        ("functorch", "activation_memory_budget_solver"),
    ],
)
def test_a_setting_that_is_code_is_refused_by_name(module: str, setting: str) -> None:
    config: Any = importlib.import_module(f"torch._{module}.config")
    value = {"inductor_choices_class": _Pass, "external_matmul": [print]}.get(setting, _Pass())
    with config.patch({setting: value}), pytest.raises(Exception, match=setting):
        graphs_of(_f, X)


def test_precisions_that_contradict_each_other_are_refused() -> None:
    with (
        _attribute(torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),
        pytest.raises(Exception, match="mix of the legacy and new APIs"),
    ):
        graphs_of(_f, X)


def test_a_precision_that_was_set_and_unset_gives_the_key_of_one_that_never_was() -> None:
    plain = key_of(_f, X)
    with _set(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "high"):
        assert key_of(_f, X) != plain
    assert key_of(_f, X) == plain


@pytest.mark.parametrize("length", [0, 1, 15, 16, 70_000])
def test_bytes_of_parts_make_those_of_the_whole(length: int) -> None:
    values = [[i, {"x": None}] for i in range(length)]
    assert list_of([msgpack.packb(v) for v in values]) == msgpack.packb(values)
    named = {str(i): value for i, value in enumerate(values)}
    assert map_of({k: msgpack.packb(v) for k, v in named.items()}) == msgpack.packb(named)


def test_what_is_sent_of_a_graph_leaves_nothing_for_the_collector_to_look_at() -> None:
    def long(x: torch.Tensor) -> torch.Tensor:
        for _ in range(2500):
            x = x.sin() + 1
        return x

    snapshots = []

    def backend(gm: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        snapshots.append(_torch.snapshot(gm, inputs))
        return gm.forward

    torch.compile(long, backend=backend)(torch.ones(2))
    # Fills what Python keeps of freed tuples, which counts as living.
    _torch.serialize(snapshots[0])
    gc.collect(0)
    before = sum(generation["collections"] for generation in gc.get_stats())
    serialized = _torch.serialize(snapshots[0])
    collections = sum(generation["collections"] for generation in gc.get_stats()) - before
    assert serialized.node_count > 5000
    assert collections <= 1


def _parts(model: Callable[..., Any], *args: torch.Tensor) -> dict[str, str]:
    (found,) = graphs_of(model, *args)
    return found.parts


def _differing(one: dict[str, str], two: dict[str, str]) -> set[str]:
    return {name for name in {*one, *two} if one.get(name) != two.get(name)}


def test_parts_of_the_key_tell_in_what_two_graphs_differ() -> None:
    base = _parts(_f, X)
    assert _differing(base, _parts(_f, X)) == set()
    assert _differing(base, _parts(_f, torch.ones(4, 7))) == {"inputs"}
    assert _differing(base, _parts(lambda x: x * 3, X)) == {"nodes"}
    with torch.no_grad():
        assert _differing(base, _parts(_f, X)) == {"modes"}
    with torch._inductor.config.patch(fallback_random=True):
        assert _differing(base, _parts(_f, X)) == {"inductor_config"}


def test_an_empty_part_of_the_key_has_no_digest() -> None:
    assert set(_parts(_f, X)) == {"inputs", "nodes", "modes", "inductor_config", "functorch_config"}
