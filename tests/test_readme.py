"""The commands of README.md work as written: see `doc_commands`."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from doc_commands import ROOT, commands_of, run_commands
from transformers import AutoModelForMaskedLM

from didi_protein.sequences.fasta import read_records
from didi_protein.sequences.residues import CANONICAL_RESIDUES

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command has run, in order, without network."""
    folder = tmp_path_factory.mktemp("readme")
    generator = np.random.default_rng(0)
    proteins = ["".join(generator.choice(list(CANONICAL_RESIDUES), size=60)) for _ in range(64)]
    records = "".join(f">{number}\n{each}\n" for number, each in enumerate(proteins))
    (folder / "my_proteins.fasta").write_text(records)
    run_commands(commands_of(README), folder)
    return folder


def test_every_comment_is_understood() -> None:
    assert len(commands_of(README)) == README.count("<!-- test:") >= 6


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


@pytest.mark.parametrize("model", ["my-student", "my-teacher"])
def test_transformers_opens_what_was_trained(folder: Path, model: str) -> None:
    network = AutoModelForMaskedLM.from_pretrained(folder / model)
    logits = network(input_ids=torch.tensor([[0, 32, 5, 2]])).logits
    assert logits.isfinite().all()


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
