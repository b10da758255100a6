"""What strangers cost a coordinator with keys, who come to its port as fast as they can and are refused, and
what a client that is served meanwhile feels of them; beside a plain ZeroMQ peer that lets nobody in.

    python bench/strangers.py [--seconds 20] [--connections 200000] [--processes 2] [--rounds 1]
        [--only KIND,KIND] [--json FILE]

Kinds of strangers, one after the other, each from `--processes` processes with an address of their own, for
so many seconds or connections of all together, whichever is less: "gone at once" connects and resets the
connection; "gone once greeted" waits for the first byte that the other side says; "no greeting" says what
no ZeroMQ peer would and is hung up on; "unknown key" shakes hands as CURVE wants it, with a key that the
coordinator's file does not have, and waits until it is told so. What goes for several connections they make
once, as one would who wants to cost others more than himself. Those of "gone at once" need not have been
seen by anybody, so that what one costs there is a mean over some that cost nothing.

The plain peer is a ROUTER of libzmq with a key, whose handler in Python refuses everybody: part of what it
spends is Python's. "times_plain" is the coordinator's processor time for a connection in terms of its: what
lists, counts and looks at descriptors add.

"cpu_us" is processor time for one connection, less what the coordinator spends on the client. That one
shows a key that is known, asks for an artifact that is in memory 200 times a second at most ("p50_us",
"worst_us"), and comes anew after each 20 lookups ("join_us"). It does so alone, while the strangers are at
the plain peer, and while they are at the coordinator; "times_elsewhere" compares the latter two, in which
the machine has as much to do. "grown_mib" is what the coordinator has more after the strangers were there,
and "elsewhere_mib" after the same time with them elsewhere: what the client alone makes of it.
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faults_farm
import footprint_looks
import harness
import links
import results
import strangers_peers
from strangers_peers import ARTIFACT, GRAPH, KINDS, STAGE

READY_S_MAX = 60.0
SETTLE_S_MAX = 20.0
"""In which what is left of strangers is to be gone and counted: a handshake may take 5 s."""
SEEN_S_MAX = 2.0
"""Likewise, where nobody knows how many will be."""
ALONE_PART = 0.25
"""Of the time with strangers, for which the client is alone before."""
GROWN_MIB_MAX = 8.0
"""What a coordinator may have more when the strangers have gone, all kinds together."""
PAGES = 64
"""Of metrics that are read before: each thread that serves them has more memory once it has done so."""
CPU_RATIO_MAX = {"unknown key": 1.5}
"""Where most of it is the handshake, which both make alike."""
CPU_RATIO_MAX_ELSE = 3.0
WAIT_RATIO_MAX = 2.0
MEMORY = ("before_mib", "most_mib", "grown_mib", "elsewhere_mib")
COUNTED = {"gone at once": "unfinished", "gone once greeted": "unfinished", "unknown key": "unknown_key"}
"""The reason under which a kind is refused; who says no greeting is not counted."""


class Guarded:
    """A coordinator with keys that holds one artifact."""

    def __init__(self, farm: Any) -> None:
        self.keyed = faults_farm.of_tests("keyed_farm").KeyedFarm(farm)
        signer = faults_farm.of_tests("forgery").Signer()
        self.keyed.signers["holder"] = signer.public
        self.keyed.accept("holder")
        self.role, self.endpoint = self.keyed.coordinator()
        self.pid = int(self.role.pid)
        self.port = int(self.endpoint.rsplit(":", 1)[1])
        self.server_key = str(self.keyed.public["server"])
        with self._peer("worker", "worker") as holder, self._peer("alice", "client") as alice:
            platform = faults_farm.of_tests("echo_farm").PLATFORM
            holder.say("worker_offer", name="holder", runs_on=platform, slots=1)
            alice.say("lookup", graph_key=GRAPH, stages=[STAGE], target=platform, name="m")
            self._heard(alice, "need_graph")
            alice.say("submit", attached=b"graph", graph_key=GRAPH)
            job = self._heard(holder, "job")
            by = signer.sign(job["stage_key"], ARTIFACT)
            vouched = {"signer": by.signer, "signature": by.value}
            named = {name: job[name] for name in ("id", "stage_key")}
            holder.say("job_done", attached=ARTIFACT, **named, **vouched)
            self._heard(alice, "stage_ready")

    def _peer(self, name: str, role: str) -> Any:
        peer_of = faults_farm.of_tests("curve_peer").CurvePeer
        return peer_of(self.endpoint, self.keyed.secret(name), self.server_key, role)

    @staticmethod
    def _heard(peer: Any, wanted: str) -> dict[str, Any]:
        while True:
            what, fields = peer.hear()
            if what == wanted:
                return dict(fields)

    def refusals(self) -> dict[str, int]:
        """Connections that did not become a peer's, by why."""
        page = self.keyed.farm.scrape(self.role.fact("coordinator ready", "metrics"))
        found = re.findall(r'^fxfarm_link_peers_refused_total\{reason="(\w+)"\} (\d+)', page, re.MULTILINE)
        return {reason: int(count) for reason, count in found}


@dataclass
class Client:
    """What the client with a key has had in a while."""

    waits_us: list[float]
    joins_us: list[float]
    wrong: int
    lookups: int

    def p50_us(self) -> float:
        return results.percentile(self.waits_us, 50)


@contextlib.contextmanager
def served(place: harness.Place, farm: Guarded) -> Iterator[Callable[[], Client]]:
    """A client that asks meanwhile; what is given ends it and tells what it has had."""
    stop = Path(place.fresh("stop")) / "stop"
    who = {
        "endpoint": farm.endpoint,
        "secret_file": farm.keyed.secret("alice"),
        "server_key": farm.server_key,
    }
    child = place.start(strangers_peers.asking, stop=str(stop), **who)
    if not child.wait_answered(READY_S_MAX):
        raise RuntimeError("a client is not served in time")

    def ended() -> Client:
        stop.touch()
        return Client(**child.result())

    try:
        yield ended
    finally:
        stop.touch()
        child.ended(READY_S_MAX)


@dataclass
class Flood:
    """What strangers did, and what it cost whom they came to."""

    made: int = 0
    done: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    most: footprint_looks.Look = field(default_factory=footprint_looks.Look)


def flooded(place: harness.Place, kind: str, pid: int, port: int, server_key: str, options: Any) -> Flood:
    """Has strangers of that kind come to a process."""
    found = Flood()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(footprint_looks.SAMPLE_S):
            found.most.most(footprint_looks.look([pid]))

    watcher = threading.Thread(target=watch)
    before = footprint_looks.ran_s([pid])
    watcher.start()
    try:
        each = max(1, options.connections // options.processes)
        shape = {"port": port, "server_key": server_key, "seconds": options.seconds, "connections": each}
        children = [
            place.start(strangers_peers.flood, kind=kind, number=number, **shape)
            for number in range(options.processes)
        ]
        told = [child.result() for child in children]
    finally:
        over.set()
        watcher.join()
    found.cpu_s = footprint_looks.ran_s([pid]) - before
    found.made, found.done = (sum(one[name] for one in told) for name in ("made", "done"))
    found.seconds = max(one["end"] for one in told) - min(one["begin"] for one in told)
    return found


class Ground:
    """A coordinator and the plain peer, to both of which strangers come."""

    def __init__(self, place: harness.Place, farm: Guarded, options: Any) -> None:
        self.place, self.farm, self.options = place, farm, options
        self.plain_port = links.free_port()
        secret = farm.keyed.secret("server")
        self.plain = place.start(strangers_peers.refusing, port=self.plain_port, secret_file=secret)
        if not self.plain.wait_answered(READY_S_MAX):
            raise RuntimeError("the plain peer is not ready in time")
        for _ in range(PAGES):
            farm.refusals()
        self.lookups = 1
        """That clients have asked for so far; the first had the artifact made."""
        self.wrong = 0
        self.first: footprint_looks.Look | None = None
        """Of the coordinator, before any stranger came."""
        self.last = footprint_looks.Look()

    def alone(self) -> tuple[Client, float]:
        """What the client has without strangers, and seconds of the coordinator's for each of its lookups."""
        with served(self.place, self.farm) as ended:
            before = footprint_looks.ran_s([self.farm.pid])
            time.sleep(max(1.0, ALONE_PART * self.options.seconds))
            client = self._had(ended())
            return client, (footprint_looks.ran_s([self.farm.pid]) - before) / client.lookups

    def strangers(self, kind: str, pid: int, port: int) -> tuple[Client, Flood]:
        """What the client has while strangers are at that process, and what they do."""
        with served(self.place, self.farm) as ended:
            flood = flooded(self.place, kind, pid, port, self.farm.server_key, self.options)
            return self._had(ended()), flood

    def _had(self, client: Client) -> Client:
        self.lookups += client.lookups
        self.wrong += client.wrong
        return client

    def look(self) -> footprint_looks.Look:
        return footprint_looks.look([self.farm.pid])


def one_round(ground: Ground, kind: str, rows: dict[str, dict[str, Any]], report: results.Report) -> None:
    """Strangers of a kind at the plain peer, then at the coordinator."""
    farm, plain = ground.farm, ground.plain.process.pid
    alone, each_s = ground.alone()
    earlier = ground.look()
    ground.first = ground.first or earlier
    elsewhere, at_plain = ground.strangers(kind, plain, ground.plain_port)
    add(rows["plain ZeroMQ"], at_plain, at_plain.cpu_s, elsewhere, alone)
    before = ground.look()
    refused_before = farm.refusals()
    client, flood = ground.strangers(kind, farm.pid, farm.port)

    def refused() -> dict[str, int]:
        more = {reason: count - refused_before[reason] for reason, count in farm.refusals().items()}
        return {reason: count for reason, count in more.items() if count}

    wanted = expected(kind, flood)
    patience_s = SEEN_S_MAX if kind == "gone at once" else SETTLE_S_MAX
    harness.wait_until(lambda: refused() == wanted, patience_s)
    harness.wait_until(lambda: ground.look().open_files <= before.open_files, SETTLE_S_MAX)
    ground.last = after = ground.look()
    row = rows["fxfarm"]
    add(row, flood, flood.cpu_s - each_s * client.lookups, client, alone)
    row["times_plain"].append(row["cpu_us"][-1] / rows["plain ZeroMQ"]["cpu_us"][-1])
    row["times_elsewhere"].append(client.p50_us() / elsewhere.p50_us())
    row["before_mib"].append(before.pss_mib)
    row["most_mib"].append(flood.most.pss_mib)
    row["grown_mib"].append(after.pss_mib - before.pss_mib)
    row["elsewhere_mib"].append(before.pss_mib - earlier.pss_mib)
    row["most_files"].append(flood.most.open_files)
    row["files"].append(after.open_files)
    hold_counts(report, kind, flood, refused(), wanted)
    what = f"{kind}: descriptors are as many as before: {before.open_files}, now {after.open_files}"
    report.demand(what, after.open_files <= before.open_files)


def expected(kind: str, flood: Flood) -> dict[str, int]:
    """What a coordinator is to count of it; of who is gone at once, at most."""
    return {COUNTED[kind]: flood.done} if kind in COUNTED else {}


def hold_counts(
    report: results.Report, kind: str, flood: Flood, refused: dict[str, int], wanted: dict[str, int]
) -> None:
    """Whether each that came was refused, and counted as it is to be."""
    report.demand(f"{kind}: of {flood.made} connections refused: {flood.done}", flood.made == flood.done > 0)
    if kind == "gone at once":
        met = all(count <= wanted.get(reason, 0) for reason, count in refused.items())
        report.demand(f"{kind}: counted: {refused}, at most {wanted}", met)
    else:
        report.demand(f"{kind}: counted: {refused}, want {wanted}", refused == wanted)


def row_of(kind: str, peer: str) -> dict[str, Any]:
    """A row without its rounds."""
    columns = ("connections", "per_second", "cpu_us", "p50_us", "worst_us", "alone_p50_us", "alone_worst_us")
    joins = ("join_p50_us", "join_worst_us", "alone_join_p50_us")
    own = ("times_plain", "times_elsewhere", *MEMORY, "most_files", "files") if peer == "fxfarm" else ()
    return {"strangers": kind, "at": peer, **{name: [] for name in (*columns, *joins, *own)}}


def add(row: dict[str, Any], flood: Flood, cpu_s: float, client: Client, alone: Client) -> None:
    """A round."""
    row["connections"].append(flood.made)
    row["per_second"].append(flood.made / flood.seconds)
    row["cpu_us"].append(cpu_s / flood.made * 1e6)
    for before, had in (("", client), ("alone_", alone)):
        row[f"{before}p50_us"].append(had.p50_us())
        row[f"{before}worst_us"].append(max(had.waits_us))
        if had.joins_us:
            row[f"{before}join_p50_us"].append(results.percentile(had.joins_us, 50))
    if client.joins_us:
        row["join_worst_us"].append(max(client.joins_us))


def hold(report: results.Report, kind: str, row: dict[str, Any]) -> None:
    """What a coordinator may cost more than the plain peer, and its client wait longer."""
    most = CPU_RATIO_MAX.get(kind, CPU_RATIO_MAX_ELSE)
    report.hold(f"{kind}: times the plain peer's processor time", row["times_plain"], most)
    what = f"{kind}: times a lookup's p50 while they are elsewhere"
    report.hold(what, row["times_elsewhere"], WAIT_RATIO_MAX)


def hold_all(report: results.Report, ground: Ground) -> None:
    """What holds for all kinds together."""
    assert ground.first is not None
    grown = ground.last.pss_mib - ground.first.pss_mib
    report.hold("MiB that the coordinator has more afterwards", [grown], GROWN_MIB_MAX)
    right = ground.lookups - ground.wrong
    report.demand(f"lookups answered with the artifact: {right} of {ground.lookups}", ground.wrong == 0)
    counted = ground.farm.keyed.counts(ground.farm.endpoint, "lookups", "stages_served_memory")
    wanted = (ground.lookups, ground.lookups - 1)
    report.demand(f"lookups counted, and served from memory: {counted}, want {wanted}", counted == wanted)


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a stranger was not refused or counted, or costs too much."""
    parser = harness.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each kind, at each of the two")
    parser.add_argument("--connections", type=int, default=200_000, help="no more than these, likewise")
    parser.add_argument("--processes", type=int, default=2, help="of strangers")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", metavar="KINDS", help="some of " + ", ".join(KINDS))
    options = parser.parse_args(argv)
    wanted = options.only.split(",") if options.only else list(KINDS)
    if unknown := set(wanted) - set(KINDS):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    report = results.Report("strangers")
    with (
        tempfile.TemporaryDirectory(prefix="fxb-") as directory,
        faults_farm.of_tests("cluster").farm_in(Path(directory)) as farm,
        harness.Place() as place,
    ):
        ground = Ground(place, Guarded(farm), options)
        for kind in wanted:
            rows = {peer: row_of(kind, peer) for peer in ("fxfarm", "plain ZeroMQ")}
            for _ in range(options.rounds):
                one_round(ground, kind, rows, report)
            for row in rows.values():
                report.add(**row)
            hold(report, kind, rows["fxfarm"])
        hold_all(report, ground)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
