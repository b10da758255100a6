"""What becomes of a wrapper with Triton kernels: nothing of Triton is left where the artifact brings all."""

import marshal

import pytest

from fxfarm._torch import slim
from fxfarm._torch.triton_tuning import triton_key
from fxfarm._torch.wrapper import Rewritten

SOURCE = "def triton_(in_ptr0, out_ptr0, xnumel):\n    pass\n"
WRAPPER = f"""
import torch
from torch._inductor.async_compile import AsyncCompile
import triton
import triton.language as tl
from torch._inductor.runtime.triton_heuristics import start_graph, end_graph

async_compile = AsyncCompile()
first = async_compile.triton('first', '''{SOURCE}''', device_str='cuda')
again = async_compile.triton('first', '''{SOURCE}''', device_str='cuda')
async_compile.wait(globals())
del async_compile

def call(args):
    first.run(args[0], stream=0)
    again.run(args[0], stream=0)
    return (args[0],)

def get_args():
    import triton
    return [tl.zeros(1)]

def benchmark_compiled_module(args, times=10, repeat=10):
    return triton.testing.do_bench(lambda: call(args))
"""
KEY = triton_key("first", SOURCE, "cuda")
COMPILER = "torch._inductor.async_compile"


def test_a_wrapper_whose_kernels_are_brought_runs_without_triton() -> None:
    rewritten = Rewritten(WRAPPER, {KEY})
    assert rewritten.needs == set()
    assert rewritten.triton_kernels == [KEY, KEY]
    for gone in (
        "import triton",
        "tl",
        "triton_heuristics",
        "get_args",
        "benchmark_compiled_module",
        "in_ptr0",
    ):
        assert gone not in rewritten.source
    ran = []

    class Kernel:
        def run(self, *args: object, stream: int) -> None:
            ran.append((args, stream))

    module: dict[str, object] = {}
    with slim.bound({KEY: Kernel()}):
        exec(marshal.loads(rewritten.code), module)
    call = module["call"]
    assert callable(call)
    assert call(["x"]) == ("x",)
    assert ran == [(("x",), 0)] * 2


@pytest.mark.parametrize(
    ("wrapper", "brought"),
    [
        pytest.param(WRAPPER, set(), id="a kernel that the artifact cannot bring"),
        pytest.param(
            WRAPPER.replace("return (args[0],)", "return (triton.cdiv(3, 2),)"),
            {KEY},
            id="Triton in the call",
        ),
        pytest.param(
            WRAPPER.replace("start_graph, end_graph", "start_graph, end_graph, grid"),
            {KEY},
            id="another import",
        ),
        pytest.param(
            WRAPPER.replace("async_compile.wait", "async_compile.cutedsl('k', '')\nasync_compile.wait"),
            {KEY},
            id="a kernel of another kind",
        ),
    ],
)
def test_any_other_is_left_to_inductor(wrapper: str, brought: set[str]) -> None:
    rewritten = Rewritten(wrapper, brought)
    assert COMPILER in rewritten.needs
    assert rewritten.triton_kernels == []
    assert "async_compile.triton('first'" in rewritten.source
    assert "import triton.language as tl" in rewritten.source
    assert f"from {COMPILER} import AsyncCompile" in rewritten.source


def test_kernels_differ_by_name_source_and_device() -> None:
    others = [
        triton_key("second", SOURCE, "cuda"),
        triton_key("first", "", "cuda"),
        triton_key("first", SOURCE, "xpu"),
    ]
    assert len({KEY, *others}) == 4
