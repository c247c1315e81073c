"""docs/notebooks/first-designs.ipynb runs as it stands, and its outputs are those of a run."""

import json
from typing import Any

import matplotlib
import pytest
from doc_commands import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "first-designs.ipynb"


def code_cells() -> list[dict[str, Any]]:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_outputs_are_kept_with_a_picture_and_without_traces_of_a_machine() -> None:
    cells = code_cells()
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert "first-designs-" not in json.dumps(outputs), "a temporary folder"


def test_every_cell_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    matplotlib.use("agg")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names: dict[str, Any] = {}
    for cell in code_cells():
        exec("".join(cell["source"]).replace("num=32", "num=4"), names)  # a quicker run
    tables = names["tables"]
    assert {len(table) for table in tables.values()} == {4}
    assert all((table["status"] == "ok").all() for table in tables.values())
    assert capsys.readouterr().out.count("network calls a design") == 3
