"""The plots of folding: what is drawn, filled and shaded, and from which rule."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_fixtures import rows, summary, write_table

from didi_protein.report import write_report
from didi_protein.reporting.cells import Cell, cells_of, references_of
from didi_protein.reporting.fold_agreement import plddt_of_two_models
from didi_protein.reporting.fold_plots import (
    MOST_POINTS,
    FoldRule,
    fold_rule,
    foldable_share,
    plddt_by_length,
    plddt_by_perplexity,
)
from didi_protein.reporting.styles import REGION, VARIABLES, SeriesStyles
from didi_protein.reporting.tables import ScoreTable, read_tables

RULE = FoldRule()


def folded(folder: Path, steps: int = 8, count: int = 40, rule: dict | None = None) -> Path:
    """The upper half of the designs is foldable."""
    table = rows("tiny", "ancestral", steps, 2.6, count=count)
    table["mean_plddt"] = np.linspace(40, 95, count)
    table["ptm"], table["mean_pae"] = 0.8, 6.5
    table["foldable"] = np.arange(count) >= count // 2
    stated = summary(2.6, count)
    if rule is not None:
        stated["fold"] = {"name": "esmfold", "foldable": rule}
    return write_table(folder, f"t{steps}", table, stated, None)


def drawn(folder: Path) -> tuple[list[ScoreTable], list[Cell], SeriesStyles]:
    tables = read_tables([folder])
    cells = cells_of(tables)
    return tables, cells, SeriesStyles(cells)


def markers(svg: str) -> tuple[int, int]:
    """How many designs are drawn filled and hollow."""
    styles = [use.get("style") for use in ElementTree.fromstring(svg).iter("use")]
    designs = [style for style in styles if "stroke-opacity: 0.7" in style]
    hollow = sum("fill-opacity: 0;" in style for style in designs)
    return len(designs) - hollow, hollow


def test_points_are_filled_where_foldable(tmp_path: Path) -> None:
    folded(tmp_path)
    tables, cells, styles = drawn(tmp_path)
    for plot in (
        plddt_by_length(cells, styles, RULE),
        plddt_by_perplexity(cells, references_of(tables), styles, RULE),
    ):
        assert markers(plot.svg) == (20, 20)
        assert f"var({VARIABLES[REGION]})" in plot.svg and "above 80" in plot.svg
        assert "pLDDT &gt; 80" not in plot.caption  # plain text: the template escapes it
    natural = plddt_by_perplexity(cells, references_of(tables), styles, RULE).svg
    assert "natural, held out" in natural and "shuffled" in natural


def test_share_and_its_interval(tmp_path: Path) -> None:
    folded(tmp_path, steps=8)
    folded(tmp_path, steps=16, count=60)
    _, cells, styles = drawn(tmp_path)
    plot = foldable_share(cells, styles, RULE)
    assert "tiny ancestral 8: 50%. tiny ancestral 16: 50%" in plot.svg
    assert "pLDDT > 80, pTM > 0.7, PAE < 10 Å" in plot.caption
    low, high = cells[0].figures["foldable"].low, cells[0].figures["foldable"].high
    assert 0.3 < low < 0.5 < high < 0.7


def test_rule_is_that_of_the_tables(tmp_path: Path) -> None:
    strict = {"min_plddt": 85, "min_ptm": 0.75, "max_pae": 8}
    folded(tmp_path, rule=strict)
    tables, cells, styles = drawn(tmp_path)
    rule = fold_rule(tables)
    assert rule == FoldRule(85, 0.75, 8)
    assert "above 85" in plddt_by_length(cells, styles, rule).svg
    folded(tmp_path, steps=16, rule=strict | {"min_plddt": 70})
    differing = fold_rule(read_tables([tmp_path]))
    assert differing.differs and "other thresholds" in differing.in_words()
    assert fold_rule([]) == FoldRule(80, 0.7, 10)


def test_means_by_length_are_told(tmp_path: Path) -> None:
    table = rows("tiny", "ancestral", 8, 2.6, count=20)
    table["sequence"] = ["ACDEFGHIKL" * (5 if number < 10 else 10) for number in range(20)]
    table["mean_plddt"] = [60.0] * 10 + [80.0, 90.0] * 5
    write_table(tmp_path, "t", table, None, None)
    _, cells, styles = drawn(tmp_path)
    svg = plddt_by_length(cells, styles, RULE).svg
    assert "mean pLDDT at length: 60 at 50, 85 at 100" in svg
    assert markers(svg) == (20, 0)  # foldable is unknown


def test_designs_without_plddt_are_not_drawn(tmp_path: Path) -> None:
    path = folded(tmp_path)
    table = pd.read_csv(path)
    table[["mean_plddt", "foldable"]] = table[["mean_plddt", "foldable"]].astype(float)
    table.loc[:9, ["mean_plddt", "foldable"]] = np.nan
    table.to_csv(path, index=False)
    _, cells, styles = drawn(tmp_path)
    assert markers(plddt_by_length(cells, styles, RULE).svg) == (20, 10)
    table.drop(columns=["mean_plddt", "foldable"]).to_csv(path, index=False)
    tables, cells, styles = drawn(tmp_path)
    assert plddt_by_length(cells, styles, RULE) is None
    assert plddt_by_perplexity(cells, references_of(tables), styles, RULE) is None
    assert foldable_share(cells, styles, RULE) is None


def test_too_many_points_are_thinned_and_the_caption_says_so(tmp_path: Path) -> None:
    folded(tmp_path, count=2 * MOST_POINTS)
    _, cells, styles = drawn(tmp_path)
    plot = plddt_by_length(cells, styles, RULE)
    assert sum(markers(plot.svg)) == MOST_POINTS
    assert "(50% of them drawn)" in plot.caption


def test_page_has_the_plots_and_one_caution_for_two_folding_models(tmp_path: Path) -> None:
    folded(tmp_path, steps=8, rule={"min_plddt": 80, "min_ptm": 0.7, "max_pae": 10})
    folded(tmp_path, steps=16)  # folded elsewhere: its summary names no model
    page = write_report([tmp_path], tmp_path / "r.html").out.read_text()
    names = re.findall(r'<figure id="plot-([a-z-]+)"', page)
    assert names[1:4] == ["foldable", "plddt-perplexity", "plddt-length"]
    assert "different settings of the fold" not in page
    identifiers = re.findall(r'\bid="([^"]*)"', page)
    assert len(identifiers) == len(set(identifiers))
    folded(tmp_path, steps=16, rule={"min_plddt": 70, "min_ptm": 0.7, "max_pae": 10})
    page = write_report([tmp_path], tmp_path / "r.html", overwrite=True).out.read_text()
    assert "2 different settings of the fold: pLDDT, pTM, PAE and foldable shares cannot" in page


@pytest.mark.parametrize("missing", ["ptm", "mean_pae"])
def test_columns_of_folding_stand_alone(tmp_path: Path, missing: str) -> None:
    path = folded(tmp_path)
    table = pd.read_csv(path).drop(columns=missing)
    table.to_csv(path, index=False)
    (cell,) = cells_of(read_tables([tmp_path]))
    present = {"mean_plddt", "ptm", "mean_pae", "foldable"} & cell.figures.keys()
    assert present == {"mean_plddt", "ptm", "mean_pae", "foldable"} - {missing}


def test_two_folding_models_are_held_against_each_other(tmp_path: Path) -> None:
    path = folded(tmp_path)
    _, cells, styles = drawn(tmp_path)
    assert plddt_of_two_models(cells, styles, RULE) is None
    table = pd.read_csv(path).assign(mean_plddt_esmfold2=85.0, fold_agreement_tm=0.9)
    table.loc[:3, "mean_plddt_esmfold2"] = np.nan  # not folded by both: not drawn
    table.loc[30:, "fold_agreement_tm"] = 0.3
    table.loc[[4, 39], "fold_agreement_tm"] = np.nan
    table.to_csv(path, index=False)
    _, cells, styles = drawn(tmp_path)
    plot = plddt_of_two_models(cells, styles, RULE)
    assert markers(plot.svg) == (27, 9)
    above = int((table["mean_plddt"] > 80).sum())
    assert f"{above} of 36 designs above pLDDT 80 by both models, 1 of them" in plot.svg
    assert "mean pLDDT of esmfold2" in plot.svg
