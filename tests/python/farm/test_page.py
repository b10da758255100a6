"""The status page: what it answers over HTTP, and what a real browser makes of it."""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Tab, browser_in
from cluster import DEADLINE_S, Farm, until
from echo_client import graph_key
from echo_farm import Asking, echo_farm_in
from page_checks import KEPT_FOR, TOO_FAINT, TOO_WIDE

TOKEN = "a-token-of-24-characters"
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"
"""A name that a client gives its graph."""
GRAPHS = 30


@dataclass
class Site:
    farm: Farm
    endpoint: str
    page: str
    """Where the coordinator serves it, as host:port."""

    @property
    def url(self) -> str:
        return f"http://{self.page}/"


def request(
    page: str, method: str, path: str, body: str = "", headers: dict[str, str] | None = None
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(page, timeout=DEADLINE_S)
    try:
        connection.request(method, path, body or None, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def act(page: str, action: str, body: dict[str, str], token: str = TOKEN) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    status, told = request(page, "POST", f"/api/{action}", json.dumps(body), headers)
    return status, json.loads(told)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A coordinator with actions allowed, a worker, and graphs that clients run; one has an evil name."""
    with tempfile.TemporaryDirectory(prefix="ff-") as directory, echo_farm_in(Path(directory)) as farm:
        token = Path(directory) / "token"
        token.write_text(TOKEN + "\n")
        token.chmod(0o600)
        role, endpoint = farm.coordinator("--admin-token-file", str(token))
        page = role.fact("coordinator ready", "metrics")
        farm.worker(endpoint, slots=2, name="w")
        farm.until_workers(endpoint)
        client = Asking(farm, [endpoint], 0, GRAPHS, queue.Queue())
        evil = Asking(farm, [endpoint], 1000, 1, queue.Queue(), name=EVIL)
        until("the clients are served", lambda: client.settled and evil.settled)
        yield Site(farm, endpoint, page)
        assert client.leave() == evil.leave() == 0


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser_in(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture
def tab(site: Site, browser: Browser) -> Iterator[Tab]:
    """The page, once it shows the graphs; nothing may go wrong in it."""
    opened = Tab(browser, site.url)
    opened.until("graphs are shown", "document.querySelectorAll('#graph-table tbody tr').length > 1")
    yield opened
    opened.close()
    assert browser.problems == []


def rows(tab: Tab, table: str) -> list[str]:
    """The text of each row."""
    found: list[str] = tab.run(
        f"[...document.querySelectorAll('#{table} tbody tr:not(.none)')].map(r => r.textContent)"
    )
    return found


def shot(tab: Tab, name: str) -> None:
    """For people: FXFARM_TEST_SHOTS names a directory for pictures of the page."""
    if directory := os.environ.get("FXFARM_TEST_SHOTS"):
        tab.screenshot(Path(directory) / f"{name}.png")


def test_what_the_page_asks_for_is_what_the_commands_print(site: Site) -> None:
    passing = ("uptime_seconds", "unix_seconds")

    def status_agrees() -> bool:
        # What is being stored when one is asked may be there when the other is.
        status, told = request(site.page, "GET", "/api/status")
        assert status == 200
        asked = (json.loads(told), site.farm.ask("status", site.endpoint))
        shown, printed = ({k: v for k, v in one.items() if k not in passing} for one in asked)
        return shown == printed

    def graphs_agree() -> bool:
        shown = json.loads(request(site.page, "GET", "/api/graphs?limit=3&sort=name")[1])
        words = ("graphs", "--json", "--endpoint", site.endpoint, "--limit", "3", "--sort", "name")
        assert len(shown["graphs"]) == 3
        return bool(shown == json.loads(site.farm.command(*words).stdout))

    until("page and command tell the same of the farm", status_agrees)
    until("page and command tell the same of graphs", graphs_agree)
    assert (
        json.loads(request(site.page, "GET", "/api/top")[1]).keys()
        == site.farm.ask("top", site.endpoint).keys()
    )
    assert (
        json.loads(request(site.page, "GET", "/api/stats")[1]).keys()
        == site.farm.ask("stats", site.endpoint).keys()
    )
    lives = site.farm.command("explain", "--endpoint", site.endpoint, "g0").stdout
    told = request(site.page, "GET", f"/api/explain.txt?graph={graph_key(0)}")[1]
    shown, printed = (re.sub(r"since \S+ \w+ ago", "since then", text) for text in (told, lives))
    assert shown.splitlines()[3:] == printed.splitlines()[3:]
    assert "the artifact is there" in shown


def test_what_cannot_be_shown_says_why(site: Site) -> None:
    assert request(site.page, "GET", "/api/graphs?limit=501")[0] == 400
    assert request(site.page, "GET", "/api/explain?graph=unheard-of")[0] == 404
    assert request(site.page, "GET", "/api/nothing")[0] == 404
    assert request(site.page, "POST", "/api/status")[0] == 405
    assert request(site.page, "GET", "/api/drain")[0] == 405


def test_many_viewers_ask_the_coordinator_about_once_a_second(site: Site) -> None:
    def asked() -> tuple[int, ...]:
        return site.farm.counts(site.endpoint, "page_questions_asked", "page_questions_shared")

    before, shared_before = asked()
    assert {request(site.page, "GET", "/api/stats")[0] for _ in range(200)} == {200}
    now, shared = asked()
    # Whatever the machine's speed: those that were not asked for were shared.
    assert (now - before) + (shared - shared_before) == 200
    assert now - before < 100


def test_the_overview_workers_and_graphs_are_shown(tab: Tab, site: Site) -> None:
    (worker,) = rows(tab, "worker-table")
    assert worker.startswith("w-")
    assert "0 of 2" in worker
    assert "torch 2.13.0" in worker
    tiles = tab.run("document.getElementById('tiles').innerText")
    assert "Clients\n2" in tiles
    assert f"Finished\n{2 * (GRAPHS + 1)}" in tiles
    assert tab.run("document.getElementById('freshness').textContent").startswith("as of ")
    assert len(rows(tab, "graph-table")) == GRAPHS + 1
    assert all("max-autotune: ready" in row for row in rows(tab, "graph-table"))
    assert len(rows(tab, "slowest-table")) == 20
    shot(tab, "light")


def test_a_worker_that_is_kept_says_for_which_job_and_leads_to_it(tab: Tab) -> None:
    tab.run(f"{KEPT_FOR}({json.dumps(graph_key(0))}, {json.dumps(EVIL)})")
    state = "document.querySelector('#worker-table td[data-label=State]')"
    tab.until("it says so", f"{state}.textContent === {json.dumps(f'idlekept for {EVIL} max')}")
    shot(tab, "kept")
    tab.look_like(width=360, height=740)
    assert tab.run(TOO_WIDE) == []
    tab.click("#worker-table td[data-label=State] a")
    tab.until("the graph is shown", "document.getElementById('graph-head').textContent === 'g0'")


def test_graphs_are_searched_by_name_key_and_state_and_bounded(tab: Tab) -> None:
    tab.type("graph-text", "g2")
    tab.until("names are searched", "document.querySelectorAll('#graph-table tbody tr').length === 11")
    assert all(row.startswith("g2") for row in rows(tab, "graph-table"))
    tab.type("graph-text", graph_key(7)[:12])
    tab.until("keys are searched", "document.querySelectorAll('#graph-table tbody tr').length === 1")
    assert rows(tab, "graph-table")[0].startswith("g7")
    tab.type("graph-text", "")
    tab.type("graph-limit", "20")
    tab.until("the list is bounded", "document.querySelectorAll('#graph-table tbody tr').length === 20")
    tab.type("graph-state", "failed")
    tab.until("states are searched", "document.querySelector('#graph-table td.empty')")
    tab.type("worker-text", "another")
    assert rows(tab, "worker-table") == []


def test_a_graph_has_its_life_in_words_and_drawn(tab: Tab, site: Site) -> None:
    tab.type("graph-text", "g29")
    tab.until("the graph is found", "document.querySelectorAll('#graph-table tbody tr').length === 1")
    tab.click("#graph-table tbody a")
    tab.until(
        "the switch is drawn",
        # The first stage is passed over when the last one is there before it has been loaded.
        "document.querySelector('#timeline-table tr:last-child td:last-child').textContent.endsWith('s')",
    )
    assert tab.run("document.getElementById('graph-head').textContent") == "g29"
    drawn = tab.run(
        "[...document.querySelectorAll('#timeline-drawing rect')].map(r => r.getAttribute('class'))"
    )
    assert {"span-queue", "span-compile", "span-store"} <= set(drawn)
    titles = tab.run("[...document.querySelectorAll('#timeline-drawing title')].map(t => t.textContent)")
    assert any(t.startswith("client runs it at ") for t in titles)
    assert "compiled by worker w-" in tab.run("document.getElementById('graph-told').textContent")
    assert "default" in tab.run("document.getElementById('graph-stages').textContent")
    shot(tab, "graph-light")
    tab.look_like(scheme="dark")
    shot(tab, "graph-dark")
    tab.look_like(width=360, height=740)
    assert tab.run(TOO_WIDE) == []
    shot(tab, "graph-phone")
    tab.run("history.back()")
    tab.until("the farm is shown again", "!document.getElementById('farm').hidden")


def test_a_link_to_a_graph_that_is_not_known_says_so(tab: Tab) -> None:
    tab.run("location.hash = '#/graph/0123456789abcdef'")
    tab.until("it is said", "document.getElementById('graph-head').textContent === 'No such graph'")
    assert "0123456789abcdef" in tab.run("document.getElementById('graph-problem').textContent")
    # The browser logs each answer that is a 404 by itself.
    tab.browser.problems = [p for p in tab.browser.problems if "status of 404" not in p]


def test_a_link_that_no_page_wrote_leads_to_no_graph_and_back(tab: Tab) -> None:
    tab.run("location.hash = '#/graph/%zz'")
    tab.until("it is said", "document.getElementById('graph-head').textContent === 'No such graph'")
    tab.run("location.hash = ''")
    tab.until("the farm is shown again", "!document.getElementById('farm').hidden")
    # The browser logs each answer that is a 404 by itself.
    tab.browser.problems = [p for p in tab.browser.problems if "status of 404" not in p]


def test_a_name_with_markup_is_shown_as_it_is(tab: Tab) -> None:
    tab.type("graph-text", "<img")
    tab.until("the graph is found", "document.querySelectorAll('#graph-table tbody tr').length === 1")
    assert rows(tab, "graph-table")[0].startswith(EVIL)
    tab.click("#graph-table tbody a")
    tab.until(
        "its life is shown", f"document.getElementById('graph-head').textContent === {json.dumps(EVIL)}"
    )
    assert EVIL in tab.run("document.getElementById('graph-told').textContent")
    assert tab.run("document.querySelectorAll('main img, main script').length") == 0


def test_the_page_has_a_dark_side(tab: Tab) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = tab.run(ground)
    tab.look_like(scheme="dark")
    dark = tab.run(ground)
    assert light == "rgb(246, 247, 249)"
    assert dark == "rgb(13, 17, 23)"
    shot(tab, "dark")


def test_the_page_fits_a_phone(tab: Tab) -> None:
    tab.look_like(width=360, height=740)
    assert tab.run(TOO_WIDE) == []
    shot(tab, "phone")


def test_text_stands_out_from_its_ground(tab: Tab) -> None:
    for scheme in ("light", "dark"):
        tab.look_like(scheme=scheme)
        assert tab.run(TOO_FAINT) == [], scheme


def test_parts_have_names_for_those_who_do_not_see_them(tab: Tab) -> None:
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    named = {(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n.get("ignored")}
    assert {
        *{("region", name) for name in ("Overview", "Workers", "Queue", "Graphs", "Actions")},
        *{("search", "Graphs"), ("navigation", "Sections"), ("columnheader", "Worker")},
    } <= named
    unnamed = [
        role for role, name in named if role in {"button", "link", "textbox", "searchbox"} and not name
    ]
    assert unnamed == []


OWN_TIMERS = """
window.due = new Map();
let last = 0;
const [set, clear] = [window.setTimeout.bind(window), window.clearTimeout.bind(window)];
window.setTimeout = (run, ms, ...more) => {
  if (ms < 1000) return set(run, ms, ...more);
  const id = `own ${++last}`;
  window.due.set(id, run);
  return id;
};
window.clearTimeout = (id) => window.due.delete(id) || clear(id);
"""
"""Has the page's next look wait in `due` until a test runs it; shorter times are as they were."""


def test_the_page_rests_while_nobody_looks_and_says_when_it_is_out_of_date(
    farm_alone: Site, browser: Browser
) -> None:
    tab = Tab(browser, farm_alone.url)
    tab.run(f"(() => {{ {OWN_TIMERS} }})()")
    tab.until("its next look is planned", "due.size === 1")
    tab.run("""Object.defineProperty(document, "hidden", { get: () => window.away, configurable: true });
            window.away = true; document.dispatchEvent(new Event("visibilitychange"))""")
    assert tab.run("due.size") == 0
    looks = tab.run("document.body.dataset.looks")
    tab.run("""window.away = false; document.dispatchEvent(new Event("visibilitychange"))""")
    tab.until("it looks again", f"document.body.dataset.looks !== {json.dumps(looks)}")
    assert tab.run("due.size") == 1
    assert farm_alone.farm.roles[0].stop() == 0
    tab.run("[...due.values()].forEach((look) => look())")
    tab.until(
        "it says so", "document.getElementById('freshness').textContent.startsWith('out of date: as of ')"
    )
    assert tab.run("document.getElementById('freshness').classList.contains('stale')")
    shot(tab, "stale")
    tab.close()
    # The browser logs by itself that nobody listens.
    browser.problems.clear()


@pytest.fixture
def farm_alone(place: Path) -> Iterator[Site]:
    """A coordinator of the test's own, without workers and with actions off."""
    with echo_farm_in(place) as farm:
        role, endpoint = farm.coordinator()
        yield Site(farm, endpoint, role.fact("coordinator ready", "metrics"))


def test_actions_are_off_without_a_token(farm_alone: Site, browser: Browser) -> None:
    status, told = act(farm_alone.page, "reset-stats", {})
    assert status == 403
    assert "--admin-token-file" in told["reason"]
    tab = Tab(browser, farm_alone.url)
    tab.until(
        "it is said", "document.getElementById('admin-reason').textContent.includes('--admin-token-file')"
    )
    assert tab.run("document.getElementById('admin-form').hidden")
    tab.close()


def test_a_token_that_others_can_read_is_refused(place: Path) -> None:
    with echo_farm_in(place) as farm:
        token = place / "token"
        token.write_text(TOKEN)
        token.chmod(0o640)
        done = farm.command("coordinator", "--listen", "tcp://127.0.0.1:0", "--admin-token-file", str(token))
        assert done.returncode != 0
        assert f"admin_token_file: {token} is open to other users; run: chmod 600 {token}" in done.stderr


def test_a_token_that_no_header_carries_is_refused(place: Path) -> None:
    with echo_farm_in(place) as farm:
        token = place / "token"
        token.write_text(f"{TOKEN} \n")
        token.chmod(0o600)
        done = farm.command("coordinator", "--listen", "tcp://127.0.0.1:0", "--admin-token-file", str(token))
        assert done.returncode != 0
        assert f"admin_token_file: {token} has blanks or what is not ASCII" in done.stderr


def test_actions_want_the_token(site: Site) -> None:
    (before,) = site.farm.counts(site.endpoint, "admin_actions_denied")
    resets = site.farm.ask("stats", site.endpoint)["resets"]
    for token in ("", "wrong", TOKEN[:-1], TOKEN + "x"):
        assert act(site.page, "reset-stats", {}, token)[0] == 401
    # As a form of another site would.
    assert request(site.page, "POST", "/api/reset-stats", "{}")[0] == 415
    assert site.farm.counts(site.endpoint, "admin_actions_denied") == (before + 5,)
    assert site.farm.ask("stats", site.endpoint)["resets"] == resets
    assert "an action of the status page was denied" in site.farm.roles[0].log


def test_a_worker_is_drained_and_a_graph_forgotten_by_whoever_has_the_token(tab: Tab, site: Site) -> None:
    tab.type("admin-token", "wrong")
    tab.click("#admin-form button")
    tab.until("it is refused", "document.getElementById('said').textContent.startsWith('Not unlocked: want')")
    # The browser logs each answer that is a 401 by itself.
    tab.browser.problems = [p for p in tab.browser.problems if "status of 401" not in p]
    assert tab.run("document.querySelectorAll('#worker-table button').length") == 0
    tab.type("admin-token", TOKEN)
    tab.click("#admin-form button")
    tab.until("it is unlocked", "document.querySelector('#worker-table button')?.textContent === 'Drain'")
    assert tab.run("[sessionStorage.length, localStorage.length, document.cookie]") == [0, 0, ""]

    tab.click("#worker-table button")
    tab.until("it asks back", "document.getElementById('confirm').open")
    shot(tab, "confirm")
    tab.click("#confirm button[value=no]")
    assert site.farm.ask("status", site.endpoint)["workers"][0]["state"] == "idle"
    tab.click("#worker-table button")
    tab.until("it asks back", "document.getElementById('confirm').open")
    tab.click("#confirm-yes")
    tab.until("it is drained", "document.querySelector('#worker-table button')?.textContent === 'Undrain'")
    assert site.farm.ask("status", site.endpoint)["workers"][0]["state"] == "draining"
    assert act(site.page, "undrain", {"worker": "w-"})[0] == 200
    site.farm.until_workers(site.endpoint)

    key = graph_key(3)
    tab.run(f"location.hash = '#/graph/{key}'")
    tab.until("the graph is shown", "!document.getElementById('cache-rm').hidden")
    tab.click("#cache-rm")
    tab.until("it asks back", "document.getElementById('confirm').open")
    tab.click("#confirm-yes")
    said = "document.getElementById('said').textContent"
    tab.until("something is said of it", f"{said} && !{said}.includes('draining')")
    assert tab.run(said) == "Forgotten: 2 stages, 0 failures; 0 in flight were left."
    tab.until("that is shown", "document.getElementById('graph-stages').textContent.includes('forgotten')")
    assert "an action of the status page" in site.farm.roles[0].log
    assert TOKEN not in site.farm.roles[0].log
    resets = site.farm.ask("stats", site.endpoint)["resets"]
    assert act(site.page, "reset-stats", {}) == (200, {"resets": resets + 1})
    assert act(site.page, "cache-rm", {"key": "01234567"})[0] == 404


def test_a_local_farm_has_the_page_and_a_worker_links(site: Site, place: Path) -> None:
    worker = site.farm.roles[1].fact("worker ready", "metrics")
    status, told = request(worker, "GET", "/")
    assert status == 200
    assert 'href="metrics"' in told
    assert request(worker, "GET", "/api/status")[0] == 404
    with echo_farm_in(place) as farm:
        role, endpoint = farm.local()
        page = role.fact("local farm ready", "metrics")
        assert request(page, "GET", "/")[1].startswith("<!doctype html>")
        assert json.loads(request(page, "GET", "/api/status")[1])["role"] == "local"
        assert farm.ask("status", endpoint)["metrics"] == page
