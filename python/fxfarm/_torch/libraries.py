"""Operators that come with a module: which one brings an operator, and having an engine bring it.

A graph names the module that defined its operator, and the version of its package, which is part of the key:
another version may compute something else. An engine imports what it is told only out of packages that it was
allowed to import from.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch._library.custom_ops import OPDEFS  # torch 2.11-2.13: operators made by torch.library.custom_op

from .errors import Unserializable

PACKAGES = frozenset(("torch", "torchao", "torchaudio", "torchvision", "transformers"))
"""Packages whose modules register operators when they are imported, and do no more than that."""


def origin(operator: Any) -> list[str] | None:
    """Name, module and package version of an operator that is there only once its module is imported, which a
    few of torch's own are, too; None for others.
    """
    if isinstance(operator, torch._ops.OpOverload):
        name = operator._schema.name
    elif isinstance(operator, torch._ops.OpOverloadPacket):
        name = operator._qualified_op_name
    else:
        return None
    made = OPDEFS.get(name)
    # Operators that come in another way, such as from a shared object, bear the name of their package.
    module = name.partition("::")[0] if made is None else made._init_fn.__module__
    if made is None and (module == "torch" or module not in sys.modules):
        return None
    return [name, module, _version(module)]


def bring(origins: Iterable[list[str]]) -> None:
    """Imports the modules of operators that this process lacks; raises Unserializable with the reason when
    one cannot be had as it was.
    """
    for name, module, version in origins:
        if not _is_registered(name):
            _import(name, module)
        found = _version(module)
        if found != version:
            raise Unserializable(
                f"operator {name} is of {module} {version}, and this engine has {found or 'none'}"
            )


def _import(name: str, module: str) -> None:
    lacking = f"operator {name} is not registered in this process, and {module}, which defines it,"
    # Set by the worker from its option of the same name.
    more = os.environ.get("FXFARM_ENGINE_PACKAGES", "").split(",")
    allowed = PACKAGES | {package.strip() for package in more if package.strip()}
    if module.partition(".")[0] not in allowed:
        raise Unserializable(f"{lacking} is in none of the engine's packages {', '.join(sorted(allowed))}")
    try:
        importlib.import_module(module)
    except Exception as error:  # a package may fail in any way; the engine goes on
        raise Unserializable(f"{lacking} cannot be imported: {type(error).__name__}: {error}") from error
    if not _is_registered(name):
        raise Unserializable(f"{lacking} does not register it here")


def _is_registered(name: str) -> bool:
    namespace, _, operator = name.partition("::")
    return hasattr(getattr(torch.ops, namespace), operator)


def _version(module: str) -> str:
    package = sys.modules.get(module.partition(".")[0])
    return str(getattr(package, "__version__", ""))
