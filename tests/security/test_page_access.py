"""Who reaches the status page and the metrics of a coordinator, and who may read them."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import DEADLINE_S, Farm, farm_in
from keyed_farm import KeyedFarm
from programs import Role

TOKEN = "a-token-of-24-characters"
ASKED = ("/api/status", "/api/stats", "/api/top", "/api/graphs", "/api/explain?graph=x", "/api/admin")
FILES = ("/", "/page.js", "/admin.js")
OPEN = ("/healthz", "/readyz")


@pytest.fixture
def keyed(place: Path) -> Iterator[KeyedFarm]:
    with farm_in(place) as farm:
        yield KeyedFarm(farm)


class Visitor:
    """Who reaches a coordinator's address, which listens on all of this host's."""

    def __init__(self, coordinator: Role) -> None:
        self._port = int(coordinator.fact("coordinator ready", "metrics").rsplit(":", 1)[1])

    def get(self, path: str, token: str = "", host: str = "") -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Host": host} if host else {}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_S)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def statuses(self, paths: tuple[str, ...], token: str = "") -> set[int]:
        return {self.get(path, token)[0] for path in paths}

    def refused(self, reason: str, token: str = "") -> int:
        name = f'fxfarm_page_refusals_total{{reason="{reason}"}} '
        _, page = self.get("/metrics", token)
        (value,) = [row.removeprefix(name) for row in page.splitlines() if row.startswith(name)]
        return int(value)


def token_file(farm: Farm, name: str, content: str) -> str:
    file = farm.directory / name
    file.write_text(content)
    file.chmod(0o600)
    return str(file)


def test_beyond_this_host_nobody_reads_the_page_until_somebody_has_said_who_may(keyed: KeyedFarm) -> None:
    """Also where keys are on: the page has the names of all namespaces."""
    coordinator, endpoint = keyed.coordinator("--metrics", "0.0.0.0:0")
    visitor = Visitor(coordinator)
    assert visitor.statuses(ASKED + FILES, TOKEN) == {403}
    status, told = visitor.get("/api/graphs")
    assert status == 403 and "--page-token-file" in told
    assert visitor.refused("closed") == len(ASKED) + len(FILES) + 1
    assert visitor.statuses(OPEN) == {200}, "probes are answered"
    coordinator.wait_line("the status page is closed")
    assert keyed.metric(coordinator, "coordinator ready", "fxfarm_insecure") == 0
    assert keyed.ask("status", endpoint)["role"] == "coordinator", "who has an operator's key asks as ever"


@pytest.mark.parametrize("address", ["0.0.0.0:0", "127.0.0.1:0"])
def test_who_reads_the_page_has_its_token_or_the_one_for_actions(keyed: KeyedFarm, address: str) -> None:
    files = ("--page-token-file", token_file(keyed.farm, "page", TOKEN))
    files += ("--admin-token-file", token_file(keyed.farm, "admin", TOKEN + "-for-actions"))
    coordinator, _ = keyed.coordinator("--metrics", address, *files)
    visitor = Visitor(coordinator)
    assert visitor.statuses(ASKED) == {401}
    assert visitor.statuses(ASKED, TOKEN[:-1]) == {401}
    assert (visitor.refused("no_token"), visitor.refused("wrong_token")) == (len(ASKED), len(ASKED))
    assert visitor.statuses(FILES) == {200}, "they ask for it, and tell nothing"
    for token in (TOKEN, TOKEN + "-for-actions"):
        assert visitor.get("/api/status", token)[0] == 200
    assert TOKEN not in coordinator.log
    assert keyed.metric(coordinator, "coordinator ready", "fxfarm_insecure") == 0


def test_metrics_ask_for_a_token_where_they_have_one(keyed: KeyedFarm) -> None:
    file = token_file(keyed.farm, "metrics", TOKEN)
    coordinator, _ = keyed.coordinator("--metrics-token-file", file)
    visitor = Visitor(coordinator)
    assert [visitor.get("/metrics", token)[0] for token in ("", "wrong", TOKEN)] == [401, 401, 200]
    assert (visitor.refused("no_token", TOKEN), visitor.refused("wrong_token", TOKEN)) == (1, 1)
    assert visitor.statuses(OPEN) == {200}


def test_a_page_that_everybody_may_read_is_told_of_as_insecure(keyed: KeyedFarm) -> None:
    coordinator, _ = keyed.coordinator("--metrics", "0.0.0.0:0", "--insecure")
    assert Visitor(coordinator).statuses(ASKED[:1] + FILES) == {200}
    coordinator.wait_line("insecure: whoever reaches the status page")
    assert keyed.metric(coordinator, "coordinator ready", "fxfarm_insecure") == 1


def test_a_site_whose_name_leads_here_reads_nothing(keyed: KeyedFarm) -> None:
    coordinator, _ = keyed.coordinator()
    visitor = Visitor(coordinator)
    for path in ASKED + FILES:
        assert visitor.get(path, host="evil.example.com")[0] == 421, path
    assert visitor.refused("name") == len(ASKED) + len(FILES)
    assert visitor.get("/metrics", host="evil.example.com")[0] == 200, "no graph's name is there"
