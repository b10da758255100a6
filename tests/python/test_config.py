"""Where a client's options come from, and how a bad one is refused."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fxfarm
from fxfarm import config

PROGRAM = Path(fxfarm.__file__).parent / "bin" / "fxfarm"


@pytest.fixture(autouse=True)
def no_file_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fxfarm.toml"


def test_defaults_describe_the_local_farm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    found = config.load(environ={})
    assert found == config.Config(
        endpoints=(),
        local=True,
        stages=(),
        stage_options={},
        roll_back=True,
        isa="",
        log="",
        progress=False,
        trace=None,
        record=None,
        record_bytes=1 << 30,
        space="default",
        salt="",
        artifact_dir=Path("/caches/fxfarm/artifacts"),
        artifact_bytes=1 << 30,
        client_metrics="",
        python=sys.executable,
    )


def test_argument_wins_over_variable_over_file_over_default(file: Path) -> None:
    file.write_text('[client]\nspace = "f"\nsalt = "f"\nlog = "info"\n[coordinator]\nlisten = "x"\n')
    environ = {"FXFARM_CONFIG": str(file), "FXFARM_SPACE": "v", "FXFARM_SALT": "v"}
    found = config.load({"space": "a"}, environ)
    assert (found.space, found.salt, found.log, found.local) == ("a", "v", "info", True)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("endpoints", "tcp://a:1, tcp://b:2", ("tcp://a:1", "tcp://b:2")),
        ("endpoints", "", ()),
        ("local", "off", False),
        ("local", "TRUE", True),
        ("stages", "default,max-autotune", ("default", "max-autotune")),
        ("stage_options", '{"exact": {"fallback_random": true}}', {"exact": {"fallback_random": True}}),
        ("roll_back", "no", False),
        ("isa", "X86-64-V3", "x86-64-v3"),
        ("log", "DEBUG", "debug"),
        ("artifact_dir", "/c", Path("/c")),
        ("artifact_bytes", "4096", 4096),
        ("artifact_bytes", "3MiB", 3 << 20),
        ("client_metrics", "9464", "127.0.0.1:9464"),
        ("client_metrics", "0.0.0.0:9464", "0.0.0.0:9464"),
        ("client_metrics", "off", ""),
        ("python", "/usr/bin/python3", "/usr/bin/python3"),
    ],
)
def test_variables_are_read(name: str, text: str, value: object) -> None:
    assert getattr(config.load(environ={"FXFARM_" + name.upper(): text}), name) == value


def test_ranks_of_a_host_serve_metrics_at_ports_of_their_own() -> None:
    options = config.Config(client_metrics="127.0.0.1:9464")
    assert config.metrics_address(options, {}) == "127.0.0.1:9464"
    assert config.metrics_address(options, {"LOCAL_RANK": "3"}) == "127.0.0.1:9467"
    anywhere = config.Config(client_metrics="127.0.0.1:0")
    assert config.metrics_address(anywhere, {"LOCAL_RANK": "3"}) == "127.0.0.1:0"
    assert config.metrics_address(config.Config(), {"LOCAL_RANK": "3"}) == ""


def test_a_file_defines_stages_by_dotted_keys(file: Path) -> None:
    file.write_text(
        "[client]\nstages = ['default', 'graphs']\n"
        "[client.stage_options.graphs]\ntriton.cudagraphs = true\nmax_autotune = true\n"
    )
    found = config.load({}, {"FXFARM_CONFIG": str(file)})
    assert found.stages == ("default", "graphs")
    assert found.stage_options == {"graphs": {"triton.cudagraphs": True, "max_autotune": True}}


def test_the_program_passes_over_every_option_of_the_package(tmp_path: Path) -> None:
    own = ("secret_key", "server_public_key", "insecure")  # of the program, too, which looks at their values
    names = [f.name for f in dataclasses.fields(config.Config) if f.name not in own]
    variables = {f"FXFARM_{name.upper()}": "x" for name in names}
    command = [PROGRAM, "stats", f"--endpoint=ipc://{tmp_path}/nobody"]
    answer = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert "unknown variable" not in answer.stderr
    assert "nobody" in answer.stderr, "it got as far as asking"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("endpoints", ["farm-0:7070"], "tcp://"),
        ("endpoints", 7, "list of texts"),
        ("local", "maybe", "true or false"),
        ("local", 1, "true or false"),
        ("stages", [1], "list of texts"),
        ("stage_options", "{", "JSON object"),
        ("stage_options", {"default": {}}, "none of eager, default,"),
        ("stage_options", {"mine": 3}, "Inductor settings"),
        ("isa", "avx2", "x86-64-v3, x86-64-v4"),
        ("log", "loud", "debug, info, warning, error, off"),
        ("space", "", "not empty"),
        ("salt", 3, "a text"),
        ("artifact_dir", 3, "not empty"),
        ("artifact_bytes", -1, "number of bytes"),
        ("artifact_bytes", "1 parsec", "number of bytes"),
        ("artifact_bytes", True, "number of bytes"),
    ],
)
def test_a_bad_value_is_refused_with_name_place_and_what_is_allowed(
    name: str, value: Any, allowed: str
) -> None:
    with pytest.raises(config.ConfigError) as refused:
        config.load({name: value}, {})
    assert all(part in str(refused.value) for part in (name, repr(value), "configure()", allowed))


def test_an_unknown_option_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(
        config.ConfigError, match=r"'endpoint' \(configure\(\)\); allowed: endpoints, secret_key"
    ):
        config.load({"endpoint": "tcp://a:1"}, {})


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(config.ConfigError, match="variable FXFARM_LOG"):
        config.load(environ={"FXFARM_LOG": "loud"})


def test_variables_of_other_roles_are_left_alone() -> None:
    config.load(environ={"FXFARM_STORE_DISK_BYTES": "1"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[client]\nspaec = 'x'", r"unknown option 'spaec' \(table \[client\] of "),
        ("[client]\nlocal = 'maybe'", r"local = 'maybe' \(table \[client\] of "),
        ("client = 3", "is not a table"),
        ("[client", "cannot be read as TOML"),
    ],
)
def test_a_bad_file_is_refused_with_its_name(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(config.ConfigError, match=said) as refused:
        config.load(environ={"FXFARM_CONFIG": str(file)})
    assert str(file) in str(refused.value)


def test_the_usual_file_is_read_when_there_is_one(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert config.load(environ=environ).space == "default"
    (tmp_path / "fxfarm").mkdir()
    (tmp_path / "fxfarm" / "config.toml").write_text('[client]\nspace = "mine"')
    assert config.load(environ=environ).space == "mine"


def test_a_missing_file_is_refused(file: Path) -> None:
    with pytest.raises(config.ConfigError, match="cannot be read"):
        config.load(environ={"FXFARM_CONFIG": str(file)})
