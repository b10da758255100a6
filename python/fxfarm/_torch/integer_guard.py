"""A guard's expression, as Inductor prints it, as steps that `_core.IntegerGuard` runs without Python."""

from __future__ import annotations

import ast
from collections.abc import Callable

from .. import _core

Steps = list[tuple[str, int]]

# As torch.utils._sympy.printers.PythonPrinter prints integers and conditions on them (torch 2.11-2.13).
_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.FloorDiv: "floor_divide",
    ast.Mod: "modulo",
}
_RELATION: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "unequal",
    ast.Lt: "less",
    ast.LtE: "less_or_equal",
}
_MIRRORED: dict[type[ast.cmpop], str] = {ast.Gt: "less", ast.GtE: "less_or_equal"}
_EXTREME = {
    "min": "smaller",
    "max": "larger",
    "torch.sym_min": "smaller",
    "torch.sym_max": "larger",
}
_EXPONENT_MAX = 8


class _Unknown(Exception):
    """Something that no step does."""


def guard_of(expression: str, otherwise: Callable[..., bool]) -> Callable[..., bool]:
    """The test of a call's arguments by steps; `otherwise`, which is the same in Python, when the expression
    has something in it that they cannot do, or is too long.
    """
    steps = steps_of(expression)
    if steps is None:
        return otherwise
    try:
        return _core.IntegerGuard(steps, otherwise)
    except ValueError:
        return otherwise


def steps_of(expression: str) -> Steps | None:
    """The steps for a condition on `a[0]`, `a[1]`, ..., all of them integers; None when there is something in
    it that they cannot do.
    """
    try:
        return _condition(ast.parse(expression.strip(), mode="eval").body)
    except (_Unknown, SyntaxError, RecursionError):
        return None


def _condition(node: ast.expr) -> Steps:
    match node:
        case ast.BoolOp(op, values):
            both = "both" if isinstance(op, ast.And) else "either"
            return _joined([_condition(value) for value in values], both)
        case ast.UnaryOp(ast.Not(), operand):
            return [*_condition(operand), ("is_not", 0)]
        case ast.Constant(bool() as value):
            return [("number", int(value))]
        case ast.Compare(left, ops, comparators):
            sides = [left, *comparators]
            return _joined([_relation(sides[i], op, sides[i + 1]) for i, op in enumerate(ops)], "both")
    raise _Unknown


def _relation(left: ast.expr, op: ast.cmpop, right: ast.expr) -> Steps:
    if (word := _RELATION.get(type(op))) is not None:
        return [*_number(left), *_number(right), (word, 0)]
    if (word := _MIRRORED.get(type(op))) is not None:
        return [*_number(right), *_number(left), (word, 0)]
    raise _Unknown


def _number(node: ast.expr) -> Steps:
    match node:
        case ast.Constant(int() as value) if not isinstance(value, bool) and abs(value) < 2**63:
            return [("number", value)]
        case ast.Subscript(ast.Name("a"), ast.Constant(int() as position)):
            return [("argument", position)]
        case ast.UnaryOp(ast.USub(), operand):
            return [*_number(operand), ("negate", 0)]
        case ast.BinOp(base, ast.Pow(), ast.Constant(int() as times)) if 1 <= times <= _EXPONENT_MAX:
            return _joined([_number(base)] * times, "multiply")
        case ast.BinOp(left, op, right) if type(op) in _BINARY:
            return [*_number(left), *_number(right), (_BINARY[type(op)], 0)]
        case ast.Call(function, args, []) if args and ast.unparse(function) in _EXTREME:
            return _joined([_number(arg) for arg in args], _EXTREME[ast.unparse(function)])
    raise _Unknown


def _joined(parts: list[Steps], word: str) -> Steps:
    """One after the other, so that few values are there at the same time."""
    steps = list(parts[0])
    for part in parts[1:]:
        steps += [*part, (word, 0)]
    return steps
