"""The benchmark of measured fitness: rows read as they stand, scores by hand, intervals."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fitness import (
    Measured,
    Substitution,
    correlate,
    correlate_positions,
    main,
    masked_scores,
    position_measures,
    read_measured,
    scan_of_model,
)
from didi_core.errors import UserError
from didi_protein.families.profile import FamilyProfile, residues_of_columns
from didi_protein.scan import ScanOptions, scan
from didi_protein.sequences.bundled import bundled_sequences
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.sequences.training_data import read_training_sequences

TABLE = "mutation,fitness\nA1A,1.0\nA1C,0.5\nK2K,1.0\nK2R,0.9\nK2W,0.1\n"


def _written(folder: Path, text: str) -> Path:
    path = folder / "measured.csv"
    path.write_text(text)
    return path


def test_the_wild_type_is_read_from_the_rows_and_is_no_substitution(tmp_path: Path) -> None:
    data = read_measured(_written(tmp_path, TABLE))
    assert data.wild_type == "AK"
    assert [(each.position, each.mutant) for each in data.substitutions] == [
        (0, "C"),
        (1, "R"),
        (1, "W"),
    ]


@pytest.mark.parametrize(
    "text", ["mutation,fitness\nnone,1\n", TABLE + "C2A,1\n", "mutation,fitness\nA2C,1\n"]
)
def test_rows_that_are_no_substitutions_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="--measured"):
        read_measured(_written(tmp_path, text))


def test_a_model_s_scores_are_those_of_its_scan(tmp_path: Path) -> None:
    """The same log-odds that `didi-protein scan` writes, to the digits of its table."""
    wild_type = "MKTAYIAKQRHG"
    changes = tuple(
        Substitution(at, mutant, 0.0)
        for at, residue in enumerate(wild_type)
        for mutant in CANONICAL_RESIDUES
        if mutant != residue
    )
    scores = masked_scores(Measured(wild_type, changes), "tiny")
    (tmp_path / "w.fasta").write_text(f">w\n{wild_type}\n")
    out = tmp_path / "w.csv"
    scan(ScanOptions(inputs=[str(tmp_path / "w.fasta")], model="tiny", out=out))
    with out.open(newline="") as stream:
        rows = {row["position"] + row["mutant"]: row for row in csv.DictReader(stream)}
    assert len(rows) == len(changes) == 12 * 19
    written = [float(rows[f"{each.position + 1}{each.mutant}"]["score"]) for each in changes]
    np.testing.assert_allclose(written, scores, rtol=1e-5, atol=1e-6)


def test_positions_are_held_against_the_mean_of_their_substitutions() -> None:
    """The mean of position 0 is 0.5, and nothing was measured at position 1."""
    changes = [(0, "C", 0.2), (0, "R", 0.8), (2, "W", 0.9), (3, "C", 0.1), (4, "C", 0.6)]
    changes += [(5, "C", 0.3), (6, "C", 0.4)]
    data = Measured("AKAAAAA", tuple(Substitution(*each) for each in changes))
    values = np.array([0.5, 99.0, 0.7, 0.1, 0.55, 0.2, 0.3])
    found = correlate_positions(values, data, seed=0, resamples=20)
    assert (found.spearman, found.positions) == (pytest.approx(1.0), 6)
    measures = position_measures(Measured("MKTAYIAK", ()), "tiny")
    law = np.exp(scan_of_model("MKTAYIAK", "tiny").log_odds)
    law /= law.sum(1, keepdims=True)
    np.testing.assert_allclose(
        measures["residues that fit"], np.exp(-(law * np.log(law)).sum(1)), rtol=1e-9
    )
    assert (measures["tolerance"] > 0).all() and (measures["tolerance"] < 1).all()


def test_correlation_leaves_out_what_has_no_score() -> None:
    data = Measured("A" * 8, tuple(Substitution(at, "C", float(at)) for at in range(8)))
    scores = np.array([math.exp(at) for at in range(7)] + [math.nan])
    found = correlate(scores, data, seed=0, resamples=50)
    assert (found.spearman, found.substitutions) == (pytest.approx(1.0), 7)
    assert correlate(-scores, data, seed=0, resamples=50).spearman == pytest.approx(-1.0)
    assert found.low <= 1.0 <= found.high + 1e-12


def test_residues_of_columns_follow_insertions_and_gaps() -> None:
    profile = FamilyProfile.read(bundled_sequences("PF00595")[0])
    member = read_training_sequences("PF00595")[0][1]
    places = residues_of_columns(profile, member[:30] + "GGGGG" + member[30:])
    row = profile.align([member[:30] + "GGGGG" + member[30:]]).rows[0]
    known = places >= 0
    longer = member[:30] + "GGGGG" + member[30:]
    letters = [longer[place] for place in places[known]]
    assert letters == [CANONICAL_RESIDUES[code] for code in row[known]]
    assert (np.diff(places[known]) > 1).any()
    with pytest.raises(UserError):
        residues_of_columns(profile, "W" * 40)


def test_without_the_file_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(tmp_path / "none.csv", tmp_path / "out.json")
    assert "skipped" in capsys.readouterr().out
    assert not (tmp_path / "out.json").exists()
