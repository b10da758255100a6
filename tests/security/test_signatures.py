"""Artifacts are taken, kept, served and loaded only when a signer vouches for them that both sides accept."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import forgery
import msgpack
import pytest
from cluster import Farm, until
from farm_client import Client
from forgery import Signature
from keyed_farm import KeyedFarm
from programs import Role
from redis_servers import Redis, redis_in

import fxfarm

REASONS = ("unsigned", "unknown_signer", "bad_signature")


@pytest.fixture
def keyed(farm: Farm) -> KeyedFarm:
    return KeyedFarm(farm)


@pytest.fixture
def redis(place: Path) -> Iterator[Redis]:
    with redis_in(place) as server:
        yield server


@pytest.fixture
def evil(artifacts: Path, graphs: dict[float, str]) -> bytes:
    """An artifact that loads well and computes something else than the model of height 1."""
    found = msgpack.unpackb((artifacts / graphs[2.0]).read_bytes()[32:], strict_map_key=False)
    del found["padding"]
    body = msgpack.packb(found)
    return hashlib.sha256(body).digest() + body


def untrusted(keyed: KeyedFarm, coordinator: Role, tier: str) -> dict[str, int]:
    page = keyed.farm.scrape(coordinator.fact("coordinator ready", "metrics"))
    found = {}
    for row in page.splitlines():
        if row.startswith('fxfarm_store_untrusted_total{reason="') and f'tier="{tier}"' in row:
            found[row.split('reason="')[1].split('"')[0]] = int(float(row.rsplit(" ", 1)[1]))
    return {reason: count for reason, count in found.items() if count}


def results_untrusted(keyed: KeyedFarm, coordinator: Role, reason: str) -> int:
    name = f'fxfarm_results_untrusted_total{{reason="{reason}"}}'
    return int(keyed.metric(coordinator, "coordinator ready", name))


def started(keyed: KeyedFarm, client: Client, *args: str) -> tuple[Role, str, Path]:
    """A coordinator, its endpoint and its directory, with a worker and a client."""
    disk = keyed.farm.directory / "disk"
    coordinator, endpoint = keyed.coordinator("--cache-dir", str(disk), *args)
    keyed.worker(endpoint)
    keyed.until_worker(endpoint)
    keyed.client(client, endpoint)
    return coordinator, endpoint, disk


def forged(good: Signature, evil: bytes, key: str) -> dict[str, Signature]:
    """What an attacker can put beside the evil bytes, by the reason that it is refused for."""
    return {
        "unsigned": Signature(),
        "unknown_signer": forgery.Signer().sign(key, evil),
        "bad_signature": good,
    }


def test_who_writes_the_disk_has_nothing_loaded(keyed: KeyedFarm, client: Client, evil: bytes) -> None:
    coordinator, endpoint, disk = started(keyed, client)
    model = client.model()
    model.until_compiled()
    key = model.stage.key
    _, good = forgery.read(disk, key)
    assert good.signer == keyed.signers["worker"]
    expected: dict[str, int] = {}
    for made, (reason, signature) in enumerate(forged(good, evil, key).items(), 2):
        client.leave()
        keyed.forget(endpoint, key)
        until("it is gone", lambda: not forgery.file_of(disk, key).exists())
        forgery.write(disk, key, evil, signature)
        model = client.model()
        model.until_compiled()
        expected[reason] = 1
        assert untrusted(keyed, coordinator, "disk") == expected
        assert model.stage.source.startswith("w-"), "it was compiled anew"
        assert keyed.counts(endpoint, "jobs_finished", "stages_served_disk") == (made, 0)
        assert forgery.read(disk, key)[1] == good, "in place of the forged one"
    assert untrusted(keyed, coordinator, "memory") == {}
    assert keyed.counts(endpoint, "load_failures", "results_untrusted_unsigned") == (0, 0)


def test_who_writes_redis_has_nothing_loaded(
    keyed: KeyedFarm, client: Client, redis: Redis, evil: bytes
) -> None:
    shared = ("--redis", f"redis://{redis.address}/0")
    coordinator, endpoint, disk = started(keyed, client, *shared)
    model = client.model()
    model.until_compiled()
    key = model.stage.key
    _, good = forgery.read(disk, key)
    expected: dict[str, int] = {}
    for made, (reason, signature) in enumerate(forged(good, evil, key).items(), 2):
        until("it is written", lambda made=made: keyed.counts(endpoint, "redis_writes") == (made - 1,))
        client.leave()
        keyed.forget(endpoint, key)
        until("it is gone", lambda: not redis.keys() and not forgery.file_of(disk, key).exists())
        forgery.write_redis(redis, "0", key, evil, signature)
        model = client.model()
        model.until_compiled()
        expected[reason] = 1
        assert untrusted(keyed, coordinator, "redis") == expected
        assert keyed.counts(endpoint, "jobs_finished", "stages_served_redis") == (made, 0)
    until("it is written", lambda: keyed.counts(endpoint, "redis_writes") == (4,))
    assert keyed.counts(endpoint, "cache_hits_redis", "load_failures") == (0, 0)

    # What is signed is served from there, to whoever has the same signers.
    client.leave()
    second, other = keyed.coordinator("--cache-dir", str(disk) + "-2", *shared)
    keyed.client(client, other)
    model = client.model()
    model.until_compiled()
    assert model.stage.source == "redis"
    assert untrusted(keyed, second, "redis") == {}


def test_without_signatures_the_same_is_loaded_unless_the_client_has_signers(
    farm: Farm, client: Client, evil: bytes
) -> None:
    """The attack is one: nothing else than a signature keeps it away."""
    disk = farm.directory / "disk"
    _, endpoint = farm.coordinator("--cache-dir", str(disk), "--memory-bytes", "0")
    farm.worker(endpoint)
    farm.until_workers(endpoint)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    model = client.model()
    model.until_compiled()
    forgery.write(disk, model.stage.key, evil, Signature())
    client.leave()
    with pytest.raises(AssertionError, match="not close"):
        client.model().until_compiled()

    client.leave()
    keyed = KeyedFarm(farm)
    client.set(FXFARM_SIGNERS=str(keyed.clients_signers))
    stage = client.model().until_state("failed")
    assert stage.error == "untrusted: the artifact is not signed"


def test_a_result_that_an_unknown_signer_has_signed_is_not_taken(keyed: KeyedFarm, client: Client) -> None:
    coordinator, endpoint = keyed.coordinator()
    keyed.worker(endpoint, signer="stranger")
    keyed.until_worker(endpoint)
    keyed.client(client, endpoint)
    keyed.trust("worker", "stranger")
    model = client.model()
    why = f"untrusted: the artifact is signed by {keyed.signers['stranger']}, who is not accepted"
    stage = model.until_state("failed")
    assert stage.error == f"no_worker: {why}", "it gets no second job"
    assert model.status.stage == "eager"
    assert results_untrusted(keyed, coordinator, "unknown_signer") == 1
    assert keyed.counts(endpoint, "jobs_finished", "jobs_retried", "jobs_failed") == (0, 1, 1)
    assert keyed.signers["stranger"] in coordinator.wait_line("a result is not taken")
    (worker,) = keyed.ask("status", endpoint)["workers"]
    assert (worker["state"], worker["problem"]) == ("unavailable", why)

    # Its line is added, and it works; that job has failed at nothing that would be remembered.
    keyed.accept("worker", "stranger")
    coordinator.wait_line("authorized keys have changed")
    client.leave()
    client.model().until_compiled()
    assert results_untrusted(keyed, coordinator, "unknown_signer") == 1


def test_another_worker_makes_what_one_does_not_sign_well(keyed: KeyedFarm, client: Client) -> None:
    control = keyed.farm.control
    assert control is not None
    coordinator, endpoint = keyed.coordinator()
    keyed.worker(endpoint, signer="stranger", name="stranger")
    keyed.until_worker(endpoint)
    keyed.client(client, endpoint)
    control.on("wait")
    model = client.model()
    control.job()
    keyed.worker(endpoint)
    keyed.until_worker(endpoint)
    control.on("compile")
    control.open_gate()
    model.until_compiled()
    assert model.stage.source.startswith("w-")
    assert results_untrusted(keyed, coordinator, "unknown_signer") == 1
    assert keyed.counts(endpoint, "jobs_started", "jobs_retried", "jobs_finished") == (2, 1, 1)


def test_what_a_revoked_signer_has_signed_is_dropped_and_made_anew(keyed: KeyedFarm, client: Client) -> None:
    coordinator, endpoint, disk = started(keyed, client)
    running = client.model()
    running.until_compiled()
    key = running.stage.key
    keyed.make_signer("next")
    keyed.trust("worker", "next")
    keyed.accept("next")
    coordinator.wait_line("authorized keys have changed")
    until("it is gone", lambda: not forgery.file_of(disk, key).exists())
    for tier in ("memory", "disk"):
        assert untrusted(keyed, coordinator, tier) == {"unknown_signer": 1}
    running()
    assert (running.status.stage, running.stage.state) == ("default", "loaded"), "it goes on as it was"
    assert keyed.counts(endpoint, "lookups", "cache_errors_disk") == (1, 0)

    client.leave()
    keyed.farm.roles[-1].stop()
    keyed.worker(endpoint, signer="next")
    keyed.until_worker(endpoint)
    model = client.model()
    model.until_compiled()
    assert keyed.counts(endpoint, "jobs_finished", "jobs_retried") == (2, 0)
    assert forgery.read(disk, key)[1].signer == keyed.signers["next"]
    assert keyed.metric(coordinator, "coordinator ready", "fxfarm_signers") == 1


def test_a_signers_key_is_changed_while_both_are_accepted(keyed: KeyedFarm, client: Client) -> None:
    coordinator, endpoint, _ = started(keyed, client)
    client.model(1.0).until_compiled()
    keyed.make_signer("next")
    keyed.trust("worker", "next")
    keyed.accept("worker", "next")
    coordinator.wait_line("authorized keys have changed")
    keyed.farm.roles[-1].stop()
    keyed.worker(endpoint, signer="next")
    keyed.until_worker(endpoint)
    client.leave()
    for height in (1.0, 2.0):
        client.model(height).until_compiled()
    assert keyed.counts(endpoint, "jobs_finished", "stages_served_memory") == (2, 1)
    assert [results_untrusted(keyed, coordinator, reason) for reason in REASONS] == [0, 0, 0]
    # The old key's line goes, and with it only what that has signed.
    keyed.trust("next")
    keyed.accept("next")
    until("it is gone", lambda: untrusted(keyed, coordinator, "disk") == {"unknown_signer": 1})
    client.leave()
    for height in (1.0, 2.0):
        client.model(height).until_compiled()
    assert keyed.counts(endpoint, "jobs_finished", "stages_served_memory") == (3, 2)


def test_a_client_loads_by_its_own_list_whatever_its_farm_accepts(keyed: KeyedFarm, client: Client) -> None:
    coordinator, endpoint, _ = started(keyed, client)
    keyed.trust("stranger")
    model = client.model()
    stage = model.until_state("failed")
    key = keyed.signers["worker"]
    assert stage.error == f"untrusted: the artifact is signed by {key}, who is not accepted"
    model()
    assert model.status.stage == "eager"
    assert fxfarm.stats()["artifacts_untrusted"] == 1
    assert fxfarm.stats()["compiled_runs"] == 0
    name = 'fxfarm_load_failures_total{code="untrusted",stage="default"}'
    until("the farm knows", lambda: keyed.counts(endpoint, "load_failures.untrusted") == (1,))
    assert keyed.metric(coordinator, "coordinator ready", name) == 1
    # The list is looked at again when the next artifact comes.
    keyed.trust("stranger", "worker")
    client.model(2.0).until_compiled()
    assert keyed.counts(endpoint, "jobs_finished") == (2,)


def test_a_client_of_another_host_wants_signers_or_the_word(keyed: KeyedFarm, client: Client) -> None:
    keyed.client(client, "tcp://192.0.2.1:7070")
    client.set(FXFARM_SIGNERS="")
    model = client.model()
    until("the client says why", lambda: "give signers" in (model.status.error or ""))


def test_a_worker_with_a_key_wants_one_to_sign_with(keyed: KeyedFarm) -> None:
    done = keyed.farm.command("worker", "--coordinators", "tcp://127.0.0.1:1", *keyed.link("worker"))
    assert done.returncode == 2
    assert "secret_key: wants signing_key, too" in done.stderr
    link_key = ("--signing-key", keyed.secret("worker"))
    done = keyed.farm.command(
        "worker", "--coordinators", "tcp://127.0.0.1:1", "--metrics", "off", *keyed.link("worker"), *link_key
    )
    assert done.returncode != 0 and "has a link's key" in done.stderr


def test_a_coordinator_without_signers_says_that_it_takes_nothing(keyed: KeyedFarm) -> None:
    keyed.accept()
    coordinator, _ = keyed.coordinator()
    coordinator.wait_line("no signer is authorized, so no artifact is accepted")


def test_a_local_farm_takes_from_redis_what_its_signers_have_signed(
    keyed: KeyedFarm, client: Client, redis: Redis, evil: bytes
) -> None:
    shared = ("--redis", f"redis://{redis.address}/0")
    # A local farm has one namespace, which is that of those who share with all.
    keyed.extra.append("share *")
    keyed.write()
    _, endpoint, _ = started(keyed, client, *shared)
    for height in (1.0, 2.0):
        client.model(height).until_compiled()
    until("they are written", lambda: keyed.counts(endpoint, "redis_writes") == (2,))
    first = fxfarm.graphs()[0].stages[0].key
    forgery.write_redis(redis, "0", first, evil, forgery.Signer().sign(first, evil))
    client.leave()

    _, local = keyed.farm.local(*shared, "--signers", str(keyed.clients_signers))
    keyed.farm.until_workers(local)
    client.set(FXFARM_ENDPOINTS=local, FXFARM_SECRET_KEY="", FXFARM_SERVER_PUBLIC_KEY="", FXFARM_SIGNERS="")
    sources = []
    for height in (1.0, 2.0):
        model = client.model(height)
        model.until_compiled()
        sources.append(model.stage.source)
    assert sources[0].startswith("local-") and sources[1] == "redis"
    assert keyed.farm.counts(local, "cache_untrusted_redis", "redis_writes", "jobs_finished") == (1, 0, 1)


def test_keygen_makes_keys_that_sign(farm: Farm, tmp_path: Path) -> None:
    name = str(tmp_path / "w")
    done = farm.command("keygen", "--signing", name)
    assert done.returncode == 0, done.stderr
    secret, public = Path(name + ".sign_secret"), Path(name + ".sign")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    key = public.read_text().split('public-key = "')[1].split('"')[0]
    secret_key = secret.read_text().split('secret-key = "')[1].split('"')[0]
    assert len(key) == len(secret_key) == 64
    assert f"signer    *        {key}" in done.stdout and secret_key not in done.stdout
    assert secret_key not in public.read_text()
    again = farm.command("keygen", name, "--signing")
    assert again.returncode == 1 and "exists already" in again.stderr


def test_doctor_compares_the_clients_signers_with_the_farms(keyed: KeyedFarm) -> None:
    _, endpoint = keyed.coordinator()

    def finding(*flags: str) -> dict[str, str]:
        told = keyed.farm.command("doctor", "--json", "--endpoint", endpoint, *keyed.link("operator"), *flags)
        found: dict[str, str] = next(
            f for f in json.loads(told.stdout)["findings"] if f["check"] == "signers"
        )
        return found

    assert finding()["verdict"] == "well"
    given = ("--signers", str(keyed.clients_signers))
    assert finding(*given)["verdict"] == "well"
    keyed.trust("stranger")
    wrong = finding(*given)
    assert wrong["verdict"] == "wrong" and "1 that the farm accepts 0" in wrong["what"]
    keyed.clients_signers.write_text("signer * " + keyed.public["alice"])
    assert "is no public key that signs" in finding(*given)["what"]
