"""Models of small_architectures.py, built from their configurations.

Weights are random and inputs are made here, so nothing is downloaded. What a model would draw at random while
it trains (dropout, dropped layers, router jitter, masks over time) is off in its configuration: then eager
and compiled code can be compared number by number.
"""

from __future__ import annotations

import copy
import importlib
from typing import Any

from small_architectures import ARCHITECTURES
from small_inputs import LABELS, Inputs

RANDOM_SETTINGS = ("drop", "jitter", "mask_time_prob", "mask_feature_prob")
"""Parts of the names of settings that make a training step draw random numbers."""


def lacking(name: str) -> str:
    """What this version of `transformers` lacks of an architecture; empty when it has all."""
    transformers: Any = importlib.import_module("transformers")
    model = ARCHITECTURES[name].model
    return "" if hasattr(transformers, model) else f"transformers {transformers.__version__} has no {model}"


def build(name: str) -> tuple[Any, Inputs]:
    """The model in training mode and what it is called with, the same for the same name in every process.
    Raises what `transformers` raises for a configuration that it refuses.
    """
    import torch

    transformers: Any = importlib.import_module("transformers")
    row = ARCHITECTURES[name]
    torch.manual_seed(0)
    kind = getattr(transformers, row.model)
    config = without_random(kind.config_class(**row.sizes))
    return kind(config).train(), row.inputs(config)


def without_random(config: Any) -> Any:
    """`config` with every setting at zero that makes training draw random numbers, in its parts too."""
    for name, value in list(vars(config).items()):
        if hasattr(value, "to_dict"):
            without_random(value)
        elif type(value) in (int, float) and any(part in name for part in RANDOM_SETTINGS):
            setattr(config, name, type(value)(0))
    return config


def without_labels(inputs: Inputs) -> Inputs:
    """What is left for inference."""
    return {name: value for name, value in inputs.items() if name not in LABELS}


def in_double(module: Any, inputs: Inputs) -> tuple[Any, Inputs]:
    """A copy with 64-bit floats. Grouped products of matrices know none, so experts run one by one."""
    import torch

    exact = copy.deepcopy(module).double()
    if hasattr(exact, "set_experts_implementation"):
        exact.set_experts_implementation("eager")
    return exact, {
        name: value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for name, value in inputs.items()
    }
