"""The page on guides: its files and commands run, for two designs each, on data made here."""

import itertools
import random
from pathlib import Path

import pytest
from doc_commands import ROOT, commands_of, files_of, run_commands

PAGE = "guide-by-your-predictor.md"


@pytest.mark.slow
def test_the_files_and_commands_of_the_page_run(tmp_path: Path) -> None:
    for name, text in files_of(PAGE).items():
        (tmp_path / name).write_text(text)
    residues, rng = "ACDEFGHIKLMNPQRSTVWY", random.Random(0)
    wild = "".join(rng.choice(residues) for _ in range(30))
    rows = [
        f"{own}{at}{other},{1.0 if other == own else rng.random()}"
        for (at, own), other in itertools.product(enumerate(wild, 1), residues)
    ]
    (tmp_path / "TEM1_fitness.csv").write_text("\n".join(["mutation,fitness", *rows]))
    commands = commands_of((ROOT / "docs" / PAGE).read_text(encoding="utf-8"))
    assert len(commands) == 3
    run_commands([each.replace("--num 8", "--num 2") for each in commands], tmp_path)
    for name in ("ranked", "tilted", "bits", "fitter"):
        header = (tmp_path / f"{name}.fasta").read_text().splitlines()[0]
        assert "guide_calls=" in header and "guide=" in header
