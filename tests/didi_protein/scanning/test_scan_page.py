"""docs/scan.md: its commands run as written, on the protein that it has its reader write."""

import csv
import shlex
from pathlib import Path

import pytest
from doc_commands import ROOT, commands_of, files_of

from didi_core.cli.run import run_program
from didi_protein.app import app
from didi_protein.scanning.table import COLUMNS
from didi_protein.sequences.fasta import read_records

PAGE = (ROOT / "docs" / "scan.md").read_text(encoding="utf-8")


def test_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    for name, content in files_of("scan.md").items():
        (tmp_path / name).write_text(content)
    commands = commands_of(PAGE)
    assert len(commands) == PAGE.count("<!-- test:") == 3
    for command in commands:
        program, *arguments = shlex.split(command.replace("\\\n", " "))
        assert program == "didi-protein"
        assert run_program(lambda given=arguments: app(given, standalone_mode=False)) == 0
    (parent,) = read_records([tmp_path / "pdz.fasta"])
    variants = read_records([tmp_path / "variants.fasta"])
    assert len(variants) == 20
    for each in variants:
        assert each.sequence[9:13] == parent.sequence[9:13] == "GLGF"
        assert 0 < sum(map(str.__ne__, each.sequence, parent.sequence)) <= 15  # 20% of 75
    with (tmp_path / "some.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 13 * 19
    assert (tmp_path / "scan.png").stat().st_size > 10_000


def test_every_column_is_explained() -> None:
    assert all(f"`{column}`" in PAGE for column in COLUMNS)
