"""The one spot for what differs between the torch versions fxfarm runs on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from .replaced import replaced

# Private API is used all over `_torch`; it was read and tested on these versions only.
SUPPORTED = ((2, 11), (2, 13))
# What `scheme`, `inner` and `inner_compiler` rest on changes more often.
SEAM = (2, 13)


def check_version() -> None:
    """Raises RuntimeError when this torch is none of the versions fxfarm knows."""
    if not SUPPORTED[0] <= _version() <= SUPPORTED[1]:
        low, high = (".".join(map(str, v)) for v in SUPPORTED)
        raise RuntimeError(f"fxfarm supports torch {low} to {high}, this is {torch.__version__}")


def has_seam() -> bool:
    """Whether this torch is the one that fxfarm can be installed in."""
    return _version() == SEAM


def check_seam() -> None:
    """Raises RuntimeError unless this torch has Inductor's compile where `scheme` looks for it."""
    check_version()
    if not has_seam():
        wanted = ".".join(map(str, SEAM))
        raise RuntimeError(f"fxfarm.install() supports torch {wanted}, this is {torch.__version__}")


def _version() -> tuple[int, ...]:
    return tuple(int(p) for p in torch.__version__.split("+")[0].split(".")[:2])


@contextlib.contextmanager
def compiled_for(march: str) -> Iterator[None]:
    """Compiles C++ kernels for that architecture level instead of the machine's own.

    torch 2.13 has config.cpp.march; before, cpp_builder._get_optimization_cflags (2.11) names `native`.
    """
    import torch._inductor.config as config

    if hasattr(config.cpp, "march"):
        with config.patch({"cpp.march": march}):
            yield
        return
    from torch._inductor import cpp_builder

    stock = cpp_builder._get_optimization_cflags

    def flags(*args: Any, **kwargs: Any) -> tuple[list[str], list[str]]:
        compiler, linker = stock(*args, **kwargs)
        if "march=native" not in compiler:
            raise RuntimeError(f"torch {torch.__version__}: no -march where fxfarm knows it")
        return [f"march={march}" if flag == "march=native" else flag for flag in compiler], linker

    with replaced(cpp_builder, _get_optimization_cflags=flags):
        yield


def graph_name(compile_id: str) -> str:
    """A name for people, such as "GPT2LMHeadModel 0/0": what Dynamo traces now, and its compile's number.

    InstructionTranslator.current_tx().output.root_tx (2.11-2.13) is the frame being traced; nothing
    depends on it.
    """
    try:
        from torch._dynamo.symbolic_convert import InstructionTranslator

        frame: Any = InstructionTranslator.current_tx().output.root_tx
        owner = frame.f_locals.get("self")
        traced = type(owner).__name__ if isinstance(owner, torch.nn.Module) else frame.f_code.co_name
    except (AttributeError, ImportError):
        return compile_id
    return f"{traced} {compile_id}"


def symbol_hints(shape_env: Any) -> dict[Any, Any]:
    """Hints of backed symbols: ShapeEnv.backed_var_to_val (2.13), .var_to_val (2.11)."""
    for name in ("backed_var_to_val", "var_to_val"):
        hints = getattr(shape_env, name, None)
        if hints is not None:
            return dict(hints)
    raise RuntimeError(f"torch {torch.__version__}: ShapeEnv keeps no hints where fxfarm knows them")
