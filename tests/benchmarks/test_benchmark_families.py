"""The program that holds models and designs against families: files in, one JSON out."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.equal_identity import at_equal_identity
from benchmarks.families import Counted, main, needed, read_families
from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import Interval
from didi_protein.families import (
    FamilyStatistics,
    SetPlotData,
    SetStatistics,
    split_designs,
)

pytest.importorskip("pyhmmer")

SHORT = "MKVLAAGIVGLCAKAYLEHWQ"
LONG = "GSHMRYDPTWEEFNIQVLNKRHCDPSAWYTFKED"


def relatives(sequence: str, count: int, seed: int) -> list[str]:
    """The sequence with each residue changed with a probability of 0.15."""
    generator = np.random.default_rng(seed)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    changed = generator.random((count, len(sequence))) < 0.15
    drawn = generator.choice(letters, size=changed.shape)
    return ["".join(row) for row in np.where(changed, drawn, np.array(list(sequence)))]


def write_fasta(path: Path, sequences: list[str]) -> Path:
    text = "".join(f">s{place}\n{each}\n" for place, each in enumerate(sequences))
    path.write_bytes(gzip.compress(text.encode()))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    for name, sequence in (("long", LONG), ("short", SHORT)):
        write_fasta(folder / f"{name}_train.aligned.fasta.gz", relatives(sequence, 60, 1))
        write_fasta(folder / f"{name}_valid.aligned.fasta.gz", relatives(sequence, 10, 2))
    table = "column_i\tcolumn_j\tdistance_angstrom\n1\t12\t5\n2\t21\t9\n"
    (folder / "short_contacts.tsv.gz").write_bytes(gzip.compress(table.encode()))
    return folder


def test_designs_go_to_the_family_of_most_bits_or_of_nearest_length(data: Path) -> None:
    families = read_families(data)
    assert [family.name for family in families] == ["long", "short"]
    unlike = ["G" * 20, "G" * 40]
    found = split_designs([SHORT, *unlike, LONG], families)
    assert found == {"long": ["G" * 40, LONG], "short": [SHORT, "G" * 20]}


def test_designs_and_a_model_become_one_json(data: Path, tmp_path: Path) -> None:
    designs = write_fasta(
        tmp_path / "designs.fasta.gz", relatives(SHORT, 12, 3) + relatives(LONG, 8, 4)
    )
    out = tmp_path / "families.json"
    settings = {"resamples": 5, "contact_resamples": 2, "num": 3, "temperatures": "1", "seed": 0}
    cells = "tiny:2:momentum"
    main(data, out, models="tiny", cells=cells, designs=str(designs), steps="2", **settings)
    sets = json.loads(out.read_text())["sets"]
    assert sets[str(designs)]["short"]["designs"]["n"] == 12
    assert sets[str(designs)]["long"]["designs"]["n"] == 8
    assert sets[str(designs)]["short"]["held_out"]["n"] == 10
    assert sets[str(designs)]["short"]["designs"]["contact_precision"] is not None
    assert sets[str(designs)]["long"]["designs"]["contact_precision"] is None
    drawn = list((tmp_path / "families.sets" / "short").glob("tiny_2_*.fasta"))
    assert len(drawn) == 2
    assert [each.read_text().count(">") for each in drawn] == [3, 3]
    assert {"sampler=ancestral", "sampler=momentum"} == {
        word for each in drawn for word in each.read_text().split() if "sampler=" in word
    }
    assert set(sets["tiny:2"]) == set(sets[cells]) == {"long", "short"}
    assert sets[cells]["short"]["calls"] == 2 and sets[cells]["short"]["head_passes"] == 0
    assert sets["tiny:2"]["short"]["seconds"] > 0 and "mean_bits" in sets["tiny:2"]["short"]


def test_temperatures_are_sets_of_their_own_and_models_compare_at_equal_identity(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "families.json"
    settings = {
        "designs": "",
        "cells": "",
        "resamples": 5,
        "contact_resamples": 2,
        "num": 3,
        "seed": 0,
    }
    main(data, out, models="tiny", steps="2", temperatures="0.9", **settings)
    record = json.loads(out.read_text())
    assert record["temperatures"] == [0.9, 1.0]
    assert set(record["sets"]) == {"tiny:2", "tiny:2 at 0.9"}
    assert set(record["equal_identity"]) == {"long", "short"}
    drawn = (tmp_path / "families.sets" / "short").glob("tiny_2_*.fasta")
    assert len({each.read_text() for each in drawn}) == 2


def a_set(r: float, slope: float, identity: float, spread: float) -> SetStatistics:
    """A set of these figures, whose resamples all lie `spread` beside them, on either side."""
    figures = {
        "covariance_correlation": r,
        "covariance_slope": slope,
        "pairwise_identity": identity,
    }
    around = {name: each + spread * np.array([1.0, -1, 1, -1]) for name, each in figures.items()}
    zero = Interval(0.0, 0.0, 0.0)
    return SetStatistics(
        n=4,
        n_given=4,
        num_distinct=4,
        **{name: Interval(each, each, each) for name, each in figures.items()},
        site_correlation=zero,
        contact_precision=None,
        nearest_identity=zero,
        copies=zero,
        nearest_identities=np.zeros(4),
        plot_data=SetPlotData.count(np.zeros(0), np.zeros(0), 0.1, np.zeros(4), None),
        resampled=around,
    )


def test_curves_are_read_where_they_pass_the_identity_of_nature() -> None:
    """Straight in temperature: identity 0.3 lies a quarter of the way from 0.35 to 0.15."""
    natural = a_set(0.95, 1.0, 0.3, 0.0)
    teacher = {0.8: a_set(0.9, 1.2, 0.4, 0.01), 1.0: a_set(0.7, 0.8, 0.3, 0.01)}
    student = {0.8: a_set(0.5, 0.6, 0.35, 0.01), 1.0: a_set(0.3, 0.2, 0.15, 0.01)}
    varied = {0.8: a_set(0.5, 0.6, 0.2, 0.01), 1.0: a_set(0.3, 0.2, 0.15, 0.01)}
    curves = {"teacher": teacher, "student": student, "varied": varied}
    found = at_equal_identity(
        {
            cell: {t: FamilyStatistics(each, natural) for t, each in curve.items()}
            for cell, curve in curves.items()
        }
    )
    assert found["identity"]["mean"] == 0.3 and found["baseline"] == "teacher"
    cells = found["cells"]
    assert cells["varied"] is None
    assert cells["teacher"]["temperature"] == pytest.approx(1.0)
    assert cells["teacher"]["covariance_correlation"]["mean"] == pytest.approx(0.7)
    assert cells["student"]["temperature"] == pytest.approx(0.85)
    assert cells["student"]["covariance_correlation"]["mean"] == pytest.approx(0.45)
    assert cells["student"]["covariance_slope"]["mean"] == pytest.approx(0.5)
    less = cells["student"]["covariance_correlation_minus_baseline"]
    assert less["mean"] == pytest.approx(0.45 - 0.7)
    # A resample moves identity and r alike by d. The student's then passes 0.3 at d / 0.2 of the
    # way further, where r is d - 0.2 d / 0.2 = 0 beside the estimate; the teacher's, at d / 0.1
    # further, beyond the end of its curve, is d - 0.2 d / 0.1 = -d beside it.
    ends = cells["student"]["covariance_correlation"]
    assert ends["low"] == pytest.approx(ends["high"]) == pytest.approx(0.45)
    half = 1.959964 * np.std([0.01, -0.01, 0.01, -0.01], ddof=1)
    assert less["high"] - less["mean"] == pytest.approx(half)
    assert "contact_precision" not in cells["student"]


def test_temperatures_beyond_the_likeness_of_nature_are_not_drawn() -> None:
    natural = a_set(0.95, 1.0, 0.3, 0.0)

    def counted(**identities: float) -> dict[str, Counted]:
        return {
            name: Counted(FamilyStatistics(a_set(0.5, 0.5, each, 0.0), natural), None, 0.0)
            for name, each in identities.items()
        }

    assert needed(1.0, {})
    varied = {1.0: counted(short=0.2, long=0.25)}
    assert needed(0.9, varied) and not needed(1.1, varied)
    one_left = varied | {0.9: counted(short=0.31, long=0.29)}
    assert needed(0.8, one_left)
    assert not needed(0.7, one_left | {0.8: counted(short=0.4, long=0.35)})
    mixed = {1.0: counted(short=0.2, long=0.35)}
    assert needed(0.9, mixed) and needed(1.1, mixed)
    unknown = {1.0: {"short": Counted(FamilyStatistics(None, natural), None, 0.0)}}
    assert needed(0.9, unknown)


def test_nothing_to_measure_and_no_family(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--designs"):
        main(tmp_path, tmp_path / "a.json")
    with pytest.raises(UserError, match="--data"):
        read_families(tmp_path)
