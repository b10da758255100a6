"""Whether PyTorch's operators, with their own sample inputs, are served as Inductor would compile them.

    python bench/operators.py [--samples 2] [--gradients] [--dynamic] [--capture] [--dtypes float32,...]
                              [--only PATTERN] [--shard 0/8] [--seed 0] [--jobs 2] [--json FILE]

Every operator of torch.testing's op_db that runs on a CPU is called through torch.compile with the backend
fxfarm, and again once its stage is switched in; what it returns, leaves in its inputs and gives as gradients
is compared with eager, within the tolerances of PyTorch's own test of Inductor. An operator takes the first
of --dtypes that it has. What is not served is tried with Inductor in the same run.

| outcome | meaning |
| --- | --- |
| served | compiled code was switched in, and its results equal eager's |
| no graph | Dynamo runs the sample without any graph: nothing to compile |
| eager refuses | the sample does not run in eager either |
| ..., as Inductor | stays eager, raises or differs, and Inductor refuses, raises or differs as well |
| not served, wrong, raises, crashes | so with fxfarm and not with Inductor: a failure |

A crash ends one child; what was left is tried again in halves, until the sample to blame is alone. Exits
with 1 when there is a failure.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import harness
import operator_backends
import operator_samples
import results

DTYPES = "float32,int64,bool,complex64,float16,bfloat16"
BATCH = 40
"""Cases of one child; each pays for its imports."""
ENGINES_PER_CLIENT = 6
FINE = ("served", "no graph", "eager refuses")

Row = dict[str, Any]


class Run:
    """The children of one run, in a place with a farm."""

    def __init__(self, place: harness.Place, endpoint: str, settings: operator_samples.Settings) -> None:
        self._place = place
        self._variables = {"FXFARM_ENDPOINTS": endpoint, "FXFARM_LOCAL": "false", "FXFARM_LOG": "off"}
        self._settings = dataclasses.asdict(settings)

    def rows(self, cases: Sequence[str], backend: str, clients: int) -> list[Row]:
        """One row per sample, by `clients` children at the same time."""
        batches = [cases[i : i + BATCH] for i in range(0, len(cases), BATCH)]
        with ThreadPoolExecutor(clients) as pool:
            answers = pool.map(lambda batch: list(self._batch(batch, backend)), batches)
            return list(itertools.chain.from_iterable(answers))

    def _batch(self, cases: Sequence[str], backend: str) -> Iterator[Row]:
        answers = Path(self._place.fresh("rows")) / "rows"
        answers.touch()
        child = self._place.start(
            operator_backends.check,
            variables=self._variables,
            names=list(cases),
            backend=backend,
            rows=str(answers),
            settings=self._settings,
        )
        try:
            child.result()
        except RuntimeError:
            # Ended by a signal: a crash, or the time that it may take.
            if child.process.returncode >= 0:
                raise
        answered = [json.loads(line) for line in answers.read_text().splitlines()]
        for answer in answered:
            yield from answer["rows"]
        left = [c for c in cases if c not in {a["case"] for a in answered}]
        if len(left) == 1:
            operator, _, dtype = left[0].rpartition(":")
            reason = f"ended by signal {-child.process.returncode}"
            yield operator_samples.row_of(operator, dtype, None, "crashes", reason)
        elif left:
            yield from self._batch(left[: len(left) // 2], backend)
            yield from self._batch(left[len(left) // 2 :], backend)


def judged(row: Row, inductor: Row | None) -> Row:
    """The row with its final outcome, given what became of the same sample with Inductor."""
    outcome = row["outcome"]
    if outcome in FINE:
        return {**row, "failed": False}
    theirs = inductor["outcome"] if inductor is not None else "missing"
    same = theirs == outcome or (outcome == "eager" and theirs in ("raises", "crashes"))
    named = f"{outcome}, as Inductor" if same else {"eager": "not served"}.get(outcome, outcome)
    told = {"inductor": theirs, "inductor_reason": inductor["reason"] if inductor is not None else ""}
    return {**row, "outcome": named, "failed": not same, **told}


def compared(rows: Sequence[Row], inductor: Iterable[Row]) -> list[Row]:
    """All rows, judged."""
    theirs = {_place(row): row for row in inductor}

    def of(row: Row) -> Row | None:
        return theirs.get(_place(row)) or theirs.get((row["operator"], row["dtype"], None))

    return [judged(row, of(row)) for row in rows]


def _place(row: Row) -> tuple[str, str, int | None]:
    return row["operator"], row["dtype"], row["sample"]


def fill(report: results.Report, rows: Sequence[Row], cases: Sequence[str]) -> None:
    """Totals by outcome, then each operator that is not simply served."""
    report.document["samples"] = list(rows)
    counts = collections.Counter(row["outcome"] for row in rows)
    report.add(outcome="all", operators=len(cases), samples=len(rows))
    for outcome, samples in counts.most_common():
        names = {row["operator"] for row in rows if row["outcome"] == outcome}
        report.add(outcome=outcome, operators=len(names), samples=samples)
    for row in rows:
        if row["outcome"] not in ("served", "no graph"):
            operator = f"{row['operator']}:{row['dtype']}:{row['sample']}"
            report.add(outcome=row["outcome"], operator=operator, reason=row["reason"])


def chosen(cases: Sequence[str], only: str, shard: str) -> list[str]:
    """The cases whose operator matches `only`; of these every n-th from the i-th on, for a shard i/n."""
    index, count = (int(part) for part in shard.split("/"))
    if not 0 <= index < count:
        raise ValueError(f"no shard {shard}: i/n counts from 0")
    return [c for c in cases if re.search(only, c.rpartition(":")[0])][index::count]


def main(argv: Sequence[str]) -> int:
    """Runs, prints, and gives 1 when an operator is not served as Inductor would."""
    parser = harness.parser(__doc__)
    parser.add_argument("--samples", type=int, default=2, help="of each operator, at most")
    parser.add_argument("--gradients", action="store_true", help="forward and backward where there is one")
    parser.add_argument("--dynamic", action="store_true", help="symbolic sizes")
    parser.add_argument("--capture", action="store_true", help="what depends on data is in the graph, too")
    parser.add_argument("--dtypes", default=DTYPES)
    parser.add_argument("--only", default="", metavar="PATTERN", help="operators whose name matches")
    parser.add_argument("--shard", default="0/1", metavar="I/N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="engines at the same time")
    parser.add_argument("--engine-cache-dir", metavar="DIR", help="kept, so that its headers serve again")
    options = parser.parse_args(argv)
    settings = operator_samples.Settings(
        options.samples, options.seed, options.gradients, options.dynamic, options.capture
    )
    report = results.Report("operators")
    # Every sample is on a CPU; an engine that sees a GPU is one for that GPU.
    with harness.Place(CUDA_VISIBLE_DEVICES="") as place:
        dtypes = options.dtypes.split(",")
        found = place.run(operator_samples.cases, dtypes=dtypes, gradients=options.gradients)
        cases = chosen(found, options.only, options.shard)
        with farm(place, options.jobs, options.engine_cache_dir) as endpoint:
            rows = checked(Run(place, endpoint, settings), cases, options.jobs)
    fill(report, rows, cases)
    report.finish(options.json)
    return 1 if any(row["failed"] for row in rows) else 0


@contextlib.contextmanager
def farm(place: harness.Place, engines: int, cache: str | None) -> Iterator[str]:
    """The endpoint of a farm with so many engines."""
    socket = f"{place.root}/farm.sock"
    options = {
        "socket": socket,
        "python": sys.executable,
        "nice": 0,
        "metrics": "off",
        "slots": engines,
        "compile-threads": 1,
        "job-deadline": "5m",
        "engine-cache-dir": cache or place.fresh("engines"),
    }
    with harness.farm_process(place, "local", *(f"--{name}={value}" for name, value in options.items())):
        yield f"ipc://{socket}"


def checked(run: Run, cases: Sequence[str], jobs: int) -> list[Row]:
    """The judged rows of all cases; what fxfarm does not serve has been tried with Inductor."""
    rows = run.rows(cases, "fxfarm", 1 + jobs // ENGINES_PER_CLIENT)
    doubtful = {f"{row['operator']}:{row['dtype']}" for row in rows if row["outcome"] not in FINE}
    return compared(rows, run.rows([c for c in cases if c in doubtful], "inductor", jobs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
