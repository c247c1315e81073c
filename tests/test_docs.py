"""The pages of docs/: all have a place in the site, links lead somewhere, and it builds."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from doc_commands import ROOT

from docs.tables import TABLES, written

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```|^    .*?$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def places(part: object) -> Iterator[str]:
    """Pages that a part of the navigation names."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for each in part.values():
            yield from places(each)
    else:
        for each in part:
            yield from places(each)


def headings(page: Path) -> set[str]:
    """Anchors of its headings, as GitHub and the site name them."""
    text = page.read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in titles}


def test_the_navigation_lists_every_page_once() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = list(places(config["nav"]))
    notebooks = [each.with_suffix(".md") for each in DOCS.rglob("*.ipynb")]
    pages = [*PAGES, *notebooks]
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in pages)


def test_the_index_links_to_every_page() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    missing = [page.name for page in PAGES if page.relative_to(DOCS).as_posix() not in index]
    assert set(missing) <= {"index.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    dead = []
    for link in _LINK.findall(text):
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if place.startswith(("http:", "https:")):
            continue
        if not target.exists() or (anchor and anchor not in headings(target)):
            dead.append(link)
    assert dead == []


def test_the_tables_of_samplers_and_methods_are_those_of_the_entries() -> None:
    """Else: make tables."""
    page = (DOCS / "methods.md").read_text(encoding="utf-8")
    assert page.count(", written by make tables -->") == len(TABLES)
    assert written(page) == page


@pytest.mark.skipif(find_spec("mkdocstrings") is None, reason="needs the extra docs")
def test_the_site_builds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "api" / "protein" / "index.html").read_text(encoding="utf-8")
    assert "GenerateOptions" in page and "Raises" in page
    assert "score_sequences" in page
    assert "Designs to make; with --template" in page, "the help of a field"
    for name in ("first-designs", "campaign"):
        notebook = (tmp_path / "site" / "notebooks" / name / "index.html").read_text("utf-8")
        assert "data:image/png;base64," in notebook and "dataframe" in notebook
        assert f'href="notebooks/{name}/"' in (tmp_path / "site" / "index.html").read_text("utf-8")
