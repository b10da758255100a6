from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fxfarm import stages


def test_default_is_the_only_stage_when_nothing_is_asked() -> None:
    assert stages.resolve() == [{"name": "default", "options": {}}]


def test_mode_is_reached_by_way_of_default() -> None:
    assert [s["name"] for s in stages.resolve(mode="max-autotune")] == ["default", "max-autotune"]
    assert [s["name"] for s in stages.resolve(mode="default")] == ["default"]


def test_named_stages_are_those_of_torch_compile() -> None:
    from torch._inductor import list_mode_options

    modes = list_mode_options()
    assert {name: dict(options) for name, options in stages.NAMED.items()} == {
        n: modes[n] for n in stages.NAMED
    }


def test_the_coordinator_knows_the_settings_that_measure() -> None:
    source = (Path(__file__).parents[3] / "runtime/stage.cpp").read_text()
    listed = source.partition("searching{")[2].partition("};")[0]
    assert set(re.findall(r'"(\w+)"', listed)) == stages.MEASURING


def test_a_stage_of_the_configuration_is_named_like_the_others() -> None:
    defined = {"exact": {"fallback_random": True}}
    (stage,) = stages.resolve(["exact"], defined=defined)
    assert stage == {"name": "exact", "options": {"fallback_random": "true"}}
    with pytest.raises(ValueError, match=r"allowed: .*exact"):
        stages.resolve(["other"], defined=defined)


def test_option_values_are_json_texts_in_order() -> None:
    (stage,) = stages.resolve([{"name": "mine", "options": {"b": [1, 2], "a": True}}])
    assert list(stage["options"].items()) == [("a", "true"), ("b", "[1, 2]")]


def test_shared_options_reach_every_stage_and_lose_to_its_own() -> None:
    found = stages.resolve(
        ["default", {"name": "x", "options": {"fallback_random": False}}], options={"fallback_random": True}
    )
    assert [s["options"]["fallback_random"] for s in found] == ["true", "false"]


def test_eager_is_always_there_and_never_sent() -> None:
    assert [s["name"] for s in stages.resolve(["eager", "default"])] == ["default"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"stages": ["fastest"]}, "unknown stage 'fastest'; allowed: default, reduce-overhead"),
        ({"mode": "fastest"}, "unknown stage 'fastest'; allowed: default"),
        ({"stages": "default"}, "list of stages"),
        ({"stages": ["default"], "mode": "default"}, "not both"),
        ({"stages": ["default", "default"]}, "named twice: default"),
        ({"stages": [{"name": "x", "opts": {}}]}, "unknown key in a stage: opts"),
        ({"stages": [{"options": {}}]}, "needs a name"),
        ({"stages": [{"name": "x", "options": {"a": object()}}]}, "option 'a' of stage 'x'"),
        ({"stages": [3]}, "not int"),
        ({"stages": [{"name": f"s{i}"} for i in range(17)]}, "at most 16"),
    ],
)
def test_a_wrong_stage_is_refused_with_what_is_allowed(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stages.resolve(**arguments)
