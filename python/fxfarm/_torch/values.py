"""Arguments and targets of graph nodes as plain msgpack data, and back.

msgpack lists are used only for tagged values, so the encoding is unambiguous; it holds no node names, paths
or addresses, so equal graphs encode to equal bytes in every process.
"""

from __future__ import annotations

import enum
import importlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch.fx.node import _get_qualified_name  # torch 2.11-2.13: the importable name of a function

from .errors import Unserializable

_INT64 = range(-(2**63), 2**63)
_FUNCTION_ROOTS = frozenset(("torch", "operator", "_operator", "math", "builtins"))
# Builtins that compute on values; nothing that reaches files, code or imports may be named by a graph.
_BUILTINS = frozenset(
    [
        "abs",
        "all",
        "any",
        "bool",
        "complex",
        "dict",
        "divmod",
        "enumerate",
        "float",
        "frozenset",
        "getattr",
        "hash",
        "int",
        "isinstance",
        "len",
        "list",
        "max",
        "min",
        "pow",
        "range",
        "reversed",
        "round",
        "set",
        "setattr",
        "slice",
        "sorted",
        "str",
        "sum",
        "tuple",
        "type",
        "zip",
    ]
)

Encoder = Callable[[Any], Any]


def lower_version_count(x: torch.Tensor) -> torch.Tensor:
    """Does what Dynamo puts into a graph behind `x.data = y`, which leaves x's version as it was."""
    torch._C._autograd._unsafe_set_version_counter((x,), (max(0, x._version - 1),))
    return x


# torch 2.11-2.13, variables/builtin.py: functions that Dynamo defines inside others, by name. They have no
# closure, so the one here is the same.
_LOCAL_TO_DYNAMO = {"_lower_version_count_by_1": lower_version_count}
# torch 2.11-2.13, _dynamo/utils.py: what Dynamo puts around numpy's functions, operators and methods, and
# where each keeps what is inside.
_NUMPY = {"numpy_to_tensor_wrapper": "f", "numpy_operator_wrapper": "op", "numpy_method_wrapper": "method"}


def encode(value: Any, special: Encoder) -> Any:
    """`value` as plain data. `special` encodes what depends on the graph (nodes, symbolic sizes) or returns
    None.
    """
    if value is None or type(value) in (bool, float, str, bytes):
        return value
    if type(value) is int:
        return value if value in _INT64 else ["I", str(value)]
    found = special(value)
    if found is not None:
        return found
    if isinstance(value, torch.Size):
        return ["sz", *(encode(v, special) for v in value)]
    if isinstance(value, tuple):
        if hasattr(value, "_fields") or type(value).__module__ == "torch.return_types":
            raise Unserializable(f"a named tuple of type {_type_name(value)}")
        return ["t", *(encode(v, special) for v in value)]
    if isinstance(value, list):
        return ["l", *(encode(v, special) for v in value)]
    if isinstance(value, dict):
        return ["d", *([encode(k, special), encode(v, special)] for k, v in value.items())]
    if isinstance(value, slice):
        return ["s", *(encode(v, special) for v in (value.start, value.stop, value.step))]
    if isinstance(value, range):
        return ["r", value.start, value.stop, value.step]
    return _encode_leaf(value)


def _encode_leaf(value: Any) -> Any:
    if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
        return ["torch", str(value).removeprefix("torch.")]
    if isinstance(value, torch.device):
        return ["dev", value.type, value.index]
    if isinstance(value, complex):
        return ["c", value.real, value.imag]
    if value is Ellipsis:
        return ["..."]
    if isinstance(value, enum.Enum) and type(value).__module__.split(".")[0] == "torch":
        return ["enum", type(value).__module__, type(value).__qualname__, value.name]
    if callable(value):
        return encode_target(value)
    raise Unserializable(f"a value of type {_type_name(value)}")


def decode(data: Any, special: Callable[[str, list[Any]], Any]) -> Any:
    """The inverse of `encode`; `special` decodes tags that are not known here."""
    if not isinstance(data, list):
        return data
    tag, rest = data[0], data[1:]
    match tag:
        case "I":
            return int(rest[0])
        case "sz":
            return torch.Size(decode(v, special) for v in rest)
        case "t":
            return tuple(decode(v, special) for v in rest)
        case "l":
            return [decode(v, special) for v in rest]
        case "d":
            return {decode(k, special): decode(v, special) for k, v in rest}
        case "s":
            return slice(*(decode(v, special) for v in rest))
        case "r":
            return range(*rest)
        case "torch":
            return getattr(torch, rest[0])
        case "dev":
            return torch.device(*rest) if rest[1] is not None else torch.device(rest[0])
        case "c":
            return complex(*rest)
        case "...":
            return ...
        case "enum":
            return getattr(_walk(rest[0], rest[1]), rest[2])
        case "op" | "packet" | "hop" | "local" | "numpy" | "fn":
            return decode_target(data)
    return special(tag, rest)


def encode_target(target: Any) -> list[Any]:
    """A function by name, checked to lead back to the very same object."""
    # torch._ops (2.11-2.13): the three kinds of operator objects and how they spell their names.
    if isinstance(target, torch._ops.OpOverload):
        return ["op", target.namespace, target._opname, target._overloadname]
    if isinstance(target, torch._ops.OpOverloadPacket):
        return ["packet", *target._qualified_op_name.split("::")]
    if isinstance(target, torch._ops.HigherOrderOperator):
        if "triton_kernel" in target.__name__:
            raise Unserializable(
                f"operator {target.__name__}: user-defined Triton kernels stay in their process"
            )
        return ["hop", target.__name__]
    local = getattr(target, "__name__", "")
    if local in _LOCAL_TO_DYNAMO and target.__module__.startswith("torch._dynamo."):
        return ["local", local]
    wrapper = type(target).__name__
    if wrapper in _NUMPY and type(target).__module__ == "torch._dynamo.utils":
        inner = getattr(target, _NUMPY[wrapper])
        return ["numpy", wrapper, inner if isinstance(inner, str) else encode_target(inner)]
    try:
        name = _get_qualified_name(target)
    except (RuntimeError, AttributeError):
        name = (
            f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', type(target).__name__)}"
        )
    # The functions of torch._numpy say where they were before they were wrapped.
    for candidate in (
        ["fn", name],
        ["fn", f"builtins.{name}"],
        ["fn", f"torch._numpy.{name.split('.')[-1]}"],
    ):
        try:
            if decode_target(candidate) is target or decode_target(candidate) == target:
                return candidate
        except (Unserializable, AttributeError, ImportError):
            continue
    raise Unserializable(f"function {name}, which a worker cannot import")


def decode_target(data: list[Any]) -> Any:
    """The function that `encode_target` named."""
    match data:
        case ["op", namespace, name, overload]:
            return _operator(namespace, name, overload or "default")
        case ["packet", namespace, name]:
            return _operator(namespace, name, None)
        case ["hop", name]:
            found = getattr(torch.ops.higher_order, name, None)
            if not isinstance(found, torch._ops.HigherOrderOperator):
                raise Unserializable(f"higher-order operator {name} is not registered in this process")
            return found
        case ["local", name]:
            return _LOCAL_TO_DYNAMO[name]
        case ["numpy", wrapper, inner] if wrapper in _NUMPY:
            wrap = getattr(torch._dynamo.utils, wrapper)
            return wrap(inner if isinstance(inner, str) else decode_target(inner))
        case ["fn", name]:
            root, _, path = name.partition(".")
            if root not in _FUNCTION_ROOTS or (root == "builtins" and path not in _BUILTINS):
                raise Unserializable(f"function {name}, which a graph may not name")
            found = _walk(root, path)
            owner = getattr(found, "__module__", None) or root
            if owner.split(".")[0] not in _FUNCTION_ROOTS or not callable(found):
                raise Unserializable(f"function {name}, which a graph may not name")
            return found
    raise Unserializable(f"not a target: {data!r}")


def _operator(namespace: str, name: str, overload: str | None) -> Any:
    try:
        packet = getattr(getattr(torch.ops, namespace), name)
        return packet if overload is None else getattr(packet, overload)
    except AttributeError:
        raise Unserializable(f"operator {namespace}::{name} is not registered in this process") from None


def _walk(module: str, path: str) -> Any:
    """`path` below `module`, importing submodules of torch on the way where needed."""
    if module.split(".")[0] not in _FUNCTION_ROOTS:
        raise Unserializable(f"{module}.{path}, which a graph may not name")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        if not hasattr(found, part) and hasattr(found, "__path__"):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    return found


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def is_plain(value: Any) -> bool:
    """Whether `value` is made of JSON-like parts only, so that it can be sent as it is."""
    if value is None or isinstance(value, bool | str):
        return True
    if isinstance(value, int):
        return value in _INT64
    if isinstance(value, float):
        return not math.isnan(value)
    if isinstance(value, list | tuple):
        return all(is_plain(v) for v in value)
    return isinstance(value, dict) and all(isinstance(k, str) and is_plain(v) for k, v in value.items())
