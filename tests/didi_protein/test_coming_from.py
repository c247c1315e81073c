"""The pages for people who come from other tools: their commands run, their flags exist."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from doc_commands import ROOT, commands_of
from folding_fixtures import write_folding_model

from didi_core.cli.run import run_program
from didi_protein.app import app
from didi_protein.generating.options import GenerateOptions
from didi_protein.scoring.options import ScoreOptions
from didi_protein.sequences.fasta import ProteinRecord, read_records, write_fasta


def page(name: str) -> str:
    return (ROOT / "docs" / f"coming-from-{name}.md").read_text(encoding="utf-8")


def run(command: str) -> int:
    """The exit status of a command of didi-protein, in this process: starting one takes seconds."""
    program, *arguments = shlex.split(command)
    assert program == "didi-protein"
    return run_program(lambda: app(arguments, standalone_mode=False))


def test_commands_of_the_page_on_generate_dplm(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = commands_of(page("generate-dplm"))
    assert len(commands) == page("generate-dplm").count("<!-- test:") == 2
    assert [run(command) for command in commands] == [0, 0]
    designs = read_records([tmp_path / "generation.fasta"])
    assert [len(each.sequence) for each in designs] == [70, 80, 70, 80]
    for each in read_records([tmp_path / "scaffold.fasta"]):
        # As --cond_position has it: from 0, both ends included.
        assert each.sequence[1:5] == "ALVE" and each.sequence[8:11] == "EME"


def test_commands_of_the_page_on_esm_fold(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    model = write_folding_model(tmp_path / "model")
    sequences = {"a/1": "MKTAYIAKQRQISFVKSHFSRQ", "b": "GSHMLEDPVDAFRNL", "c": "MKT:AYI"}
    write_fasta(tmp_path / "designs.fasta", (ProteinRecord(k, v) for k, v in sequences.items()))
    scored, filtered = commands_of(page("esm-fold"))
    assert run(scored.replace("--fold esmfold", f"--fold {model}")) == 1
    assert "1 of 3 records failed" in capsys.readouterr().err
    table = pd.read_csv(tmp_path / "folded.csv").set_index("id")
    assert table["status"].to_dict() == {"a/1": "ok", "b": "ok", "c": "invalid"}
    assert table["mean_plddt_all_atom"].notna().sum() == 2
    assert all((tmp_path / file).is_file() for file in table["pdb_file"].dropna())
    for bound in ("--min-plddt 80", "--min-ptm 0.7"):  # random weights are sure of nothing
        assert bound in filtered
        filtered = filtered.replace(bound, f"{bound.split()[0]} 0")
    assert run(filtered.replace("--max-pae 10", "")) == 0
    assert len(read_records([tmp_path / "foldable.fasta"])) == 2


@pytest.mark.parametrize(
    ("name", "options"), [("generate-dplm", GenerateOptions), ("esm-fold", ScoreOptions)]
)
def test_flags_on_the_right_of_the_table_exist(name: str, options: type) -> None:
    """The second column names our flags; every one is a field of the verb's options."""
    rows = [line.split("|")[2] for line in page(name).splitlines() if line.startswith("| `-")]
    ours = set(re.findall(r"--([a-z-]+)", " ".join(rows)))
    known = {field.replace("_", "-") for field in options.__dataclass_fields__}
    assert len(ours) >= 6 and ours <= known | {"sampler-option"}
