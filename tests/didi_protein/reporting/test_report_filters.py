"""What filters rejected, on the page: found, told, and left out of the best designs."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_fixtures import rows, write_table

from didi_core.errors import UserError
from didi_protein.filter import filter_designs
from didi_protein.filtering.options import FilterOptions
from didi_protein.report import write_report
from didi_protein.reporting.cells import cells_of
from didi_protein.reporting.designs import best_designs
from didi_protein.reporting.filters import MOST_SHOWN, read_outcomes
from didi_protein.reporting.tables import read_tables


def scored(folder: Path, name: str = "scores", count: int = 20, seed: int = 0) -> Path:
    table = rows("tiny", "ancestral", 8, 2.8, count=count, seed=seed)
    table["mean_plddt"] = np.linspace(50, 95, count)
    table["ptm"] = np.linspace(0.9, 0.3, count)
    table.loc[0, ["status", "error"]] = ["oom", "out of memory"]
    return write_table(folder, name, table, None, None)


def filtered(table: Path, out: Path, **options: object) -> Path:
    filter_designs(FilterOptions(table=table, out=out, **options))
    return out.with_suffix(".rejected.csv")


def page_of(inputs: list[Path], folder: Path) -> str:
    return write_report(inputs, folder / "report.html", overwrite=True).out.read_text()


def test_found_beside_the_table_in_a_folder_and_by_name(tmp_path: Path) -> None:
    table = scored(tmp_path / "in")
    rejected = filtered(table, tmp_path / "in" / "best.fasta", min_plddt=70, min_ptm=0.5)
    apart = filtered(table, tmp_path / "apart" / "few.fasta", top=2)
    for inputs, names in (
        ([table], ["best.rejected.csv"]),
        ([tmp_path / "in"], ["best.rejected.csv"]),
        ([table, apart], ["few.rejected.csv", "best.rejected.csv"]),
        ([rejected], ["best.rejected.csv"]),  # and the table it is about
    ):
        text = page_of(inputs, tmp_path)
        assert re.findall(r"<h3>(\S+\.rejected\.csv)</h3>", text) == names
        assert "19 designs from 1 setting" in text  # .selected.csv is no table of its own


def test_of_another_table_in_the_folder_is_left_out(tmp_path: Path) -> None:
    one, two = scored(tmp_path, "one"), scored(tmp_path, "two", seed=1)
    filtered(two, tmp_path / "best.fasta", min_plddt=70)
    assert "What the filters rejected" not in page_of([one], tmp_path)
    assert "What the filters rejected" in page_of([one, two], tmp_path)


def test_funnel_and_reasons_are_told(tmp_path: Path) -> None:
    table = scored(tmp_path)
    filtered(table, tmp_path / "best.fasta", min_plddt=70, min_ptm=0.5, one_per="model")
    text = page_of([table], tmp_path)
    assert "1 of 20 designs was kept, highest mean_plddt first" in text
    (funnel,) = re.findall(r'<table class="funnel">.*?</table>', text, re.DOTALL)
    cells = [re.sub(r"\s+", " ", each) for each in re.findall(r"<td[^>]*>([^<]*)</td>", funnel)]
    stored = filter_designs(
        FilterOptions(
            table=table, out=tmp_path / "b.fasta", min_plddt=70, min_ptm=0.5, one_per="model"
        )
    ).funnel
    expected = [
        text
        for step in stored
        for text in (
            f"{step.column} {step.threshold}".replace(">", "&gt;"),
            str(step.rejected_alone), str(step.rejected_in_sequence), str(step.left),
        )
    ]  # fmt: skip
    assert cells == expected
    (listed,) = re.findall(r'<table class="sortable rejected" id="rejected-1">.*?</table>',
                           text, re.DOTALL)  # fmt: skip
    assert "oom: out of memory" in listed
    first = re.search(r"design_000001</th>(.*?)</tr>", listed, re.DOTALL)[1]
    assert re.findall(r'data-value="([^"]*)"', first) == ["", "52.37", "", ""]
    last = re.search(r"design_000019</th>(.*?)</tr>", listed, re.DOTALL)[1]
    assert 'title="ptm 0.3 is below 0.5"' in last
    assert "is better in model tiny" in listed


def test_best_designs_leave_out_what_every_filter_rejected(tmp_path: Path) -> None:
    table = scored(tmp_path)
    filtered(table, tmp_path / "low.fasta", maximum=["mean_plddt=60"])
    filtered(table, tmp_path / "high.fasta", min_plddt=90)
    tables = read_tables([table])
    outcomes = read_outcomes([table], tables)
    shown = best_designs(cells_of(tables), 50, 1.0, outcomes)
    plddt = [float(dict(design.figures)["pLDDT"]) for design in shown]
    assert len(outcomes) == 2 and plddt == sorted(plddt, reverse=True)
    assert all(value <= 60 or value >= 90 for value in plddt)
    assert {value >= 90 for value in plddt} == {True, False}


def test_without_its_summary_the_list_still_stands(tmp_path: Path) -> None:
    table = scored(tmp_path)
    rejected = filtered(table, tmp_path / "scores.fasta", min_plddt=70)
    (tmp_path / "scores.filter.json").unlink()
    text = page_of([table], tmp_path)  # beside the table, and of its name
    assert "scores.rejected.csv" in text and '<table class="funnel">' not in text
    assert "mean_plddt &gt;= 70" in text
    moved = tmp_path / "elsewhere" / "x.rejected.csv"
    moved.parent.mkdir()
    rejected.rename(moved)
    assert "x.rejected.csv" in page_of([table, moved], tmp_path)
    assert "x.rejected.csv" not in page_of([table], tmp_path)
    with pytest.raises(UserError, match="no score table found"):
        page_of([moved], tmp_path)


def test_long_lists_are_cut_and_say_so(tmp_path: Path) -> None:
    table = scored(tmp_path, count=MOST_SHOWN + 60)
    filtered(table, tmp_path / "best.fasta", top=1)
    text = page_of([table], tmp_path)
    assert f"The first {MOST_SHOWN} are listed here; all are in best.rejected.csv." in text
    assert text.count('class="name" data-value="design_') == MOST_SHOWN


def test_files_that_are_no_lists_are_refused(tmp_path: Path) -> None:
    table = scored(tmp_path)
    wrong = tmp_path / "elsewhere" / "a.rejected.csv"
    wrong.parent.mkdir()
    wrong.write_text("id,why\na,b\n")
    with pytest.raises(UserError, match=r"a\.rejected\.csv is no list of rejected designs"):
        page_of([table, wrong], tmp_path)
    wrong.write_text("")
    with pytest.raises(UserError, match=r"a\.rejected\.csv: is no table"):
        page_of([table, wrong], tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        page_of([table, tmp_path / "missing.rejected.csv"], tmp_path)


def test_reasons_and_ids_are_never_markup(tmp_path: Path) -> None:
    attack = '<img src=x onerror="window.pwned=1">'
    table = rows("tiny", "ancestral", 8, 2.8, count=3)
    table["id"] = [f"{attack}{number}" for number in range(3)]
    table.loc[0, ["status", "error"]] = ["failed", attack]
    path = write_table(tmp_path, "t", table, None, None)
    filtered(path, tmp_path / "best.fasta", top=1)
    text = page_of([path], tmp_path)
    assert "<img" not in text and "&lt;img" in text
    assert pd.read_csv(tmp_path / "best.rejected.csv")["reason"][0] == f"failed: {attack}"
