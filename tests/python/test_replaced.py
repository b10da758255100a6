"""What stands in for functions of torch for a while, and what is there afterwards."""

from __future__ import annotations

import types
from typing import Any

import pytest

from fxfarm._torch.replaced import replaced


class Original:
    """Has one method of each kind."""

    def plain(self) -> str:
        """Of an instance."""
        return "plain"

    @classmethod
    def of_class(cls) -> str:
        """Of the class."""
        return f"of {cls.__name__}"

    @staticmethod
    def static() -> str:
        """Of neither."""
        return "static"


class Heir(Original):
    """Has none of its own."""


def a_module() -> Any:
    """One with the function `f`, which says "stock"."""
    module: Any = types.ModuleType("a_module")
    module.f = lambda: "stock"
    module.g = lambda: "stock g"
    return module


def test_the_body_has_the_replacements_and_what_follows_has_the_originals() -> None:
    module = a_module()
    f, g = module.f, module.g
    with pytest.raises(KeyError), replaced(module, f=lambda: "ours", g=lambda: "ours g"):
        assert (module.f(), module.g()) == ("ours", "ours g")
        raise KeyError
    assert (module.f, module.g) == (f, g)


def test_methods_of_every_kind_are_afterwards_what_they_were() -> None:
    before = dict(vars(Original))
    ours: dict[str, Any] = {
        "plain": lambda self: "our plain",
        "of_class": classmethod(lambda cls: f"ours of {cls.__name__}"),
        "static": staticmethod(lambda: "our static"),
    }
    with replaced(Original, **ours):
        made = Heir()
        assert (made.plain(), Heir.of_class(), Heir.static()) == ("our plain", "ours of Heir", "our static")
    assert dict(vars(Original)) == before


def test_the_one_that_was_begun_last_counts_and_may_call_the_one_before() -> None:
    module = a_module()
    with replaced(module, f=lambda: "outer"):
        outer = module.f
        with replaced(module, f=lambda: "inner in " + outer()):
            assert module.f() == "inner in outer"
        assert module.f() == "outer"
    assert module.f() == "stock"


@pytest.mark.parametrize("ends", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_they_end_in_any_order_and_leave_what_was_there_first(ends: tuple[int, ...]) -> None:
    """As they do on threads that know nothing of each other."""
    module = a_module()
    stock = module.f
    open_ones = {number: replaced(module, f=lambda number=number: number) for number in range(3)}
    for one in open_ones.values():
        one.__enter__()
    for number in ends:
        assert module.f() == max(open_ones)
        open_ones.pop(number).__exit__(None, None, None)
    assert module.f is stock


def test_other_names_and_other_owners_are_left_alone() -> None:
    module, other = a_module(), a_module()
    with replaced(module, f=lambda: "ours"):
        with replaced(module, g=lambda: "our g"), replaced(other, f=lambda: "other's"):
            pass
        assert (module.f(), module.g(), other.f()) == ("ours", "stock g", "stock")


def test_what_somebody_else_puts_there_is_gone_when_the_last_one_ends() -> None:
    module = a_module()
    stock = module.f
    early = replaced(module, f=lambda: "early")
    early.__enter__()
    with replaced(module, f=lambda: "late"):
        module.f = lambda: "somebody else's"
        early.__exit__(None, None, None)
        assert module.f() == "somebody else's"
    assert module.f is stock


@pytest.mark.parametrize(("owner", "name"), [(a_module(), "h"), (Heir, "plain")])
def test_a_name_that_the_owner_does_not_have_itself_is_refused_before_anything_is_replaced(
    owner: Any, name: str
) -> None:
    before = dict(vars(owner))
    known: dict[str, Any] = {"f": lambda: "ours"} if owner is not Heir else {"__doc__": ""}
    with (
        pytest.raises(AttributeError, match=f"torch .*: {owner.__name__} has no {name} of its own"),
        replaced(owner, **known, **{name: lambda: "ours"}),
    ):
        pass
    assert dict(vars(owner)) == before
