"""The page for designs from other programs: its commands run, and its table is what is read."""

import re
import shlex
from pathlib import Path

import pytest
from doc_commands import ROOT, commands_of
from prediction_fixtures import (
    COMPLEX,
    ONE,
    PROTEIN_MPNN,
    TWO,
    Model,
    write_alphafold3,
    write_boltz,
    write_chai,
    write_colabfold,
)

from didi_core.cli.run import run_program
from didi_protein.app import app
from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.table import read_scores
from didi_protein.sequences.fasta import read_records

PAGE = (ROOT / "docs" / "other-programs.md").read_text(encoding="utf-8")


def run(command: str) -> int:
    """The exit status of a command of didi-protein, in this process: starting one takes seconds."""
    program, *arguments = shlex.split(command)
    assert program == "didi-protein"
    return run_program(lambda: app(arguments, standalone_mode=False))


def test_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "proteinmpnn" / "seqs").mkdir(parents=True)
    (tmp_path / "proteinmpnn" / "seqs" / "6MRR.fa").write_text(PROTEIN_MPNN)
    sure = Model(COMPLEX, plddt=90.0, ptm=0.95, iptm=0.85)
    write_boltz(tmp_path / "boltz_results_designs", "b", [sure])
    write_colabfold(tmp_path / "colabfold_out", "c", [Model(plddt=90.0)])
    write_alphafold3(
        tmp_path / "af3_out", "a", [Model({"A": ONE, "B": TWO}, plddt=85.0, ptm=0.95, iptm=0.85)]
    )
    write_chai(tmp_path / "chai_out" / "d", [Model(COMPLEX, plddt=60.0)])
    (tmp_path / "hits.csv").write_text(f"Clone;Sequence;Kd\nc1;{TWO};0,5\n")
    commands = commands_of(PAGE)
    assert len(commands) == PAGE.count("<!-- test:") == 5
    assert [run(command) for command in commands] == [0] * 5
    assert [each.id for each in read_records(["best.fasta"])] == ["6MRR_1", "6MRR_2", "6MRR_1#2"]
    assert [each.id for each in read_records(["confident.fasta"])] == ["b_A", "a_A", "a_B", "b_B"]
    assert read_scores("hits.scored.csv")["header_Kd"].tolist() == ["0.5"]


def test_columns_that_the_page_names_exist() -> None:
    named = re.findall(r"^\| `(\w+)`(?:, `(\w+)`)? \|", PAGE, re.MULTILINE)
    assert {name for pair in named for name in pair if name} <= set(COLUMN)
