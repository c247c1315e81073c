"""The page on keeping an active site: its commands run, and what it says of them holds."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from doc_commands import ROOT, commands_of
from folding_fixtures import write_folding_model
from structure_fixtures import helix_bundle

from didi_core.cli.run import run_program
from didi_protein.app import app
from didi_protein.sequences.fasta import read_records

PAGE = (ROOT / "docs" / "motifs.md").read_text(encoding="utf-8")
SITE = {
    **dict(zip(range(70, 74), ("SER", "THR", "PHE", "LYS"), strict=True)),
    **dict(zip(range(130, 133), ("SER", "ASP", "ASN"), strict=True)),
    166: "GLU",
    **dict(zip(range(234, 237), ("LYS", "SER", "GLY"), strict=True)),
}
"""Of TEM-1; the other residues of the file are alanine."""


def write_structure(path: Path) -> None:
    atoms = [
        f"ATOM  {place:5d}  CA  {SITE.get(number, 'ALA')} A{number:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00 20.00           C"
        for place, (number, (x, y, z)) in enumerate(
            zip(range(26, 291), helix_bundle(265), strict=True), 1
        )
    ]
    path.write_text("\n".join([*atoms, "END", ""]))


def run(command: str) -> None:
    program, *arguments = shlex.split(command)
    assert program == "didi-protein"
    assert run_program(lambda: app(arguments, standalone_mode=False)) == 0


def test_the_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_structure(tmp_path / "1btl.pdb")
    folding = write_folding_model(tmp_path / "folding")
    commands = commands_of(PAGE)
    assert len(commands) == PAGE.count("<!-- test:") == 3
    quick = "--fold-recycles 0 --judge none --pseudo none --training none --tm-pairs 0"
    generate, score, filter_ = commands
    run(generate)
    run(score.replace("--fold esmfold", f"--fold {folding} {quick}"))
    run(filter_.replace("motif_rmsd=1", "motif_rmsd=1000"))
    designs = read_records(["designs.fasta"])
    assert len(designs) == 3
    for each in designs:
        assert re.search("STFK.{56}SDN.{33}E.{67}KSG", each.sequence)
        assert 199 <= len(each.sequence) <= 202
        assert re.fullmatch(
            r"A70-73>\d+-\d+,A130-132>\d+-\d+,A166>\d+,A234-236>\d+-\d+", each.header["motif"]
        )
    table = pd.read_csv("scores.csv")
    assert table[["motif_rmsd", "motif_success", "motif_rmsd_shuffled"]].notna().all(axis=None)
    best = read_records(["best.fasta"])
    assert [each.header["motif"] for each in best] == [
        table.set_index("id").loc[each.id, "motif"] for each in best
    ]


def test_the_example_header_holds_the_gaps() -> None:
    """As far apart in the design as in the file: each place is as far below its number."""
    header = re.search(r"motif=(\S+)", PAGE)
    assert header is not None
    shifts = {int(a) - int(b) for a, b in re.findall(r"A(\d+)(?:-\d+)?>(\d+)", header[1])}
    assert len(shifts) == 1 and 12 <= 69 - shifts.pop() <= 18
