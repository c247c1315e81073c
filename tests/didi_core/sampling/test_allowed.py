"""What may be drawn at single positions of single records: the law, and every sampler obeys."""

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
from tiny_models import FRAMED, MASK, tiny_denoiser, tiny_discriminator

from didi_core.models.discriminator import save_discriminator
from didi_core.models.folder import LoadedModel, load_denoiser, save_model_folder
from didi_core.models.weak_file import save_weak
from didi_core.sampling.ancestral import ancestral, first_hitting
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.registry import SAMPLERS, build_predictor
from didi_core.sampling.request import (
    TRY_STRIDE,
    AllowedTokens,
    Draws,
    DrawSettings,
    SampleSettings,
)

NUM_SAMPLES = 100_000
PLAUSIBLE = 1e-3
CHOICE = {0, 2}
MASKED_SAMPLERS = sorted(name for name, each in SAMPLERS.items() if "absorbing" in each.processes)


def renormalised(chances: list[float]) -> list[float]:
    mass = sum(chance for token, chance in enumerate(chances) if token in CHOICE)
    return [chance / mass if token in CHOICE else 0.0 for token, chance in enumerate(chances)]


def law_given_choice(law: Law, num_tokens: int) -> Law:
    """Return the law of one token a call where position 1 of two takes `CHOICE` alone."""
    first, second = (conditional(law, {}, place, num_tokens) for place in (0, 1))
    found: Law = {}
    for a in range(num_tokens):
        then_second = renormalised(conditional(law, {0: a}, 1, num_tokens))
        for b in range(num_tokens):
            then_first = conditional(law, {1: b}, 0, num_tokens)
            # Either position may be the first: half of the sequences each.
            chance = first[a] * then_second[b] + renormalised(second)[b] * then_first[a]
            found[a, b] = chance / 2
    return found


def settings_of(rows: int, **draw: float) -> SampleSettings:
    allowed = AllowedTokens.of([{1: CHOICE}] * rows, toy_vocabulary(4))
    return SampleSettings(steps=None, seed=7, draw=DrawSettings(allowed=allowed, **draw))


def test_the_law_is_renormalised_over_the_choices() -> None:
    law = random_law(4, 2, seed=5)
    predictor = Predictor(ExactDenoiser((law,), 4), toy_vocabulary(4))
    found = draw_sequences(
        first_hitting(predictor), predictor, settings_of(NUM_SAMPLES), [4, 4], NUM_SAMPLES
    )
    expected = {each: chance for each, chance in law_given_choice(law, 4).items() if chance}
    assert sum(expected.values()) == pytest.approx(1)
    assert set(found) <= set(expected)
    assert chi_square_p_value(found, expected) > PLAUSIBLE


def test_a_choice_comes_before_top_p() -> None:
    """Of the choices 0 and 2 top-p keeps the likelier one, whatever the excluded ones have."""
    law = {(0,): 0.1, (1,): 0.5, (2,): 0.3, (3,): 0.1}
    predictor = Predictor(ExactDenoiser((law,), 4), toy_vocabulary(4))
    allowed = AllowedTokens.of([{0: CHOICE}] * 50, toy_vocabulary(4))
    draw = DrawSettings(top_p=0.7, allowed=allowed)
    found = draw_sequences(ancestral(predictor), predictor, SampleSettings(1, draw=draw), [4], 50)
    assert set(found) == {(2,)}


def test_nothing_restricted_is_no_table() -> None:
    assert AllowedTokens.of([{}, {}], toy_vocabulary(4)) is None


def test_records_are_told_apart_and_tries_are_of_their_record() -> None:
    table = AllowedTokens.of([{}, {1: {0}}, {1: {3}, 2: {0, 1}}], toy_vocabulary(4))
    assert table is not None
    places = [(0, 1), (1, 1), (1 + 3 * TRY_STRIDE, 1), (2, 1), (2, 2), (2, 3), (7, 1)]
    record, position = (torch.tensor(each) for each in zip(*places, strict=True))
    found = table.restrict(torch.zeros(len(places), 4), record, position)
    assert [row.isfinite().nonzero()[:, 0].tolist() for row in found] == [
        [0, 1, 2, 3], [0], [0], [3], [0, 1], [0, 1, 2, 3], [0, 1, 2, 3],
    ]  # fmt: skip


MASKED_SAMPLERS = sorted(name for name, each in SAMPLERS.items() if "absorbing" in each.processes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    save_model_folder(path, tiny_denoiser(1), FRAMED, card="")
    save_discriminator(tiny_discriminator(2), path / "discriminator.safetensors")
    save_weak(tiny_denoiser(2), path / "weak.safetensors")
    return path


@pytest.mark.parametrize("name", MASKED_SAMPLERS)
def test_every_sampler_obeys_whatever_the_batch(name: str, folder: Path) -> None:
    model = load_denoiser(folder)
    model = replace(model, denoiser=model.denoiser.double())
    entry, row = SAMPLERS[name], FRAMED.frame([MASK] * 12)
    sampler = entry.build(build_predictor(model), model, {})
    first, second, third = FRAMED.generable_ids
    by_record = [{1: {first}, 7: {second, third}}, {}, {2: {second}, 12: {first, third}}]
    draw = DrawSettings(allowed=AllowedTokens.of(by_record, FRAMED))
    settings = SampleSettings(4 if entry.takes_steps else None, seed=1, draw=draw)

    def drawn(keys: list[int]) -> list[list[int]]:
        prior = build_prior([row] * len(keys), keys, FRAMED, "cpu")
        return [each[: len(row)] for each in sampler.sample(prior, settings).tokens.tolist()]

    keys = [record + TRY_STRIDE * number for record in range(3) for number in range(4)]
    together = drawn(keys)
    for key, tokens in zip(keys, together, strict=True):
        for position, ids in by_record[key % TRY_STRIDE].items():
            assert tokens[position] in ids
        assert drawn([key]) == [tokens]


@pytest.mark.parametrize("name", ["ancestral", "greedy-tail", "psi"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_samplers_of_uniform_models_obey(name: str, precision: Draws) -> None:
    predictor = Predictor(ExactUniformDenoiser(random_law(4, 2, seed=5), 4), toy_vocabulary(4))
    config = {"didi": {"process": "uniform"}}
    model = LoadedModel(predictor.denoiser, predictor.vocabulary, config, "toy", Path(), {})
    sampler = SAMPLERS[name].build(predictor, model, {})
    draw = DrawSettings(
        allowed=AllowedTokens.of([{1: CHOICE}] * 200, predictor.vocabulary), precision=precision
    )
    found = draw_sequences(sampler, predictor, SampleSettings(3, draw=draw), [4, 4], 200)
    assert {second for _, second in found} <= CHOICE
