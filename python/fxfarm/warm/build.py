"""Graphs from a model that a function of the user's builds: one first call for each shape."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fxfarm.warm.options import Shape, UsageError


class BuildError(Exception):
    """The user's function, or the first call of what it has built, failed; the text says how."""


def find(target: str) -> Callable[..., Any]:
    """The function that FILE.py:FUNCTION or MODULE:FUNCTION names. Raises UsageError when there is none, and
    BuildError when its module cannot be imported."""
    where, colon, name = target.rpartition(":")
    if not colon or not where or not name:
        raise UsageError(f"{target!r} names no function; want FILE.py:FUNCTION or MODULE:FUNCTION")
    try:
        module = _file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except ModuleNotFoundError as e:
        if e.name is not None and (where == e.name or where.startswith(e.name + ".")):
            raise UsageError(f"there is no module {where}") from e
        raise BuildError(f"{where} cannot be imported: {e}") from e
    except UsageError:
        raise
    except (Exception, SystemExit) as e:
        raise BuildError(f"{where} cannot be imported: {type(e).__name__}: {e}") from e
    found: Callable[..., Any] | None = getattr(module, name, None)
    if found is None or not callable(found):
        raise UsageError(f"{where} has no function {name}")
    return found


def _file(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    # As for a program: what lies beside it can be imported.
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


class Calls:
    """Makes the calls, and keeps what they have handed over until it is gone itself."""

    def __init__(self, build: Callable[..., Any], stages: Sequence[str], training: bool) -> None:
        self._build = build
        self._options = {"stages": list(stages)} if stages else {}
        self._training = training
        # A graph whose slot is gone is released.
        self._slots: list[Any] = []

    def make(self, shape: Shape | None) -> None:
        """One call, as the first of a process: what Dynamo has learnt from others is forgotten. None: the
        function is called without a shape. Raises BuildError or UsageError."""
        import torch

        torch.compiler.reset()
        told = "" if shape is None else f"for {'x'.join(map(str, shape))}: "
        module, args, kwargs = self._built(shape, told)
        if isinstance(module, torch.nn.Module):
            module.train(self._training)
        before = len(self._slots)
        run = torch.compile(module, backend=self._backend)
        try:
            with torch.set_grad_enabled(self._training):
                run(*args, **kwargs)
        except (Exception, SystemExit) as e:
            raise BuildError(f"{told}the call raised {type(e).__name__}: {e}") from e
        if len(self._slots) == before:
            raise BuildError(f"{told}Dynamo found no graph in the call")

    def _built(
        self, shape: Shape | None, told: str
    ) -> tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]:
        if shape is not None:
            try:
                inspect.signature(self._build).bind(shape)
            except TypeError as e:
                raise UsageError("--shapes: the function takes no shape") from e
        try:
            made = self._build() if shape is None else self._build(shape)
        except (Exception, SystemExit) as e:
            raise BuildError(f"{told}the function raised {type(e).__name__}: {e}") from e
        if not isinstance(made, tuple) or len(made) != 2 or not callable(made[0]):
            raise UsageError("the function is to return (module, inputs)")
        module, inputs = made
        if isinstance(inputs, Mapping):
            return module, (), inputs
        return module, inputs if isinstance(inputs, tuple | list) else (inputs,), {}

    def _backend(self, gm: Any, inputs: Sequence[Any]) -> Any:
        from fxfarm.backend import fxfarm

        slot = fxfarm(gm, inputs, options=self._options)
        self._slots.append(slot)
        return slot
