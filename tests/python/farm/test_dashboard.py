"""The dashboard and the alert rules, with a real Prometheus that scrapes a real farm."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from cluster import HERE, Farm, free_port
from farm_client import Client
from prometheus_server import Prometheus, prometheus_in
from redis_servers import redis_in
from test_metrics import compiled_once

DOCKER = HERE.parents[2] / "docker"
SWITCHES = "sum(fxfarm_request_to_switch_seconds_count)"


def panels() -> list[dict[str, Any]]:
    board = json.loads((DOCKER / "grafana/fxfarm.json").read_text())
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def faults_of_panels(prometheus: Prometheus) -> list[str]:
    """A line for each query that finds nothing, or no number."""
    faults = []
    for panel in panels():
        assert panel["targets"]
        for target in panel["targets"]:
            found = prometheus.values(target["expr"].replace("$__rate_interval", "1m"))
            if not any(math.isfinite(value) for value in found):
                faults.append(f"{panel['title']}: {target['expr']} finds {found}")
    return faults


def test_every_panel_shows_a_real_farm_and_every_rule_can_be_evaluated(
    farm: Farm, client: Client, place: Path
) -> None:
    served = free_port()
    client.set(FXFARM_CLIENT_METRICS=str(served))
    with redis_in(place) as redis:
        coordinator, endpoint = farm.coordinator("--redis", f"redis://{redis.address}")
        worker = farm.worker(endpoint)
        compiled_once(farm, client, endpoint)
        targets = {
            "fxfarm-coordinator": coordinator.fact("coordinator ready", "metrics"),
            "fxfarm-worker": worker.fact("worker ready", "metrics"),
            "fxfarm-client": f"127.0.0.1:{served}",
        }
        with prometheus_in(place, DOCKER / "prometheus/alerts.yml", targets) as prometheus:
            prometheus.until_scraped()
            # Rates and quantiles need something that happens between two scrapes.
            prometheus.until(SWITCHES, 1)
            client.model(2.0).until_compiled()
            prometheus.until(SWITCHES, 2)
            assert faults_of_panels(prometheus) == []

            groups = prometheus.ask("rules", type="alert")["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            assert rules
            assert [rule for rule in rules if rule["health"] == "err"] == []
            firing = [rule["name"] for rule in rules if rule["state"] == "firing"]
            assert firing == [], "nothing is wrong with this farm"
