"""What a compile assumed of its arguments beyond what Dynamo checks, as one test of a call's arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from . import integer_guard

Guard = Callable[..., bool]


def aliasing(inputs: Sequence[Any], static: Sequence[bool], mutated: Sequence[int]) -> dict[str, Any] | None:
    """How inputs overlap in memory, as plain data; None where that is of no importance.

    AOTAutograd (torch 2.11-2.13) takes an input that is written to for one that is apart from the others, or
    has it share a base with those that it overlaps, by what it sees of the example inputs. Parameters and
    buffers (`static`) are known to Dynamo one by one and are left out.
    """
    tensors = [i for i, t in enumerate(inputs) if isinstance(t, torch.Tensor) and not static[i]]
    written = [i for i in mutated if i in tensors]
    if not written or len(tensors) < 2:
        return None
    return {"tensors": tensors, "written": written, "overlaps": _overlaps(inputs, tensors, written)}


def guard_of(manifest: dict[str, Any]) -> Guard | None:
    """The test of a call's arguments, which come singly; None when every call fits."""
    numbers = _numbers(manifest["guards"], manifest["guard_positions"], manifest["pinned"])
    parts = [numbers, _apart(manifest["aliasing"])]
    found = [p for p in parts if p is not None]
    if len(found) < 2:
        return found[0] if found else None
    return lambda *args: all(fits(*args) for fits in found)


def _numbers(
    expression: str | None, positions: Sequence[int], pinned: Sequence[tuple[int, int | float]]
) -> Guard | None:
    """Sizes are the arguments at `positions`; `pinned` are places of tensors of one element, with the value
    that each has to have.
    """
    # The names that ShapeEnv.produce_guards_expression uses (torch 2.11-2.13).
    from torch.fx.experimental.symbolic_shapes import SYMPY_INTERP

    body = expression or ""
    for i in range(len(positions)):
        body = body.replace(f"L['t{i}']", f"a[{positions[i]}]")
    terms = [f"({body})"] if body else []
    terms += [f"a[{position}].item() == {value!r}" for position, value in pinned]
    if not terms:
        return None
    made: Guard = eval(f"lambda *a: bool({' and '.join(terms)})", dict(SYMPY_INTERP))
    # Python has to be asked of tensors only, and of numbers that are symbolic or too large.
    return made if pinned else integer_guard.guard_of(body, made)


def _apart(assumed: dict[str, Any] | None) -> Guard | None:
    if assumed is None:
        return None
    tensors, written, overlaps = assumed["tensors"], assumed["written"], assumed["overlaps"]

    def fits(*args: Any) -> bool:
        if len({args[i].untyped_storage()._cdata for i in tensors}) == len(tensors):
            return not overlaps
        return bool(_overlaps(args, tensors, written) == overlaps)

    return fits


def _overlaps(args: Sequence[Any], tensors: Sequence[int], written: Sequence[int]) -> list[list[Any]]:
    """[i, j, place of i, place of j] for each pair that overlaps and of which one is written to."""
    ranges = {i: _range(args[i]) for i in tensors}
    found = []
    for i in written:
        for j in tensors:
            if j == i or (j in written and j < i):
                continue
            (storage, first, end), (other, first_other, end_other) = ranges[i], ranges[j]
            if storage == other and first < end_other and first_other < end:
                found.append([i, j, _place(args[i], first), _place(args[j], first_other)])
    return found


def _place(tensor: torch.Tensor, first: int) -> list[Any]:
    """Where a view begins, and in what: its base as AOTAutograd makes it again at each call, which is the one
    that autograd knows or else the whole storage.
    """
    base = tensor._base
    shape = None if base is None else [[_number(n) for n in base.shape], [_number(n) for n in base.stride()]]
    return [first, _number(tensor.untyped_storage().nbytes()), shape]


def _range(tensor: torch.Tensor) -> tuple[int, int, int]:
    """Storage, first byte and the byte behind the last; symbolic sizes count as their hints."""
    size, stride = [_number(n) for n in tensor.shape], [_number(n) for n in tensor.stride()]
    first = _number(tensor.storage_offset())
    last = first + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    end = first if 0 in size else last + 1
    return tensor.untyped_storage()._cdata, first * tensor.itemsize, end * tensor.itemsize


def _number(value: Any) -> int:
    # SymNode.hint (torch 2.11-2.13): asking a symbolic number itself would make an assumption of the answer.
    return int(value.node.hint) if isinstance(value, torch.SymInt) else int(value)
