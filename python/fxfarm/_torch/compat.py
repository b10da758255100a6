"""The one spot for what differs between the torch versions fxfarm runs on."""

from __future__ import annotations

from typing import Any

import torch

# Private API is used all over `_torch`; it was read and tested on these versions only.
SUPPORTED = ((2, 11), (2, 13))


def check_version() -> None:
    """Raises RuntimeError when this torch is none of the versions fxfarm knows."""
    version = torch.__version__
    parts = tuple(int(p) for p in version.split("+")[0].split(".")[:2])
    if not SUPPORTED[0] <= parts <= SUPPORTED[1]:
        low, high = (".".join(map(str, v)) for v in SUPPORTED)
        raise RuntimeError(f"fxfarm supports torch {low} to {high}, this is {version}")


def symbol_hints(shape_env: Any) -> dict[Any, Any]:
    """Hints of backed symbols: ShapeEnv.backed_var_to_val (2.13), .var_to_val (2.11)."""
    for name in ("backed_var_to_val", "var_to_val"):
        hints = getattr(shape_env, name, None)
        if hints is not None:
            return dict(hints)
    raise RuntimeError(f"torch {torch.__version__}: ShapeEnv keeps no hints where fxfarm knows them")
