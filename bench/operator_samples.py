"""PyTorch's operators with their sample inputs: how they are called, and how results compare with eager's."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import random
import sys
import types
import unittest
from collections.abc import Callable, Iterator, Sequence
from typing import Any

REASON_CHARS_MAX = 600

# As PyTorch's own test of Inductor has them (test/inductor/test_torchinductor_opinfo.py, CPU): relative and
# absolute. Other dtypes have those of torch.testing.assert_close.
TOLERANCES = {"float32": (1.3e-5, 1.5e-5)}
TOLERANCES_OF = {
    ("nn.functional.multilabel_soft_margin_loss", "float16"): (2e-3, 3e-4),
    ("nn.functional.triplet_margin_with_distance_loss", "float16"): (3e-3, 3e-4),
    ("softmax", "float16"): (2e-2, 1e-4),
    **{(f"polygamma.polygamma_n_{n}", "float32"): (1e-4, 1e-3) for n in range(5)},
    ("special.polygamma.special_polygamma_n_0", "float32"): (1e-4, 1e-3),
    ("_unsafe_masked_index_put_accumulate", "float16"): (1e-2, 1e-4),
    ("nn.functional.interpolate.bicubic", "float32"): (0.0, 5e-3),
}
# Their values are whatever the memory held.
UNDEFINED = frozenset("empty empty_permuted empty_like new_empty empty_strided new_empty_strided".split())

PARTS = ("results", "inputs afterwards", "gradients", "results that are views of inputs")
"""What is compared."""

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Settings:
    """How samples are made and compiled."""

    samples: int
    """Of each operator, at most."""
    seed: int
    gradients: bool
    dynamic: bool
    """Sizes are symbolic from the first call on."""
    capture: bool
    """Numbers and sizes that depend on data are part of the graph instead of a break in it."""


def operators() -> dict[str, Any]:
    """PyTorch's operators by name, variants and all."""
    if "expecttest" not in sys.modules and not _importable("expecttest"):
        # torch.testing._internal.common_utils (torch 2.11-2.13) derives a class of its own from this one,
        # and nothing here uses that.
        stand_in: Any = types.ModuleType("expecttest")
        stand_in.TestCase = unittest.TestCase
        sys.modules["expecttest"] = stand_in
    from torch.testing._internal import common_methods_invocations

    operators: Any = common_methods_invocations
    # Seeding is the caller's; inside of a compiled function it would only break the graph.
    operators.wrapper_set_seed = lambda op, *args, **kwargs: op(*args, **kwargs)
    return {op.full_name: op for op in operators.op_db}


def _importable(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def cases(dtypes: Sequence[str], gradients: bool) -> list[str]:
    """OPERATOR:DTYPE of each operator with the first of `dtypes` that it has on a CPU, in op_db's order."""
    import torch

    found = []
    for name, op in operators().items():
        has = op.supported_backward_dtypes("cpu") if gradients else op.supported_dtypes("cpu")
        fitting = [d for d in dtypes if getattr(torch, d) in has]
        found += [f"{name}:{d}" for d in fitting[:1]]
    return found


@dataclasses.dataclass
class Sample:
    """One sample input of an operator, and what eager makes of it."""

    operator: str
    dtype: str
    index: int
    call: Callable[..., Any]
    given: Any
    seed: int
    want: Any = None

    def run(self, call: Callable[..., Any]) -> list[Any]:
        """What `call` returns, what it leaves in its inputs, the gradients of those that want some, and which
        results share memory with which inputs."""
        import torch

        memo: dict[int, Any] = {}
        fresh = self.given.transform(lambda value: _copied(value, memo))
        torch.manual_seed(self.seed)
        result = call(fresh.input, *fresh.args, **fresh.kwargs)
        inputs = [t for t in _leaves([fresh.input, fresh.args, fresh.kwargs]) if _is_tensor(t)]
        gradients = _gradients(fresh.output_process_fn_grad(result), inputs)
        return [result, [t.detach() for t in inputs], gradients, _shared(result, inputs)]

    def difference(self, got: Any) -> str:
        """What differs from eager beyond the tolerance; empty when nothing does."""
        tolerance = TOLERANCES_OF.get((self.operator, self.dtype)) or TOLERANCES.get(self.dtype)
        rtol, atol = tolerance or (None, None)
        for part, one, other in zip(PARTS, got, self.want, strict=True):
            try:
                _compare(one, other, rtol, atol, values=self.operator not in UNDEFINED)
            except AssertionError as error:
                return _short(f"{part}: {error}")
        return ""

    def row(self, outcome: str, reason: str = "") -> Row:
        """The answer on this sample."""
        return row_of(self.operator, self.dtype, self.index, outcome, reason)


def row_of(operator: str, dtype: str, sample: int | None, outcome: str, reason: str) -> Row:
    """What became of a sample, or of all of an operator's (None)."""
    found = {"operator": operator, "dtype": dtype, "sample": sample, "outcome": outcome}
    return {**found, "reason": _short(reason)}


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    if not _is_tensor(value):
        return value
    if value.is_leaf and str(value.layout) == "torch.strided":
        # With the strides and the offset that it has.
        return copy.deepcopy(value, memo)
    return value.detach().clone().requires_grad_(value.requires_grad)


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _gradients(result: Any, inputs: Sequence[Any]) -> list[Any]:
    import torch

    wanted = [t for t in inputs if t.requires_grad]
    outputs = [t for t in _leaves(result) if _is_tensor(t) and t.requires_grad]
    if not wanted or not outputs:
        return []
    generator = torch.Generator().manual_seed(0)
    heads = [torch.randn(t.shape, dtype=t.dtype, generator=generator) for t in outputs]
    return list(torch.autograd.grad(outputs, wanted, heads, allow_unused=True))


def _shared(result: Any, inputs: Sequence[Any]) -> list[list[int]]:
    def address(value: Any) -> int:
        plain = _is_tensor(value) and str(value.layout) == "torch.strided" and value.numel() > 0
        return int(value.untyped_storage().data_ptr()) if plain else 0

    given = [address(t) for t in inputs]
    return [[i for i, a in enumerate(given) if a and a == address(t)] for t in _leaves(result)]


def _compare(got: Any, want: Any, rtol: float | None, atol: float | None, values: bool) -> None:
    """Raises AssertionError where types, metadata or values differ."""
    import torch

    if type(got) is not type(want):
        raise AssertionError(f"a {type(got).__name__} where eager gives a {type(want).__name__}")
    if isinstance(want, list | tuple):
        if len(got) != len(want):
            raise AssertionError(f"{len(got)} values where eager gives {len(want)}")
        for one, other in zip(got, want, strict=True):
            _compare(one, other, rtol, atol, values)
    elif isinstance(want, dict):
        _compare(list(got.items()), list(want.items()), rtol, atol, values)
    elif _is_tensor(want):
        facts = [(t.dtype, t.shape, t.layout, t.requires_grad) for t in (got, want)]
        if facts[0] != facts[1]:
            raise AssertionError(f"{facts[0]} where eager gives {facts[1]}")
        if values:
            torch.testing.assert_close(got, want, rtol=rtol, atol=atol, equal_nan=True)
    elif isinstance(want, float | complex):
        torch.testing.assert_close(got, want, rtol=rtol, atol=atol, equal_nan=True)
    elif got != want:
        raise AssertionError(f"{got!r} where eager gives {want!r}")


def _short(text: str) -> str:
    return " ".join(text.split())[:REASON_CHARS_MAX]


def describe(error: BaseException) -> str:
    """Type and text."""
    return f"{type(error).__name__}: {error}"


def samples_of(case: str, settings: Settings) -> Iterator[Sample]:
    """The samples of OPERATOR:DTYPE."""
    import torch

    operator, _, dtype = case.rpartition(":")
    op = operators()[operator]
    _seed(settings.seed)
    given = op.sample_inputs("cpu", getattr(torch, dtype), requires_grad=settings.gradients, set_seed=False)
    for index, sample in enumerate(itertools.islice(given, settings.samples)):
        name = f"{operator.replace('.', '_')}_{index}"
        call = _function(op.get_op(), name)
        yield Sample(operator, dtype, index, call, sample, settings.seed)


def _seed(seed: int) -> None:
    import torch

    random.seed(seed)
    torch.manual_seed(seed)


def _function(operator: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A function that calls `operator`, with code of its own, by which Dynamo keeps what it compiled."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return operator(*args, **kwargs)

    code = call.__code__.replace(co_name=name)
    return types.FunctionType(code, call.__globals__, name, None, call.__closure__)
