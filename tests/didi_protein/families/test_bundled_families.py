"""Families that ship: read by name, never mixed with those held out."""

from pathlib import Path

import pytest

from didi_core.errors import UserError
from didi_protein.families import ContactMap, FamilyProfile
from didi_protein.sequences.bundled import FAMILIES, bundled_contacts, bundled_sequences
from didi_protein.sequences.training_data import read_training_sequences

SEQUENCES = {"PF00595": (13_023, 1_643, 82), "PF13354": (6_473, 659, 202)}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_read_by_name_without_gaps(name: str) -> None:
    training, held_out, _ = SEQUENCES[name]
    assert len({each for _, each in read_training_sequences(name)}) == training
    kept = {each for _, each in read_training_sequences(f"{name}-held-out")}
    assert len(kept) == held_out
    assert not kept & {each for _, each in read_training_sequences("families")}


def test_both_families_have_one_name() -> None:
    assert len(read_training_sequences("families")) == sum(n for n, _, _ in SEQUENCES.values())
    assert len(read_training_sequences("families-held-out")) == 1_643 + 659


@pytest.mark.parametrize("name", FAMILIES)
def test_contacts_have_the_columns_of_their_family(name: str) -> None:
    path, (alignment,) = bundled_contacts(name), bundled_sequences(name)
    assert path is not None
    columns = FamilyProfile.read(alignment).num_columns
    assert columns == SEQUENCES[name][2]
    assert ContactMap.read(path, columns).in_contact().any()


@pytest.mark.parametrize("name", ["./families", "PF00595.fasta", "-held-out", "PF0059"])
def test_other_names_are_paths(name: str) -> None:
    assert bundled_sequences(name) == []
    assert bundled_contacts(name) is None


def test_a_path_of_the_same_name_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "PF00595").write_text(">own\nMKV\n")
    with pytest.raises(UserError, match="--training PF00595"):
        read_training_sequences("PF00595", name="--training")
    own = read_training_sequences(str(tmp_path / "PF00595"), name="--training")
    assert own == [("own", "MKV")]
