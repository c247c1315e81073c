"""The section on a family: what is drawn is what was counted, and the page holds what it says."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from family_fixtures import WIDTH, scored_designs

from didi_core.errors import UserError
from didi_protein.families import (
    ContactMap,
    FamilyPlotData,
    FamilyProfile,
    FamilyReference,
    FamilyStatistics,
)
from didi_protein.report import write_report
from didi_protein.reporting.families import COLUMNS
from didi_protein.score import ScoreOptions, score
from didi_protein.scoring.options import ScoreResult
from didi_protein.similarity.neighbours import COPY_IDENTITY

pytest.importorskip("pyhmmer")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> ScoreResult:
    return scored_designs(tmp_path_factory.mktemp("scored"), steps=8, coupled=0.5)


@pytest.fixture(scope="module")
def counted(scored: ScoreResult) -> FamilyStatistics:
    """The same, counted without `score`."""
    family = Path(scored.summary["family"]["file"])
    profile = FamilyProfile.read(family)
    contacts = ContactMap.read(family.with_name("contacts.tsv"), profile.num_columns)
    reference = FamilyReference(profile.align_members(threads=1), contacts)
    return reference.measure(profile.align(list(scored.table["sequence"]), threads=1))


def test_what_is_drawn_is_what_was_counted(scored: ScoreResult, counted: FamilyStatistics) -> None:
    stored = json.loads(scored.summary_file.read_text())["family"]["plots"]
    assert counted.plot_data is not None
    assert stored == json.loads(json.dumps(counted.plot_data.as_dict()))
    plots = FamilyPlotData.from_dict(stored)
    assert plots.as_dict() == stored
    assert set(plots.sets) == {"designs", "natural", "independent"}
    for name, drawn in plots.sets.items():
        of = getattr(counted, name)
        assert drawn.covariance_counts.sum() == counted.num_entries
        assert drawn.identity_counts.sum() == of.n
        assert drawn.identity_counts[-1] / of.n == of.copies.mean
        found = plots.contacts[tuple(drawn.couplings.T)]
        assert found.mean() == of.contact_precision.mean and len(found) == WIDTH
    assert plots.contacts.sum() == len(range(0, WIDTH - 10, 4))
    nearest = counted.designs.nearest_identities
    assert (nearest >= COPY_IDENTITY).sum() >= 4


def test_bins_and_means_of_covariances_by_hand(counted: FamilyStatistics) -> None:
    """From the counts alone, to the width of a bin: slope and correlation are the statistics'."""
    drawn = counted.plot_data.sets["natural"]
    limit = counted.plot_data.covariance_limit
    middles = (np.arange(40) + 0.5) * limit / 20 - limit
    x, y = np.repeat(middles, 40), np.tile(middles, 40)
    weights = drawn.covariance_counts.ravel()
    assert np.average(x, weights=weights) == pytest.approx(drawn.mean_natural, abs=limit / 40)
    assert np.average(y, weights=weights) == pytest.approx(drawn.mean_own, abs=limit / 40)
    covariance = np.cov(x, y, fweights=weights)
    binned = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert binned == pytest.approx(counted.natural.covariance_correlation.mean, abs=0.02)


def test_the_summary_stays_small(scored: ScoreResult) -> None:
    assert len(json.dumps(scored.summary["family"], indent=2)) < 40_000


def texts_of(page: Path) -> str:
    """The section's text, without tags."""
    html = page.read_text()
    section = html[html.index('<section id="families"') :]
    return " ".join(re.sub("<[^>]+>", " ", section[: section.index("</section>")]).split())


def test_the_page_holds_what_was_counted(scored: ScoreResult, tmp_path: Path) -> None:
    page = write_report([scored.out], tmp_path / "r.html").out
    text, statistics = texts_of(page), scored.summary["family"]["statistics"]
    for name in ("designs", "natural", "independent"):
        for column in COLUMNS:
            assert column.write(statistics[name][column.name]["mean"]) in text
    assert "toy, ancestral, 8 steps 60 of 61" in text
    assert all(warning.replace("'", "&#39;") in text for warning in statistics["warnings"])
    html = page.read_text()
    for name in ("covariances", "contacts", "identities"):
        assert f'id="plot-family-0-0-{name}"' in html
    assert "family-0-calls" not in html
    found = round(WIDTH * statistics["designs"]["contact_precision"]["mean"])
    assert f"{found} of {WIDTH} found in the designs are contacts" in text
    assert "The family: Dependence, r" in html and 'href="#families"' in html


def test_several_tables_of_one_family_stand_together(scored: ScoreResult, tmp_path: Path) -> None:
    other = scored_designs(tmp_path, steps=4, coupled=0.0)
    copies = [write_copy(scored, tmp_path / f"c{n}", "toy.fasta.gz") for n in range(4)]
    other = write_copy(other, tmp_path / "c4", "toy.fasta.gz")
    page = write_report([copies[0], other], tmp_path / "two.html").out
    html, text = page.read_text(), texts_of(page)
    assert 'id="plot-family-0-calls"' in html and "family-1" not in html
    assert text.count("Natural sequences ") == 1, "one row for sets of one size"
    assert 'id="plot-family-0-1-contacts"' in html
    many = write_report([*copies, other], tmp_path / "many.html").out.read_text()
    assert 'id="plot-family-0-calls"' in many and "-contacts" not in many


def write_copy(scored: ScoreResult, folder: Path, file: str) -> Path:
    """The table and its summary in a folder, of a family called `file`."""
    folder.mkdir()
    out = folder / scored.out.name
    out.write_bytes(scored.out.read_bytes())
    summary = json.loads(scored.summary_file.read_text())
    summary["family"]["file"] = file
    (folder / scored.summary_file.name).write_text(json.dumps(summary))
    return out


@pytest.mark.parametrize(
    ("change", "drawn"),
    [
        ({"plots": None}, False),
        ({"plots": "none"}, None),
        ({"plots": {"num_columns": WIDTH}}, None),
        ({"statistics": None}, False),
    ],
)
def test_summaries_without_plots_and_with_damaged_ones(
    scored: ScoreResult, tmp_path: Path, change: dict, drawn: bool | None
) -> None:
    """Those of an earlier version have none, those of a shard no statistics; None: refused."""
    path = write_copy(scored, tmp_path / "copy", "toy.fasta.gz")
    summary_file = path.with_suffix(".summary.json")
    summary = json.loads(summary_file.read_text())
    summary["family"] |= change
    summary_file.write_text(json.dumps(summary))
    if drawn is None:
        with pytest.raises(UserError) as caught:
            write_report([path], tmp_path / "r.html")
        assert all(word in str(caught.value) for word in (str(path), "score --family"))
        return
    html = write_report([path], tmp_path / "r.html").out.read_text()
    assert "plot-family-0" not in html
    assert ('id="families"' in html) == ("statistics" not in change)


def test_without_contacts_there_is_no_map(scored: ScoreResult, tmp_path: Path) -> None:
    family = Path(scored.summary["family"]["file"])
    options = ScoreOptions(
        inputs=[str(scored.out.with_suffix(".fasta"))],
        out=tmp_path / "s.csv",
        judge="none",
        pseudo="none",
        family=family,
        device="cpu",
        quiet=True,
    )
    plain = score(options)
    assert plain is not None and plain.summary["family"]["plots"]["contacts"] is None
    html = write_report([plain.out], tmp_path / "r.html").out.read_text()
    assert "family-0-0-identities" in html and "family-0-0-contacts" not in html
    hmm = tmp_path / "toy.hmm"
    with open(hmm, "wb") as stream:
        FamilyProfile.read(family).hmm.write(stream)
    bits_alone = score(replace(options, family=hmm, out=tmp_path / "b.csv"))
    assert bits_alone is not None
    page = write_report([bits_alone.out], tmp_path / "b.html").out
    assert "No statistics" in texts_of(page)
