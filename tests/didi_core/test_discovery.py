"""What a package offers by name: read from the source, or by importing what has an entry."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from didi_core.discovery import Named, entries_of, in_words, summaries_of
from didi_core.distill.registry import METHODS
from didi_core.sampling.registry import SAMPLERS


@pytest.mark.parametrize(
    ("package", "entries"), [("didi_core.sampling", SAMPLERS), ("didi_core.distill", METHODS)]
)
def test_the_source_says_of_each_entry_what_the_entry_says(
    package: str, entries: dict[str, Named]
) -> None:
    assert summaries_of(package) == {name: each.summary for name, each in entries.items()}
    assert all(each.name == name and each.summary for name, each in entries.items())


def test_reading_it_imports_neither_torch_nor_a_module_of_the_package() -> None:
    code = (
        "import sys; from didi_core.discovery import in_words; in_words('didi_core.sampling');"
        "assert not {'torch', 'didi_core.sampling.remdm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable, empty package, by a name of its own."""
    folder = tmp_path / f"offers_{tmp_path.name}".replace("-", "_")
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def write(package: Path, name: str, text: str) -> None:
    head = "from didi_core.discovery import Named\n"
    (package / f"{name}.py").write_text(head + dedent(text))


def test_modules_with_an_entry_are_found_and_no_others_are_imported(package: Path) -> None:
    write(package, "a", 'ENTRY = Named("one", summary="first")')
    write(package, "b", 'ENTRIES = (\n    Named("two", summary="x " "y"),\n)')
    write(package, "registry", "raise AssertionError  # an import of this module would fail")
    write(package, "_c", 'ENTRY = Named("three", summary="private")')
    assert list(entries_of(package.name, Named)) == ["one", "two"]
    assert in_words(package.name) == "one (first); two (x y)"


@pytest.mark.parametrize(
    "text",
    [
        'SAID = "first"\nENTRY = Named("one", summary=SAID)',
        'NAME = "one"\nENTRY = Named(NAME, summary="first")',
        'ENTRY = Named(name="one", summary="first")',
        "ENTRY = object()",
    ],
)
def test_what_help_could_not_read_is_refused(package: Path, text: str) -> None:
    write(package, "a", text)
    with pytest.raises(TypeError, match=rf"{package.name}\.a: "):
        summaries_of(package.name)


def test_two_of_one_name_and_another_type_are_refused(package: Path) -> None:
    write(package, "a", 'ENTRY = Named("one", summary="first")')
    with pytest.raises(TypeError, match="no Other"):
        entries_of(package.name, type("Other", (Named,), {}))
    write(package, "b", 'ENTRY = Named("one", summary="second")')
    with pytest.raises(TypeError, match="another entry named 'one'"):
        entries_of(package.name, Named)
