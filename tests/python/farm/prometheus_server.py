"""A Prometheus that a test starts: it scrapes a real farm, and answers what dashboards and alerts ask."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster import DEADLINE_S, free_port, until

CONFIGURATION = """
global: {scrape_interval: 500ms, evaluation_interval: 500ms}
rule_files: ["%s"]
scrape_configs:
"""
JOB = """
  - job_name: %s
    static_configs: [{targets: ["%s"]}]
"""


class Prometheus:
    """One server with its own directory and port; `targets` are jobs and what they scrape."""

    def __init__(self, directory: Path, rules: Path, targets: Mapping[str, str]) -> None:
        self.targets = targets
        self._address = f"127.0.0.1:{free_port()}"
        file = directory / "prometheus.yml"
        file.write_text(CONFIGURATION % rules + "".join(JOB % target for target in targets.items()))
        self.process = subprocess.Popen(
            [
                *("prometheus", f"--config.file={file}", f"--storage.tsdb.path={directory / 'tsdb'}"),
                *(f"--web.listen-address={self._address}", "--log.level=error"),
            ],
            stdin=subprocess.DEVNULL,
        )

    def ask(self, what: str, **arguments: str) -> Any:
        """The data of an answer of its HTTP API."""
        url = f"http://{self._address}/api/v1/{what}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{arguments}: {refused.read().decode()}") from refused

    def values(self, query: str) -> list[float]:
        """The value of each series that the query finds now."""
        return [float(found["value"][1]) for found in self.ask("query", query=query)["result"]]

    def until_scraped(self) -> None:
        def serves() -> bool:
            try:
                with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=DEADLINE_S) as answer:
                    return bool(answer.status == 200)
            except urllib.error.URLError:
                return False  # not yet

        until("prometheus serves", serves)
        wanted = [1.0] * len(self.targets)
        until("prometheus has scraped every target", lambda: self.values("up") == wanted)

    def until(self, query: str, value: float) -> None:
        """Waits until the query has one answer, and it is that."""
        until(f"prometheus knows that {query} is {value}", lambda: self.values(query) == [value])


@contextmanager
def prometheus_in(directory: Path, rules: Path, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    server = Prometheus(directory, rules, targets)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(DEADLINE_S)
