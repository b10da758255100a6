"""A graph's inputs as a compile takes them: fake tensors and symbolic numbers, from what graph_codec has of
them (worker side).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import msgpack
import sympy
import torch
from torch._dynamo.source import ConstantSource  # torch 2.11-2.13
from torch._subclasses.fake_tensor import FakeTensorMode  # torch 2.11-2.13
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv  # torch 2.11-2.13

from . import expressions
from .errors import CompileError
from .graph_codec import device_from


@dataclasses.dataclass(frozen=True)
class ItemInput:
    """A tensor input of one element that the graph reads as a number: its place, the symbols that the number
    is made of, and its value when the graph was captured.
    """

    position: int
    symbols: frozenset[str]
    value: int | float


class Symbols:
    """Symbols with their hints and ranges, then the assumptions that the tracer had made of them. `data` is
    the graph as graph_codec has it.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._env: Any = ShapeEnv()
        self._symbols: list[Any] = []

    def restore(self) -> Any:
        """Makes them; returns a FakeTensorMode with their environment. Raises CompileError(bad_input)."""
        for i, (hint, lower, upper, is_float, positive) in enumerate(self._data["symbols"]):
            number = float(hint) if is_float else hint
            self._symbols.append(self._symbol(f"symbol_{i}", number, lower, upper, positive))
        for guard in self._data["guards"]:
            expr = self._decode(msgpack.unpackb(guard, strict_map_key=False))
            # ShapeEnv.evaluate_expr (torch 2.11-2.13) records the expression as a guard when it holds for the
            # hints.
            if not self._env.evaluate_expr(expr):
                raise CompileError("bad_input", f"assumption {expr} contradicts the graph's own sizes")
        return FakeTensorMode(shape_env=self._env)

    def _symbol(self, name: str, hint: Any, lower: Any, upper: Any, positive: bool) -> Any:
        env = self._env
        # ShapeEnv.create_symbol (torch 2.11-2.13): DYNAMIC makes a fresh symbol and shares none by value.
        symbol = env.create_symbol(
            hint,
            source=ConstantSource(f"fxfarm_{name}"),
            dynamic_dim=DimDynamic.DYNAMIC,
            positive=positive or None,
            do_not_specialize_zero_one=True,
        )
        if lower is not None and upper is not None:
            vr = env.var_to_range[symbol]
            env.var_to_range[symbol] = type(vr)(self._decode(lower), self._decode(upper))
        return symbol

    def _decode(self, data: Any) -> Any:
        return expressions.decode(data, self._symbols.__getitem__)

    def number(self, data: Any, kind: str = "SymInt") -> Any:
        """A Python number, or a symbolic one that belongs to the restored environment."""
        if isinstance(data, bool | int | float):
            return data
        expr = self._decode(data)
        # ShapeEnv.create_symintnode and its kin (torch 2.11-2.13).
        makers = {
            "SymInt": (self._env.create_symintnode, int),
            "SymFloat": (self._env.create_symfloatnode, float),
            "SymBool": (self._env.create_symboolnode, None),
        }
        make, convert = makers[kind]
        if convert is None:
            return make(expr)
        return make(expr, hint=convert(self._value(expr)))

    def input_number(self, data: Any, kind: str) -> Any:
        """An input that is a number: symbolic even where its value is known, as Dynamo has it.

        AOTAutograd (2.11-2.13) would give a plain int a symbol of its own, and guards would count it.
        """
        made = self.number(data, kind)
        if type(made) is not int or self._data["inner"] is not None:
            return made
        symbol = self._symbol(f"number_{len(self._env.var_to_range)}", made, None, None, False)
        found = self._env.create_symintnode(symbol, hint=made)
        self._env.evaluate_expr(sympy.Eq(symbol, made))
        return found

    def items(self) -> Iterator[ItemInput]:
        """The inputs of one element whose number the tracer knew."""
        for position, facts in enumerate(self._data["inputs"]):
            data = facts.get("item")
            if data is not None:
                expr = sympy.sympify(self._decode(data))
                value = self._value(expr)
                number = float(value) if value.is_Float else int(value)
                yield ItemInput(position, frozenset(map(str, expr.free_symbols)), number)

    def _value(self, expr: Any) -> Any:
        hints = {s: h[0] for s, h in zip(self._symbols, self._data["symbols"], strict=True)}
        return expr.subs(hints)


class Inputs:
    """Fake tensors with the captured metadata, sharing storages where the originals did."""

    def __init__(self, mode: Any, symbols: Symbols, literals: Mapping[int, int | float]) -> None:
        self._mode = mode
        self._symbols = symbols
        self._number = symbols.number
        self._literals = literals

    def build(self, inputs: list[dict[str, Any]]) -> list[Any]:
        """The inputs in their order: fake tensors, and numbers that may be symbolic."""
        sharing: dict[int, int] = {}
        for facts in inputs:
            if facts["kind"] == "tensor":
                sharing[facts["storage"][0]] = sharing.get(facts["storage"][0], 0) + 1
        storages: dict[int, Any] = {}
        made = []
        for position, facts in enumerate(inputs):
            if facts["kind"] != "tensor":
                made.append(self._symbols.input_number(facts["expr"], facts["kind"]))
                continue
            with self._mode:
                tensor = self._tensor(facts, storages, sharing)
            if facts["item"] is not None and position not in self._literals:
                kind = "SymFloat" if tensor.dtype.is_floating_point else "SymInt"
                tensor.item_memo = self._number(facts["item"], kind)
            made.append(tensor)
        return made

    def _tensor(self, facts: dict[str, Any], storages: dict[int, Any], sharing: dict[int, int]) -> Any:
        """A fake tensor of the kind that graph_codec has written down in `facts`; in the fake mode.
        `storages` has those made so far by their numbers, as tensors of one dimension; `sharing` how many
        inputs have each.
        """
        requires_grad, is_leaf, is_parameter, is_view, _, is_conj, is_neg = facts["flags"]
        dtype, device = getattr(torch, facts["dtype"]), device_from(facts["device"])
        size = [self._number(s) for s in facts["size"]]
        stride = [self._number(s) for s in facts["stride"]]
        offset = self._number(facts["offset"])
        storage, storage_bytes = facts["storage"][0], self._number(facts["storage"][1])
        grad = requires_grad, is_leaf
        tensor: Any
        if sharing[storage] == 1 and not is_view and isinstance(offset, int) and offset == 0:
            tensor = _alone(size, stride, dtype, device, grad)
        else:
            if storage not in storages:
                count = storage_bytes // dtype.itemsize
                storages[storage] = torch.empty((count,), dtype=dtype, device=device)
            tensor = _view(storages[storage], size, stride, offset, dtype, grad)
        if is_conj:
            tensor = torch._conj(tensor)
        if is_neg:
            tensor = torch._neg_view(tensor)
        if is_parameter:
            tensor._is_param = True
        return tensor


def _alone(
    size: list[Any], stride: list[Any], dtype: torch.dtype, device: torch.device, grad: tuple[bool, bool]
) -> torch.Tensor:
    """A tensor with a storage of its own; `grad`: whether it requires gradients, and is a leaf."""
    requires_grad, is_leaf = grad
    made = torch.empty_strided(size, stride, dtype=dtype, device=device, requires_grad=requires_grad)
    if requires_grad and not is_leaf:
        with torch.enable_grad():
            made = made.as_strided(size, stride)
    return made


def _view(
    base: torch.Tensor,
    size: list[Any],
    stride: list[Any],
    offset: Any,
    dtype: torch.dtype,
    grad: tuple[bool, bool],
) -> torch.Tensor:
    """A tensor on the storage of `base`, which then requires gradients if they flow through this one.
    `offset` counts elements of `dtype`; `grad` as in _alone.
    """
    requires_grad, is_leaf = grad
    through = requires_grad and not is_leaf
    if base.dtype != dtype:
        base = base.view(dtype)
    if through and not base.requires_grad:
        base.requires_grad_()
    with torch.set_grad_enabled(through):
        made = base.as_strided(size, stride, offset)
    if requires_grad and is_leaf:
        made.requires_grad_()
    return made


def fake_constant(data: dict[str, Any]) -> torch.Tensor:
    """A tensor of the constant's kind; in a fake mode."""
    dtype, device = getattr(torch, data["dtype"]), device_from(data["device"])
    return torch.empty_strided(data["size"], data["stride"], dtype=dtype, device=device)
