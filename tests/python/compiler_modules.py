"""Which of the imported modules are Inductor's compiler: a client has no need of them."""

from __future__ import annotations

import sys

_NAMES = frozenset(
    f"torch._inductor.{name}"
    for name in (
        *("compile_fx", "select_algorithm", "graph", "lowering", "scheduler", "ir", "debug"),
        *("async_compile", "decomposition"),
    )
)
_HEAVY = (
    "torch._inductor.codegen.cpp",
    "torch._inductor.codegen.triton",
    "torch._inductor.codegen.wrapper",
)


def compiler_modules() -> list[str]:
    """Their names, in order."""
    return sorted(m for m in sys.modules if m in _NAMES or m.startswith(_HEAVY))
