"""Stages: what each name a user may write in `options={"stages": [...]}` or `mode=` asks Inductor for.

| name | what it means |
| --- | --- |
| `default` | Inductor as it comes |
| `reduce-overhead` | CUDA graphs around the compiled code; the same as `default` on CPU |
| `max-autotune-no-cudagraphs` | kernels chosen by measuring them on the worker |
| `max-autotune` | both of these |

A user's own stage is a mapping `{"name": ..., "options": {...}}` whose options are Inductor settings by their
dotted names (`torch._inductor.config`): `{"name": "exact-random", "options": {"fallback_random": True}}`. One
that the configuration defines under `stage_options` is named like those above.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

# A stage as it travels: option values are JSON texts, so that hashing them is plain.
Stage: TypeAlias = dict[str, Any]

NAMED: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "reduce-overhead": {"triton.cudagraphs": True},
    "max-autotune-no-cudagraphs": {"max_autotune": True, "coordinate_descent_tuning": True},
    "max-autotune": {"max_autotune": True, "coordinate_descent_tuning": True, "triton.cudagraphs": True},
}
MEASURING = frozenset(
    ("max_autotune", "max_autotune_gemm", "max_autotune_pointwise", "coordinate_descent_tuning")
)
"""Inductor's settings under which it searches for the fastest kernels, which holds for one model of GPU; the
few configurations of a reduction that it always measures are let pass. Coordinators know them, too
(runtime/stage.cpp): a job that searches has a GPU to itself."""
STAGES_MAX = 16
EAGER = "eager"


def resolve(
    stages: Sequence[str | Mapping[str, Any]] | None = None,
    mode: str | None = None,
    options: Mapping[str, Any] | None = None,
    defined: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Stage]:
    """The stages wanted, worst to best, as they go to the farm.

    `stages` wins; without it `mode` is the last stage after `default`, as users of `torch.compile(mode=...)`
    expect of the code that they end up with; with neither, there is `default` alone. `options` are Inductor
    settings for every stage; a stage's own options win over them. `defined` are the options of more stages by
    name. Raises ValueError naming what is allowed.
    """
    if stages is not None and mode is not None:
        raise ValueError("give either stages or mode, not both")
    wanted: list[str | Mapping[str, Any]]
    if stages is not None:
        if isinstance(stages, str | Mapping):
            raise ValueError("stages is a list of stages, worst to best")
        wanted = list(stages)
    else:
        wanted = ["default"] if mode in (None, "default") else ["default", str(mode)]
    wanted = [s for s in wanted if s != EAGER]  # always there as stage 0
    if len(wanted) > STAGES_MAX:
        raise ValueError(f"{len(wanted)} stages, at most {STAGES_MAX} are allowed")
    found = [_stage(s, options or {}, {**(defined or {}), **NAMED}) for s in wanted]
    names = [s["name"] for s in found]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"stage named twice: {', '.join(twice)}")
    return found


def _stage(
    stage: str | Mapping[str, Any], shared: Mapping[str, Any], named: Mapping[str, Mapping[str, Any]]
) -> Stage:
    if isinstance(stage, str):
        if stage not in named:
            raise ValueError(
                f"unknown stage {stage!r}; allowed: {', '.join(named)}, or a mapping with name and options"
            )
        return {"name": stage, "options": _texts(stage, {**shared, **named[stage]})}
    if not isinstance(stage, Mapping):
        raise ValueError(f"a stage is a name or a mapping, not {type(stage).__name__}")
    unknown = sorted(str(key) for key in set(stage) - {"name", "options"})
    if unknown:
        raise ValueError(f"unknown key in a stage: {', '.join(unknown)}; allowed: name, options")
    name, options = stage.get("name"), stage.get("options", {})
    if not isinstance(name, str) or not name or name == EAGER:
        raise ValueError("a stage needs a name that is a text other than 'eager'")
    if not isinstance(options, Mapping):
        raise ValueError(f"options of stage {name!r} are a mapping from Inductor setting to value")
    return {"name": name, "options": _texts(name, {**shared, **options})}


def _texts(name: str, options: Mapping[str, Any]) -> dict[str, str]:
    texts = {}
    if not all(isinstance(key, str) for key in options):
        raise ValueError(f"options of stage {name!r} are named by texts")
    for key, value in sorted(options.items()):
        try:
            texts[key] = json.dumps(value, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"option {key!r} of stage {name!r} is no JSON value: {error}") from None
    return texts
