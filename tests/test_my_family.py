"""The recipe of docs/my-family.md, run on a small family with fewer designs, to the choice."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from doc_commands import ROOT, commands_of, run_commands
from small_families import families
from transformers import AutoModelForMaskedLM

from didi_protein.models.trained_on import data_of
from didi_protein.sequences.fasta import read_records

PAGE = (ROOT / "docs" / "my-family.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command has run, in order, without network."""
    folder = tmp_path_factory.mktemp("family")
    records = "".join(f">{name}\n{each}\n" for name, each in families(14, 5, length=30))
    (folder / "my_family.fasta").write_text(records)
    commands = "\n\n".join(commands_of(PAGE))
    for written, quicker in (("--num 100", "--num 20"), ("--max-repeat 0.2", "--max-repeat 0.5")):
        assert written in commands
        commands = commands.replace(written, quicker)
    run_commands(commands.split("\n\n"), folder)
    return folder


def test_every_comment_is_understood() -> None:
    assert len(commands_of(PAGE)) == PAGE.count("<!-- test:") == 5


@pytest.mark.slow
def test_designs_come_of_a_split_and_a_student(folder: Path) -> None:
    parts = [read_records([folder / "my-teacher" / "split" / f"{each}.fasta"])
             for each in ("train", "valid")]  # fmt: skip
    assert sum(map(len, parts)) == 70 and len(parts[1]) == 5
    names = [Path(each).name for each in data_of(folder / "my-student")]
    assert names == ["families", "train.fasta"], "all that it learnt from, its start's data too"
    designs = read_records([folder / "designs.fasta"])
    assert len(designs) == 20 and {len(each.sequence) for each in designs} == {30}
    scores = pd.read_csv(folder / "scores.csv")
    assert scores["training_identity"].notna().all()
    assert 1 <= len(read_records([folder / "best.fasta"])) <= 20


@pytest.mark.slow
@pytest.mark.parametrize("model", ["my-student", "my-teacher"])
def test_transformers_opens_what_was_trained(folder: Path, model: str) -> None:
    network = AutoModelForMaskedLM.from_pretrained(folder / model)
    logits = network(input_ids=torch.tensor([[0, 32, 5, 2]])).logits
    assert logits.isfinite().all()
