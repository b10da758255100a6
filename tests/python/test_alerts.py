"""The alert rules that are shipped: each fires when it should, and has its runbook."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docker/prometheus/alerts.yml"
CASES = ROOT / "tests/prometheus/alerts_test.yml"
PARTS = ["**Meaning.**", "**Impact.**", "**What to look at.**", "**How to mend.**"]


def alerts() -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def names() -> list[str]:
    return [str(rule["alert"]) for rule in alerts()]


def promtool(*args: str) -> str:
    done = subprocess.run(["promtool", *args], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_and_configuration_are_what_prometheus_reads() -> None:
    assert f"SUCCESS: {len(names())} rules found" in promtool("check", "rules", str(RULES))
    promtool("check", "config", str(RULES.with_name("prometheus.yml")))


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    fired = {
        case["alertname"]
        for test in yaml.safe_load(CASES.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert fired == set(names())
    promtool("test", "rules", str(CASES))


@pytest.mark.parametrize("rule", alerts(), ids=names())
def test_each_alert_has_its_runbook(rule: dict[str, object]) -> None:
    name = str(rule["alert"])
    annotations = rule["annotations"]
    assert isinstance(annotations, dict)
    assert annotations["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
    sections = re.split(r"^## (.*)$", (ROOT / "docs/runbooks.md").read_text(), flags=re.MULTILINE)
    section = sections[sections.index(name) + 1]
    assert [part for part in PARTS if part in section] == PARTS


def test_rules_ask_for_metrics_that_there_are() -> None:
    known = set(
        re.findall(r"^\| `(fxfarm_\w+)` \| (\w+)", (ROOT / "docs/reference/metrics.md").read_text(), re.M)
    )
    histograms = {name for name, kind in known if kind == "histogram"}
    shown = {name for name, kind in known if kind != "histogram"}
    shown |= {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}
    asked = set(re.findall(r"\bfxfarm_\w+", " ".join(str(rule["expr"]) for rule in alerts())))
    assert asked
    assert asked - shown == set()
