"""Symbolic size expressions as plain lists: canonical, so that equal expressions encode to equal bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import sympy
from torch.utils._sympy import (
    functions as torch_functions,
)  # torch 2.11-2.13: FloorDiv, Mod, ModularIndexing, ...
from torch.utils._sympy import numbers as torch_numbers  # torch 2.11-2.13: int_oo

from .errors import Unserializable

_SYMPY = ("Add", "Mul", "Pow", "Max", "Min", "And", "Or", "Not", "Abs", "Piecewise")
_RELATIONS = {
    "Equality": sympy.Eq,
    "Unequality": sympy.Ne,
    "StrictLessThan": sympy.Lt,
    "LessThan": sympy.Le,
    "StrictGreaterThan": sympy.Gt,
    "GreaterThan": sympy.Ge,
}
_COMMUTATIVE = frozenset(("Add", "Mul", "Max", "Min", "And", "Or", "Equality", "Unequality"))
_ATOMS: dict[str, Any] = {
    "true": sympy.true,
    "false": sympy.false,
    "oo": sympy.oo,
    "-oo": -sympy.oo,
    "int_oo": torch_numbers.int_oo,
    "-int_oo": -torch_numbers.int_oo,
}


def encode(expr: Any, symbols: Mapping[Any, int]) -> Any:
    """`expr` with its symbols replaced by their numbers; operands of commutative functions in one fixed
    order.
    """
    if isinstance(expr, bool):
        return expr
    if isinstance(expr, int):
        return int(expr)
    if isinstance(expr, float):
        return float(expr)
    if expr.is_Symbol:
        if expr not in symbols:
            raise Unserializable(f"size expression uses symbol {expr}, which no input of the graph defines")
        return ["$", symbols[expr]]
    if expr.is_Integer:
        return int(expr)
    if expr.is_Float:
        return float(expr)
    if expr.is_Rational:
        return ["/", int(expr.p), int(expr.q)]
    for name, atom in _ATOMS.items():
        if expr is atom or (type(expr) is type(atom) and expr == atom):
            return ["!", name]
    name = type(expr).__name__
    _function(name)
    args = [encode(a, symbols) for a in expr.args]
    if name in _COMMUTATIVE:
        args.sort(key=msgpack.packb)
    return ["f", name, args]


def decode(data: Any, symbols: Callable[[int], Any]) -> Any:
    """The inverse of `encode` over sympy values; `symbols` gives the symbol of a number."""
    if isinstance(data, bool):
        return sympy.true if data else sympy.false
    if isinstance(data, int):
        return sympy.Integer(data)
    if isinstance(data, float):
        return sympy.Float(data)
    match data:
        case ["$", index]:
            return symbols(index)
        case ["/", p, q]:
            return sympy.Rational(p, q)
        case ["!", name]:
            return _ATOMS[name]
        case ["f", name, args]:
            return _function(name)(*(decode(a, symbols) for a in args))
    raise Unserializable(f"not a size expression: {data!r}")


def _function(name: str) -> Any:
    if name in _RELATIONS:
        return _RELATIONS[name]
    if name in _SYMPY:
        return getattr(sympy, name)
    found = getattr(torch_functions, name, None)
    if isinstance(found, type) and issubclass(found, sympy.Basic):
        return found
    raise Unserializable(f"size expression uses function {name}, which fxfarm does not know")
