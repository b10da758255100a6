"""What a graph is, taken on the caller's thread while Dynamo waits: cheap, and nothing in it changes
afterwards.

Dynamo hands a backend the user's real tensors as example inputs (torch 2.11-2.13). They are not looked at:
each placeholder carries a fake tensor with the same metadata in `meta["example_value"]`, and of that only
plain facts are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor  # torch 2.11-2.13

from . import ambient
from .collectives import Group, Groups
from .compat import graph_name, symbol_hints
from .errors import Unserializable


@dataclasses.dataclass(frozen=True)
class TensorFacts:
    """One tensor input: everything a compile may depend on, sizes as ints or sympy expressions."""

    dtype: torch.dtype
    device: torch.device
    size: tuple[Any, ...]
    stride: tuple[Any, ...]
    offset: Any
    storage: int
    storage_bytes: Any
    requires_grad: bool
    is_leaf: bool
    is_parameter: bool
    is_view: bool
    is_static: bool
    is_conj: bool
    is_neg: bool
    item: Any


@dataclasses.dataclass(frozen=True)
class SymbolFacts:
    """What the tracer knew of one symbolic size."""

    hint: int | float
    lower: Any
    upper: Any
    is_float: bool
    is_positive: bool


@dataclasses.dataclass(frozen=True)
class NodeFacts:
    """One node; arguments refer to other nodes by the node objects, which are only compared by identity."""

    node: Any
    op: str
    target: Any
    args: Any
    kwargs: Any


@dataclasses.dataclass(frozen=True)
class ModuleFacts:
    """One graph with what its get_attr nodes lead to."""

    nodes: tuple[NodeFacts, ...]
    attributes: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Constant:
    """A tensor that is part of the graph, with the version it had: its contents are read later, on another
    thread.
    """

    tensor: torch.Tensor
    version: int


@dataclasses.dataclass(frozen=True)
class InnerFacts:
    """What Inductor is told beside a graph that AOTAutograd has made; positions are those of inputs and
    outputs.
    """

    is_inference: bool
    is_backward: bool
    static_inputs: tuple[int, ...]
    inputs_to_check: tuple[int, ...]
    layout_opt: bool | None
    visible_outputs: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class GraphSnapshot:
    """A captured graph; `problem` says why it cannot be sent, when that was already seen here.

    `inner` is there for a graph from below AOTAutograd, and `log_levels` with it: what its client wants to be
    told of the compile, by logger. `groups` are the process groups of its collectives.
    """

    module: ModuleFacts | None
    inputs: tuple[Any, ...]
    symbols: dict[Any, SymbolFacts]
    guards: tuple[Any, ...]
    ambient: dict[str, Any]
    name: str
    node_count: int
    device: str
    problem: str | None = None
    inner: InnerFacts | None = None
    log_levels: Mapping[str, int] | None = None
    groups: tuple[Group, ...] = ()


class SymbolicInput:
    """A placeholder that is a symbolic number."""

    def __init__(self, expr: Any, kind: str) -> None:
        self.expr = expr
        self.kind = kind


def snapshot(gm: torch.fx.GraphModule, example_inputs: Sequence[Any]) -> GraphSnapshot:
    """Captures `gm`. Never raises for what the graph holds: `serialize` reports that."""
    name = graph_name(str(getattr(gm, "meta", {}).get("dynamo_compile_id", "graph")))
    return read_with(Reader(), gm, example_inputs, name)


def read_with(
    reader: Reader, gm: torch.fx.GraphModule, example_inputs: Sequence[Any], name: str
) -> GraphSnapshot:
    """What `reader` finds in `gm`."""
    state = ambient.capture()
    count = len(gm.graph.nodes)
    try:
        reader.check()
        module = reader.module(gm)
        inputs = tuple(reader.inputs)
        if len(inputs) != len(example_inputs):
            raise Unserializable(f"{len(inputs)} placeholders, {len(example_inputs)} example inputs")
        symbols, guards = reader.symbols()
    except Unserializable as error:
        return GraphSnapshot(None, (), {}, (), state, name, count, "cpu", str(error))
    return GraphSnapshot(
        *(module, inputs, symbols, guards, state, name, count, reader.device()),
        groups=reader.groups.found(),
    )


def _check_differentiation() -> None:
    """Refuses ways of differentiating that compiled code does not take part in, and eager does."""
    # torch.autograd.forward_ad._current_level (torch 2.11-2.13): below 0 outside dual levels.
    if torch.autograd.forward_ad._current_level >= 0:
        raise Unserializable("it is differentiated in forward mode (torch.autograd.forward_ad)")
    # torch 2.11-2.13: what torch.compile itself looks at. Artifacts carry no traceable backward.
    if torch.is_grad_enabled() and (
        torch._dynamo.config.compiled_autograd or torch._dynamo.compiled_autograd.compiled_autograd_enabled
    ):
        raise Unserializable("its backward is to be compiled by compiled autograd")


class Reader:
    """Collects the facts of one graph."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []
        self.groups = Groups()
        self._shape_env: Any = None
        self._storages: dict[int, int] = {}
        self._used: dict[Any, None] = {}

    def check(self) -> None:
        """Refuses what the graph may not stand under; raises Unserializable."""
        _check_differentiation()

    def module(self, gm: torch.fx.GraphModule, depth: int = 0) -> ModuleFacts:
        """The graph's nodes; placeholders of the outermost graph also become `inputs`."""
        nodes, attributes = [], {}
        for node in gm.graph.nodes:
            if node.op == "placeholder" and depth == 0:
                self.inputs.append(self.input(node, node.meta.get("example_value")))
            if node.op in ("get_attr", "call_module"):
                attributes[node.target] = self._attribute(gm, node, depth)
            nodes.append(NodeFacts(node, node.op, node.target, *self.groups.renamed(node)))
        return ModuleFacts(tuple(nodes), attributes)

    def _attribute(self, gm: torch.fx.GraphModule, node: Any, depth: int) -> Any:
        found: Any = gm
        for part in node.target.split("."):
            found = getattr(found, part)
        if isinstance(found, torch.fx.GraphModule):
            return self.module(found, depth + 1)
        if node.op == "call_module":
            raise Unserializable(
                f"node {node.name} calls module {node.target} of type {type(found).__qualname__}"
            )
        # OutputGraph.param_name_to_source (torch 2.11-2.13): where a tensor comes from that others hold, too.
        # Its contents may change between calls, so they cannot be sent as a constant's.
        if node.target in (getattr(gm, "_param_name_to_source", None) or {}):
            raise Unserializable(f"{node.target} is a tensor of the program's inside the graph")
        if isinstance(found, torch.Tensor):
            if type(found) not in (torch.Tensor, torch.nn.Parameter):
                raise Unserializable(f"node {node.name}: constant of type {type(found).__qualname__}")
            return Constant(found.detach(), found._version)
        return found

    def input(self, node: Any, value: Any) -> Any:
        """The facts of the fake tensor or symbolic number that stands for a placeholder."""
        if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
            return SymbolicInput(self._number(value), type(value).__name__)
        if not isinstance(value, FakeTensor):
            raise Unserializable(
                f"input {node.name} is a {type(value).__module__}.{type(value).__qualname__}"
            )
        if value.layout != torch.strided or value.is_quantized or value.is_nested:
            raise Unserializable(
                f"input {node.name} is a {value.layout} tensor that is not plain and strided"
            )
        if torch._C._functorch.is_functorch_wrapped_tensor(value):
            raise Unserializable(f"input {node.name} is wrapped by a functorch transform")
        storage = value.untyped_storage()
        tensor_dict = node.meta.get("tensor_dict") or {}
        return TensorFacts(
            dtype=value.dtype,
            device=value.device,
            size=tuple(self._number(s) for s in value.size()),
            stride=tuple(self._number(s) for s in value.stride()),
            offset=self._number(value.storage_offset()),
            storage=self._storages.setdefault(storage._cdata, len(self._storages)),
            storage_bytes=self._number(storage.nbytes()),
            requires_grad=value.requires_grad,
            is_leaf=value.is_leaf,
            is_parameter=isinstance(value, torch.nn.Parameter),
            is_view=value._is_view(),
            # torch 2.11-2.13: set by Dynamo on inputs whose address stays the same (parameters, marked
            # static).
            is_static=bool(tensor_dict.get("_dynamo_static_input_type")),
            is_conj=value.is_conj(),
            is_neg=value.is_neg(),
            item=self._item(value),
        )

    def _item(self, value: Any) -> Any:
        # FakeTensor.item_memo (torch 2.11-2.13): the symbol of a Python float that Dynamo wrapped in a
        # tensor. One without a hint stands for a number that is not known before the graph runs.
        item = value.item_memo
        known = isinstance(item, torch.SymFloat | torch.SymInt) and item.node.has_hint()
        return self._number(item) if known else None

    def _number(self, value: Any) -> Any:
        """An int as it is, a symbolic number as its immutable sympy expression."""
        if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
            # SymNode.expr (torch 2.11-2.13) applies the replacements known so far.
            self._shape_env = value.node.shape_env
            expr = value.node.expr
            for symbol in sorted(expr.free_symbols, key=str):
                self._used.setdefault(symbol)
            return expr
        return value

    def symbols(self) -> tuple[dict[Any, SymbolFacts], tuple[Any, ...]]:
        """The symbols in the order of their first use, and what the tracer already assumed of them."""
        if self._shape_env is None:
            return {}, ()
        hints, ranges = symbol_hints(self._shape_env), self._shape_env.var_to_range
        facts = {}
        for symbol in self._used:
            if symbol not in hints:
                raise Unserializable(f"an input depends on data through symbol {symbol}")
            bounds = ranges.get(symbol)
            hint = float(hints[symbol]) if not symbol.is_integer else int(hints[symbol])
            lower, upper = (bounds.lower, bounds.upper) if bounds is not None else (None, None)
            facts[symbol] = SymbolFacts(hint, lower, upper, not symbol.is_integer, bool(symbol.is_positive))
        # ShapeEnv.guards (torch 2.11-2.13): ShapeGuard with its sympy `expr`.
        guards = tuple(g.expr for g in self._shape_env.guards if g.expr.free_symbols <= facts.keys())
        return facts, guards

    def device(self) -> str:
        """The kind of device that the inputs are on."""
        kinds = {i.device.type for i in self.inputs if isinstance(i, TensorFacts)}
        return "cuda" if "cuda" in kinds else "cpu"
