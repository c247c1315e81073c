"""`didi-protein report`: what the page says, and what it refuses."""

import base64
import hashlib
import io
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from Bio import SeqIO
from report_fixtures import (
    estimate,
    page_of,
    page_of_quickstart,
    page_of_table,
    quickstart_like,
    random_sequences,
    rows,
    summary,
    write_table,
)
from scoring_fixtures import quick_scores, write_judge
from typer.testing import CliRunner

from didi_core.errors import UserError
from didi_protein.report import ReportResult, counted_in_words, report_command, write_report
from didi_protein.reporting.cells import Cell, ReferenceRow, cells_of, references_of
from didi_protein.reporting.designs import best_designs
from didi_protein.reporting.figures import Estimate, figures_from_rows
from didi_protein.reporting.tables import read_tables
from didi_protein.reporting.text import cautions, highlights
from didi_protein.score import score


class TableReader(HTMLParser):
    """The comparison table of a page as rows of cell texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._inside = False
        start = page.index("<table", page.index('<section id="comparison"'))
        self.feed(page[start : page.index("</table>", start)])

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.rows[-1][-1] = " ".join(self.rows[-1][-1].split())
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += f"{data} "


def table_of(page: str) -> dict[tuple[str, str, str], dict[str, str]]:
    """(model, sampler, steps) -> heading -> text."""
    headings, *body = TableReader(page).rows
    headings = [heading.rstrip(" ↓↑\xa0") for heading in headings]
    found = [dict(zip(headings, row, strict=True)) for row in body]
    return {(each["Model"].split()[0], each["Sampler"], each["Steps"]): each for each in found}


def test_table_shows_the_summaries(tmp_path: Path) -> None:
    page = page_of_quickstart(tmp_path)
    table = table_of(page)
    assert len(table) == 10 + 3 - 1  # two reference rows begin with the word Natural
    student = table["tiny-student", "ancestral", "8"]
    assert student["n"] == "64"
    assert student["Calls"] == "8"
    low, mean, high = (f"{np.exp(value):.2f}" for value in (2.62, 2.66, 2.70))
    assert student["Judge perplexity"] == f"{mean} {low}–{high}"
    assert student["Precision"] == "35% 24–46%"
    assert student["Recall"] == "12% 9.0–15%"
    assert student["Copies"] == "3.1% 1.1–5.1%"
    assert student["3-mer entropy"] == "7.90 7.85–7.95"
    assert student["Repeats"] == "4.7%"
    assert student["Seconds each"] == f"{8 * 0.21 / 64:.3g}"
    assert table["The", "–", "–"]["Recall"].startswith("–")
    assert table["The", "–", "–"]["n"] == "900"
    assert "its limit" in table["tiny", "first-hitting", "–"]["Model"]


def test_page_needs_nothing_else(tmp_path: Path) -> None:
    page = page_of_quickstart(tmp_path)
    addresses = re.findall(r'(?:src|href|action)="([^"]*)"', page)
    assert addresses
    assert all(each.startswith(("#", "data:")) for each in addresses)
    assert not re.findall(r"url\((?!#)|@import", page)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    content_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{content_hash}'" in page
    assert "default-src 'none'" in page


def test_plots_are_sound_svg_with_descriptions(tmp_path: Path) -> None:
    page = page_of_quickstart(tmp_path)
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) == 9, "quality twice, lengths, composition, and each score"
    identifiers: list[str] = []
    for plot in plots:
        root = ElementTree.fromstring(plot)
        assert root.get("role") == "img"
        own = [each.get("id") for each in root.iter() if each.get("id")]
        assert set(root.get("aria-labelledby").split()) <= set(own)
        assert set(re.findall(r'(?:href="|url\()#([^")]*)', plot)) <= set(own)
        identifiers += own
    assert len(identifiers) == len(set(identifiers))
    assert "tiny-student ancestral, 8 calls: 2.66" in plots[0]
    assert "var(--series-2)" in plots[0] and "var(--natural)" in plots[0]
    assert f"tiny-student ancestral, {8 * 0.21 / 64:.4g} seconds: 2.66" in plots[1]


def test_quality_against_seconds_is_drawn_where_seconds_are_known(tmp_path: Path) -> None:
    known = rows("known", "ancestral", 8, 2.7)
    other = rows("other", "ancestral", 8, 2.6)
    write_table(tmp_path / "in", "other", other, summary(2.6, 64), seconds=None)
    page = page_of([tmp_path / "in"], tmp_path / "one.html").read_text()
    assert 'id="plot-quality"' not in page and "Quality against calls needs two sets" in page
    write_table(tmp_path / "in", "idle", known, summary(2.8, 64), seconds=0.0)
    page = page_of([tmp_path / "in"], tmp_path / "idle.html").read_text()
    assert 'id="plot-quality"' in page and 'id="plot-quality-seconds"' not in page
    write_table(tmp_path / "in", "known", known, summary(2.7, 64), seconds=6.4)
    write_table(tmp_path / "in", "slow", known, summary(2.7, 64), seconds=12.8)
    page = page_of([tmp_path / "in"], tmp_path / "with.html").read_text()
    (drawn,) = re.findall(r'<figure id="plot-quality-seconds">.*?</figure>', page, re.DOTALL)
    assert "known ancestral, 0.1 seconds: 2.70" in drawn and "other" not in drawn


def curve(nll: float, *, passes: bool = True) -> dict[str, object]:
    """A row at two temperatures, as `compare` records it; n, settings and seeds aside."""
    points = [
        {"temperature": t, "nll": estimate(nll + t, 0.1), "diversity": estimate(7 + t, 0.1)}
        for t in (0.8, 1.0)
    ]
    less = estimate(-0.25, 0.05) if passes else None
    return {"points": points, "nll_at_equal_diversity": estimate(nll, 0.1) if passes else None,
            "minus_baseline": less,
            "at_equal_ngrams": {"nll": None, "minus_baseline": less}}  # fmt: skip


def test_rows_at_equal_diversity_are_drawn_and_stand_in_the_table(tmp_path: Path) -> None:
    for name, steps in (("a_8", 8), ("a_16", 16), ("b_8", 8)):
        write_table(tmp_path / "in", name, rows(name[0], "ancestral", steps, 2.7), None, None)
    frontiers = {"a_8": curve(2.5), "a_16": curve(2.25, passes=False)}
    level = {"source": "that of natural sequences"}
    record = {"equal_diversity": 7.75, "level": level, "baseline": "a_8", "frontiers": frontiers}
    page = page_of([tmp_path / "in"], tmp_path / "swept.html", frontiers=record)
    page = page.read_text()
    table = table_of(page)
    assert table["a", "ancestral", "8"]["NLL at equal entropy"] == "2.500 2.400–2.600"
    less = table["a", "ancestral", "8"]["Less teacher, equal entropy"]
    assert less == "-0.250 -0.300 to -0.200"
    assert table["a", "ancestral", "8"]["Less teacher, equal 4-mers"] == less
    assert table["a", "ancestral", "16"]["NLL at equal entropy"] == "–"
    assert table["b", "ancestral", "8"]["Less teacher, equal entropy"] == "–"
    figure = r'<figure id="plot-quality-temperatures">.*?</figure>'
    (drawn,) = re.findall(figure, page, re.DOTALL)
    assert "a ancestral, 8 steps, at 7.75 nats of entropy: 2.50" in drawn
    assert "a ancestral, 16 steps: does not pass 7.75 nats" in drawn and "b ancest" not in drawn
    words = " ".join(drawn.split())
    assert "at 7.75 nats (that of natural sequences), they are compared" in words
    assert "training set itself would win" in words
    plain = page_of([tmp_path / "in"], tmp_path / "plain.html").read_text()
    assert "equal entropy" not in plain and "plot-quality-temperatures" not in plain


def test_two_settings_of_a_sampler_are_two_rows(tmp_path: Path) -> None:
    given = {"loop": "schedule=loop,eta=0.02", "cap": "eta=0.01", "none": None}
    for name, options in given.items():
        table = rows("m", "remdm", 8, 2.7).assign(header_sampler_options=options)
        write_table(tmp_path / "in", name, table, None, None)
    page = page_of([tmp_path / "in"], tmp_path / "r.html").read_text()
    found = {sampler for _, sampler, _ in table_of(page)}
    assert found == {"remdm(schedule=loop,eta=0.02)", "remdm(eta=0.01)", "remdm"}


def test_same_tables_give_the_same_page(tmp_path: Path) -> None:
    folder = quickstart_like(tmp_path / "in")
    first = page_of([folder], tmp_path / "a.html").read_bytes()
    assert page_of([folder], tmp_path / "b.html").read_bytes() == first


def test_rows_of_several_cells_are_grouped_and_recomputed(tmp_path: Path) -> None:
    both = pd.concat(
        [rows("tiny", "ancestral", 8, 2.8, count=20), rows("tiny", "ancestral", 16, 2.6, count=30)]
    )
    path = write_table(tmp_path, "both", both, summary(2.0, 50), seconds=3.0)
    eight, sixteen = cells_of(read_tables([path]))
    assert (eight.steps, len(eight.designs)) == (8, 20)
    assert (sixteen.steps, len(sixteen.designs)) == (16, 30)
    assert eight.recomputed and sixteen.recomputed
    expected = np.log(both["judge_perplexity"][both["steps"] == 16]).mean()
    nll = sixteen.figures["judge_nll"]
    assert nll.mean == pytest.approx(expected, rel=1e-9)
    assert nll.low < nll.mean < nll.high
    assert sixteen.figures["judge_perplexity"].high == pytest.approx(np.exp(nll.high))
    # Neither the set's figures nor the time can be split between the two.
    assert not {"recall", "seconds_per_design"} & eight.figures.keys()


def test_summary_of_an_earlier_table_is_not_used(tmp_path: Path) -> None:
    table = rows("tiny", "ancestral", 8, 2.8, count=20)
    path = write_table(tmp_path, "later", table, summary(1.0, 64), seconds=None)
    (cell,) = cells_of(read_tables([path]))
    assert cell.recomputed
    assert cell.figures["judge_nll"].mean == pytest.approx(np.log(table["judge_perplexity"]).mean())


def test_figures_from_rows_by_hand() -> None:
    table = pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "sequence": ["AAAA", "AAAA", "AAAC"],
            "nfe": [4, 4, 7],
            "judge_perplexity": [np.e, np.nan, np.e**3],
            "repeat_fraction": [0.5, 0.5, 0.2],
            "nearest_reference_identity": [0.4, np.nan, 0.95],
        }
    )
    figures = figures_from_rows(table, has_reference=True)
    assert figures["calls"].mean == 5
    assert figures["judge_nll"].mean == pytest.approx(2)
    assert figures["judge_nll"].n == 2  # one of the three has no judge perplexity
    assert figures["repeat_fraction"].mean == pytest.approx(0.4)
    assert figures["precision"].mean == pytest.approx(2 / 3)
    assert not {"recall", "copies"} & figures.keys()
    assert "precision" not in figures_from_rows(table, has_reference=False)
    three_mers = np.array([5, 1]) / 6  # AAA, and AAC once
    assert figures["pooled_3mer_entropy"].mean == pytest.approx(-three_mers @ np.log(three_mers))
    assert figures["distinct_fraction"].mean == pytest.approx(2 / 3)


def test_failed_records_count_in_no_figure(tmp_path: Path) -> None:
    table = rows("tiny", "ancestral", 8, 2.8, count=20)
    table.loc[:1, ["status", "sequence", "judge_perplexity"]] = ["invalid", "MKX", np.nan]
    page = page_of_table(tmp_path, table)
    assert table_of(page)["tiny", "ancestral", "8"]["n"] == "18 of 20"
    assert "2 of 20 records could not be scored" in page


def test_best_designs_pass_the_repeat_filter(tmp_path: Path) -> None:
    table = rows("tiny", "ancestral", 8, 2.8, count=30)
    table.loc[0, ["judge_perplexity", "repeat_fraction"]] = [1.0, 0.9]  # junk a judge adores
    table.loc[1, ["judge_perplexity", "repeat_fraction"]] = [2.0, 0.1]
    table.loc[2, ["judge_perplexity", "repeat_fraction"]] = [2.5, 0.1]
    table.loc[3, ["judge_perplexity", "sequence"]] = [2.1, table.loc[1, "sequence"]]
    table.loc[1, "nearest_reference_identity"] = 0.97
    cells = cells_of(read_tables([write_table(tmp_path, "t", table, None, seconds=None)]))
    strict = best_designs(cells, top=2, max_repeat=0.2)
    assert [each.sequence for each in strict] == table.loc[1:2, "sequence"].tolist()
    assert [each.is_copy for each in strict] == [True, False]
    assert best_designs(cells, top=1, max_repeat=1.0)[0].sequence == table.loc[0, "sequence"]


def test_fasta_link_holds_the_designs(tmp_path: Path) -> None:
    page = page_of([quickstart_like(tmp_path / "in")], tmp_path / "report.html", top=9)
    link = re.search(r'href="data:text/plain;base64,([^"]*)"', page.read_text())[1]
    records = list(SeqIO.parse(io.StringIO(base64.b64decode(link).decode()), "fasta"))
    assert len(records) == len({record.id for record in records}) == 9
    tables = read_tables([tmp_path / "in"])
    everything = pd.concat([table.rows for table in tables])
    best = everything.nsmallest(9, "judge_perplexity")["sequence"].tolist()
    assert [str(record.seq) for record in records] == best
    pairs = dict(pair.split("=") for pair in records[0].description.split()[1:])
    assert {"length", "model", "sampler", "nfe", "seed"} <= pairs.keys()
    assert pairs["length"] == str(len(records[0].seq)) and pairs["seed"] == "3"


def test_without_scores_nothing_is_ranked(tmp_path: Path) -> None:
    table = rows("tiny", "ancestral", 8, 2.8).drop(columns="judge_perplexity")
    page = page_of_table(tmp_path, table)
    assert "nothing to rank designs by" in page
    assert 'id="plot-quality"' not in page and 'id="plot-lengths"' in page


def test_folding_columns_only_where_folded(tmp_path: Path) -> None:
    table = rows("tiny", "ancestral", 8, 2.8)
    plain = page_of_table(tmp_path / "a", table)
    assert not {"pLDDT", "Foldable"} & table_of(plain)["tiny", "ancestral", "8"].keys()
    table["mean_plddt"] = np.where(np.arange(64) < 32, 80.0, np.nan)
    table["foldable"] = [True] * 8 + [False] * 24 + [np.nan] * 32
    folded = page_of_table(tmp_path / "b", table)
    row = table_of(folded)["tiny", "ancestral", "8"]
    assert row["pLDDT"] == "80.0 80.0–80.0 n = 32"
    assert row["Foldable"].startswith("25% ")


def test_share_of_the_gap_closed(tmp_path: Path) -> None:
    tables = read_tables([quickstart_like(tmp_path)])
    told = highlights(tables, cells_of(tables))
    eight, sixteen = (2.86 - 2.66) / (2.86 - 2.52), (2.74 - 2.57) / (2.74 - 2.52)
    (sentence,) = [each for each in told if each.startswith("tiny-student closes")]
    assert f"{eight:.0%} at 8 steps, {sixteen:.0%} at 16 steps" in sentence


def test_gap_from_another_sampler_of_the_teacher_is_said(tmp_path: Path) -> None:
    folder = quickstart_like(tmp_path)
    apart = rows("tiny-student", "apart", 8, 2.6)
    write_table(folder / "scores", "apart", apart, summary(2.6, len(apart)), seconds=None)
    tables = read_tables([folder])
    told = highlights(tables, cells_of(tables))
    (sentence,) = [each for each in told if each.startswith("tiny-student closes")]
    share = (2.86 - 2.6) / (2.86 - 2.52)
    assert f"{share:.0%} at 8 steps of apart (from tiny's ancestral)" in sentence
    assert sentence.count("from tiny's ancestral") == 1


def _widened(figure: Estimate) -> Estimate:
    return replace(figure, low=figure.mean - 0.4, high=figure.mean + 0.4)


def test_a_gap_within_chance_is_not_shared_out(tmp_path: Path) -> None:
    cells = cells_of(read_tables([quickstart_like(tmp_path)]))
    shared = [each for each in highlights([], cells) if "closes" in each]
    assert shared
    loose = [
        replace(cell, figures={n: _widened(each) for n, each in cell.figures.items()})
        for cell in cells
    ]
    told = highlights([], loose)
    assert any("at its limit" in each for each in told)
    assert not any("closes" in each for each in told)
    assert told[0].startswith("Lowest") and told[0].endswith("within chance of the next.")


def test_few_designs_are_not_called_best(tmp_path: Path) -> None:
    for place, perplexity in enumerate((2.0, 6.0, 9.0)):
        made = rows("tiny", "ancestral", 2**place, perplexity, 5)
        write_table(tmp_path / "in", f"t{place}", made, None, None)
    tables = read_tables([tmp_path / "in"])
    (told,) = highlights(tables, cells_of(tables))
    assert told.startswith("Lowest: tiny, ancestral, 1 step") and told.endswith(
        "too few designs to call it best."
    )


def test_the_judge_s_own_designs_are_neither_best_nor_ranked(tmp_path: Path) -> None:
    table = rows("tiny-judge", "autoregressive", None, 1.3)
    write_table(tmp_path / "in", "own", table, summary(1.3, 64), None)
    for number, steps in enumerate((8, 16)):
        other = rows("tiny", "ancestral", steps, 2.8 + 0.1 * number, seed=1 + number)
        write_table(tmp_path / "in", f"tiny_{steps}", other, summary(2.8 + 0.1 * number, 64), None)
    tables = read_tables([tmp_path / "in"])
    cells = cells_of(tables)
    told, warned = highlights(tables, cells), " ".join(cautions(tables, cells, []))
    assert [each for each in told if each.startswith("Best")] == told[:1], told
    assert told[0].startswith("Best: tiny, ancestral, 8 steps"), told
    assert "tiny-judge, autoregressive: written by the judge itself" in warned
    own = set(table["sequence"])
    assert not own & {each.sequence for each in best_designs(cells, top=50, max_repeat=1.0)}
    alone = [cell for cell in cells if cell.judges_itself]
    assert best_designs(alone, top=5, max_repeat=1.0) == []
    folded = [replace(c, designs=c.designs.assign(mean_plddt=80.0)) for c in cells]
    kept = {each.sequence for each in best_designs(folded, top=500, max_repeat=1.0)}
    assert own & kept, "a structure is no judge's word"


def test_designs_that_the_judge_does_not_know_are_not_ranked_by_it(tmp_path: Path) -> None:
    domain = {"better_than_shuffled": {"mean": 0.1, "n": 60}, "inside": False}
    for number, verdict in enumerate((domain, domain | {"inside": True})):
        table = rows("tiny", "ancestral", 8 + number, 2.0 + number, seed=number)
        told = summary(2.0 + number, 64) | {"judge_domain": verdict}
        write_table(tmp_path / "in", f"t{number}", table, told, None)
    tables = read_tables([tmp_path / "in"])
    foreign, known = cells_of(tables)
    (warned,) = [each for each in cautions(tables, [foreign, known], []) if "not ranked" in each]
    assert warned.startswith("tiny, ancestral, 8 steps: only 6 of 60 rows read better")
    best = best_designs([foreign, known], top=50, max_repeat=1.0)
    assert {each.sequence for each in best} <= set(known.designs["sequence"]) and best
    assert best_designs([foreign], top=50, max_repeat=1.0) == []
    bits = replace(foreign, designs=foreign.designs.assign(family_bits=range(64)))
    (first,) = best_designs([bits], top=1, max_repeat=1.0)
    assert first.sequence == bits.designs["sequence"].iloc[-1]


def test_shuffles_of_several_tables_are_one_row(tmp_path: Path) -> None:
    for number, count in enumerate((10, 30)):
        told = summary(2.0, 64)
        row = {"n": count, "judge_nll": {"mean": 3.0 + number}, "own_lengths": True}
        natural = {"n": 9, "judge_nll": {"mean": 2.0}, "own_lengths": False}
        told |= {"reference_rows": {"residue_shuffled": row, "natural_held_out": natural}}
        table = rows("tiny", "ancestral", 8 + number, 2.0, seed=number)
        write_table(tmp_path / "in", f"t{number}", table, told, None)
    natural, shuffled = references_of(read_tables([tmp_path / "in"]))
    assert natural.title == "Natural sequences, held out, of other lengths"
    assert shuffled.title == "The same residues, shuffled" and shuffled.num_sequences == 40
    assert shuffled.figures["judge_nll"].mean == pytest.approx(3.75)


def test_cautions(tmp_path: Path) -> None:
    table = rows("tiny", "ancestral", 8, 2.8)
    copied = summary(2.8, 64, copies={"mean": 0.5, "low": 0.4, "high": 0.6}, distinct_fraction=0.7)
    other = summary(2.8, 30) | {"judge": {"name": "another"}}
    write_table(tmp_path / "in", "a", table, copied, None)
    write_table(tmp_path / "in", "b", rows("tiny", "ancestral", 16, 2.8, count=30), other, None)
    text = page_of([tmp_path / "in"], tmp_path / "report.html").read_text()
    for part in (
        "between 30 and 64 designs",
        "different numbers of designs",
        "copy a training sequence: tiny, ancestral, 8 steps (50%).",
        "the same sequence (share that differ): tiny, ancestral, 8 steps (70%).",
        "different settings of the judge",
    ):
        assert part in text
    assert "different settings of the reference" not in text


def test_designs_likelier_than_training_sequences_are_told(tmp_path: Path) -> None:
    write_table(tmp_path / "in", "a", rows("tiny", "ancestral", 8, 2.8), summary(2.8, 64), None)
    tables = read_tables([tmp_path / "in"])
    (cell,) = cells_of(tables)
    values = [1.0, 2.0] + [9.0] * (len(cell.designs) - 2)
    cell = replace(cell, designs=cell.designs.assign(judge_perplexity=values))
    cell.figures.pop("copies", None)
    training = ReferenceRow(
        "natural_training", "training", 100, {"judge_perplexity": Estimate(3.0)}
    )

    def told(one: Cell, *references: ReferenceRow) -> bool:
        return any(
            line.startswith(f"2 of {len(values)} designs: a judge perplexity below")
            for line in cautions(tables, [one], references)
        )

    assert told(cell, training)
    assert not told(cell), "without the judge's own figures nothing is known"
    assert not told(cell, training, training), "of several judges"
    assert not told(replace(cell, judges_itself=True), training)
    counted = replace(cell, figures=cell.figures | {"copies": Estimate(0.1)})
    assert not told(counted, training)


def test_copies_that_the_rows_tell_are_said_and_not_put_forward(tmp_path: Path) -> None:
    table = rows("tiny", "ancestral", 8, 2.8)
    table["training_identity"] = [0.99, 0.95, *[0.6] * (len(table) - 2)]
    table["judge_perplexity"] = [1.0, 1.1, *table["judge_perplexity"][2:]]
    write_table(tmp_path / "in", "a", table, None, None)
    tables = read_tables([tmp_path / "in"])
    (cell,) = cells_of(tables)
    assert cell.figures["copies"].mean == 2 / len(table)
    (told,) = [each for each in cautions(tables, [cell], []) if each.startswith("Copies")]
    assert f"tiny, ancestral, 8 steps (2 of {len(table)})" in told
    shown = {each.sequence for each in best_designs([cell], top=500, max_repeat=1.0)}
    assert shown.isdisjoint(table["sequence"][:2]) and len(shown) == len(table) - 2


def test_rows_of_different_judges_have_no_best(tmp_path: Path) -> None:
    for number, judge in enumerate(("one", "one", "another", None)):
        name = f"{number}"
        table = rows("tiny", "ancestral", 8 + number, 2.8)
        figures = summary(2.8, 64) | {"judge": judge and {"name": judge}}
        write_table(tmp_path / str(judge), name, table, figures, None)
    told, warned = {}, {}
    for folders in (("one",), ("one", "another"), ("one", "None")):
        tables = read_tables([tmp_path / each for each in folders])
        told[folders] = highlights(tables, cells_of(tables))
        warned[folders] = "settings of the judge" in " ".join(
            cautions(tables, cells_of(tables), [])
        )
    assert any(each.startswith("Neither") for each in told["one",]), "they are the same designs"
    assert told["one", "another"] == [] and warned["one", "another"]
    # A table scored with --judge none has no perplexity that could be another judge's.
    assert told["one", "None"] != [] and not warned["one", "None"]


@pytest.mark.parametrize(
    ("designs", "rows", "words"),
    [(1, 1, "1 design, 1 set"), (1200, 2, "1,200 designs, 2 sets compared")],
)
def test_what_the_page_holds_is_said_in_words(designs: int, rows: int, words: str) -> None:
    assert counted_in_words(ReportResult(Path("r.html"), 1, rows, designs)) == words


def test_tables_in_which_nothing_was_scored(tmp_path: Path) -> None:
    table = rows("tiny", "ancestral", 8, 2.8, count=3).assign(status="invalid", error="X")
    text = page_of_table(tmp_path, table)
    assert "No record of these tables was scored" in text and "3 of 3 records" in text
    assert "rests on 0 designs" not in text and "<svg" not in text
    empty = write_table(tmp_path, "empty", table.iloc[:0], None, None)
    with pytest.raises(UserError, match=r"empty\.csv: no row in it"):
        write_report([empty], tmp_path / "other.html")


def test_text_of_the_tables_is_never_markup(tmp_path: Path) -> None:
    attack = '<script>window.pwned=1</script>"><img src=x onerror="window.pwned=1">'
    table = rows(attack, attack, 8, 2.8)
    table["id"] = [f"{attack}{number}" for number in range(64)]
    text = page_of_table(tmp_path, table, title=attack)
    assert text.count("<script>") == 1 and "<img" not in text
    assert "&lt;script&gt;window.pwned=1" in text


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_other_formats_give_the_same_cell(tmp_path: Path, suffix: str) -> None:
    table = rows("NA", "ancestral", 8, 2.8)
    table.loc[0, "sequence"] = "NA"  # Asn-Ala, not a missing value
    csv = write_table(tmp_path, "t", table, None, seconds=None)
    other = tmp_path / "other" / f"t{suffix}"
    other.parent.mkdir()
    if suffix == ".parquet":
        table.to_parquet(other)
    else:
        table.to_json(other, orient="records", lines=True)
    (one,), (two,) = cells_of(read_tables([csv])), cells_of(read_tables([other]))
    assert one.model == two.model == "NA"
    assert one.designs["sequence"].tolist() == two.designs["sequence"].tolist()
    assert one.figures["judge_nll"].mean == pytest.approx(two.figures["judge_nll"].mean)
    table.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    assert len(read_tables([csv.parent])) == 2  # t.csv and t.jsonl are one table


def test_folder_skips_what_is_no_table(tmp_path: Path) -> None:
    quickstart_like(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "notes.csv").write_bytes(b"\xff\xfe\x00binary")
    assert len(read_tables([tmp_path])) == 10


def test_table_without_a_model_goes_by_its_name(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["a", "b"], "sequence": random_sequences(2, seed=1)})
    table.to_csv(tmp_path / "natural.csv", index=False)
    (cell,) = cells_of(read_tables([tmp_path / "natural.csv"]))
    assert (cell.model, cell.sampler, cell.steps) == ("natural", "", None)
    assert page_of([tmp_path], tmp_path / "report.html").is_file()


def test_refusals_name_flag_and_mend(tmp_path: Path) -> None:
    good = write_table(tmp_path, "t", rows("tiny", "ancestral", 8, 2.8), None, None)
    out = tmp_path / "report.html"
    (tmp_path / "none").mkdir()
    (tmp_path / "bad.csv").write_text("name,value\na,1\n")
    words = rows("tiny", "ancestral", 8, 2.8).assign(judge_perplexity="high")
    cases = [
        ([tmp_path / "missing.csv"], {}, "missing.csv: no such file"),
        ([tmp_path / "none"], {}, "no score table found"),
        ([tmp_path / "bad.csv"], {}, "columns id and sequence"),
        (
            [tmp_path / "bad.csv"],
            {},
            f"didi-protein score {tmp_path / 'bad.csv'} --sequence-column",
        ),
        ([write_table(tmp_path / "w", "w", words, None, None)], {}, "column judge_perplexity"),
        ([good], {"top": -1}, "--top -1"),
        ([good], {"max_repeat": 1.5}, "--max-repeat 1.5"),
    ]
    for inputs, options, message in cases:
        with pytest.raises(UserError, match=re.escape(message)):
            write_report(inputs, out, **options)
    with pytest.raises(UserError, match="is a folder"):
        write_report([good], tmp_path)
    with pytest.raises(UserError, match=r"report\.html\.gz: the page is plain HTML; give a name"):
        write_report([good], tmp_path / "report.html.gz")
    good.with_suffix(".summary.json").write_text("{")
    with pytest.raises(UserError, match=r"t\.summary\.json is no JSON"):
        write_report([good], out)
    assert not out.exists()


def test_existing_page_is_kept_unless_told(tmp_path: Path) -> None:
    good = write_table(tmp_path, "t", rows("tiny", "ancestral", 8, 2.8), None, None)
    out = tmp_path / "report.html"
    out.write_text("mine")
    with pytest.raises(UserError, match="--overwrite"):
        write_report([good], out)
    assert out.read_text() == "mine"
    assert "<table" in page_of([good], out, overwrite=True).read_text()


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_missing_extra_says_how_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"{package}: pip install 'didi-protein\[report\]'"):
        write_report([tmp_path], tmp_path / "report.html")


def test_flags_act(tmp_path: Path) -> None:
    quickstart_like(tmp_path / "in")
    app = typer.Typer()
    app.command()(report_command)
    out = tmp_path / "report.html"
    arguments = [str(tmp_path / "in"), "--out", str(out), "--title", "Kinases", "--top", "3"]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0 and "640 designs, 10 sets compared" in first.output
    text = out.read_text()
    assert "<h1>Kinases</h1>" in text and text.count("<article") == 3
    again = CliRunner().invoke(app, [*arguments, "--overwrite", "--max-repeat", "0", "--json"])
    assert json.loads(again.output)["num_designs"] == 640
    assert out.read_text().count("<article") == 0
    assert "No design passes" in out.read_text()


def test_models_given_as_paths_go_by_their_folder(tmp_path: Path) -> None:
    names = [
        "/home/me/runs/student",
        "./other/teacher",
        "airkingbd/dplm_150m",
        "owner/students@refs/pr/1",
        "/a/same",
        "/b/same",
    ]
    for number, name in enumerate(names):
        write_table(tmp_path, f"t{number}", rows(name, "ancestral", 8, 2.8, count=3), None, None)
    models = {cell.model for cell in cells_of(read_tables([tmp_path]))}
    hub_ids = {"airkingbd/dplm_150m", "owner/students@refs/pr/1"}
    assert models == {"student", "teacher", "/a/same", "/b/same"} | hub_ids


def test_real_scores_make_a_page(tmp_path: Path) -> None:
    """FASTA of designs -> `score` with a judge -> the report shows the summary's figures."""
    judge = write_judge(tmp_path / "judge", max_length=160)
    natural = random_sequences(30, seed=9)
    (tmp_path / "natural.fasta").write_text(fasta(natural))
    designs = [natural[0], *random_sequences(6, seed=4), "MKXB"]
    words = "model=tiny sampler=ancestral steps=8 nfe=8 seed=3"
    (tmp_path / "designs.fasta").write_text(fasta(designs, words))
    known = dict.fromkeys(("reference", "training"), tmp_path / "natural.fasta")
    made = (tmp_path / "designs.fasta", tmp_path / "designs.csv")
    result = score(quick_scores(*made, judge=str(judge), **known))
    table = table_of(page_of([tmp_path / "designs.csv"], tmp_path / "report.html").read_text())
    row, figures = table["tiny", "ancestral", "8"], result.summary["set"]
    assert row["n"] == "7 of 8" and row["Calls"] == "8"
    assert row["Judge perplexity"].startswith(f"{figures['judge_perplexity']['mean']:.2f} ")
    assert row["Copies"].startswith("14% ")
    assert row["Recall"].endswith("n = 30")
    assert float(row["3-mer entropy"].split()[0]) == pytest.approx(
        figures["pooled_3mer_entropy"]["mean"], abs=0.006
    )
    shuffled = result.summary["reference_rows"]["residue_shuffled"]["judge_perplexity"]["mean"]
    assert table["The", "–", "–"]["Judge perplexity"].startswith(f"{shuffled:.2f} ")
    # The same figures come from the rows alone, save those that need other sequences.
    (tmp_path / "designs.summary.json").unlink()
    (cell,) = cells_of(read_tables([tmp_path / "designs.csv"]))
    for name in ("judge_nll", "judge_perplexity", "precision", "pooled_3mer_entropy"):
        stored = figures[name]
        again = cell.figures[name]
        assert (again.mean, again.low, again.high) == pytest.approx(
            (stored["mean"], stored["low"], stored["high"]), rel=1e-5
        )
    assert cell.figures["repeat_fraction"].mean == pytest.approx(
        figures["mean_repeat_fraction"], rel=1e-5
    )


def fasta(sequences: list[str], words: str = "") -> str:
    return "".join(f">s{number} {words}\n{each}\n" for number, each in enumerate(sequences))
