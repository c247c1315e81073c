"""docs/architecture.md: its tree is the packages' own, and every path that it names exists."""

import re
from collections.abc import Iterator

import pytest
from doc_commands import ROOT

PACKAGES = ("didi_core", "didi_protein", "didi_text")
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
_PATH = re.compile(r"`((?:didi_\w+|configs|benchmarks|tests)/[\w./]*)`")


def named_rooms(page: str) -> Iterator[str]:
    """Yield each folder of the tree, as a path, by how far its line is indented."""
    above: list[str] = []
    for line in page.split("```")[1].strip().splitlines():
        name = line.split()[0]
        assert name.endswith("/") and len(line.split()) > 1, line
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], name.rstrip("/")]
        yield "/".join(above)


def rooms() -> set[str]:
    """Return every folder of the packages that holds code."""
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {path.parent.relative_to(ROOT).as_posix() for path in files}


def test_the_tree_names_every_room_once() -> None:
    assert sorted(named_rooms(PAGE)) == sorted(rooms())


def test_a_missing_and_a_foreign_room_are_seen() -> None:
    without = re.sub(r"\n  folding/.*", "", PAGE)
    assert rooms() - set(named_rooms(without)) == {"didi_protein/folding"}
    renamed = PAGE.replace("  folding/", "  origami/")
    assert set(named_rooms(renamed)) - rooms() == {"didi_protein/origami"}


@pytest.mark.parametrize("path", sorted(set(_PATH.findall(PAGE))))
def test_paths_in_the_text_exist(path: str) -> None:
    assert (ROOT / path).exists()
