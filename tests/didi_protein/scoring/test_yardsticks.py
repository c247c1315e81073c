"""What stands beside a table: natural rows of its lengths, its own shuffles, the judge's domain."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scoring_fixtures import random_sequences, write_judge

from didi_core.data.length_ranges import LengthRanges
from didi_core.evaluation.bootstrap import Interval
from didi_core.io.files import write_json
from didi_protein.models.judges import REFERENCE_ROWS, open_judge
from didi_protein.score import score
from didi_protein.scoring.length_bins import (
    bin_of,
    bins_as_json,
    figures_by_length,
    known_bins,
    rows_of_lengths,
)
from didi_protein.scoring.options import ScoreOptions, ScoreResult
from didi_protein.scoring.own_shuffles import (
    MOST_SEQUENCES,
    JudgeDomain,
    OwnShuffles,
    foreign_to_judge,
    judge_domain,
    judge_shuffles,
    merged_domain,
    shuffle_of,
)
from didi_protein.scoring.set_measures import measure_reference_rows
from didi_protein.scoring.show import print_summary
from didi_protein.sequences.residues import CANONICAL_RESIDUES

# Reference rows by length.


def test_bins_tile_all_lengths() -> None:
    bins = sorted({bin_of(length) for length in range(1, 2_000)})
    assert bins[0] == (1, 9)
    assert all(after[0] == before[1] + 1 for before, after in pairwise(bins))
    assert all(
        low <= length <= high for length in range(1, 2_000) for low, high in [bin_of(length)]
    )
    assert all(high - low < math.ceil(low / 10) for low, high in bins[1:])


def test_figures_by_length_by_hand() -> None:
    sequences = ["A" * 63 + "C" * (number % 2) for number in range(8)] + ["D" * 100] * 7
    nll = np.arange(15.0)
    better = np.arange(15) < 6
    ((edges, row),) = figures_by_length(sequences, nll, better).items()  # 7 are too few
    assert edges == (63, 69)
    assert row["n"] == 8 and row["mean_length"] == 63.5
    assert row["judge_nll"] == {"mean": 3.5, "sd": pytest.approx(math.sqrt(6))}
    assert row["better_than_shuffled"] == 6 / 8
    assert row["residue_composition"] == {
        residue: pytest.approx({"A": 504 / 508, "C": 4 / 508}.get(residue, 0.0))
        for residue in sorted(CANONICAL_RESIDUES)
    }


STORED = {
    "natural_held_out": {"n": 99, "mean_length": 80.0},
    "natural_training": {"n": 98, "mean_length": 81.0},
    "by_length": [
        {
            "lengths": [63, 69],
            "natural_held_out": {"n": 16, "judge_nll": {"mean": 2.0, "sd": 0.4}, "mean_length": 66},
        },
        {
            "lengths": [70, 76],
            "natural_held_out": {"n": 25, "judge_nll": {"mean": 3.0, "sd": 0.5}, "mean_length": 74},
        },
        {
            "lengths": [187, 205],
            "natural_training": {"n": 9, "judge_nll": {"mean": 1.0, "sd": 0.3}, "mean_length": 190},
        },
    ],
}


def test_rows_weigh_bins_by_the_lengths_at_hand() -> None:
    rows = rows_of_lengths(STORED, [64, 65, 69, 70, 100])
    assert list(rows) == ["natural_held_out"]  # none of these lengths was trained on
    row, error = rows["natural_held_out"], 1.96 * math.hypot(0.75 * 0.4 / 4, 0.25 * 0.5 / 5)
    assert row["n"] == 41 and row["covered"] == 4 / 5 and row["own_lengths"] is True
    assert row["judge_nll"] == pytest.approx(
        {"mean": 2.25, "low": 2.25 - error, "high": 2.25 + error}
    )
    assert row["judge_perplexity"]["mean"] == pytest.approx(math.exp(2.25))
    assert row["mean_length"] == pytest.approx(0.75 * 66 + 0.25 * 74)


def test_lengths_without_natural_sequences_have_no_row() -> None:
    assert rows_of_lengths(STORED, [120]) == {}
    kept = rows_of_lengths(STORED, [120], keep_others=True)
    assert kept["natural_held_out"] == {"n": 99, "mean_length": 80.0, "own_lengths": False}
    assert list(rows_of_lengths(STORED, [200])) == ["natural_training"]
    assert known_bins(STORED, "natural_held_out") == "63 to 76"
    assert known_bins(STORED, "natural_training") == "187 to 205"


def test_older_folders_are_read_and_marked() -> None:
    rows = rows_of_lengths({"natural_held_out": {"n": 7}}, [100])
    assert rows == {"natural_held_out": {"n": 7, "own_lengths": False}}


def test_bins_are_written_and_read_back() -> None:
    sequences = random_sequences(40, 30, 33, seed=1)
    nll = np.linspace(2, 3, 40)
    found = figures_by_length(sequences, nll)
    stored = json.loads(json.dumps({"a": {"n": 40}, "by_length": bins_as_json({"a": found})}))
    row = rows_of_lengths(stored, [len(each) for each in sequences])["a"]
    assert row["n"] == 40 and row["judge_nll"]["mean"] == pytest.approx(2.5)


# Own shuffles.


def steps(sequences: Sequence[str]) -> np.ndarray:
    """A judge to whom residues in alphabetical order are likely: share of steps downwards."""
    return np.array([np.mean(np.diff([ord(c) for c in each]) < 0) for each in sequences])


def test_shuffles_are_keyed_by_sequence_seed_and_copy() -> None:
    sequence = CANONICAL_RESIDUES * 3
    one = shuffle_of(sequence, 0)
    assert one == shuffle_of(sequence, 0) and sorted(one) == sorted(sequence)
    others = {shuffle_of(sequence, 1), shuffle_of(sequence, 0, 1), sequence}
    assert len(others | {one}) == 4


def test_better_than_shuffled_by_hand() -> None:
    """The rule written out anew, for two sequences with sixteen shuffles each."""
    ordered, half = "".join(sorted(CANONICAL_RESIDUES)), "CADEFGIHKLNMPQSRTVYW"
    found = judge_shuffles(steps, [ordered, half], steps([ordered, half]), seed=3)
    nats = [steps([shuffle_of(each, 3, copy) for copy in range(16)]) for each in (ordered, half)]
    pooled = np.mean([np.var(each, ddof=1) * 20 for each in nats])
    margin = 1.6449 * math.sqrt((1 + 1 / 16) * pooled / 20)
    gains = [np.mean(each) - own for each, own in zip(nats, steps([ordered, half]), strict=True)]
    assert found.better.tolist() == [gain > margin for gain in gains]
    assert found.shuffled == [shuffle_of(each, 3) for each in (ordered, half)]
    assert found.shuffled_nll.tolist() == [each[0] for each in nats]


def test_what_is_shuffled_already_is_seldom_better() -> None:
    """At a one-sided 95% one in twenty passes by chance; ordered sequences all do."""
    null = [shuffle_of(each, 99) for each in random_sequences(600, 60, 90, seed=5)]
    found = judge_shuffles(steps, null, steps(null))
    assert len(found.better) == MOST_SEQUENCES
    assert 0.01 < found.better.mean() < 0.10
    ordered = ["".join(sorted(each)) for each in null]
    assert judge_shuffles(steps, ordered, steps(ordered)).better.all()


def test_a_sequence_that_no_shuffle_changes_is_not_better() -> None:
    assert not judge_shuffles(steps, ["A" * 30], steps(["A" * 30])).better.any()


# The verdict.


def shuffles_of(better: list[bool]) -> OwnShuffles:
    return OwnShuffles(["A"] * len(better), np.zeros(len(better)), np.array(better))


VERDICTS = [
    ([False] * 4, False, "No row of 4 reads better to J than the same"),
    ([True, False, False], False, "Only 1 of 3 rows reads better to J"),
    ([True, False], True, None),
    ([True], True, None),
]


@pytest.mark.parametrize(("better", "inside", "words"), VERDICTS)
def test_the_verdict_follows_the_share(better: list[bool], inside: bool, words: str | None) -> None:
    domain = judge_domain(shuffles_of(better), [70] * len(better))
    assert domain.inside is inside
    told = [each for each in domain.warnings("J") if words and each.startswith(words)]
    assert len(told) == len(domain.warnings("J")) == (words is not None)
    summary = {"judge": {"name": "J"}, "judge_domain": domain.as_json()}
    reason = foreign_to_judge(json.loads(json.dumps(summary)))
    assert (reason is None) is inside and (reason or "").startswith(words or "")


def test_lengths_that_the_judge_was_not_trained_on_are_told() -> None:
    trained = LengthRanges(((64, 82),))
    domain = judge_domain(shuffles_of([True] * 4), [70, 80, 120, 300], trained=trained)
    assert domain.known_length == 0.5
    (told,) = domain.warnings("J")
    assert told.startswith("50% of the sequences") and "64 to 82 residues" in told


@pytest.mark.parametrize("summary", [None, {}, {"judge_domain": None}, {"judge_domain": 3}])
def test_a_summary_that_does_not_say_is_no_verdict(summary: dict | None) -> None:
    assert foreign_to_judge(summary) is None


def test_verdicts_of_shards_add_up() -> None:
    parts = [
        JudgeDomain(Interval(share, share, share), n, None, None, None).as_json()
        for share, n in ((1.0, 3), (0.25, 8))
    ]
    merged = merged_domain([*parts, None])
    assert merged is not None
    assert merged["better_than_shuffled"] == {"mean": 5 / 11, "n": 11}
    assert merged["inside"] is False and merged_domain([None]) is None


# In `score`.


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random judge whose folder knows natural sequences of 30 to 33 residues."""
    folder = Path(write_judge(tmp_path_factory.mktemp("judge") / "j"))
    natural, training = (random_sequences(16, 30, 33, seed=seed) for seed in (1, 2))
    rows = measure_reference_rows(open_judge(str(folder)), natural, training)
    write_json(folder / REFERENCE_ROWS, rows)
    config = json.loads((folder / "config.json").read_text())
    own = {"didi": {"trained_lengths": [[30, 33]]}}
    (folder / "config.json").write_text(json.dumps(config | own))
    return folder


def scored(judge: Path, folder: Path, sequences: list[str], **options: object) -> ScoreResult:
    fasta = folder / "designs.fasta"
    fasta.write_text("".join(f">d{number}\n{each}\n" for number, each in enumerate(sequences)))
    asked = ScoreOptions(
        inputs=[str(fasta)], out=folder / "d.csv", judge=str(judge), pseudo="none", quiet=True
    )
    result = score(replace(asked, **options))
    assert result is not None
    return result


def test_natural_rows_are_those_of_the_lengths_scored(
    judge: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = scored(judge, tmp_path, random_sequences(6, 31, 33, seed=4))
    rows = result.summary["reference_rows"]
    assert list(rows) == ["natural_held_out", "natural_training", "residue_shuffled"]
    stored = json.loads((judge / REFERENCE_ROWS).read_text())
    ((low, high),) = {bin_of(length) for length in range(31, 33)}
    assert (low, high) == (30, 32)
    (bin_,) = [each for each in stored["by_length"] if each["lengths"] == [30, 32]]
    row = rows["natural_held_out"]
    assert row["judge_nll"]["mean"] == pytest.approx(bin_["natural_held_out"]["judge_nll"]["mean"])
    assert rows["residue_shuffled"]["n"] == 6
    shuffled = open_judge(str(judge)).nll(
        [shuffle_of(each, 0) for each in result.table["sequence"]]
    )
    found = rows["residue_shuffled"]["judge_nll"]["mean"]
    assert found == pytest.approx(float(shuffled.mean()), rel=1e-5)
    composition = rows["residue_shuffled"]["residue_composition"]
    assert composition == result.summary["set"]["residue_composition"]
    domain = result.summary["judge_domain"]
    assert domain["trained_lengths"] == [[30, 33]] and domain["known_length_fraction"] == 1
    assert domain["natural_better_than_shuffled"] == row["better_than_shuffled"]
    print_summary(result)
    printed = capsys.readouterr().out
    assert "other lengths" not in printed and "better than shuffled" in printed


def test_lengths_that_the_folder_does_not_know_are_told(judge: Path, tmp_path: Path) -> None:
    result = scored(judge, tmp_path, random_sequences(4, 60, 60, seed=4))
    assert list(result.summary["reference_rows"]) == ["residue_shuffled"]
    told = " ".join(result.summary["warnings"])
    assert "100% of the sequences have lengths of which" in told and "no natural row" in told
    assert "it knows 30 to 33 residues" in told
