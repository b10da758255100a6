"""Spans in PyTorch's profile.

Two names of torch 2.11-2.13: `torch.autograd.profiler._is_profiler_enabled`, which every profiler of torch
sets while it runs (`_run_on_profiler_start`), and `torch._C._profiler._RecordFunctionFast`, a span that does
not go through the dispatcher, so that a `TorchDispatchMode` of the program's does not meet it. Inductor marks
its own calls with these two.
"""

from __future__ import annotations

import contextlib

import torch
from torch.autograd import profiler

from fxfarm import _core

_FLAG = "_is_profiler_enabled"


def watch() -> None:
    """From now on slots' calls are spans while a profiler runs. Does nothing on a torch without that flag."""
    if hasattr(profiler, _FLAG):
        _core.watch_profiler(vars(profiler), _FLAG, torch._C._profiler._RecordFunctionFast)


def span(name: str) -> contextlib.AbstractContextManager[object]:
    """A span of this thread, which a profiler sees that looks at all threads."""
    if not getattr(profiler, _FLAG, False):
        return contextlib.nullcontext()
    found: contextlib.AbstractContextManager[object] = torch._C._profiler._RecordFunctionFast(name)
    return found
