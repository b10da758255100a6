"""A graph from its canonical bytes, on the worker: graph module, fake inputs, shape environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import msgpack
import torch
from torch._dynamo.source import LocalSource  # torch 2.11-2.13

from . import libraries, said, values
from .capture import InnerFacts
from .errors import CompileError, Unserializable
from .fake_inputs import Inputs, ItemInput, Symbols, fake_constant
from .graph_codec import FORMAT

# Nodes as graph_codec writes them: a placeholder is ["p"]; the others are [op, target, arguments, keyword
# arguments] with "a" for get_attr, "M" for call_module, "o" for the output, and these.
_OPS = {"f": "call_function", "m": "call_method"}


@dataclasses.dataclass
class RebuiltGraph:
    """What a compile takes."""

    module: torch.fx.GraphModule
    fake_mode: Any
    """A FakeTensorMode with the graph's own shape environment."""
    inputs: list[Any]
    """Fake tensors, and numbers that may be symbolic. Constants of the graph are the last ones, so that an
    artifact carries them once."""
    static: list[bool]
    """Of each input, whether it stays where it is in memory: parameters, buffers, what was marked so."""
    constants: list[dict[str, Any]]
    """As graph_codec.tensor_from takes them."""
    symbolic_positions: list[int]
    """Places of the inputs that guards call t0, t1, ...: those that are still symbolic."""
    ambient: dict[str, Any]
    """The settings that the graph was captured under; see ambient.applied."""
    inner: InnerFacts | None
    """Of a graph from below AOTAutograd."""
    log_levels: dict[str, int]
    """Of such a graph's client; see said.log_levels."""
    items: list[ItemInput]
    fixed: frozenset[str]
    """Symbols in whose place the graph has the number that they stood for."""
    guards_known: int
    """So many of the shape environment's guards are known when the graph is called; the others the compile
    makes."""
    groups: list[int]
    """How many ranks each process group of its collectives has."""

    def pinned(self) -> list[tuple[int, int | float]]:
        """Inputs of one element whose value compiled code relies on: places and values. It has fixed those,
        or has assumed something of them. After the compile.
        """
        made = self.fake_mode.shape_env.guards[self.guards_known :]
        relied_on = {str(symbol) for guard in made for symbol in guard.expr.free_symbols} | self.fixed
        return [(item.position, item.value) for item in self.items if item.symbols & relied_on]


def rebuild(payload: bytes, fixed: Collection[str] = ()) -> RebuiltGraph:
    """The graph that graph_codec.serialize made `payload` of. A number that an input of one element holds is
    a constant in it where one of the number's symbols is among `fixed`.

    Raises CompileError: bad_input for bytes that are no graph or name what this process lacks, unserializable
    for values that cannot be made again here.
    """
    try:
        outer = msgpack.unpackb(payload, strict_map_key=False)
        if outer["format"] != FORMAT:
            raise CompileError("bad_input", f"graph format {outer['format']}, this engine reads {FORMAT}")
        data = msgpack.unpackb(outer["graph"], strict_map_key=False, use_list=True)
        libraries.bring(data["operators"])
        symbols = Symbols(data)
        mode = symbols.restore()
        items = list(symbols.items())
        literals = {i.position: i.value for i in items if not i.symbols or i.symbols & set(fixed)}
        inputs = Inputs(mode, symbols, literals).build(data["inputs"])
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
            lifted = [fake_constant(c) for c in data["constants"]]
    except CompileError:
        raise
    except Unserializable as error:
        raise CompileError("unserializable", str(error)) from error
    # Whatever torch and sympy make of what is no graph: they were not made to be told such.
    except Exception as error:
        raise CompileError("bad_input", f"not a graph: {type(error).__name__}: {error}") from error
    positions = [i for i, value in enumerate(inputs) if isinstance(value, torch.SymInt)]
    return RebuiltGraph(
        *(module, mode, inputs + lifted, static, data["constants"], positions, data["ambient"]),
        *(inner, levels, items, frozenset(fixed), len(mode.shape_env.guards), data["groups"]),
    )


class _Builder:
    """Makes graph modules of what graph_codec has of them. `number` makes one that may be symbolic;
    `literals` are the numbers that take the place of inputs of one element, by position.
    """

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
        """A graph as Dynamo gives it to a backend; `static` as in RebuiltGraph."""
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
        """A module and those within it. The constants become inputs of the one at the `top`, after its own.
        Raises Unserializable.
        """
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
        """The node of a constant, which is one of the inputs `lifted`, or of a module or value in `root`."""
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
        """Puts the module in `root`; the name it has there."""
        name = f"module_{len(root._modules)}"
        root.add_module(name, module)
        return name


def _unknown(tag: str) -> Any:
    raise Unserializable(f"unknown tag {tag}")
