"""What a position may not get: the law that is drawn from, exactly, and batches that do not matter.

That every sampler obeys is tested with the others of their settings, in models/test_noise.py.
"""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from exact_denoiser import (
    ExactDenoiser,
    Law,
    chi_square_p_value,
    conditional,
    draw_sequences,
    random_law,
    toy_vocabulary,
)
from exact_uniform import ExactUniformDenoiser
from test_run_request import LENGTHS, request_of, run, sequences, toy_network

from didi_core.io.shards import Shard
from didi_core.sampling.ancestral import ancestral, first_hitting
from didi_core.sampling.drawing import adjust
from didi_core.sampling.forbidden import Forbidden
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.remdm import RemaskingSampler, RemdmSettings
from didi_core.sampling.request import DrawSettings, Sampler, SampleSettings
from didi_core.sampling.uniform import PsiSettings, UniformSampler, ancestral_moves

NUM_SAMPLES = 100_000
PLAUSIBLE = 1e-3
LAW = random_law(4, 3, seed=2)
PREDICTOR = Predictor(ExactDenoiser([LAW], 4), toy_vocabulary(4))
MASK = 4
FORBIDDEN = {0: (1,), 2: (0, 3)}
"""Position 0 may not get token 1, position 2 neither 0 nor 3."""


def renormalised(known: dict[int, int], position: int) -> list[float]:
    """The conditional law of a position without what it may not get."""
    chances = conditional(LAW, known, position, 4)
    left = [0.0 if i in FORBIDDEN.get(position, ()) else p for i, p in enumerate(chances)]
    return [each / sum(left) for each in left]


def settings(steps: int | None, seed: int, **draw: object) -> SampleSettings:
    keys = range(NUM_SAMPLES)
    table = Forbidden.of([FORBIDDEN] * NUM_SAMPLES, keys, 3, PREDICTOR.vocabulary, "cpu")
    return SampleSettings(steps, seed, draw=DrawSettings(forbidden=table, **draw))


@pytest.mark.parametrize(
    ("sampler", "steps"),
    [
        (first_hitting(PREDICTOR), None),
        (ancestral(PREDICTOR), 2),
        (RemaskingSampler(PREDICTOR, RemdmSettings(eta=0.3)), 3),
    ],
    ids=["first-hitting", "ancestral", "remdm"],
)
@pytest.mark.parametrize("position", [0, 2])
def test_one_position_has_its_conditional_law_without_what_is_forbidden(
    sampler: Sampler, steps: int | None, position: int
) -> None:
    row = [2, 1, 0]
    known = {i: token for i, token in enumerate(row) if i != position}
    row[position] = MASK
    found = draw_sequences(sampler, PREDICTOR, settings(steps, 3), row, NUM_SAMPLES)
    drawn = {
        tuple(token if i == position else row[i] for i in range(3)): chance
        for token, chance in enumerate(renormalised(known, position))
    }
    assert chi_square_p_value(found, drawn) > PLAUSIBLE


def one_by_one() -> Law:
    """The law of all three positions one after the other, in uniformly random order."""
    law = dict.fromkeys(itertools.product(range(4), repeat=3), 0.0)
    for order, sequence in itertools.product(list(itertools.permutations(range(3))), law):
        chance, known = 1 / 6, dict[int, int]()
        for position in order:
            chance *= renormalised(known, position)[sequence[position]]
            known[position] = sequence[position]
        law[sequence] += chance
    return law


def test_all_positions_one_by_one_have_the_enumerated_law() -> None:
    found = draw_sequences(
        first_hitting(PREDICTOR), PREDICTOR, settings(None, 5), [MASK] * 3, NUM_SAMPLES
    )
    assert chi_square_p_value(found, one_by_one()) > PLAUSIBLE
    free = replace(settings(None, 5), draw=DrawSettings())
    other = draw_sequences(first_hitting(PREDICTOR), PREDICTOR, free, [MASK] * 3, NUM_SAMPLES)
    assert any(sequence[0] == 1 for sequence in other)


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("draws", ["float64", "float32"])
def test_uniform_state_models_end_without_what_is_forbidden(greedy: bool, draws: str) -> None:
    """On the way it may stand: noise is uniform over all tokens."""
    predictor = Predictor(ExactUniformDenoiser(LAW, 4), toy_vocabulary(4))
    for plan in (ancestral_moves, PsiSettings(eta=0.3).plan):
        sampler = UniformSampler(predictor, plan, greedy)
        asked = settings(4, 1, precision=draws)
        found = draw_sequences(sampler, predictor, asked, [MASK, 2, MASK], 2_000)
        assert {sequence[1] for sequence in found} == {2}
        assert not {sequence[0] for sequence in found} & {1}
        assert not {sequence[2] for sequence in found} & {0, 3}


def test_what_is_forbidden_goes_before_the_nucleus() -> None:
    chances = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64)
    forbidden = torch.tensor([[True, False, False, False]])
    plain = adjust(chances.log(), DrawSettings(), forbidden).exp()[0].tolist()
    assert plain == pytest.approx([0, 0.6, 0.3, 0.1])
    # Of what is left 0.6 and 0.3 hold 0.8 of the mass; without the rule, 0.5 and 0.3 would.
    nucleus = adjust(chances.log(), DrawSettings(top_p=0.8), forbidden).exp()[0].tolist()
    assert nucleus == pytest.approx([0, 2 / 3, 1 / 3, 0])
    cold = adjust(chances.log(), DrawSettings(temperature=0.5), forbidden).exp()[0].tolist()
    squares = [0.3**2, 0.15**2, 0.05**2]
    assert cold == pytest.approx([0, *(each / sum(squares) for each in squares)])


def test_rows_are_found_by_their_keys_in_any_order() -> None:
    vocabulary = toy_vocabulary(4)
    rules = [{0: (1,)}, {}, {1: (2, 3)}]
    table = Forbidden.of(rules, [9, 2**42, 4], 2, vocabulary, "cpu")
    found = table.at(torch.tensor([4, 9, 2**42, 9]), torch.tensor([1, 0, 1, 1])).long().tolist()
    assert found == [[0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("batch_tokens", [1, 48, 10_000])
def test_batches_shards_and_tries_do_not_matter(tmp_path: Path, batch_tokens: int) -> None:
    """A float64 network; redraws take other keys of the same rows."""
    predictor = toy_network()
    forbidden = [{place: (number % 4,) for place in range(3)} for number in range(len(LENGTHS))]

    def no_second_zero(record: int, ids: list[int]) -> str | None:
        assert len(ids) == LENGTHS[record]
        return "begins twice alike" if ids[0] == ids[1] else None

    shared = {"forbidden": forbidden, "rule": no_second_zero}
    usual = run(request_of(predictor.vocabulary, **shared), predictor, tmp_path / "a")
    assert any(row.tries > 1 for row in usual)
    for row in usual:
        assert not {row.record % 4} & set(row.ids[:3])
    changed = request_of(predictor.vocabulary, batch_tokens=batch_tokens, **shared)
    assert sequences(run(changed, predictor, tmp_path / "b")) == sequences(usual)
    parts = [
        run(replace(changed, shard=Shard(i, 3)), predictor, tmp_path / f"part{i}")
        for i in (1, 2, 3)
    ]
    together = sorted((row for part in parts for row in part), key=lambda row: row.record)
    assert sequences(together) == sequences(usual)
