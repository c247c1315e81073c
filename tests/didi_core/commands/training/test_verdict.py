"""Verdicts on what was trained: who beats what, by hand, and what is advised where nothing does."""

import numpy as np
import pytest

from didi_core.commands.training.held_out import HeldOutNats
from didi_core.commands.training.settings import NetworkSettings, PretrainSettings
from didi_core.commands.training.student_verdict import Drawn, compare_command, judged
from didi_core.commands.training.verdict import (
    Before,
    has_learnt,
    held_out_history,
    standings,
    verdict,
)
from didi_core.evaluation.bootstrap import Interval
from didi_core.evaluation.ngrams import ngram_nats

LENGTHS = np.array([10] * 40)


def measured(nats: np.ndarray) -> HeldOutNats:
    return HeldOutNats({"validation_bound": float(nats.sum() / LENGTHS.sum())}, nats, LENGTHS)


def settings(**changes: object) -> PretrainSettings:
    model = NetworkSettings(num_layers=4, hidden_size=8, num_heads=2)
    return PretrainSettings(data="d", out="o", steps=100, model=model, **changes)


def lines(*losses: float, training: float = 2.0, first: int = 1) -> list[dict[str, float]]:
    looks = [{"step": first + at, "validation_bound": each} for at, each in enumerate(losses)]
    return [*looks, {"step": 90, "loss": training}]


def test_differences_are_those_of_sums() -> None:
    own = np.linspace(15, 25, 40)
    (found,) = standings(measured(own), {"unigram": own + 5.0}, LENGTHS)
    assert found.difference.mean == pytest.approx(-0.5)
    assert found.difference.low == pytest.approx(-0.5) and found.difference.high < 0
    assert "0.500 below unigram" in str(found)
    half = HeldOutNats({}, own, LENGTHS // 2)  # half of the tokens are scored by the model
    (found,) = standings(half, {"unigram": np.full(40, 30.0)}, LENGTHS)
    assert found.difference.mean == pytest.approx(own.sum() / 200 - 3.0)


@pytest.mark.parametrize(
    ("unigram", "bigram", "profile", "learnt"),
    [
        (5.0, 4.0, 3.0, True),
        (5.0, 4.0, -3.0, True),  # a profile need not be beaten
        (5.0, -1.0, 3.0, False),
        (-1.0, 4.0, 3.0, False),
        (0.0, 4.0, 3.0, False),
    ],
)
def test_what_has_learnt_beats_all_that_count(
    unigram: float, bigram: float, profile: float, learnt: bool
) -> None:
    own = np.full(40, 20.0)
    others = {"unigram": own + unigram, "bigram": own + bigram, "the profile": own + profile}
    found = standings(measured(own), others, LENGTHS)
    assert has_learnt(found) is learnt
    text = verdict(found, measured(own), lines(2.0), settings(), "residue")
    assert text.startswith("Learnt: " if learnt else "Not learnt: ")
    assert all(name in text for name in others) and "40 held-out sequences" in text


def test_an_interval_that_covers_zero_is_not_learnt() -> None:
    noise = np.random.default_rng(0).normal(0, 5, 40)
    own = np.full(40, 20.0)
    found = standings(measured(own), {"unigram": own + noise - noise.mean() + 0.01}, LENGTHS)
    assert found[0].difference.low < 0 < found[0].difference.high and not has_learnt(found)


@pytest.mark.parametrize(
    ("history", "named"),
    [
        (lines(2.5, 2.4), "steps=400"),  # it still fell
        (lines(2.4), "steps=400"),  # one look says nothing else
        (lines(2.4, 2.5, training=1.5), "model.num_layers=2"),  # known by heart
        (lines(2.4, 2.5, training=2.4), "model.num_layers=8"),  # nothing more to be had
    ],
)
def test_what_is_advised(history: list[dict[str, float]], named: str) -> None:
    own = np.full(40, 20.0)
    found = standings(measured(own), {"unigram": own - 1.0}, LENGTHS)
    assert named in verdict(found, measured(own), history, settings(), "residue")


def test_a_start_from_others_weights_is_told_with_where_it_came_from() -> None:
    own = np.full(40, 20.0)
    found = standings(measured(own), {"unigram": own + 1.0}, LENGTHS)
    history = lines(2.75, 2.5, first=0)
    assert held_out_history(history) == [(0, 2.75), (1, 2.5)]
    text = verdict(found, measured(own), history, settings(), "residue")
    assert "2.750 before the first update, 2.000 now" in text and "steps=400" in text


@pytest.mark.parametrize(
    ("change", "spread", "bigram", "count", "word", "named"),
    [
        (-1.0, 0.0, 4.0, 40, "Learnt: ", "0.100 below init=X (95% 0.100 to 0.100)"),
        (-0.1, 5.0, 4.0, 40, "Not learnt: ", "0.010 below init=X (95% -"),
        (0.0, 0.0, 4.0, 40, "Not learnt: ", "not clear of zero"),
        (-0.05, 0.0, 4.0, 40, "Not learnt: ", "less than 0.01: 0.005 below init=X"),
        (1.0, 0.0, 4.0, 40, "Not learnt: ", "less likely: 0.100 above init=X"),
        (-1.0, 0.0, -2.0, 40, "Not learnt: ", "likelier: 0.100 below init=X"),
        (-1.0, 0.0, 4.0, 12, "Not shown: ", "Only 12 held-out sequences"),
    ],
)
def test_only_what_a_run_changed_of_its_start_is_claimed(
    change: float, spread: float, bigram: float, count: int, word: str, named: str
) -> None:
    lengths = np.full(count, 10)
    then = np.full(count, 20.0)
    now = then + change + spread * np.resize([1.0, -1.0], count)
    others = {"unigram": now + 5.0, "bigram": now + bigram}
    found, had = (
        standings(HeldOutNats({}, nats, lengths), others, lengths) for nats in (now, then)
    )
    own, start = (
        HeldOutNats({"validation_bound": 2.0}, now, lengths),
        HeldOutNats({}, then, lengths),
    )
    before = Before.of("init=X", own, start, had)
    assert has_learnt(found, before) is (word != "Not learnt: ")
    text = verdict(found, own, lines(2.5, 2.4, 2.45, first=0), settings(), "residue", before)
    assert text.startswith(word) and named in text
    assert "init=X was " in text and "unigram" in text, "what the start had is said"
    assert "num_layers" not in text, "a shape that is the start's is not for this run to choose"


def test_ngrams_by_hand() -> None:
    found = ngram_nats([[0, 0, 1]], [[0, 1], [1]], 2)
    # Add one: 3 and 2 of 5; after the start 2 and 1 of 3, after 0 twice 2 of 4.
    assert found["unigram"] == pytest.approx([-np.log(3 / 5 * 2 / 5), -np.log(2 / 5)])
    assert found["bigram"] == pytest.approx([-np.log(2 / 3 * 2 / 4), -np.log(1 / 3)])


def drawn(nats: float, entropy: float = 7.0, spread: float = 0.0) -> Drawn:
    values = nats + spread * np.resize([1.0, -1.0], 64)
    return Drawn(values, Interval(entropy, entropy - 0.1, entropy + 0.1))


@pytest.mark.parametrize(
    ("student", "teacher", "word"),
    [
        (drawn(2.0), drawn(2.5), "better than X (-0.500"),
        (drawn(2.5), drawn(2.0), "worse than X (+0.500"),
        (drawn(2.0, spread=1.0), drawn(2.01), "level with X (-0.010"),
        (drawn(2.0), drawn(2.0), "level with X (+0.000"),
        (drawn(2.0, entropy=6.0), drawn(2.5), "likelier but less varied than X"),
        (drawn(2.0, entropy=6.9), drawn(2.5), "better than X"),  # the intervals overlap
        (drawn(2.5, entropy=6.0), drawn(2.0), "worse than X"),
    ],
)
def test_a_student_beside_its_teacher(student: Drawn, teacher: Drawn, word: str) -> None:
    assert judged("X", student, teacher).startswith(word)


def test_the_command_that_compares_holds_names_with_blanks() -> None:
    command = compare_command("didi-protein", "tiny", "my student", 8, " --length from:d.fa")
    assert "--students 'my student' --methods ''" in command and "--length from:d.fa" in command
