"""The C++ part: the slot that a model calls, and the client of the farm."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, TypedDict, final

class _StageSpec(TypedDict):
    name: str
    options: dict[str, str]

class _StageStatus(TypedDict):
    name: str
    stage_key: str
    state: str
    source: str
    error: str
    seconds_to_ready: float
    seconds_to_switch: float
    seconds_load: float
    seconds_queued: float
    phases: dict[str, float]

class _GraphStatus(TypedDict):
    id: int
    graph_key: str
    name: str
    stage: str
    farm: str
    settled: bool
    stages: list[_StageStatus]

class _SwitchNotice(TypedDict):
    group: str
    stage_key: str
    round: str
    verdict: Literal["propose", "commit", "abort", "pass"]
    call: int
    reason: str

@final
class IntegerGuard:
    """A guard over integer arguments that runs no Python. Any thread.

    `steps`: a stack machine's, as pairs of a word of runtime/integer_steps.hpp and a number: the number that
    `number` pushes, the position of `argument`, else of no meaning. Raises ValueError for a word that does
    not exist, or when they do not leave exactly one value.
    """

    def __init__(self, steps: Sequence[tuple[str, int]], otherwise: Callable[..., bool]) -> None: ...
    def __call__(self, *args: Any) -> bool:
        """Whether the steps leave something other than zero. What `otherwise` tells when an argument of
        theirs is missing, no int or of more than 64 bits, as a result may be, or when something is divided by
        zero.
        """

@final
class Slot:
    """Calls the best stage published so far; `eager` until then. Any thread."""

    __name__: str
    __qualname__: str
    def __init__(self, eager: Callable[..., Any], name: str = "fxfarm_slot") -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def publish(
        self,
        index: int,
        target: Callable[..., Any],
        boxed: bool = False,
        guard: Callable[..., Any] | None = None,
        measured: Callable[[], object] | None = None,
    ) -> bool:
        """Makes `target` what calls run from now on.

        `boxed`: it takes one list of the arguments, which it may empty. `guard`: called with the arguments of
        each call; when it is false or raises, that call runs eager. `measured`: the stage that is replaced is
        kept for `roll_back`, and this is called, once and in the thread of a call, when enough calls of
        `target` have been timed. False, without effect, when the slot has had that stage or a better one, or
        is sealed. Raises ValueError for an index outside the bounds.
        """
    def keep(self, index: int) -> None:
        """Frees the stage that `roll_back(index)` would go back to."""
    def roll_back(self, index: int) -> bool:
        """Makes calls run what the stage with this index has replaced, and frees that stage. False, without
        effect, when it is not the one that calls run, or nothing was kept."""
    def call_seconds(self, index: int) -> list[float]:
        """How long the latest timed calls of a stage took, at most 64 and in no order. The first calls are
        left out, and later one in 16 is timed."""
    def at_call(self, number: int, due: Callable[[], object]) -> bool:
        """Has `due` called before the call with that number, counted from 0, in that call's thread and in
        place of what was due before. False, without effect, when that call has begun."""
    def forget_call(self) -> None:
        """Nothing is due any longer."""
    def retreat(self) -> bool:
        """Makes calls run eager for good, and frees every other stage. False, without effect, when eager's
        callable has been freed."""
    def name_spans(self, names: tuple[str, ...]) -> None:
        """What calls of each stage, eager first, are called in a profile; see `watch_profiler`. A stage
        without a name is called like the slot."""
    def seal(self) -> None:
        """No better stage will come: frees eager's callable unless a guard may still need it."""
    @property
    def stage(self) -> int: ...
    @property
    def runs(self) -> list[int]: ...
    @property
    def calls(self) -> int:
        """How many calls have begun."""
    @property
    def guard_misses(self) -> int: ...

@final
class LoadTask:
    """A stage whose artifact has arrived. Unanswered, it counts as cancelled when it is freed."""

    @property
    def graph(self) -> int: ...
    @property
    def stage(self) -> int:
        """Index into the graph's stages, from 0."""
    @property
    def stage_key(self) -> str: ...
    @property
    def told(self) -> _StageStatus:
        """What was known of the stage when the task was made."""
    @property
    def artifact(self) -> memoryview:
        """The bytes, read-only and not copied."""
    def done(self, code: str = "none", message: str = "") -> None:
        """Answers the task; the first answer counts. `code` is one of the farm's error codes, "none" for
        success."""

@final
class Client:
    """A connection to the farm. Calls release the interpreter lock. Raises ValueError for what cannot be used
    and RuntimeError for the rest, also after `stop`."""

    def __init__(
        self,
        *,
        endpoints: Sequence[str] = ...,
        local_endpoint: str = "",
        local_command: Sequence[str] = ...,
        space: str = "default",
        salt: str = "",
        metrics: str = "",
        key: str = "",
        server_public_key: Sequence[str] = ...,
        signers: str = "",
        insecure: bool = False,
    ) -> None: ...
    def submit(
        self,
        graph_key: str,
        name: str,
        graph: bytes,
        stages: Sequence[_StageSpec],
        target: dict[str, Any],
        parts: Mapping[str, str] = ...,
        prepare_seconds: float = 0.0,
    ) -> int:
        """Subscribes to a graph's stages. `parts`: what the key covers, digests by name, so that the farm can
        tell graphs' differences. `prepare_seconds` have passed since the program's request."""
    def release(self, graph: int) -> None: ...
    def roll_back(self, graph: int, stage: int, code: str, why: str) -> None:
        """Says that calls left a loaded stage (index into the graph's stages) again, with an error code."""
    def arm(self, graph: int, report: dict[str, Any]) -> None:
        """Says that this rank has loaded a stage and waits for the others."""
    def vote(self, graph: int, answer: dict[str, Any]) -> None: ...
    def next_notice(self, timeout_ms: int) -> _SwitchNotice | None:
        """What a coordinator says of a switch; None when nothing came in time or the client was stopped."""
    def wait_slice(self, stage: str, timeout_ms: int) -> Literal["reached", "failed", "timed_out"]: ...
    def next_task(self, timeout_ms: int) -> LoadTask | None:
        """None when nothing came in time, a stage has failed for good, or the client was stopped."""
    def graphs(self) -> list[_GraphStatus]: ...
    def stats(self) -> dict[str, int]: ...
    def reset_stats(self) -> None: ...
    @property
    def metrics_address(self) -> str:
        """Where metrics are served, as host:port; empty: nowhere."""
    @property
    def stopped(self) -> bool: ...
    def stop(self) -> None: ...
    def abandon(self) -> None:
        """In the child of a fork: forgets the client without touching threads that are not there."""

def retired_runs() -> tuple[int, int]:
    """(eager, compiled) runs of the slots that have been freed."""

def watch_profiler(
    names: dict[str, Any], flag: str, span: Callable[[str], AbstractContextManager[Any]]
) -> None:
    """While `names[flag]` is True, every slot's calls run within `span(name)`. What that raises is reported
    as unraisable, and the call goes on."""

def preload(path: str) -> None:
    """Opens a shared library without the interpreter lock and leaves it open. Raises OSError."""

def default_local_socket(tag: str) -> str: ...
def digest(data: bytes) -> str: ...
def build() -> str:
    """The version and, from a checkout, its commit."""

def version() -> str: ...
