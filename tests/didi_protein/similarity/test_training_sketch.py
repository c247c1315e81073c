"""Sketches of training sequences: the law of their bits, exact values, search and files."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scoring_fixtures import random_sequences

from didi_core.errors import UserError
from didi_protein.similarity.sketch import (
    FORMAT,
    NUM_HASHES,
    WORD,
    Sketch,
    identity_of,
    minimum_hashes,
)


def words(sequence: str) -> set[str]:
    return {sequence[i : i + WORD] for i in range(len(sequence) - WORD + 1)}


def test_words_are_counted_once_each() -> None:
    sketch = Sketch.of(["MKVLAAGMKV", "AAAAAA", "MK", ""])
    assert sketch.num_words.tolist() == [len(words("MKVLAAGMKV")), 1, 0, 0]
    assert sketch.bits.shape == (4, NUM_HASHES // 8)


def test_minima_agree_with_the_jaccard_index_of_the_words() -> None:
    """The share of equal minima, of 512 hashes, is J within chance, and unbiased over pairs."""
    base = random_sequences(40, 60, 60, seed=1)
    errors, deviations = [], []
    for number, sequence in enumerate(base):
        other = sequence[: 10 + number] + base[number - 1][10 + number :]
        (one, two), _ = minimum_hashes([sequence, other], WORD, NUM_HASHES)
        a, b = words(sequence), words(other)
        jaccard = len(a & b) / len(a | b)
        errors.append((one == two).mean() - jaccard)
        deviations.append(np.sqrt(jaccard * (1 - jaccard) / NUM_HASHES))
    scores = np.array(errors) / np.maximum(deviations, 1e-9)
    assert np.abs(scores).max() < 4
    assert abs(np.sum(errors)) < 3 * np.sqrt(np.sum(np.square(deviations)))


def test_one_bit_estimates_err_as_the_law_says() -> None:
    """J = 2 (share of equal bits) - 1 has the variance (1 - J^2) / 512."""
    base = random_sequences(200, 80, 80, seed=2)
    others = [each[:60] + base[number - 1][60:] for number, each in enumerate(base)]
    scores = []
    for one, two, a, b in zip(
        base, others, Sketch.of(base).bits, Sketch.of(others).bits, strict=True
    ):
        jaccard = len(words(one) & words(two)) / len(words(one) | words(two))
        equal = 1 - np.unpackbits(a ^ b).mean()
        scores.append((2 * equal - 1 - jaccard) / np.sqrt((1 - jaccard**2) / NUM_HASHES))
    assert abs(np.mean(scores)) < 3 / np.sqrt(len(scores))
    assert np.std(scores) == pytest.approx(1, abs=0.15)  # 3 standard errors: 3 / sqrt(400)


def test_identity_follows_from_jaccard_by_hand() -> None:
    # 80 words each, 64 in common of 96: J = 2/3; 64 / 80 of the words, its third root of residues.
    count = np.array([80], dtype=np.int32)
    found = identity_of(np.array([[2 / 3]], dtype=np.float32), count, count, 3)
    assert found[0, 0] == pytest.approx(0.8 ** (1 / 3), rel=1e-6)
    # A part of 60 of those 80: J = 3/4, and every word of the part is there.
    part = np.array([60], dtype=np.int32)
    assert identity_of(np.array([[0.75]], np.float32), part, count, 3)[0, 0] == pytest.approx(1)
    # Of a part that is less than half of a sequence nothing is made: 20 of 80 words, held to be 40.
    part = np.array([20], dtype=np.int32)
    found = identity_of(np.array([[0.25]], np.float32), part, count, 3)
    assert found[0, 0] == pytest.approx(0.5 ** (1 / 3), rel=1e-6)
    # A reference that is less than 70% of the query is no neighbour of it.
    short = np.array([50], dtype=np.int32)
    assert identity_of(np.array([[0.625]], np.float32), count, short, 3)[0, 0] == 0


def test_a_training_sequence_is_found_and_a_copy_told_from_a_stranger() -> None:
    training = random_sequences(300, 100, 120, seed=3)
    copy = training[7][2:50] + "W" + training[7][51:-1]
    identity, place = Sketch.of(training).nearest(
        Sketch.of([training[5], copy, *random_sequences(50, 100, 120, seed=4), "MK"])
    )
    assert identity[0] == 1 and place[:2].tolist() == [5, 7]
    assert identity[1] == pytest.approx(0.99, abs=0.02)
    assert identity[2:52].max() < 0.7
    assert identity[52] == 0  # no word, so nothing is said


def test_the_search_is_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    training, designs = random_sequences(50, 30, 60, seed=5), random_sequences(9, 30, 60, seed=6)
    whole = Sketch.of(training).nearest(Sketch.of(designs))
    monkeypatch.setattr("didi_protein.similarity.sketch._QUERIES", 2)
    monkeypatch.setattr("didi_protein.similarity.sketch._REFERENCES", 7)
    for one, two in zip(whole, Sketch.of(training).nearest(Sketch.of(designs)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_one_place_can_be_left_out_of_each_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("didi_protein.similarity.sketch._REFERENCES", 7)
    sketch = Sketch.of(random_sequences(20, 30, 60, seed=10))
    identity, place = sketch.nearest(sketch, left_out=np.arange(20))
    for number in range(20):
        others = sketch.identities(sketch.only(np.array([number])))
        others[number] = 0
        assert (identity[number], place[number]) == (others.max(), others.argmax())


def test_files_are_read_back_and_never_hold_sequences(tmp_path: Path) -> None:
    training = random_sequences(20, 30, 60, seed=7)
    sketch = Sketch.of(training)
    for name in ("one", "two"):
        sketch.save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    read = Sketch.read(tmp_path / "one")
    np.testing.assert_array_equal(read.bits, sketch.bits)
    np.testing.assert_array_equal(read.num_words, sketch.num_words)
    assert not any(each[:8].encode() in (tmp_path / "one").read_bytes() for each in training)


def test_sketches_are_joined_without_what_is_there_twice() -> None:
    first, second = (Sketch.of(random_sequences(10, 30, 60, seed=seed)) for seed in (8, 9))
    joined = first.joined(second, first)
    assert len(joined) == 20
    assert joined.nearest(second)[0].tolist() == [1.0] * 10


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.sketch"
    path.write_bytes(b"no sketch")
    with pytest.raises(UserError, match=r"training\.sketch"):
        Sketch.read(path)
    Sketch.of(random_sequences(3)).save(path)
    tensors = load_file(path)
    save_file(tensors, path, {"format": "didi training sketch 0"})
    with pytest.raises(UserError, match="training sketch 1"):
        Sketch.read(path)
    save_file({**tensors, "bits": tensors["bits"][:, :9].copy()}, path, {"format": FORMAT})
    with pytest.raises(UserError, match="damaged"):
        Sketch.read(path)
