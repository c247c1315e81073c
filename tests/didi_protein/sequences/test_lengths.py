"""`--length`: its forms, and what is refused."""

from collections import Counter
from pathlib import Path

import pytest

from didi_core.errors import UserError
from didi_protein.sequences.lengths import design_lengths

LIMIT = 500


def test_a_list_is_gone_through_in_turn() -> None:
    assert design_lengths("100", 3, 0, LIMIT) == [100, 100, 100]
    assert design_lengths("50, 100,200", 5, 0, LIMIT) == [50, 100, 200, 50, 100]


def test_a_range_is_uniform_and_holds_both_ends() -> None:
    lengths = design_lengths("80-84", 20_000, 0, LIMIT)
    counts = Counter(lengths)
    assert sorted(counts) == [80, 81, 82, 83, 84]
    # Four standard deviations of a binomial with p = 1/5.
    assert all(abs(count - 4000) < 4 * (20_000 * 0.2 * 0.8) ** 0.5 for count in counts.values())


def test_drawn_lengths_are_keyed_by_seed_and_record() -> None:
    lengths = design_lengths("50-250", 100, 3, LIMIT)
    assert design_lengths("50-250", 40, 3, LIMIT) == lengths[:40]
    assert design_lengths("50-250", 100, 4, LIMIT) != lengths


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    path = tmp_path / "ref.fasta"
    records = {"a": 30, "b": 30, "c": 60, "long": 900}
    path.write_text("".join(f">{name}\n{'A' * length}\n" for name, length in records.items()))
    return path


def test_lengths_of_a_fasta_file(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lengths = design_lengths(f"from:{reference}", 9000, 0, LIMIT)
    counts = Counter(lengths)
    assert sorted(counts) == [30, 60]
    assert abs(counts[30] - 6000) < 4 * (9000 * 2 / 9) ** 0.5
    assert "1 of 4 sequences left out" in capsys.readouterr().err


def test_gaps_and_stop_signs_are_no_residues(tmp_path: Path) -> None:
    path = tmp_path / "ref.fasta"
    path.write_text(">a\nAC-DE..FG*\n")
    assert design_lengths(f"from:{path}", 2, 0, LIMIT) == [6, 6]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("120-80", r"--length 120-80: the range is upside down; write 80-120"),
        ("0", r"--length 0: a design has at least 1 residue"),
        ("0-10", r"at least 1 residue"),
        ("50,0", r"at least 1 residue"),
        ("501", r"501 residues are past the model's limit of 500"),
        ("100-501", r"501 residues are past the model's limit of 500"),
        ("100,600", r"600 residues are past"),
        ("", r"--length : give residues as 100, 50,100,200, 80-120 or from:FILE"),
        ("-5", r"--length -5: give residues as"),
        ("12.5", r"give residues as"),
        ("ten", r"give residues as"),
        ("50,", r"give residues as"),
        ("50-60-70", r"give residues as"),
        ("from:", r"--length from: needs a file"),
        ("from:no_such_file.fasta", r"no_such_file.fasta: cannot be read \(does not exist\)"),
    ],
)
def test_lengths_without_sense_are_refused(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        design_lengths(spec, 3, 0, LIMIT)


def test_a_reference_without_usable_lengths_is_refused(reference: Path) -> None:
    with pytest.raises(UserError, match=r"none of its 4 sequences has 1 to 20 residues"):
        design_lengths(f"from:{reference}", 3, 0, 20)
