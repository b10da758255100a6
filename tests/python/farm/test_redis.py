"""The tier that coordinators share: what one has made, another serves, whatever Redis does meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster import Farm, Role, until
from farm_client import Client
from redis_servers import PASSWORD, Redis, Resharding, cluster_in, redis_in, sentinel_in, tls_in
from test_metrics import families, sample

SHARED = ("cache_queries_redis", "cache_hits_redis", "cache_errors_redis")
FAMILIES = {
    *("fxfarm_redis_breaker", "fxfarm_redis_breaker_opened_total", "fxfarm_redis_queue_bytes"),
    *("fxfarm_redis_queue_entries", "fxfarm_redis_writes_total", "fxfarm_redis_writes_dropped_total"),
    "fxfarm_redis_operation_seconds",
}


class Coordinators:
    """One coordinator after the other, each with an empty disk of its own and an empty memory."""

    def __init__(self, farm: Farm, client: Client, *args: str) -> None:
        self._farm, self._client, self._args = farm, client, args
        self._made = 0
        self.role: Role | None = None
        self.endpoint = ""

    def next(self, *args: str, worker: bool = True) -> str:
        """The endpoint of a new one, which the client uses from now on."""
        self._made += 1
        disk = str(self._farm.directory / f"disk-{self._made}")
        self.role, self.endpoint = self._farm.coordinator("--cache-dir", disk, *self._args, *args)
        if worker:
            self._farm.worker(self.endpoint, name=f"w{self._made}")
            self._farm.until_workers(self.endpoint)
        self._client.leave()
        self._client.set(FXFARM_ENDPOINTS=self.endpoint, FXFARM_LOCAL="false")
        return self.endpoint

    def counts(self, *names: str) -> tuple[int, ...]:
        return self._farm.counts(self.endpoint, *names)

    def until_counts(self, wanted: tuple[int, ...], *names: str) -> None:
        until(f"{names} are {wanted}", lambda: self.counts(*names) == wanted)

    def end(self) -> None:
        """Ends all roles, at the same time and each with 0."""
        for role in self._farm.roles:
            if role.process.poll() is None:
                role.process.terminate()
        for role in self._farm.roles:
            assert role.ended() == 0, role.log

    def until_breaker(self, *states: str) -> None:
        def there() -> bool:
            return self._farm.ask("status", self.endpoint)["store"]["redis_breaker"] in states

        until(f"the breaker is {states}", there)


@pytest.fixture
def redis(place: Path) -> Iterator[Redis]:
    with redis_in(place, cli=("-n", "3")) as server:
        yield server


@pytest.fixture
def coordinators(farm: Farm, client: Client, redis: Redis) -> Iterator[Coordinators]:
    made = Coordinators(farm, client, "--redis", f"redis://{redis.address}/3")
    yield made
    made.end()


@contextmanager
def redis_of(kind: str, place: Path) -> Iterator[dict[str, str]]:
    """The options, as variables, of a Redis of that kind."""
    password = place / "password"
    password.write_text(PASSWORD + "\n")
    if kind == "socket":
        file = place / "redis.sock"
        with redis_in(place, "--unixsocket", str(file), "--requirepass", PASSWORD):
            yield {"FXFARM_REDIS": f"unix://:correct%20horse@{file}"}
    elif kind == "tls":
        with tls_in(place) as (server, authority):
            yield {
                "FXFARM_REDIS": f"rediss://{server.address}",
                "FXFARM_REDIS_CA_FILE": str(authority),
                "FXFARM_REDIS_PASSWORD_FILE": str(password),
            }
    else:
        with cluster_in(place) as nodes:
            yield {"FXFARM_REDIS": f"redis+cluster://{nodes[0].address},{nodes[1].address}"}


@pytest.mark.parametrize("kind", ["socket", "tls", "cluster"])
def test_a_second_coordinator_with_an_empty_disk_starts_warm(
    farm: Farm, client: Client, place: Path, kind: str
) -> None:
    with redis_of(kind, place) as options:
        farm.variables.update(options)
        coordinators = Coordinators(farm, client)
        coordinators.next()
        # The second one's artifact is large: it goes in many parts.
        for height in (1.0, 2.0):
            client.model(height).until_compiled()
        coordinators.until_counts((2, 2), "redis_writes", "jobs_started")
        assert coordinators.counts(*SHARED) == (2, 0, 0)

        second = coordinators.next(worker=False)
        for height in (1.0, 2.0):
            model = client.model(height)
            model.until_compiled()
            assert model.stage.source == "redis"
        assert coordinators.counts("jobs_started", "stages_served_redis", *SHARED) == (0, 2, 2, 2, 0)
        # It is its own now.
        client.leave()
        client.model().until_compiled()
        assert coordinators.counts("stages_served_memory", "cache_queries_redis") == (1, 2)
        assert farm.ask("status", second)["store"]["disk_bytes"] > 32 << 20
        # Both are told where Redis is, and neither tells the password.
        said = "".join(role.log for role in farm.roles) + str(farm.ask("status", second))
        assert "horse" not in said
        coordinators.end()


@pytest.mark.parametrize("part", [":head", ":0", ":1"], ids=["head", "first chunk", "second chunk"])
def test_an_artifact_is_found_while_its_slot_moves_to_another_node(
    farm: Farm, client: Client, place: Path, part: str
) -> None:
    with cluster_in(place) as nodes:
        farm.variables["FXFARM_REDIS"] = f"redis+cluster://{nodes[0].address}"
        coordinators = Coordinators(farm, client)
        coordinators.next()
        client.model(2.0).until_compiled()
        coordinators.until_counts((1,), "redis_writes")
        keys = [key for node in nodes for key in node.keys()]
        (head,) = [key for key in keys if key.endswith(":head")]
        resharding = Resharding(nodes, head)
        resharding.move(*(key for key in keys if key.endswith(part)))

        coordinators.next(worker=False)
        model = client.model(2.0)
        model.until_compiled()
        assert model.stage.source == "redis"
        assert coordinators.counts("jobs_started", *SHARED) == (0, 1, 1, 0)
        assert sorted(key for node in nodes for key in node.keys()) == sorted(keys)

        # It knows the slot's old place, and is told that it has moved.
        resharding.move(*resharding.source.keys())
        resharding.end()
        removed = farm.command("cache", "rm", model.status.key, "--endpoint", coordinators.endpoint)
        assert removed.returncode == 0, removed.stderr
        assert [key for node in nodes for key in node.keys()] == []
        assert coordinators.counts(*SHARED) == (1, 1, 0)
        coordinators.end()


def test_an_artifact_is_removed_while_its_slot_moves(farm: Farm, client: Client, place: Path) -> None:
    with cluster_in(place) as nodes:
        farm.variables["FXFARM_REDIS"] = f"redis+cluster://{nodes[0].address}"
        coordinators = Coordinators(farm, client)
        coordinators.next()
        model = client.model(2.0)
        model.until_compiled()
        coordinators.until_counts((1,), "redis_writes")
        keys = [key for node in nodes for key in node.keys()]
        (head,) = [key for key in keys if key.endswith(":head")]
        Resharding(nodes, head).move(*(key for key in keys if key.endswith(":1")))
        removed = farm.command("cache", "rm", model.status.key, "--endpoint", coordinators.endpoint)
        assert removed.returncode == 0, removed.stderr
        assert [key for node in nodes for key in node.keys()] == []
        coordinators.end()


def test_a_failover_of_sentinel_is_followed(farm: Farm, client: Client, place: Path) -> None:
    with sentinel_in(place) as (master, replica, sentinel):
        url = f"redis+sentinel://{sentinel.address}/main"
        coordinators = Coordinators(farm, client, "--redis", url)
        coordinators.next()
        client.model().until_compiled()
        coordinators.until_counts((1,), "redis_writes")
        until("the replica has it", lambda: replica.keys(":head"))
        master.kill()
        # Who asks while it becomes that is cut off: a Sentinel ends the connections of all clients.
        until(
            "the replica is the master",
            lambda: "role:master" in replica.cli("info", "replication", check=False),
        )
        until("the Sentinel says so", lambda: str(replica.port) in sentinel.cli("sentinel", "masters"))
        # What is to be written finds the new one, whatever failed before.
        client.model(2.0).until_compiled()
        coordinators.until_counts((2,), "redis_writes")
        coordinators.next(worker=False)
        model = client.model()
        model.until_compiled()
        assert model.stage.source == "redis"
        coordinators.end()


def test_a_redis_that_is_killed_costs_nothing_but_its_hits(
    farm: Farm, client: Client, redis: Redis, coordinators: Coordinators
) -> None:
    coordinators.next()
    redis.kill()
    # One question and two attempts to write, each of which fails; then it is left alone.
    client.model().until_compiled()
    coordinators.until_breaker("open", "half_open")
    assert coordinators.counts("jobs_started", *SHARED) == (1, 1, 0, 3)
    assert coordinators.counts("redis_opened", "redis_queue_entries", "redis_writes") == (1, 1, 0)
    client.leave()
    client.model().until_compiled()
    assert coordinators.counts("stages_served_memory", *SHARED) == (1, 1, 0, 3)

    redis.start()
    coordinators.until_counts((1, 0), "redis_writes", "redis_queue_entries")
    coordinators.until_breaker("closed")
    assert coordinators.counts("redis_opened", *SHARED) == (1, 1, 0, 3)
    coordinators.next(worker=False)
    client.model().until_compiled()
    assert coordinators.counts("jobs_started", *SHARED) == (0, 1, 1, 0)


def test_a_redis_that_hangs_delays_a_lookup_by_no_more_than_its_deadline(
    farm: Farm, client: Client, redis: Redis, coordinators: Coordinators
) -> None:
    coordinators.next("--redis-timeout", "200ms")
    redis.pause()
    client.model().until_compiled()
    coordinators.until_breaker("open", "half_open")
    assert coordinators.counts("jobs_started", *SHARED) == (1, 1, 0, 3)
    assert coordinators.role is not None
    assert "timeout: 127.0.0.1" in coordinators.role.wait_line("tier=redis")
    redis.resume()
    coordinators.until_counts((1, 0), "redis_writes", "redis_queue_entries")
    coordinators.until_breaker("closed")


@pytest.mark.parametrize("part", [":head", ":0"], ids=["head", "data"])
def test_a_byte_flipped_in_redis_is_found_and_the_graph_compiled_again(
    farm: Farm, client: Client, redis: Redis, coordinators: Coordinators, part: str
) -> None:
    coordinators.next()
    client.model().until_compiled()
    coordinators.until_counts((1,), "redis_writes")
    (key,) = redis.keys(part)
    before = redis.cli("getrange", key, "3", "3")
    redis.cli("setrange", key, "3", "x" if before != "x" else "y")

    coordinators.next()
    client.model().until_compiled()
    assert coordinators.counts("jobs_started", *SHARED) == (1, 1, 0, 1)
    assert coordinators.role is not None
    assert "was removed" in coordinators.role.wait_line("tier=redis why=")
    coordinators.until_counts((1,), "redis_writes")
    coordinators.next(worker=False)
    client.model().until_compiled()
    assert coordinators.counts("jobs_started", *SHARED) == (0, 1, 1, 0)


def test_an_artifact_beyond_the_bound_does_not_go_to_redis(
    farm: Farm, client: Client, redis: Redis, coordinators: Coordinators
) -> None:
    coordinators.next("--redis-value-bytes", "1MiB")
    for height in (2.0, 1.0):
        client.model(height).until_compiled()
    coordinators.until_counts((1, 1), "redis_writes", "redis_dropped_too_large")
    assert coordinators.counts(*SHARED) == (2, 0, 0)
    assert len(redis.keys(":head")) == 1


@pytest.mark.parametrize("secured", [True, False], ids=["wrong", "none"])
def test_without_the_right_password_the_farm_goes_on_and_tells_the_option(
    farm: Farm, client: Client, place: Path, secured: bool
) -> None:
    with redis_in(place, "--requirepass", PASSWORD) as redis:
        user = ":battery-staple@" if secured else ""
        farm.variables["FXFARM_REDIS"] = f"redis://{user}{redis.address}"
        coordinators = Coordinators(farm, client)
        coordinators.next()
        client.model().until_compiled()
        coordinators.until_breaker("open", "half_open")
        assert coordinators.role is not None
        line = coordinators.role.wait_line("redis is left alone")
        assert "redis_password_file" in line
        assert "staple" not in coordinators.role.log
        assert coordinators.counts("jobs_started", *SHARED) == (1, 1, 0, 3)
        coordinators.end()


def test_what_is_still_to_be_written_is_written_before_the_end(
    farm: Farm, client: Client, redis: Redis, coordinators: Coordinators
) -> None:
    assert farm.control is not None
    farm.control.on("wait")
    # No answer is late or slow in this test.
    coordinators.next("--redis-timeout", "2m")
    model = client.model()
    farm.control.job()
    redis.pause()
    farm.control.open_gate()
    model.until_compiled()
    assert coordinators.counts("redis_writes", "redis_queue_entries") == (0, 1)
    assert coordinators.role is not None
    coordinators.role.process.terminate()
    coordinators.role.wait_line("stopping why=SIGTERM")
    redis.resume()
    assert coordinators.role.ended() == 0
    assert len(redis.keys(":head")) == 1


def test_status_and_metrics_show_the_tier(
    farm: Farm, client: Client, redis: Redis, coordinators: Coordinators
) -> None:
    endpoint = coordinators.next()
    client.model().until_compiled()
    coordinators.until_counts((1,), "redis_writes")
    shown = farm.command("status", "--endpoint", endpoint).stdout
    assert "redis_breaker closed" in shown
    assert coordinators.role is not None
    page = farm.scrape(coordinators.role.fact("coordinator ready", "metrics"))
    assert families(page) >= FAMILIES
    assert sample(page, 'fxfarm_store_queries_total{tier="redis"}') == 1
    assert sample(page, 'fxfarm_redis_breaker{state="closed"}') == 1
    assert sample(page, 'fxfarm_redis_breaker{state="open"}') == 0
    assert sample(page, "fxfarm_redis_writes_total") == 1
    assert sample(page, 'fxfarm_redis_writes_dropped_total{reason="full"}') == 0
    assert sample(page, 'fxfarm_redis_operation_seconds_count{operation="put"}') == 1
    assert sample(page, 'fxfarm_redis_operation_seconds_count{operation="get"}') == 1


@pytest.mark.parametrize("role", ["coordinator", "local"])
def test_a_redis_that_cannot_be_used_safely_is_refused(farm: Farm, role: str) -> None:
    for args, said in (
        (("--redis", "redis://:hunter2@127.0.0.1"), "--redis-password-file"),
        (("--redis", "redis://farm.example"), "--redis-insecure"),
        (("--redis", "redis://:hunter2@farm.example/x"), "redis:"),
        (("--redis", "redis://127.0.0.1", "--redis-prefix", "a{b}"), "redis_prefix"),
    ):
        done = farm.command(role, *args)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert "hunter2" not in done.stderr
