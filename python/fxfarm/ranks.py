"""Graphs with collectives: all ranks of a job switch to a stage at the same call.

Where one rank ran eager and another compiled code, whose collectives may come in another order, they would
pair up wrongly. So a loaded stage is *armed*; once every rank of the group has armed it, the coordinator
proposes a call that none has come to. Whoever votes yes stands still before that call until the verdict is
there. A rank acts on no verdict but the one that the job's own store has kept first, so that no two ranks
ever act on different ones, whatever becomes of the coordinator meanwhile.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fxfarm import _core
from fxfarm._torch import collectives

log = logging.getLogger("fxfarm")

REFRESH_MS = 5_000
"""How often a rank says again that it waits, with its count of calls."""
VERDICT_S = 1.0
"""How long a call waits for the coordinator's verdict, and then for the job's store: two seconds in all."""
COMMIT, ABORT = "commit", "abort"


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """This process's place among those that run one graph."""

    job: str
    group: str
    """A digest: the job's start, the graph, its ranks, and which of equal graphs it is."""
    rank: int
    """Among the ranks of the group."""
    world: int


def job_name(environ: Mapping[str, str]) -> str:
    """What torchrun or Slurm call this job, for people; may be empty."""
    if "TORCHELASTIC_RUN_ID" in environ:
        where = [environ.get("MASTER_ADDR", ""), environ.get("MASTER_PORT", "")]
        return f"{environ['TORCHELASTIC_RUN_ID']}@{':'.join(where)}"
    if "SLURM_JOB_ID" in environ:
        return f"slurm-{environ['SLURM_JOB_ID']}.{environ.get('SLURM_STEP_ID', '0')}"
    return ""


class Places:
    """Gives each graph with collectives its place. For one thread."""

    def __init__(self, job: str) -> None:
        """`job` is what the user calls it; may be empty."""
        self._job = job or job_name(os.environ)
        self._ordinals: collections.Counter[tuple[str, tuple[int, ...]]] = collections.Counter()

    def find(self, key: str, groups: Sequence[collectives.Group]) -> Place | None:
        """The place of the graph of that key; None when no other rank takes part. Waits for the job's store.

        The ranks of a graph are those of its process group, and all of the job's where it has several.
        """
        members = {tuple(sorted(g.ranks)) for g in groups}
        if not members:
            return None
        ranks = members.pop() if len(members) == 1 else tuple(range(collectives.world()))
        if len(ranks) < 2:
            return None
        ordinal = self._ordinals[key, ranks]
        self._ordinals[key, ranks] += 1
        text = "\0".join((collectives.incarnation(), key, str(ordinal), repr(ranks)))
        group = hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
        return Place(self._job, group, ranks.index(collectives.rank()), len(ranks))


@dataclasses.dataclass(slots=True, eq=False)
class _Round:
    """A proposal that this rank has voted for. `verdict` is set before `over`."""

    name: str
    verdict: str = ""
    over: threading.Event = dataclasses.field(default_factory=threading.Event)


@dataclasses.dataclass(slots=True, eq=False)
class Armed:
    """A loaded stage that waits for the other ranks."""

    place: Place
    graph: int
    """The client's id of the graph."""
    stage: int
    stage_key: str
    slot: Callable[[], _core.Slot | None]
    switch: Callable[[], object]
    """Has calls run the stage; in the thread of a call, just before it."""
    refuse: Callable[[str], object]
    """Gives the stage up for that reason."""
    may: Callable[[], bool]
    """Whether the program has done nothing yet that keeps this rank from switching."""
    round: _Round | None = None
    told: tuple[int, float] = (0, 0.0)
    """Calls when last told, and the moment."""

    @property
    def decided(self) -> bool:
        """Whether the call is agreed on and has yet to come."""
        return self.round is not None and self.round.verdict == COMMIT

    def pace(self, calls: int) -> dict[str, Any]:
        """What is told of the calls."""
        before, at = self.told
        now = time.monotonic()
        self.told = (calls, now)
        return {"calls": calls, "calls_per_second": max(0, calls - before) / max(now - at, 1e-3)}


class Agreement:
    """This process's side of all agreements, with a thread that follows what the coordinator says."""

    def __init__(self, client: _core.Client) -> None:
        self.counts = collections.Counter[str]()
        self._client = client
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._armed: dict[str, Armed] = {}
        self._thread = threading.Thread(target=self._run, name="fxfarm-ranks", daemon=True)
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Waits for the end of the thread, after the client's."""
        self._thread.join(seconds)

    def arm(self, armed: Armed) -> None:
        """Has the stage switched in as soon as all ranks have it. Any thread."""
        slot = armed.slot()
        armed.told = (slot.calls if slot is not None else 0, time.monotonic())
        with self._lock:
            self._armed[armed.place.group] = armed
        self._tell(armed)

    def waits(self, graph: int) -> bool:
        """Whether a stage of the graph with that id of the client's waits for other ranks."""
        with self._lock:
            return any(a.graph == graph for a in self._armed.values())

    def _tell(self, armed: Armed) -> None:
        slot = armed.slot()
        if slot is None:
            self._forget(armed)
            armed.refuse("the model is gone")
            return
        place = dataclasses.asdict(armed.place)
        report = {**place, "stage": armed.stage, "stage_key": armed.stage_key, **armed.pace(slot.calls)}
        self._client.arm(armed.graph, report)

    def _forget(self, armed: Armed) -> None:
        with self._lock:
            if self._armed.get(armed.place.group) is armed:
                del self._armed[armed.place.group]

    def _run(self) -> None:
        due = time.monotonic() + REFRESH_MS / 1000
        while not self._client.stopped:
            left = max(0.0, due - time.monotonic())
            notice = self._client.next_notice(int(left * 1000) + 1)
            try:
                if notice is not None:
                    self._follow(notice)
                elif time.monotonic() >= due:
                    due = time.monotonic() + REFRESH_MS / 1000
                    with self._lock:
                        waiting = [a for a in self._armed.values() if not a.decided]
                    for armed in waiting:
                        self._tell(armed)
            except Exception as e:
                # The agreements to come need this thread.
                log.warning("agreement of ranks goes on after %s: %s", type(e).__name__, e)

    def _follow(self, notice: Mapping[str, Any]) -> None:
        with self._lock:
            armed = self._armed.get(notice["group"])
        if armed is None or armed.stage_key != notice["stage_key"]:
            return
        verdict, current = notice["verdict"], armed.round
        if verdict == "propose":
            self._answer(armed, notice["round"], notice["call"])
        elif verdict == "pass":
            if current is None or self._end(armed, current, ABORT) == ABORT:
                self._forget(armed)
                armed.refuse(notice["reason"])
        elif current is not None and current.name == notice["round"]:
            if verdict == COMMIT:
                self._end(armed, current, COMMIT)
            else:
                # Whoever aborts a round has told nobody to commit.
                self._close(armed, current, ABORT)

    def _answer(self, armed: Armed, name: str, call: int) -> None:
        """Votes; a yes is good for that call, which then stands still until the verdict."""
        # One whose verdict has been lost on the way, with its coordinator perhaps.
        settled = armed.round is None or self._end(armed, armed.round, ABORT) == ABORT
        slot = armed.slot()
        if slot is None:
            return
        current = _Round(name)
        yes = settled and armed.may()
        if yes:
            armed.round = current
            yes = slot.at_call(call, lambda: self._at_call(armed, current))
            if not yes:
                armed.round = None
        answer = {"group": armed.place.group, "round": name, "yes": yes, **armed.pace(slot.calls)}
        self._client.vote(armed.graph, answer)

    def _end(self, armed: Armed, current: _Round, mine: str) -> str:
        """Ends the round with the verdict that the job has kept, `mine` if it has none yet; returns it."""
        verdict = collectives.decide(f"fxfarm/{armed.place.group}/{current.name}", mine)
        self._close(armed, current, verdict)
        return verdict

    def _close(self, armed: Armed, current: _Round, verdict: str) -> None:
        with self._lock:
            if current.over.is_set():
                return
            current.verdict = verdict
            if verdict == ABORT:
                self.counts["switches_aborted"] += 1
                armed.round = None
                slot = armed.slot()
                if slot is not None:
                    slot.forget_call()
            current.over.set()

    def _give_up(self, armed: Armed, current: _Round) -> None:
        try:
            self._end(armed, current, ABORT)
        except Exception as e:
            log.warning("the job's store cannot be asked: %s: %s", type(e).__name__, e)

    def _at_call(self, armed: Armed, current: _Round) -> None:
        """In the thread of the call that was agreed on, before it."""
        if os.getpid() != self._pid:
            return
        if not current.over.is_set():
            self.counts["switches_waited"] += 1
            if not current.over.wait(VERDICT_S):
                # The store may be as far away as the coordinator, and a call waits no longer than this.
                threading.Thread(target=self._give_up, args=(armed, current), daemon=True).start()
                current.over.wait(VERDICT_S)
        if current.verdict == COMMIT:
            self.counts["switches_agreed"] += 1
            self._forget(armed)
            armed.switch()
        elif not current.over.is_set():
            self._forget(armed)
            armed.refuse(
                "neither the coordinator nor the job's store could say what the ranks have agreed on"
            )
