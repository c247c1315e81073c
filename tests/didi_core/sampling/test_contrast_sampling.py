"""Contrast: the guided law by hand, the sampled law by enumeration, and what it costs."""

import itertools
import math
from collections.abc import Callable
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
from tiny_models import FRAMED, MASK, framed_dit, randomise, tiny_denoiser
from torch import Tensor

from didi_core.errors import UserError
from didi_core.models.denoiser import Denoiser
from didi_core.models.folder import load_denoiser, save_model_folder
from didi_core.models.joint_head_file import head_for
from didi_core.models.weak_file import load_weak, save_weak
from didi_core.sampling.ancestral import PlannedSampler, ancestral
from didi_core.sampling.apart import ApartSampler
from didi_core.sampling.contrast import ContrastPredictor, guided_log_probs
from didi_core.sampling.filling import build_engine, build_prior, planned_calls
from didi_core.sampling.predictor import Predictor, StatePredictor
from didi_core.sampling.registry import SAMPLERS, build_predictor, build_sampler
from didi_core.sampling.request import Sampler, SampleSettings

NEVER = -math.inf
STRONG = random_law(2, 3, seed=1)
WEAK = random_law(2, 3, seed=5)
ROWS = [FRAMED.frame([MASK] * 12), FRAMED.frame([MASK, 3, MASK, 4]), FRAMED.frame([MASK] * 7)]


def logs(*chances: float) -> Tensor:
    return torch.tensor([chances], dtype=torch.float64).log()


@pytest.mark.parametrize("weight", [0.5, 1.0, 2.0])
def test_the_guided_law_by_hand(weight: float) -> None:
    p, q = (0.2, 0.3, 0.5), (0.4, 0.3, 0.3)
    found = guided_log_probs(logs(*p), logs(*q), weight).exp()[0].tolist()
    odds = [t * (t / a) ** weight for t, a in zip(p, q, strict=True)]
    assert found == pytest.approx([each / sum(odds) for each in odds], rel=1e-12)
    same = guided_log_probs(logs(*p), logs(*p), weight)
    torch.testing.assert_close(same, logs(*p))  # where the two agree nothing is sharpened
    assert guided_log_probs(logs(*p).float(), logs(*q).float(), weight).dtype == torch.float32


@pytest.mark.parametrize(
    ("strong", "weak", "expected"),
    [
        # What the strong network rules out stays out, whatever the weak one says.
        ((0.0, 0.4, 0.6), (0.0, 0.4, 0.6), (0.0, 0.4, 0.6)),
        ((0.0, 0.4, 0.6), (0.5, 0.2, 0.3), (0.0, 0.4, 0.6)),
        # What the weak one alone rules out takes all, by the square of the strong one's at w = 1.
        ((0.2, 0.2, 0.6), (0.0, 0.5, 0.5), (1.0, 0.0, 0.0)),
        ((0.2, 0.4, 0.4), (0.0, 0.0, 1.0), (0.2, 0.8, 0.0)),
    ],
)
def test_tokens_of_no_probability(strong: tuple, weak: tuple, expected: tuple) -> None:
    found = guided_log_probs(logs(*strong), logs(*weak), 1.0)
    assert found.exp()[0].tolist() == pytest.approx(list(expected))
    # As the limit of small ones.
    small = torch.tensor([weak], dtype=torch.float64).clamp_min(1e-300).log()
    near = guided_log_probs(logs(*strong), small, 1.0)
    assert near.exp()[0].tolist() == pytest.approx(list(expected))


def guided_conditional(known: dict[int, int], position: int, weight: float) -> list[float]:
    strong, weak = (conditional(law, known, position, 2) for law in (STRONG, WEAK))
    odds = [t * (t / a) ** weight for t, a in zip(strong, weak, strict=True)]
    return [each / sum(odds) for each in odds]


def k_step_guided_law(num_steps: int, weight: float) -> Law:
    """Enumerate: each position falls to each step alike, and those of one are independent."""
    result = dict.fromkeys(STRONG, 0.0)
    assignments = list(itertools.product(range(num_steps), repeat=3))
    for sequence, steps in itertools.product(STRONG, assignments):
        chance = 1.0 / len(assignments)
        for position, step in enumerate(steps):
            known = {i: sequence[i] for i in range(3) if steps[i] < step}
            chance *= guided_conditional(known, position, weight)[sequence[position]]
        result[sequence] += chance
    return result


@pytest.mark.parametrize(("steps", "weight"), [(1, 1.0), (2, 0.5)])
def test_its_law_is_that_of_the_guided_conditionals(steps: int, weight: float) -> None:
    vocabulary = toy_vocabulary(2)
    strong, weak = (Predictor(ExactDenoiser([law], 2), vocabulary) for law in (STRONG, WEAK))
    sampler = ancestral(ContrastPredictor(strong, weak, weight))
    row = [vocabulary.mask_id] * 3
    counts = draw_sequences(sampler, strong, SampleSettings(steps=steps), row, 30_000)
    assert chi_square_p_value(counts, k_step_guided_law(steps, weight)) > 1e-3
    assert chi_square_p_value(counts, k_step_guided_law(steps, 0.0)) < 1e-6


def networks(weight: float, weak: int = 2) -> ContrastPredictor:
    strong, other = (Predictor(tiny_denoiser(n, torch.float64), FRAMED) for n in (1, weak))
    return ContrastPredictor(strong, other, weight)


PLANNED: dict[str, Callable[[StatePredictor], Sampler]] = {
    "random": ancestral,
    "apart": ApartSampler,
}


@pytest.mark.parametrize("positions", PLANNED)
@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_without_weight_or_difference_it_is_the_strong_network(
    positions: str, exponent: float
) -> None:
    settings = SampleSettings(steps=4, seed=3, reveal_exponent=exponent)
    prior = build_prior(ROWS, [0, 1, 2**40], FRAMED, "cpu")
    both = networks(0.0)
    plain = PLANNED[positions](both.strong).sample(prior, settings)
    for predictor, cost in ((both, 1), (networks(1.0, weak=1), 2)):
        sampler = PLANNED[positions](predictor)
        found = sampler.sample(prior, settings)
        assert torch.equal(found.tokens, plain.tokens)
        assert torch.equal(found.denoiser_calls, cost * plain.denoiser_calls)
        assert sampler.num_steps(12, settings) == cost * 4
        assert sampler.num_steps(2, settings) == cost * 2
    other = PLANNED[positions](networks(2.0)).sample(prior, settings)
    assert not torch.equal(other.tokens, plain.tokens)


def test_no_weight_is_the_strong_network_s_law_bit_for_bit() -> None:
    both = networks(0.0)
    batch = build_prior(ROWS, [0, 1, 2], FRAMED, "cpu").batch
    asked = (batch.tokens, batch.lengths, batch.maskable)
    found = both.predict(*asked).log_probs
    assert torch.equal(found, both.strong.log_probs(*asked))
    assert found.dtype == torch.float64


def test_positions_chosen_after_the_trunk_are_asked_of_both_networks() -> None:
    both = networks(1.5)
    batch = build_prior(ROWS, [0, 1, 2], FRAMED, "cpu").batch
    asked = []

    def choose() -> Tensor:
        asked.append(1)
        return batch.maskable

    found = both.predict(batch.tokens, batch.lengths, choose).log_probs
    assert asked == [1]
    beside = both.predict(batch.tokens, batch.lengths, batch.maskable).log_probs
    assert torch.equal(found, beside)


@pytest.mark.parametrize("positions", PLANNED)
def test_a_joint_head_corrects_the_guided_law_and_reads_the_strong_network(positions: str) -> None:
    both = networks(1.5)
    head = head_for(both.denoiser, 3).double()
    randomise(head, 7)
    headed = replace(both, strong=replace(both.strong, joint_head=head))
    prior = build_prior(ROWS, [0, 1, 2], FRAMED, "cpu")
    asked = (prior.batch.tokens, prior.batch.lengths, prior.batch.maskable)
    found, alone = headed.predict(*asked), headed.strong.predict(*asked)
    assert torch.equal(found.hidden, alone.hidden)
    torch.testing.assert_close(found.log_probs, both.predict(*asked).log_probs)

    settings = SampleSettings(steps=2, seed=4)
    together = PLANNED[positions](headed).sample(prior, settings)
    apart = PLANNED[positions](both).sample(prior, settings)
    assert together.head_passes.any() and not apart.head_passes.any()
    assert torch.equal(together.denoiser_calls, apart.denoiser_calls)
    assert not torch.equal(together.tokens, apart.tokens)
    off = PLANNED[positions](replace(headed, weight=0.0)).sample(prior, settings)
    plain = PLANNED[positions](headed.strong).sample(prior, settings)
    assert torch.equal(off.tokens, plain.tokens)


def folder_with(folder: Path, **own: object) -> Path:
    strong = tiny_denoiser(1)
    save_model_folder(folder, strong, FRAMED, card="", extra_config={"didi": own})
    save_weak(tiny_denoiser(2), folder / "weak.safetensors")
    return folder


@pytest.mark.parametrize(
    ("own", "options", "weight", "kind"),
    [
        ({}, {}, 1.0, PlannedSampler),
        ({"contrast_weight": 2, "contrast_positions": "apart"}, {}, 2.0, ApartSampler),
        ({"contrast_weight": 2}, {"weight": "0.5"}, 0.5, PlannedSampler),
        ({"contrast_positions": "apart"}, {"positions": "random"}, 1.0, PlannedSampler),
        ({}, {"positions": "apart", "threshold": "3", "weight": 1.5}, 1.5, ApartSampler),
    ],
)
def test_the_folder_says_what_is_not_asked_for(
    own: dict, options: dict, weight: float, kind: type, tmp_path: Path
) -> None:
    model = load_denoiser(folder_with(tmp_path, **own), dtype=torch.float64)
    sampler = build_sampler(SAMPLERS["contrast"], build_predictor(model), model, options)
    assert isinstance(sampler, kind)
    predictor = sampler.predictor
    assert isinstance(predictor, ContrastPredictor) and predictor.weight == weight
    assert predictor.strong.denoiser is model.denoiser
    expected, found = tiny_denoiser(2, torch.float64), predictor.weak.denoiser
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name
    if isinstance(sampler, ApartSampler):
        assert sampler.apart.threshold == float(options.get("threshold", 2.0))


WRONG_OPTIONS = [
    ({"weight": "-1"}, "weight=-1"),
    ({"weight": "nan"}, "weight=nan"),
    ({"weight": "inf"}, "weight=inf"),
    ({"weight": "much"}, "weight=much"),
    ({"positions": "left"}, "positions=left"),
    ({"threshold": "0", "positions": "apart"}, "threshold=0"),
    ({"threshold": "3"}, "threshold=3"),
    ({"threshold": "3", "positions": "random"}, "threshold=3"),
]


@pytest.mark.parametrize(("options", "named"), WRONG_OPTIONS)
def test_options_without_sense_are_named(options: dict, named: str, tmp_path: Path) -> None:
    model = load_denoiser(folder_with(tmp_path))
    with pytest.raises(UserError, match=named):
        build_sampler(SAMPLERS["contrast"], build_predictor(model), model, options)


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ({"contrast_weight": -1}, "contrast_weight is -1"),
        ({"contrast_weight": "2"}, "contrast_weight is '2'"),
        ({"contrast_positions": "left"}, "contrast_positions is 'left'"),
    ],
)
def test_a_folder_without_sense_is_refused(own: dict, named: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=named):
        load_denoiser(folder_with(tmp_path, **own))


def test_weak_weights_that_are_missing_or_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = load_denoiser(folder_with(tmp_path))

    def build(weak: Denoiser | None) -> None:
        path = tmp_path / "weak.safetensors"
        extras = {} if weak is None else {"weak": path}
        if weak is not None:
            save_weak(weak, path)
        other = replace(model, extras=extras)
        build_sampler(SAMPLERS["contrast"], build_predictor(other), other, {})

    with pytest.raises(UserError, match=r"--sampler contrast needs .* no weak\.safetensors"):
        build(None)
    with pytest.raises(UserError, match=r"weak\.safetensors"):
        build(tiny_denoiser(width=16))
    build(tiny_denoiser(3))


def test_a_weak_network_of_the_text_layout_is_read_again(tmp_path: Path) -> None:
    weak = framed_dit(2)
    save_weak(weak, tmp_path / "weak.safetensors")
    read = load_weak(framed_dit(1).double(), tmp_path / "weak.safetensors")
    for name, tensor in weak.double().state_dict().items():
        assert torch.equal(tensor, read.state_dict()[name]), name
    assert not any(parameter.requires_grad for parameter in read.parameters())


def test_every_pass_is_metered_as_planned(tmp_path: Path) -> None:
    model = load_denoiser(folder_with(tmp_path))
    kind, rows = SAMPLERS["contrast"], [FRAMED.frame([MASK] * 40)] * 2
    engine = build_engine(
        build_predictor(model), lambda predictor: build_sampler(kind, predictor, model, {})
    )
    settings = SampleSettings(steps=3)
    finished = engine.fill(rows, [0, 1], settings)
    assert [each.denoiser_calls for each in finished] == [6, 6]
    assert engine.meter.rows == planned_calls(engine, rows, settings) == 12
