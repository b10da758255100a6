"""What the built files have that makes a bug in them harder to use: cmake/hardening.cmake asks for it."""

from __future__ import annotations

import itertools
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from programs import PROGRAM

from fxfarm import _core

BUILT = {"program": PROGRAM, "extension": Path(_core.__file__)}
RELEASE = Path(__file__).parents[2] / "build/release"
WITH_NAMES = {"program": RELEASE / "cli/fxfarm", "extension": RELEASE / "python" / BUILT["extension"].name}
"""The same before they were installed, which takes the names of functions away."""
DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 0x8, 0x1, 0x08000000
PF_X, PF_W = 1, 2
ENDBR64 = bytes.fromhex("f30f1efa")
FEATURE_1_AND = 0xC0000002
"""The property of x86's notes."""


@contextmanager
def elf(file: Path) -> Iterator[ELFFile]:
    with file.open("rb") as stream:
        yield ELFFile(stream)


def dynamic(found: ELFFile, tag: str) -> list[Any]:
    return [t for t in found.get_section_by_name(".dynamic").iter_tags() if t.entry.d_tag == tag]


def flags(found: ELFFile, tag: str) -> int:
    return sum(t.entry.d_val for t in dynamic(found, tag))


def imported(found: ELFFile) -> set[str]:
    """The functions that other files are to bring, without their versions."""
    symbols = found.get_section_by_name(".dynsym").iter_symbols()
    return {s.name for s in symbols if s.entry.st_shndx == "SHN_UNDEF" and s.name}


def segments(found: ELFFile, kind: str) -> list[Any]:
    return [s for s in found.iter_segments() if s.header.p_type == kind]


def with_names(which: str) -> Path:
    file = WITH_NAMES[which]
    if not file.exists():
        pytest.skip(f"{file} is not there: this is not where it was built")
    return file


@pytest.fixture(params=BUILT)
def built(request: pytest.FixtureRequest) -> Iterator[ELFFile]:
    with elf(BUILT[request.param]) as found:
        yield found


def test_nothing_is_where_it_is_expected() -> None:
    """All are shared objects, which are put anywhere; the program says that it is one to be run."""
    for file in BUILT.values():
        with elf(file) as found:
            assert found.header.e_type == "ET_DYN", file
    with elf(PROGRAM) as program:
        assert flags(program, "DT_FLAGS_1") & DF_1_PIE
        assert segments(program, "PT_INTERP")


def test_addresses_are_bound_at_the_start_and_read_only_from_then_on(built: ELFFile) -> None:
    assert segments(built, "PT_GNU_RELRO")
    assert flags(built, "DT_FLAGS") & DF_BIND_NOW or flags(built, "DT_FLAGS_1") & DF_1_NOW
    assert dynamic(built, "DT_TEXTREL") == []


def test_no_memory_is_to_be_written_and_run(built: ELFFile) -> None:
    (stack,) = segments(built, "PT_GNU_STACK")
    assert stack.header.p_flags & PF_X == 0
    both = PF_W | PF_X
    assert [s.header.p_vaddr for s in built.iter_segments() if s.header.p_flags & both == both] == []


def test_stacks_have_canaries_and_calls_of_the_c_library_are_checked(built: ELFFile) -> None:
    names = imported(built)
    assert "__stack_chk_fail" in names
    # The program has these from its allocator, too; the extension from nobody but us.
    assert names >= {"__snprintf_chk", "__vsnprintf_chk"}
    # What checks containers, too: it is called where a bound is passed.
    assert any("__glibcxx_assert_fail" in name for name in names)


def test_libraries_are_looked_for_in_the_systems_places_or_beside_the_file(built: ELFFile) -> None:
    paths = [t.rpath for t in dynamic(built, "DT_RPATH")] + [t.runpath for t in dynamic(built, "DT_RUNPATH")]
    entries = itertools.chain.from_iterable(path.split(":") for path in paths)
    assert [e for e in entries if e != "$ORIGIN" and not e.startswith("$ORIGIN/")] == []


@pytest.mark.skipif(platform.machine() != "x86_64", reason="branches have marked targets on x86-64")
@pytest.mark.parametrize(("which", "entry"), [("program", "main"), ("extension", "PyInit__core")])
def test_an_indirect_branch_lands_on_a_mark(which: str, entry: str) -> None:
    with elf(with_names(which)) as found:
        (symbol,) = found.get_section_by_name(".symtab").get_symbol_by_name(entry)
        at = symbol.entry.st_value
        (text,) = [s for s in segments(found, "PT_LOAD") if 0 <= at - s.header.p_vaddr < s.header.p_filesz]
        found.stream.seek(text.header.p_offset + at - text.header.p_vaddr)
        assert found.stream.read(len(ENDBR64)) == ENDBR64


def test_the_slots_call_pays_for_none_of_it() -> None:
    """A model's call goes through this function, which has no array: so it is built without canaries."""
    with elf(with_names("extension")) as found:
        symbols = found.get_section_by_name(".symtab").iter_symbols()
        named = (s for s in symbols if "slot_vectorcallEP7_object" in s.name)
        (call,) = [s for s in named if not s.name.endswith(".cold")]
        text = found.get_section(call.entry.st_shndx)
        begin = call.entry.st_value - text.header.sh_addr
        code = text.data()[begin : begin + call.entry.st_size]
    assert code
    assert not re.search(rb"\x64[\x48\x4c].[\x04-\x3c]\x25\x28\0\0\0", code, re.DOTALL), (
        "%fs:0x28 is the canary"
    )
