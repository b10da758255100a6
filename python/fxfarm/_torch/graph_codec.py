"""The canonical bytes of a graph: what the key hashes and what a worker rebuilds the graph from.

Not pickle: plain msgpack data, so a worker that reads a graph runs no code that the sender chose (it imports
modules that it was allowed to, see libraries.py), and the bytes do not depend on names, paths, memo order or
hash seeds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Sequence
from typing import Any

import msgpack
import torch

from fxfarm import pace

from . import ambient, expressions, libraries, pack, values
from .capture import Constant, GraphSnapshot, ModuleFacts, SymbolicInput, TensorFacts
from .collectives import Group
from .errors import CorruptArtifact, Unserializable

KEY_EPOCH = f"fxfarm-{pack.FORMAT}"
FORMAT = 4
_EMPTY = (msgpack.packb(None), msgpack.packb([]), msgpack.packb({}))
PART_BYTES = 6
"""Of a digest that tells parts of keys apart; nothing is addressed by it."""
_OPS = {"call_function": "f", "call_method": "m", "get_attr": "a", "call_module": "M", "output": "o"}


@dataclasses.dataclass(frozen=True)
class SerializedGraph:
    """A graph ready to be sent; `key` is the content hash of `payload` less its labels."""

    key: str
    payload: bytes
    name: str
    node_count: int
    device: str
    groups: tuple[Group, ...] = ()
    parts: dict[str, str] = dataclasses.field(default_factory=dict)
    """What the key covers: digests by name, for people. An empty part has none."""


def serialize(snap: GraphSnapshot) -> SerializedGraph:
    """Raises Unserializable with the reason when the graph cannot leave this process."""
    if snap.module is None or snap.problem is not None:
        raise Unserializable(snap.problem or "unknown")
    packed = _Encoder(snap).graph()
    canonical = map_of(packed)
    labels = {"name": snap.name, "log_levels": snap.log_levels}
    payload = msgpack.packb({"format": FORMAT, "graph": canonical, **labels})
    facts = (snap.name, snap.node_count, snap.device, snap.groups)
    return SerializedGraph(key_of(canonical), payload, *facts, parts_of(packed))


def key_of(canonical: bytes) -> str:
    """64 hex digits over the canonical graph, the torch version and the key epoch."""
    h = hashlib.blake2b(digest_size=32, person=KEY_EPOCH.encode())
    h.update(torch.__version__.encode() + b"\0")
    h.update(canonical)
    return h.hexdigest()


def parts_of(packed: dict[str, bytes]) -> dict[str, str]:
    """Digests of what the key covers, by name: of graphs whose keys differ they tell in what. The settings
    are apart from the rest of the ambient state, since that is what two processes most often differ in.
    """
    bodies = dict(packed)
    modes = msgpack.unpackb(bodies.pop("ambient"))
    settings = modes.pop("config")
    bodies["nodes"], bodies["modes"] = bodies.pop("module"), msgpack.packb(modes)
    bodies.update({f"{name}_config": msgpack.packb(values) for name, values in settings.items()})
    parts = {}
    for name, body in bodies.items():
        pace.step()
        if body not in _EMPTY:
            parts[name] = hashlib.blake2b(body, digest_size=PART_BYTES).hexdigest()
    return parts


# The bytes of the whole are made from those of its parts, so that the lists of one node are gone when the
# next is encoded: containers that live on by the thousand have Python's collector search all of the process,
# for a fraction of a second and with the interpreter lock.


def map_of(parts: dict[str, bytes]) -> bytes:
    """The bytes of a map from those of its values."""
    head = msgpack.Packer().pack_map_header(len(parts))
    return b"".join((head, *itertools.chain.from_iterable((msgpack.packb(k), v) for k, v in parts.items())))


def list_of(parts: Sequence[bytes]) -> bytes:
    """The bytes of a list from those of its members."""
    return b"".join((msgpack.Packer().pack_array_header(len(parts)), *parts))


class _Encoder:
    def __init__(self, snap: GraphSnapshot) -> None:
        self._snap = snap
        self._symbols = {symbol: i for i, symbol in enumerate(snap.symbols)}
        self._constants: list[Any] = []
        self._constant_ids: dict[int, int] = {}
        self._origins: dict[str, list[str]] = {}

    def graph(self) -> dict[str, bytes]:
        """What there is of the graph by name, each as msgpack."""
        assert self._snap.module is not None
        guards = {msgpack.packb(self._expr(g)): None for g in self._snap.guards}
        inputs = []
        for facts in self._snap.inputs:
            pace.step()
            inputs.append(msgpack.packb(self._input(facts)))
        first = {
            "inputs": list_of(inputs),
            "symbols": msgpack.packb([self._symbol(f) for f in self._snap.symbols.values()]),
            "guards": msgpack.packb(sorted(guards)),
            "module": self._module(self._snap.module),
        }
        pace.step()
        # The module brings the constants and the operators.
        rest = {
            "constants": self._constants,
            "operators": sorted(self._origins.values()),
            "ambient": ambient.reduce_config(self._snap.ambient),
            "groups": [len(g.ranks) for g in self._snap.groups],
            "inner": None if self._snap.inner is None else dataclasses.asdict(self._snap.inner),
        }
        return {**first, **{name: msgpack.packb(value) for name, value in rest.items()}}

    def _expr(self, expr: Any) -> Any:
        return expressions.encode(expr, self._symbols)

    def _symbol(self, facts: Any) -> list[Any]:
        bounds = [None if b is None else self._expr(b) for b in (facts.lower, facts.upper)]
        return [facts.hint, *bounds, facts.is_float, facts.is_positive]

    def _input(self, facts: TensorFacts | SymbolicInput) -> dict[str, Any]:
        if isinstance(facts, SymbolicInput):
            return {"kind": facts.kind, "expr": self._expr(facts.expr)}
        return {
            "kind": "tensor",
            "dtype": str(facts.dtype).removeprefix("torch."),
            "device": [facts.device.type, facts.device.index],
            "size": [self._expr(s) for s in facts.size],
            "stride": [self._expr(s) for s in facts.stride],
            "offset": self._expr(facts.offset),
            "storage": [facts.storage, self._expr(facts.storage_bytes)],
            "flags": [
                *(facts.requires_grad, facts.is_leaf, facts.is_parameter, facts.is_view),
                *(facts.is_static, facts.is_conj, facts.is_neg),
            ],
            "item": None if facts.item is None else self._expr(facts.item),
        }

    def _module(self, module: ModuleFacts, depth: int = 0) -> bytes:
        numbers: dict[Any, int] = {}
        nodes: list[bytes] = []

        def special(value: Any) -> Any:
            if isinstance(value, torch.fx.Node):
                if value not in numbers:
                    raise Unserializable(f"node {value.name} is used before it is made")
                return ["n", numbers[value]]
            if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
                return ["x", type(value).__name__, self._expr(value.node.expr)]
            self._note_origin(value)
            return None

        placeholders = 0
        for facts in module.nodes:
            pace.step()
            if facts.op == "placeholder":
                placeholders += 1
                nodes.append(msgpack.packb(["p"]))
            else:
                try:
                    target = self._target(module, facts.op, facts.target, depth)
                    args = [values.encode(a, special) for a in facts.args]
                    kwargs = [[k, values.encode(v, special)] for k, v in sorted(facts.kwargs.items())]
                except Unserializable as error:
                    raise Unserializable(
                        f"node {facts.node.name} ({facts.op} {facts.target}): {error}"
                    ) from None
                nodes.append(
                    list_of(
                        [msgpack.packb(_OPS[facts.op]), target, msgpack.packb(args), msgpack.packb(kwargs)]
                    )
                )
            numbers[facts.node] = len(nodes) - 1
        return map_of({"nodes": list_of(nodes), "placeholders": msgpack.packb(placeholders)})

    def _target(self, module: ModuleFacts, op: str, target: Any, depth: int) -> bytes:
        if op == "get_attr" or op == "call_module":
            return list_of(self._attribute(module.attributes[target], depth))
        if op == "call_function":
            self._note_origin(target)
            target = values.encode_target(target)
        packed: bytes = msgpack.packb(None if op == "output" else target)
        return packed

    def _attribute(self, found: Any, depth: int) -> list[bytes]:
        if isinstance(found, ModuleFacts):
            return [msgpack.packb("module"), self._module(found, depth + 1)]
        if isinstance(found, Constant):
            if depth:
                raise Unserializable("a constant tensor inside a nested graph")
            return [msgpack.packb("constant"), msgpack.packb(self._constant(found))]
        return [msgpack.packb("value"), msgpack.packb(values.encode(found, lambda _: None))]

    def _note_origin(self, value: Any) -> None:
        origin = libraries.origin(value)
        if origin is not None:
            self._origins[origin[0]] = origin

    def _constant(self, constant: Constant) -> int:
        tensor = constant.tensor
        known = self._constant_ids.get(id(tensor))
        if known is not None:
            return known
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_conj() or tensor.is_neg():
            raise Unserializable(f"a constant tensor that is not plain and strided ({tensor.layout})")
        data = tensor_bytes(tensor)
        if tensor._version != constant.version:
            raise Unserializable("a constant tensor changed while the graph was being sent")
        self._constants.append(
            {
                "dtype": str(tensor.dtype).removeprefix("torch."),
                "device": [tensor.device.type, tensor.device.index],
                "size": list(tensor.size()),
                "stride": list(tensor.stride()),
                "data": data,
            }
        )
        self._constant_ids[id(tensor)] = len(self._constants) - 1
        return len(self._constants) - 1


def tensor_bytes(tensor: torch.Tensor) -> bytes:
    """The elements in order of their indices."""
    dense = tensor.detach().to("cpu").contiguous()
    if dense.numel() == 0:
        return b""
    return dense.reshape(-1).view(torch.uint8).numpy().tobytes()


def tensor_from(data: dict[str, Any]) -> torch.Tensor:
    """A tensor from what a graph or an artifact carries of it, with the strides it had.

    Raises CorruptArtifact when it carries more or less than the tensor has.
    """
    dtype = getattr(torch, data["dtype"])
    wanted = math.prod(data["size"]) * dtype.itemsize
    # Before room is made for it.
    if len(data["data"]) != wanted:
        raise CorruptArtifact(f"a tensor of {wanted} bytes comes with {len(data['data'])}")
    dense = torch.empty(data["size"], dtype=dtype)
    if dense.numel():
        dense.reshape(-1).view(torch.uint8).copy_(
            torch.frombuffer(bytearray(data["data"]), dtype=torch.uint8)
        )
    made = torch.empty_strided(data["size"], data["stride"], dtype=dtype, device=device_from(data["device"]))
    return made.copy_(dense)


def device_from(data: list[Any]) -> torch.device:
    """A device from its type and index; a CPU has no index, and `cpu:0` is not the same to the tracer."""
    return torch.device(*[part for part in data if part is not None])
