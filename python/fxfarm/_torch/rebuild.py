"""A graph from its canonical bytes, on the worker: graph module, fake inputs, shape environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgpack
import sympy
import torch
from torch._dynamo.source import ConstantSource, LocalSource  # torch 2.11-2.13
from torch._subclasses.fake_tensor import FakeTensorMode  # torch 2.11-2.13
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv  # torch 2.11-2.13

from . import expressions, libraries, said, values
from .capture import InnerFacts
from .errors import CompileError, Unserializable
from .graph_codec import FORMAT, device_from

_OPS = {"f": "call_function", "m": "call_method"}


@dataclasses.dataclass(frozen=True)
class ItemInput:
    """A tensor input of one element that the graph reads as a number: its place, the symbols that the number
    is made of, and its value when the graph was captured.
    """

    position: int
    symbols: frozenset[str]
    value: int | float


@dataclasses.dataclass
class RebuiltGraph:
    """What a compile takes. Constants of the graph are its last inputs, so that an artifact carries them
    once. `static` inputs stay where they are in memory: parameters, buffers, what was marked so. `inner` is
    there for a graph from below AOTAutograd, with `log_levels`: see capture.InnerFacts. So many of the shape
    environment's guards are `guards_known` when the graph is called; the others the compile has made. Its
    collectives are of process groups of the sizes `groups`.
    """

    module: torch.fx.GraphModule
    fake_mode: Any
    inputs: list[Any]
    static: list[bool]
    constants: list[dict[str, Any]]
    symbolic_positions: list[int]
    ambient: dict[str, Any]
    inner: InnerFacts | None
    log_levels: dict[str, int]
    items: list[ItemInput]
    fixed: frozenset[str]
    guards_known: int
    groups: list[int]

    def pinned(self) -> list[tuple[int, int | float]]:
        """Inputs of one element whose value compiled code relies on: places and values. It has fixed those,
        or has assumed something of them."""
        made = self.fake_mode.shape_env.guards[self.guards_known :]
        relied_on = {str(symbol) for guard in made for symbol in guard.expr.free_symbols} | self.fixed
        return [(item.position, item.value) for item in self.items if item.symbols & relied_on]


def rebuild(payload: bytes, fixed: Collection[str] = ()) -> RebuiltGraph:
    """A number that an input of one element holds is a constant where one of its symbols is among `fixed`.

    Raises CompileError(bad_input) for bytes that are no graph or name what this process lacks.
    """
    try:
        outer = msgpack.unpackb(payload, strict_map_key=False)
        if outer["format"] != FORMAT:
            raise CompileError("bad_input", f"graph format {outer['format']}, this engine reads {FORMAT}")
        data = msgpack.unpackb(outer["graph"], strict_map_key=False, use_list=True)
        libraries.bring(data["operators"])
        symbols = _Symbols(data)
        mode = symbols.restore()
        items = list(symbols.items())
        literals = {i.position: i.value for i in items if not i.symbols or i.symbols & set(fixed)}
        inputs = _Inputs(mode, symbols, literals).build(data["inputs"])
        inner = None if data["inner"] is None else InnerFacts(**data["inner"])
        levels = said.checked_levels(outer["log_levels"] or {})
        builder = _Builder(data["constants"], symbols.number, literals)
        static = [i["kind"] == "tensor" and i["flags"][4] for i in data["inputs"]]
        static += [True] * len(data["constants"])
        if inner is None:
            module = builder.from_dynamo(data["module"], static)
        else:
            module = builder.from_autograd(data["module"], inner)
        with mode:
            lifted = [_fake_constant(c) for c in data["constants"]]
    except CompileError:
        raise
    except Unserializable as error:
        raise CompileError("unserializable", str(error)) from error
    # Whatever torch and sympy make of what is no graph: they were not made to be told such.
    except Exception as error:
        raise CompileError("bad_input", f"not a graph: {type(error).__name__}: {error}") from error
    # The inputs that guards call t0, t1, ...: those that are still symbolic.
    positions = [i for i, value in enumerate(inputs) if isinstance(value, torch.SymInt)]
    return RebuiltGraph(
        *(module, mode, inputs + lifted, static, data["constants"], positions, data["ambient"]),
        *(inner, levels, items, frozenset(fixed), len(mode.shape_env.guards), data["groups"]),
    )


def _fake_constant(data: dict[str, Any]) -> torch.Tensor:
    dtype, device = getattr(torch, data["dtype"]), device_from(data["device"])
    return torch.empty_strided(data["size"], data["stride"], dtype=dtype, device=device)


class _Symbols:
    """Symbols with their hints and ranges, then the assumptions that the tracer had made of them."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._env: Any = ShapeEnv()
        self._symbols: list[Any] = []

    def restore(self) -> Any:
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


class _Inputs:
    """Fake tensors with the captured metadata, sharing storages where the originals did."""

    def __init__(self, mode: Any, symbols: _Symbols, literals: Mapping[int, int | float]) -> None:
        self._mode = mode
        self._symbols = symbols
        self._number = symbols.number
        self._literals = literals

    def build(self, inputs: list[dict[str, Any]]) -> list[Any]:
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
        tensor: Any
        requires_grad, is_leaf, is_parameter, is_view, _, is_conj, is_neg = facts["flags"]
        dtype, device = getattr(torch, facts["dtype"]), device_from(facts["device"])
        size = [self._number(s) for s in facts["size"]]
        stride = [self._number(s) for s in facts["stride"]]
        offset = self._number(facts["offset"])
        storage, nbytes = facts["storage"][0], self._number(facts["storage"][1])
        plain = sharing[storage] == 1 and not is_view and isinstance(offset, int) and offset == 0
        track = requires_grad and not is_leaf
        if plain:
            tensor = torch.empty_strided(
                size, stride, dtype=dtype, device=device, requires_grad=requires_grad
            )
            if track:
                with torch.enable_grad():
                    tensor = tensor.as_strided(size, stride)
        else:
            if storage not in storages:
                count = nbytes // dtype.itemsize
                storages[storage] = torch.empty((count,), dtype=dtype, device=device)
            base = storages[storage]
            if base.dtype != dtype:
                base = base.view(dtype)
            if track and not base.requires_grad:
                base.requires_grad_()
            with torch.set_grad_enabled(track):
                tensor = base.as_strided(size, stride, offset)
            if requires_grad and is_leaf:
                tensor.requires_grad_()
        if is_conj or is_neg:
            tensor = torch._conj(tensor) if is_conj else tensor
            tensor = torch._neg_view(tensor) if is_neg else tensor
        if is_parameter:
            tensor._is_param = True
        return tensor


class _Builder:
    def __init__(
        self, constants: list[dict[str, Any]], number: Any, literals: Mapping[int, int | float]
    ) -> None:
        self._constants = constants
        self._number = number
        self._literals = literals

    def from_autograd(self, data: dict[str, Any], inner: InnerFacts) -> Any:
        """A graph as AOTAutograd gives it to Inductor."""
        module = self._module(data, top=True)
        (output,) = module.graph.find_nodes(op="output")
        output.meta["user_visible_output_idxs"] = list(inner.visible_outputs)  # torch 2.13
        return module

    def from_dynamo(self, data: dict[str, Any], static: list[bool]) -> Any:
        """A graph as Dynamo gives it to a backend."""
        module: Any = self._module(data, top=True)

        def mark(module: Any) -> None:
            # torch 2.11-2.13, frontend_utils._try_get_metadata_from_dynamo: these fields tell AOTAutograd
            # which inputs are static (parameters), as they do for a graph straight from Dynamo.
            module.meta["dynamo_compile_id"] = None
            module._param_name_to_source = {}
            placeholders = module.graph.find_nodes(op="placeholder")
            for i, (node, stays) in enumerate(zip(placeholders, static, strict=True)):
                node._dynamo_source = LocalSource(f"fxfarm_input_{i}")
                if stays:
                    node.meta["tensor_dict"] = {"_dynamo_static_input_type": "unguarded"}

        mark(module)
        # standalone_compile compiles a deep copy, which leaves such fields out.
        module._register_deepcopy_hook(mark)
        return module

    def _module(self, data: dict[str, Any], top: bool = False) -> torch.fx.GraphModule:
        graph = torch.fx.Graph()
        root = torch.nn.Module()
        made: list[Any] = []

        def special(tag: str, rest: list[Any]) -> Any:
            if tag == "n":
                return made[rest[0]]
            if tag == "x":
                return self._number(rest[1], rest[0])
            raise Unserializable(f"unknown tag {tag}")

        def decode(value: Any) -> Any:
            return values.decode(value, special)

        lifted: list[Any] = []
        for item in data["nodes"]:
            if item[0] == "p":
                made.append(graph.placeholder(f"arg_{len(made)}"))
                continue
            if top and len(made) == data["placeholders"] and not lifted:
                lifted = [graph.placeholder(f"constant_{i}") for i in range(len(self._constants))]
            op, target, args, kwargs = item
            if top and op == "m" and target == "item" and args[0][1] in self._literals:
                # Inputs are the first nodes, so that a node's number is an input's position.
                made.append(self._literals[args[0][1]])
            elif op == "a":
                made.append(self._attribute(graph, root, target, lifted))
            elif op == "M":
                name = self._add(root, self._module(target[1]))
                made.append(
                    graph.call_module(name, tuple(map(decode, args)), {k: decode(v) for k, v in kwargs})
                )
            elif op == "o":
                made.append(graph.output(decode(args[0])))
            else:
                function = values.decode_target(target) if op == "f" else target
                keywords = {k: decode(v) for k, v in kwargs}
                made.append(graph.create_node(_OPS[op], function, tuple(map(decode, args)), keywords))
        return torch.fx.GraphModule(root, graph)

    def _attribute(self, graph: Any, root: Any, target: list[Any], lifted: list[Any]) -> Any:
        kind, value = target
        if kind == "constant":
            return lifted[value]
        if kind == "module":
            return graph.get_attr(self._add(root, self._module(value)))
        name = f"value_{len(root.__dict__)}"
        setattr(root, name, values.decode(value, lambda tag, _: _unknown(tag)))
        return graph.get_attr(name)

    @staticmethod
    def _add(root: Any, module: torch.fx.GraphModule) -> str:
        name = f"module_{len(root._modules)}"
        root.add_module(name, module)
        return name


def _unknown(tag: str) -> Any:
    raise Unserializable(f"unknown tag {tag}")
