"""The notebooks of docs/ run as they stand, but for less work; their outputs are those of a run."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import pytest
from Bio.Seq import Seq
from doc_commands import ROOT

from didi_protein.sequences.bundled import bundled_sequences
from didi_protein.sequences.fasta import fasta_records

FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def run(notebook: str, quicker: dict[str, str]) -> dict[str, Any]:
    """Run every cell without network, with what makes it quicker; return the names it leaves."""
    source = "\n\n".join("".join(cell["source"]) for cell in code_cells(FOLDER / notebook))
    for written, instead in quicker.items():
        assert written in source
        source = source.replace(written, instead)
    names: dict[str, Any] = {}
    exec(source, names)
    return names


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("agg")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_outputs_are_kept_with_a_picture_and_without_traces_of_a_machine(notebook: Path) -> None:
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert f"{notebook.stem}-" not in json.dumps(outputs), "a temporary folder"


def test_first_designs(capsys: pytest.CaptureFixture[str]) -> None:
    quicker = {"num=32": "num=4", '"steps=4",': '"steps=2", "verdict=false",'}
    tables = run("first-designs.ipynb", quicker)["tables"]
    assert {len(table) for table in tables.values()} == {4}
    assert all((table["status"] == "ok").all() for table in tables.values())
    assert capsys.readouterr().out.count("network calls a design") == 3


def test_a_campaign_ends_in_dna_of_what_was_chosen(tmp_path: Path) -> None:
    """Of fewer designs, a part of the family, and without looking for copies."""
    places = []
    for name, every in (("PF00595", 50), ("PF00595-held-out", 5)):
        places.append(str(tmp_path / f"{name}.fasta"))
        (aligned,) = bundled_sequences(name)
        members = list(fasta_records(aligned, "family"))[::every]
        records = [f">{each.id}\n{each.sequence}\n" for each in members]
        Path(places[-1]).write_text("".join(records))
    quicker = {
        '"PF00595", "PF00595-held-out"': ", ".join(map(repr, places)),
        "sample(48": "sample(6",
        "    16,": "    4,",
        "training=family": 'training="none"',
        '["training_identity=0.75"]': "[]",
    }
    names = run("campaign.ipynb", quicker)

    chosen = names["chosen"]
    assert 2 <= len(chosen) <= 10 and (chosen["family_bits"] >= names["bits"]).all()
    rows = names["ordered"].table
    assert list(rows["id"]) == [*chosen["id"], "natural_control"]
    sheet = pd.read_csv(names["work"] / "order.csv")
    assert list(sheet["Well"]) == [f"A{1 + number}" for number in range(len(rows))]
    for dna, row in zip(sheet["Sequence"], rows.itertuples(), strict=True):
        assert str(Seq(dna).translate(to_stop=True)) == row.protein
        assert row.protein.endswith(row.design)
