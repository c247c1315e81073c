"""The commands of README.md, and of docs/generate.md, work as written: see `doc_commands`."""

import re
from pathlib import Path

import pandas as pd
import pytest
from doc_commands import ROOT, commands_of, run_commands

from didi_protein.sequences.fasta import read_records

README = (ROOT / "README.md").read_text(encoding="utf-8")
GENERATE = (ROOT / "docs" / "generate.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command has run, in order, without network."""
    folder = tmp_path_factory.mktemp("readme")
    run_commands([*commands_of(README), *commands_of(GENERATE)], folder)
    return folder


def test_every_comment_is_understood() -> None:
    assert len(commands_of(README)) == README.count("<!-- test:") == 5
    assert len(commands_of(GENERATE)) == GENERATE.count("<!-- test:") == 1


def test_designs_are_as_asked_for(folder: Path) -> None:
    designs = read_records([folder / "designs.fasta"])
    assert len(designs) == 100
    assert all(70 <= len(each.sequence) <= 82 for each in designs)


def test_motif_is_kept(folder: Path) -> None:
    motifs = read_records([folder / "motif.fasta"])
    assert len(motifs) == 10
    assert all(re.search("GLGF", each.sequence[8:16]) for each in motifs)


def test_scores_and_report_are_of_the_designs(folder: Path) -> None:
    scores = pd.read_csv(folder / "scores.csv")
    assert len(scores) == 100
    assert scores["judge_perplexity"].notna().all()
    assert "tiny-student" in (folder / "report.html").read_text(encoding="utf-8")


def test_what_was_chosen_is_ordered(folder: Path) -> None:
    order = pd.read_csv(folder / "order.csv")
    chosen = [each.id for each in read_records([folder / "best.fasta"])]
    assert 1 <= len(chosen) <= 24 and list(order["Name"]) == chosen
    assert order["Well"].is_unique and not order["Sequence"].str.contains("GGTCTC|GAGACC").any()


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
