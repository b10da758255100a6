"""Functions of torch that others stand in for while something runs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def replaced(owner: Any, **replacements: Any) -> Iterator[None]:
    """Has each of `replacements` stand in the body for what `owner`, a module or a class, has under its name.
    Afterwards what was there is back, static and class methods as such; what is to stand for one of these has
    to be one.

    Every thread of the process meets the replacement, and whoever has taken the function before goes on with
    the original; so a replacement must serve callers that are none of ours.

    Of several for one name the one that was begun last counts. They may end in any order, on any thread: the
    last one to end leaves what the first one found. One that calls what it found when it was begun may so
    call another one's replacement, even when that has ended.

    What somebody else puts there meanwhile counts from then on, and is gone when the one that was begun last
    ends. The child of a fork keeps for good those that other threads had begun.

    Raises AttributeError when `owner` does not itself have such a name: this torch is not as fxfarm knows it.
    Then nothing is replaced.
    """
    own = vars(owner)
    for name in replacements:
        if name not in own:
            raise AttributeError(f"torch {torch.__version__}: {owner.__name__} has no {name} of its own")
    with _lock:
        layers = [_Layer(owner, name, own[name]) for name in replacements]
        for name, replacement in replacements.items():
            setattr(owner, name, replacement)
        _layers.extend(layers)
    try:
        yield
    finally:
        with _lock:
            for layer in layers:
                layer.end()


@dataclasses.dataclass(eq=False)
class _Layer:
    """One replacement: of what, and what was there when it was begun, or would have been."""

    owner: Any
    name: str
    before: Any

    def end(self) -> None:
        place = _layers.index(self)
        del _layers[place]
        for later in _layers[place:]:
            if later.owner is self.owner and later.name == self.name:
                later.before = self.before
                return
        setattr(self.owner, self.name, self.before)


# In the order in which they were begun. The lock guards it and the attributes themselves, never a body.
_layers: list[_Layer] = []
_lock = threading.Lock()


def _after_fork() -> None:
    global _lock
    # A thread of the parent may have held it.
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
