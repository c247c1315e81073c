"""The exact samplers reach the law of an exact denoiser; draws, grids and calls."""

import pytest
import torch
from exact_denoiser import (
    ExactDenoiser,
    Law,
    chi_square_p_value,
    conditional,
    draw_sequences,
    k_step_law,
    random_law,
    toy_vocabulary,
)

from didi_core.errors import UserError
from didi_core.sampling.ancestral import PlannedSampler, ancestral, first_hitting
from didi_core.sampling.apart import ApartSettings
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.registry import check_settings, find_sampler
from didi_core.sampling.remdm import RemdmSettings
from didi_core.sampling.request import DrawSettings, SampleSettings
from didi_core.sampling.saber import SaberSettings
from didi_core.sampling.sampler_options import from_options

NUM_SAMPLES = 100_000
PLAUSIBLE = 1e-3
IMPLAUSIBLE = 1e-12


def predictor_of(*laws: Law, num_tokens: int) -> Predictor:
    return Predictor(ExactDenoiser(laws, num_tokens), toy_vocabulary(num_tokens))


@pytest.mark.parametrize(("num_tokens", "length"), [(3, 1), (3, 3), (4, 2), (5, 2)])
def test_first_hitting_reaches_the_law(num_tokens: int, length: int) -> None:
    law = random_law(num_tokens, length, seed=length)
    predictor = predictor_of(law, num_tokens=num_tokens)
    row = [num_tokens] * length
    found = draw_sequences(
        first_hitting(predictor), predictor, SampleSettings(steps=None, seed=7), row, NUM_SAMPLES
    )
    assert chi_square_p_value(found, law) > PLAUSIBLE


def test_ancestral_reaches_the_law_in_many_steps() -> None:
    law = random_law(3, 3, seed=3)
    predictor = predictor_of(law, num_tokens=3)
    settings = SampleSettings(steps=1000, seed=5)
    found = draw_sequences(ancestral(predictor), predictor, settings, [3] * 3, NUM_SAMPLES)
    assert chi_square_p_value(found, law) > PLAUSIBLE


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_ancestral_in_few_steps_has_its_own_enumerated_law(steps: int) -> None:
    law = random_law(3, 3, seed=3)
    predictor = predictor_of(law, num_tokens=3)
    settings = SampleSettings(steps=steps, seed=11)
    found = draw_sequences(ancestral(predictor), predictor, settings, [3] * 3, NUM_SAMPLES)
    assert chi_square_p_value(found, k_step_law(law, steps, 3)) > PLAUSIBLE
    # The control: with few steps the law itself is missed, and the test sees it.
    assert chi_square_p_value(found, law) < IMPLAUSIBLE


def test_kept_tokens_condition_the_law() -> None:
    law = random_law(3, 3, seed=8)
    predictor = predictor_of(law, num_tokens=3)
    row = [3, 1, 3]
    found = draw_sequences(
        first_hitting(predictor), predictor, SampleSettings(steps=None), row, NUM_SAMPLES
    )
    assert {sequence[1] for sequence in found} == {1}, "the kept token comes out unchanged"
    mass = sum(chance for sequence, chance in law.items() if sequence[1] == 1)
    given = {each: chance / mass for each, chance in law.items() if each[1] == 1}
    assert chi_square_p_value(found, given) > PLAUSIBLE


def _adjusted_by_hand(chances: list[float], settings: DrawSettings) -> list[float]:
    weights = [chance ** (1 / settings.temperature) for chance in chances]
    if settings.log_bias is not None:
        weights = [w * float(b.exp()) for w, b in zip(weights, settings.log_bias, strict=True)]
    weights = [each / sum(weights) for each in weights]
    kept, mass = set(), 0.0
    for index in sorted(range(len(weights)), key=lambda i: -weights[i]):
        if mass < settings.top_p:
            kept.add(index)
        mass += weights[index]
    weights = [each if i in kept else 0.0 for i, each in enumerate(weights)]
    return [each / sum(weights) for each in weights]


@pytest.mark.parametrize(
    "draw",
    [
        DrawSettings(temperature=0.5),
        DrawSettings(temperature=2.0),
        DrawSettings(top_p=0.7),
        DrawSettings(log_bias=torch.tensor([0.0, 1.0, -0.5, -torch.inf])),
        DrawSettings(temperature=0.7, top_p=0.9, log_bias=torch.tensor([0.3, 0.0, -1.0, 0.0])),
        DrawSettings(precision="float32"),
    ],
    ids=["cold", "hot", "top-p", "bias", "all", "float32"],
)
def test_draw_settings_change_the_law_as_computed_by_hand(draw: DrawSettings) -> None:
    law = random_law(4, 1, seed=2)
    predictor = predictor_of(law, num_tokens=4)
    settings = SampleSettings(steps=1, seed=3, draw=draw)
    found = draw_sequences(ancestral(predictor), predictor, settings, [4], NUM_SAMPLES)
    expected = _adjusted_by_hand(conditional(law, {}, 0, 4), draw)
    assert chi_square_p_value(found, {(i,): p for i, p in enumerate(expected)}) > PLAUSIBLE
    if draw.precision == "float64":
        adjusted = {(i,): p for i, p in enumerate(expected)}
        assert max(abs(adjusted[each] - law[each]) for each in law) > 0.01


def test_the_published_clean_up_call_obeys_a_ban() -> None:
    law = random_law(4, 1, seed=2)
    best = max(law, key=lambda each: law[each])[0]
    log_bias = torch.zeros(4, dtype=torch.float64)
    log_bias[best] = -torch.inf
    predictor = predictor_of(law, num_tokens=4)
    settings = SampleSettings(steps=2, grid="published", draw=DrawSettings(log_bias=log_bias))
    prior = build_prior([[4]], [0], predictor.vocabulary, "cpu")
    cleaning = PlannedSampler(predictor, lambda prior, _: prior.batch.maskable * 3 - 1)
    allowed = {each[0]: p for each, p in law.items() if each[0] != best}
    made = cleaning.sample(prior, settings).tokens[0, 0]
    assert made.item() == max(allowed, key=allowed.__getitem__)


def test_calls_are_counted_by_row_and_bounded_by_the_plan() -> None:
    laws = [random_law(3, length, seed=length) for length in (1, 2, 3)]
    predictor = predictor_of(*laws, num_tokens=3)
    rows = [[3], [3, 3], [3, 3, 3], [3, 0, 3], [1, 2, 0]] * 200
    prior = build_prior(rows, range(len(rows)), predictor.vocabulary, "cpu")
    free = prior.batch.maskable.sum(-1)

    exact = ancestral(predictor)
    settings = SampleSettings(steps=2)
    calls = exact.sample(prior, settings).denoiser_calls
    bound = torch.tensor([exact.num_steps(int(count), settings) for count in free])
    assert (calls <= bound).all()
    assert (calls[free == 0] == 0).all()
    assert (calls[free > 0] >= 1).all()
    assert (calls[free == 2] == 1).any(), "both positions in one step: the other step is skipped"

    published = ancestral(predictor).sample(prior, SampleSettings(steps=2, grid="published"))
    assert (published.denoiser_calls == 3).all()

    limit = first_hitting(predictor).sample(prior, SampleSettings(steps=None))
    assert torch.equal(limit.denoiser_calls, free)
    assert (limit.tokens != 3).all()


@pytest.mark.parametrize("name", ["analytical", "nonsense"])
def test_unknown_samplers_are_refused_with_the_list(name: str) -> None:
    with pytest.raises(
        UserError, match=rf"--sampler {name} .*analytic, ancestral, apart, autoregressive"
    ):
        find_sampler(name)


@pytest.mark.parametrize(
    ("sampler", "settings", "message"),
    [
        ("ancestral", SampleSettings(steps=None), "--steps is missing"),
        ("ancestral", SampleSettings(steps=0), "--steps 0 must be at least 1"),
        ("first-hitting", SampleSettings(steps=8), "--steps 8: .* takes no --steps"),
        ("first-hitting", SampleSettings(steps=None, grid="published"), "--grid published"),
        ("first-hitting", SampleSettings(None, reveal_exponent=2.0), "--reveal-exponent 2: "),
        ("dplm", SampleSettings(8, reveal_exponent=2.0), "--reveal-exponent 2: "),
        ("dplm", SampleSettings(5, grid="published"), "--grid published"),
        ("remdm", SampleSettings(None), "--steps is missing"),
        ("remdm", SampleSettings(8, grid="published"), "--grid published"),
        ("saber", SampleSettings(None), "--steps is missing"),
        ("saber", SampleSettings(8, grid="published"), "--grid published"),
        ("saber", SampleSettings(8, reveal_exponent=2.0), "--reveal-exponent 2: "),
    ],
)
def test_settings_a_sampler_would_ignore_are_refused(
    sampler: str, settings: SampleSettings, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_settings(find_sampler(sampler), settings)


@pytest.mark.parametrize("name", ["remdm", "apart"])
def test_samplers_on_the_grid_take_a_bent_one(name: str) -> None:
    assert find_sampler(name).reveals_on_grid
    check_settings(find_sampler(name), SampleSettings(8, reveal_exponent=2.0))


@pytest.mark.parametrize(
    ("settings", "option", "message"),
    [
        (RemdmSettings, {"schedule": "no"}, "schedule=no must be cap, rescale, loop or renoise"),
        (RemdmSettings, {"eta": "1.5"}, "eta=1.5 must be from 0 to 1"),
        (RemdmSettings, {"eta": "nan"}, "eta=nan must be from 0 to 1"),
        (RemdmSettings, {"eta": "much"}, "eta=much must be a number"),
        (RemdmSettings, {"weighting": "none"}, "weighting=none must be uniform or confidence"),
        (RemdmSettings, {"t_on": "0.01"}, "t_off=0.05 and t_on=0.01 must be above 0 and below 1"),
        (RemdmSettings, {"alpha_on": "1"}, "alpha_on=1.0 must be above 0 and below 1"),
        (RemdmSettings, {"sigma": "1"}, "has no option sigma; it has schedule, eta, weighting"),
        (SaberSettings, {"min_reveal": "0"}, "min_reveal=0 must be at least 1"),
        (SaberSettings, {"mu": "-1"}, "mu=-1 must be 0 or more"),
        (SaberSettings, {"mu": "2.5"}, "mu=2.5 must be a whole number"),
        (SaberSettings, {"eta": "1"}, "has no option eta; it has min_reveal, mu"),
        (ApartSettings, {"threshold": "0"}, r"threshold=0\.0 must be above 0"),
    ],
)
def test_options_without_sense_are_refused(
    settings: type, option: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        from_options("one", settings, option)
