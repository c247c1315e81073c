"""All designs on the page: filter's order and reasons, own columns, natives; and histograms."""

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from report_fixtures import page_of, page_of_table, rows, summary, write_table

from didi_protein.filter import filter_designs
from didi_protein.filtering.options import FilterOptions
from didi_protein.reporting.cells import cells_of
from didi_protein.reporting.designs import best_designs
from didi_protein.reporting.filters import read_outcomes
from didi_protein.reporting.histograms import score_histograms
from didi_protein.reporting.listing import DesignList, list_designs
from didi_protein.reporting.styles import SeriesStyles
from didi_protein.reporting.tables import read_tables
from didi_protein.scoring.length_bins import weighted_row
from didi_protein.scoring.properties import natural_ranges, sequence_properties


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Forty designs with a column of the user's, a native, and what this week's verbs add."""
    designs = rows("tiny", "ancestral", 8, 2.7, count=40)
    designs["header_campaign"] = [f"plate {number % 2}" for number in range(40)]
    designs["header_sampler_options"] = "x=1"
    designs["motif_rmsd"] = np.linspace(0.5, 3, 40)
    designs["iptm"] = np.linspace(0.2, 0.9, 40)
    designs["parent_identity"] = np.linspace(0.5, 0.95, 40)
    designs["ptm"] = np.nan
    designs["native"] = [True] + [np.nan] * 39
    return write_table(tmp_path, "scores", designs, summary(2.7, 40), None)


def filtered(table: Path, **options: object) -> None:
    filter_designs(FilterOptions(table=table, out=table.parent / "best.fasta", **options))


def listed(table: Path) -> DesignList:
    tables = read_tables([table])
    return list_designs(tables, read_outcomes([table], tables))


def test_the_order_and_the_reasons_are_those_of_filter(table: Path) -> None:
    filtered(table, sort_by="iptm", top=10, max_repeat=1.0)
    found = listed(table)
    kept = [row for row in found.rows if row.choices[0][2]]
    assert [row.identifier for row in kept] == [f"design_{39 - n:06d}" for n in range(10)]
    assert [row.choices[0][1] for row in kept[:2]] == ["kept, rank 1", "kept, rank 2"]
    rejected = found.rows[10]
    assert rejected.choices[0][1] == "rejected: rank 39 by highest iptm"
    assert found.rows[-1].note == "native input" and len(found.rows) == 40
    tables = read_tables([table])
    best = best_designs(cells_of(tables), 3, 0.0, read_outcomes([table], tables))
    assert [each.identifier for each in best] == [row.identifier for row in kept[:3]]
    assert ("campaign", "plate 1") in best[0].figures


def test_columns_are_those_that_hold_something(table: Path) -> None:
    found = listed(table)
    headings = [column.heading for column in found.columns]
    assert {"Motif RMSD", "ipTM", "Parent identity", "campaign", "Length"} <= set(headings)
    assert not {"pTM", "sampler_options", "Sampler", "Steps"} & set(headings)
    place = headings.index("ipTM")
    values = {row.identifier: row.cells[place] for row in found.rows}
    assert float(values["design_000039"][1]) == pytest.approx(0.9)
    assert found.rows[0].identifier == "design_000001", "without a filter the order of the table"


def test_ids_of_several_tables_are_told_apart(table: Path) -> None:
    other = write_table(table.parent, "other", rows("b", "apart", 8, 2.7, 3), None, None)
    tables = read_tables([table, other])
    found = list_designs(tables, [])
    titles = [row.title for row in found.rows]
    assert "design_000002@other" in titles and "design_000039" in titles
    assert [column.heading for column in found.columns][:3] == ["Table", "Model", "Sampler"]


def test_the_page_holds_every_design_and_says_what_is_left_out(table: Path) -> None:
    page = page_of([table], table.parent / "r.html").read_text()
    body = re.search(r'id="listing".*?</table>', page, re.DOTALL)[0]
    assert body.count("<tr") == 41 and 'class="native"' in body
    said = unescape(re.search(r"Not measured, so left out: (.*?)</p>", page, re.DOTALL)[1])
    assert "score --fold esmfold" in said and "score --family ALIGNMENT" in said
    assert "Judge perplexity" not in said and "Precision" not in said


def test_text_of_a_header_is_never_markup(tmp_path: Path) -> None:
    designs = rows("tiny", "ancestral", 8, 2.7, count=8).assign(header_x="<b>bold</b>")
    designs["header_<i>"] = "a"
    page = page_of_table(tmp_path, designs)
    assert "<b>" not in page and "<i>" not in page and "&lt;b&gt;" in page


def histograms(table: Path) -> dict[str, object]:
    tables = read_tables([table])
    cells = cells_of(tables)
    return {each.name: each for each in score_histograms(tables, cells, SeriesStyles(cells))}


def test_histograms_of_what_varies_with_nature_behind(table: Path) -> None:
    found = histograms(table)
    assert {"score-iptm", "score-judge-perplexity", "score-isoelectric-point"} <= set(found)
    assert "score-ptm" not in found and "score-length" not in found
    drawn = found["score-motif-rmsd"]
    assert "Native input: 0.50" in drawn.caption and "Nature: " not in drawn.caption
    assert drawn.legend[-1].label == "native input" and drawn.legend[0].counts == "39"
    assert drawn.caption.endswith("Lowest is best.")
    assert "best" not in found["score-judge-perplexity"].caption, "far below nature it is not"


def test_many_natives_are_a_range_and_no_designs(tmp_path: Path) -> None:
    designs = rows("tiny", "ancestral", 8, 2.7, count=40).assign(gravy=np.linspace(-1, 1, 40))
    designs["family_evalue"] = np.logspace(-30, -1, 40)
    designs["native"] = [True] * 6 + [np.nan] * 34
    table = write_table(tmp_path, "t", designs, None, None)
    found = histograms(table)
    assert found["score-gravy"].legend[-1].label == "6 native inputs"
    assert "score-family-evalue" not in found, "one bar beside zero"
    filtered(table, max_repeat=1.0)
    page = page_of([table], tmp_path / "r.html").read_text()
    assert "34 designs and 6 native inputs" in page and "34 of 34 designs were kept" in page
    assert "40 designs" not in page


def test_ranges_of_a_family_and_of_the_judge_are_drawn(tmp_path: Path) -> None:
    figures = summary(2.7, 40) | {"family": {"file": "PF", "natural_ranges": {"gravy": [-1, 0.5]}}}
    figures["reference_rows"]["natural_held_out"]["judge_perplexity_range"] = {"low": 3, "high": 9}
    designs = rows("tiny", "ancestral", 8, 2.7, count=40).assign(gravy=np.linspace(-1, 1, 40))
    found = histograms(write_table(tmp_path, "t", designs, figures, None))
    assert "Nature: -1 to 0.5" in found["score-gravy"].caption
    assert "Nature: 3.00 to 9.00" in found["score-judge-perplexity"].caption
    assert found["score-gravy"].legend[-1].label == "natural sequences of PF, 90%"


def test_designs_below_nature_are_marked_and_are_not_better(tmp_path: Path) -> None:
    """Of 1.5 and 2.5, both below nature's 3, the family's bits decide; 4 comes after them."""
    figures = summary(2.7, 4)
    figures["reference_rows"]["natural_held_out"]["judge_perplexity_range"] = {"low": 3, "high": 9}
    figures["family"] = {"file": "PF", "natural_ranges": {"family_bits": [20, 75]}}
    designs = rows("tiny", "ancestral", 8, 2.7, count=4).assign(
        judge_perplexity=[4.0, 1.5, 2.5, 12.0], family_bits=[70.0, 60.0, 65.0, 80.0],
        family_coverage=0.5, repeat_fraction=0.0,
    )  # fmt: skip
    table = write_table(tmp_path, "t", designs, figures, None)
    best = best_designs(cells_of(read_tables([table])), 4, 1.0)
    assert [each.identifier[-1] for each in best] == ["2", "1", "0", "3"]
    told = [dict(each.figures) for each in best]
    marks = [each["judge perplexity"].partition(", ")[2] for each in told]
    assert marks == ["below nature's 3.00"] * 2 + ["", "above nature's 9.00"]
    assert told[0]["family bits"] == "65.0 bits" and told[0]["family coverage"] == "50%"
    assert "down to nature&#39;s 3" in page_of([table], tmp_path / "r.html").read_text()


def test_tables_are_held_to_nature_of_their_own_lengths(tmp_path: Path) -> None:
    """2.5 is below nature's 3 in one table, and 2.6 within nature's 2 to 9 in the other."""
    tables = []
    for name, low, perplexity in (("a", 3.0, 2.5), ("b", 2.0, 2.6)):
        figures = summary(2.7, 1)
        between = {"low": low, "high": 9.0}
        figures["reference_rows"]["natural_held_out"]["judge_perplexity_range"] = between
        designs = rows(name, "ancestral", 8, 2.7, count=1, seed=len(tables))
        designs = designs.assign(judge_perplexity=perplexity, repeat_fraction=0.0)
        tables.append(write_table(tmp_path, name, designs, figures, None))
    best = best_designs(cells_of(read_tables(tables)), 2, 1.0)
    assert [dict(each.origin)["model"] for each in best] == ["b", "a"]


def test_no_relative_in_training_is_no_identity_of_zero(tmp_path: Path) -> None:
    identity = [0.0] * 30 + np.linspace(0.5, 0.9, 10).tolist()
    designs = rows("tiny", "ancestral", 8, 2.7, count=40).assign(training_identity=identity)
    table = write_table(tmp_path, "t", designs, None, None)
    drawn = histograms(table)["score-training-identity"]
    assert "30 of 40 designs, none alike" in drawn.caption and "median 70%" in drawn.caption
    place = [column.heading for column in listed(table).columns].index("Identity to training")
    assert listed(table).rows[0].cells[place] == ("0", "none alike")
    designs["training_identity"] = 0.0
    assert "score-training-identity" not in histograms(
        write_table(tmp_path, "u", designs, None, None)
    )


SECTIONS = [
    (1, True, ["designs", "all-designs", "filters", "scores", "plots", "comparison", "meanings"]),
    (1, False, ["designs", "all-designs", "scores", "plots", "comparison", "meanings"]),
    (2, True, ["designs", "all-designs", "filters", "scores", "plots", "comparison", "meanings"]),
    (2, False, ["comparison", "plots", "designs", "all-designs", "scores", "meanings"]),
]
"""How many sets, whether filter chose from them, and the parts of the page in their order."""


@pytest.mark.parametrize(("sets", "chosen", "order"), SECTIONS)
def test_the_menu_follows_what_a_reader_does(
    tmp_path: Path, sets: int, chosen: bool, order: list[str]
) -> None:
    tables = [
        write_table(tmp_path, f"t{n}", rows(f"m{n}", "ancestral", 8, 2.7, 12), None, None)
        for n in range(sets)
    ]
    if chosen:
        filtered(tables[0], top=3)
    page = page_of(tables, tmp_path / "r.html").read_text()
    assert re.findall(r'<section id="([^"]+)"', page) == order
    menu = re.search(r"<nav.*?</nav>", page, re.DOTALL)[0]
    assert re.findall(r'href="#([^"]+)"', menu) == [*order, "versions"]


def test_natural_ranges_by_hand() -> None:
    sequences = [each * number for each in ("ACDEFGHIKL", "MKTAYIAKQR", "MNPQRSTVWY")
                 for number in range(1, 11)]  # fmt: skip
    found = natural_ranges([*sequences, "AX"])
    known = [sequence_properties(each)["gravy"] for each in sequences]
    assert found["gravy"] == pytest.approx(np.quantile(known, (0.05, 0.95)).tolist())
    assert natural_ranges(sequences[1:]) == {}, "29 are a handful"


def test_range_of_the_judge_holds_spread_within_and_between_bins() -> None:
    bins = [{"n": 10, "judge_nll": {"mean": mean, "sd": 0.3}} for mean in (2.0, 2.8)]
    ends = weighted_row(bins, [1, 1])["judge_perplexity_range"]
    spread = 1.645 * np.sqrt(0.3**2 + 0.4**2)
    assert np.log(ends["low"]) == pytest.approx(2.4 - spread)
    assert np.log(ends["high"]) == pytest.approx(2.4 + spread)
