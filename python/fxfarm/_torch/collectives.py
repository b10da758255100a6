"""Graphs with collectives, as torch.distributed._functional_collectives makes them.

Their operators name process groups, and names differ between ranks and jobs. In the farm a group is a number
and a size, so that the ranks of a job ask for one compile; the names come back when an artifact is loaded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import types
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from .errors import Unserializable

_NAMESPACES = ("_c10d_functional", "_c10d_functional_autograd", "_dtensor")
_OTHERS = ("c10d", "c10d_functional", "symm_mem")
# The two ends of these are different graphs, with a count of calls each.
_POINT_TO_POINT = ("isend", "irecv", "batch_p2p_ops")
_STAND_IN = "fxfarm-group-"
_JOB_KEY = "fxfarm/job"


@dataclasses.dataclass(frozen=True)
class Group:
    """A process group of a graph: its name here, and its members by their ranks in the job."""

    name: str
    ranks: tuple[int, ...]


class Groups:
    """The process groups that a graph's nodes name, in the order of their first use."""

    def __init__(self) -> None:
        self._found: dict[str, Group] = {}

    def found(self) -> tuple[Group, ...]:
        """Those seen so far."""
        return tuple(self._found.values())

    def renamed(self, node: torch.fx.Node) -> tuple[Any, Any]:
        """The node's arguments with stand-ins for names of groups; raises Unserializable."""
        position = _group_position(node.target) if node.op == "call_function" else None
        if position is None:
            return node.args, node.kwargs
        args, kwargs = list(node.args), dict(node.kwargs)
        if position < len(args):
            args[position] = self._stand_in(args[position])
        else:
            kwargs["group_name"] = self._stand_in(kwargs["group_name"])
        return tuple(args), kwargs

    def _stand_in(self, name: Any) -> str:
        if type(name) is not str:
            raise Unserializable(f"a collective of a group that is a {type(name).__qualname__}")
        if name not in self._found:
            self._found[name] = Group(name, _ranks(name))
        return f"{_STAND_IN}{list(self._found).index(name)}"


def _group_position(target: Any) -> int | None:
    """Where an operator takes the name of a process group; None: it takes none."""
    # torch._ops (2.11-2.13): Dynamo's graphs have packets, AOTAutograd's overloads.
    if isinstance(target, torch._ops.OpOverloadPacket):
        namespace, name = target._qualified_op_name.split("::")
    elif isinstance(target, torch._ops.OpOverload):
        namespace, name = target.namespace, target._opname
    else:
        return None
    if namespace in _OTHERS or (namespace in _NAMESPACES and name in _POINT_TO_POINT):
        raise Unserializable(f"operator {namespace}.{name} communicates in a way that ranks cannot agree on")
    if namespace not in _NAMESPACES:
        return None
    overload: Any = target.default if isinstance(target, torch._ops.OpOverloadPacket) else target
    names = [a.name for a in overload._schema.arguments]
    return names.index("group_name") if "group_name" in names else None


def _c10d() -> Any:
    import torch.distributed.distributed_c10d as c10d

    return c10d


def _ranks(name: str) -> tuple[int, ...]:
    # torch 2.11-2.13, distributed_c10d._resolve_process_group: as the collectives find their groups.
    c10d = _c10d()
    try:
        return tuple(c10d.get_process_group_ranks(c10d._resolve_process_group(name)))
    except (RuntimeError, KeyError, ValueError) as error:
        raise Unserializable(f"process group {name!r} is not known here: {error}") from None


@contextlib.contextmanager
def stand_ins(sizes: Sequence[int]) -> Iterator[None]:
    """Registers groups of those sizes that communicate with nobody, for a compile (worker side).

    They have no default group beside them, so that code which asks for this process's rank raises: a compile
    serves every rank (torch 2.11-2.13, distributed_c10d.get_rank).
    """
    if not sizes:
        yield
        return
    from torch._C._distributed_c10d import FakeProcessGroup, HashStore

    c10d, store = _c10d(), HashStore()
    registered = []
    try:
        for i, size in enumerate(sizes):
            # As distributed_c10d._new_process_group_helper puts one together (torch 2.11-2.13).
            group: Any = c10d.ProcessGroup(store, 0, size)
            backend: Any = FakeProcessGroup._create_internal(0, size)
            for kind in ("cpu", "cuda"):
                group._register_backend(torch.device(kind), c10d.ProcessGroup.BackendType.CUSTOM, backend)
            group._set_group_name(f"{_STAND_IN}{i}")
            c10d._register_process_group(f"{_STAND_IN}{i}", group)
            registered.append(f"{_STAND_IN}{i}")
        yield
    finally:
        for name in registered:
            c10d._unregister_process_group(name)


def with_names(code: types.CodeType, names: Sequence[str]) -> types.CodeType:
    """`code` of an artifact with the process's own names of its groups in place of the stand-ins."""
    own = {f"{_STAND_IN}{i}": name for i, name in enumerate(names)}
    return _replaced(code, own) if own else code


def _replaced(value: Any, own: Mapping[str, str]) -> Any:
    if isinstance(value, types.CodeType):
        return value.replace(co_consts=tuple(_replaced(c, own) for c in value.co_consts))
    if isinstance(value, tuple):
        return tuple(_replaced(v, own) for v in value)
    return own.get(value, value) if isinstance(value, str) else value


def rank() -> int:
    """This process's rank in its job."""
    return torch.distributed.get_rank()


def world() -> int:
    """The number of ranks in the job."""
    return torch.distributed.get_world_size()


def incarnation() -> str:
    """A text that all ranks of this start of the job have, and no other job. Waits for the job's store.

    The store is what ranks have met through (torch 2.11-2.13, distributed_c10d._get_default_store).
    """
    return decide(_JOB_KEY, uuid.uuid4().hex)


def decide(key: str, mine: str) -> str:
    """What the first rank that asked about `key` has said: `mine`, or that of another. Waits for the job's
    store; raises what it raises when the job has lost it.
    """
    said: bytes = _c10d()._get_default_store().compare_set(key, "", mine)
    return said.decode()
