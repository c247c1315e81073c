"""Samplers of uniform-state models: their enumerated laws on an exact denoiser."""

from collections import Counter
from functools import partial
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
from exact_uniform import ExactUniformDenoiser, chance_of
from torch import Tensor

from didi_core.diffusion.uniform import UniformProcess
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.registry import SAMPLERS, build_sampler, find_sampler
from didi_core.sampling.request import DrawSettings, Sampler, SampleSettings
from didi_core.sampling.sampler_options import from_options
from didi_core.sampling.uniform import (
    Move,
    PsiSettings,
    UniformSampler,
    kappa_of,
)

NUM_SAMPLES = 100_000
PLAUSIBLE, IMPLAUSIBLE = 1e-3, 1e-12


def predictor_of(law: Law, num_tokens: int) -> Predictor:
    return Predictor(ExactUniformDenoiser(law, num_tokens), toy_vocabulary(num_tokens))


def drawn(sampler: Sampler, settings: SampleSettings, row: list[int]) -> Counter:
    return draw_sequences(sampler, sampler.predictor, settings, row, NUM_SAMPLES)


def chain_law(
    predictor: Predictor, moves: list[Move], free: list[bool], start: tuple[int, ...], greedy: bool
) -> Law:
    """The law of a chain of moves, enumerated: positions are independent within a step."""
    network = predictor.denoiser
    states = network.states
    kept = ~torch.tensor(free)
    law = (states[:, kept] == torch.tensor(start)[kept]).all(-1).double()
    law /= law.sum()
    for step, move in enumerate(moves):
        law = law @ _transition(network, move, kept, greedy and step == len(moves) - 1)
    return {tuple(s): p for s, p in zip(states.tolist(), law.tolist(), strict=True) if p > 0}


def _transition(network, move: Move, kept: Tensor, greedy: bool) -> Tensor:
    """[z_t, z_s], by Bayes' rule from one-hot clean tokens, not by the sampler's formula."""
    states, size = network.states, network.num_tokens
    clean, matrix = network.table(move.alpha_t), torch.ones(len(states), len(states)).double()
    token = torch.arange(size)[:, None]
    to_s = chance_of(token, token, move.alpha_s, size)[..., 0]  # [x, z_s]
    to_t = chance_of(token, token, move.alpha_t, size)[..., 0]
    between = chance_of(token, token, move.alpha_t / move.alpha_s, size)[..., 0]  # [z_s, z_t]
    for position in range(network.length):
        now, new = states[:, position], states[:, position]
        if kept[position]:
            matrix *= now[:, None] == new[None]
            continue
        if greedy:
            matrix *= clean[:, position].argmax(-1)[:, None] == new[None]
            continue
        own = clean[:, position] * to_t[:, now].T  # [z_t, x], given the own token too
        own = own / own.sum(-1, keepdim=True)
        back = to_s[None] * between[:, now].T[:, None] / to_t[:, now].T[..., None]  # [z_t, x, z_s]
        law = move.kappa * (own[..., None] * back).sum(1) + (1 - move.kappa) * own @ to_s
        matrix *= law[:, new]
    return matrix


KINDS = {
    "ancestral": (UniformSampler, {}),
    "greedy-tail": (UniformSampler, {"greedy_tail": True}),
    "psi": (UniformSampler, {"plan": PsiSettings(eta=0.4).plan}),
    "psi-rescale": (UniformSampler, {"plan": PsiSettings("rescale", eta=0.5).plan}),
    "psi-loop": (UniformSampler, {"plan": PsiSettings("loop", eta=0.1).plan}),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("num_tokens", "row"), [(3, [3, 3, 3]), (4, [4, 1, 4])])
def test_few_steps_have_their_enumerated_law(name: str, num_tokens: int, row: list[int]) -> None:
    predictor = predictor_of(random_law(num_tokens, len(row), seed=3), num_tokens)
    build, options = KINDS[name]
    sampler, settings = build(predictor, **options), SampleSettings(steps=4, seed=5)
    greedy = name == "greedy-tail"
    free = [token == num_tokens for token in row]
    expected = chain_law(predictor, sampler.plan(settings), free, tuple(row), greedy)
    found = drawn(sampler, settings, row)
    assert chi_square_p_value(found, expected) > PLAUSIBLE
    assert all(ids[i] == row[i] for ids in found for i, f in enumerate(free) if not f)
    if name != "ancestral":  # the control: it is not the ancestral law
        plain = UniformSampler(predictor)
        other = chain_law(predictor, plain.plan(settings), free, tuple(row), False)
        assert max(abs(other[s] - expected.get(s, 0.0)) for s in other) > 0.003


@pytest.mark.parametrize("name", ["ancestral", "psi"])
def test_one_position_is_exact_in_any_number_of_steps(name: str) -> None:
    law = random_law(5, 1, seed=2)
    build, options = KINDS[name]
    for steps in (1, 3):
        found = drawn(build(predictor_of(law, 5), **options), SampleSettings(steps, seed=1), [5])
        assert chi_square_p_value(found, law) > PLAUSIBLE


MANY = {
    "ancestral": UniformSampler,
    "psi": partial(UniformSampler, plan=PsiSettings(eta=0.02).plan),
    "psi-rescale": partial(UniformSampler, plan=PsiSettings("rescale", eta=0.02).plan),
    "psi-loop": partial(UniformSampler, plan=PsiSettings("loop", eta=0.02).plan),
}
"""Exact in the limit: with correction, of an eta that is small beside a step."""


@pytest.mark.parametrize("name", MANY)
def test_many_steps_reach_the_law_and_few_do_not(name: str) -> None:
    law = {ids: (chance + 1 / 9) / 2 for ids, chance in random_law(3, 2, seed=3).items()}
    sampler = MANY[name](predictor_of(law, 3))
    many = drawn(sampler, SampleSettings(steps=64, seed=7), [3, 3])
    assert chi_square_p_value(many, law) > PLAUSIBLE
    few = drawn(sampler, SampleSettings(steps=2, seed=7), [3, 3])
    assert chi_square_p_value(few, law) < IMPLAUSIBLE


def test_the_chain_s_law_tends_to_the_model_s() -> None:
    law = random_law(3, 3, seed=1)
    predictor = predictor_of(law, 3)
    distance = {}
    for steps in (8, 64, 512):
        settings = SampleSettings(steps)
        for name, plan in (
            ("ancestral", UniformSampler(predictor).plan),
            ("psi", PsiSettings(eta=4 / steps).plan),
        ):
            found = chain_law(predictor, plan(settings), [True] * 3, (0, 0, 0), False)
            distance[name, steps] = sum(abs(law[s] - found[s]) for s in law) / 2
    for name in ("ancestral", "psi"):
        assert distance[name, 512] < distance[name, 64] / 4 < distance[name, 8] / 4
        assert distance[name, 512] < 1e-2


def test_between_alphas_that_round_to_zero_the_posterior_keeps_the_token() -> None:
    uniform, stays = Move(0.0, 0.0).shares(torch.tensor([0.3], dtype=torch.float64), 7)
    assert uniform.tolist() == [0.0] and stays.tolist() == [1.0]
    uniform, stays = Move(0.0, 0.0, 0.4).shares(torch.tensor([0.3], dtype=torch.float64), 7)
    assert uniform.tolist() == [0.6] and stays.tolist() == [0.4]
    plan = PsiSettings().plan(SampleSettings(steps=64, reveal_exponent=9.0))
    assert plan[0].alpha_s == 0.0, "the case occurs"


@pytest.mark.parametrize(
    ("alpha_t", "alpha_s", "kappa"),
    [(0.0, 0.1, 1.0), (0.2, 0.5, 1.0), (0.2, 0.5, 0.7), (0.0, 0.3, 0.2), (0.5, 1.0, 1.0)],
)
def test_the_mixture_is_the_posterior_s(alpha_t: float, alpha_s: float, kappa: float) -> None:
    size, generator = 7, torch.Generator().manual_seed(0)
    process = UniformProcess(tuple(range(size)))
    probs = torch.randn(50, size, generator=generator, dtype=torch.float64).softmax(-1)
    noised = torch.randint(size, (50,), generator=generator)
    uniform, stays = Move(alpha_t, alpha_s, kappa).shares(
        probs.gather(-1, noised[:, None])[:, 0], size
    )
    law = (1 - uniform - stays)[:, None] * probs + uniform[:, None] / size
    law = law.scatter_add(-1, noised[:, None], stays[:, None])
    clean = process.reverse_posterior(probs, noised, alpha_t, 1.0)
    expected = kappa * process.reverse_posterior(probs, noised, alpha_t, alpha_s)
    expected += (1 - kappa) * process.forward(clean, alpha_s)
    torch.testing.assert_close(law, expected, rtol=0, atol=1e-12)
    if alpha_s == 1.0:
        assert not bool(uniform.any()), "no token is random in the last step"


def test_published_draws_follow_the_law_too() -> None:
    law = random_law(3, 1, seed=2)
    sampler = UniformSampler(predictor_of(law, 3))
    settings = SampleSettings(3, seed=3, draw=DrawSettings(precision="float32"))
    assert chi_square_p_value(drawn(sampler, settings, [3]), law) > PLAUSIBLE


def test_kappa() -> None:
    assert [kappa_of(0.0, 0.5), kappa_of(0.1, 0.5), kappa_of(0.9, 0.5)] == [1.0, 0.8, 0.0]
    assert kappa_of(0.1, 1.0) == 1.0, "the last step is the posterior's"
    with pytest.raises(UserError, match="eta=2"):
        from_options("psi", PsiSettings, {"eta": "2"})


def test_temperature_top_p_and_bias_act_on_the_prediction() -> None:
    law = random_law(4, 1, seed=2)
    sampler = UniformSampler(predictor_of(law, 4))
    mean = torch.tensor(conditional(law, {}, 0, 4))
    kept = (mean.sort(descending=True).values.cumsum(0) < 0.6).sum() + 1
    nucleus = torch.zeros(4).scatter(0, mean.argsort(descending=True)[:kept], 1.0) * mean
    for draw, expected in (
        (DrawSettings(top_p=0.6), nucleus),
        (DrawSettings(temperature=0.5), mean**2),
        (
            DrawSettings(log_bias=torch.tensor([0.0, 1.0, -torch.inf, 0.0])),
            mean * torch.tensor([1, 2.718281828, 0, 1]),
        ),
    ):
        # A single position's prediction is the law itself, whatever the state and the time.
        wanted = {(i,): float(p) for i, p in enumerate(expected / expected.sum())}
        found = drawn(sampler, SampleSettings(3, seed=3, draw=draw), [4])
        assert chi_square_p_value(found, wanted) > PLAUSIBLE


def test_neither_neighbours_nor_padding_nor_the_grid_s_name_change_what_they_must_not() -> None:
    sampler = UniformSampler(predictor_of(random_law(3, 3, seed=1), 3))
    rows = [[3, 3, 3], [3, 1, 3], [0, 1, 2], [3, 0, 0]]
    prior = build_prior(rows, [5, 6, 7, 8], sampler.predictor.vocabulary, "cpu")
    made = sampler.sample(prior, SampleSettings(4, seed=2))
    assert made.denoiser_calls.tolist() == [4, 4, 0, 4]
    assert [sampler.num_steps(n, SampleSettings(4)) for n in (3, 2, 0)] == [4, 4, 0]
    for record, row in enumerate(rows):
        alone = build_prior([row], [record + 5], sampler.predictor.vocabulary, "cpu")
        found = sampler.sample(alone, SampleSettings(4, seed=2)).tokens
        assert torch.equal(found[0, :3], made.tokens[record, :3])
    published = sampler.sample(prior, SampleSettings(4, seed=2, grid="published"))
    assert published.denoiser_calls.tolist() == [5, 5, 0, 5]


@pytest.mark.usefixtures("unchecked")  # its network stands for one of ours
def test_greedy_tail_of_a_masked_model_has_its_enumerated_law() -> None:
    """One step of two: revealed by a draw in the first with chance 1/2, else by arg-max."""
    law = random_law(3, 2, seed=6)
    predictor = Predictor(ExactDenoiser([law], 3), toy_vocabulary(3))
    expected = dict.fromkeys(law, 0.0)

    def best(known: dict[int, int], position: int) -> int:
        chances = conditional(law, known, position, 3)
        return chances.index(max(chances))

    for ids in law:
        first = [conditional(law, {}, i, 3)[ids[i]] for i in (0, 1)]
        expected[ids] += first[0] * first[1] / 4
        expected[ids] += first[0] * (best({0: ids[0]}, 1) == ids[1]) / 4
        expected[ids] += first[1] * (best({1: ids[1]}, 0) == ids[0]) / 4
        expected[ids] += (best({}, 0) == ids[0]) * (best({}, 1) == ids[1]) / 4
    sampler = SAMPLERS["greedy-tail"].build(predictor, model_of(predictor, "absorbing"), {})
    found = drawn(sampler, SampleSettings(2, seed=4), [3, 3])
    assert chi_square_p_value(found, expected) > PLAUSIBLE
    assert chi_square_p_value(found, law) < IMPLAUSIBLE


def model_of(predictor: Predictor, process: str) -> LoadedModel:
    config = {"didi": {"process": process}}
    return LoadedModel(predictor.denoiser, predictor.vocabulary, config, "mine", Path(), {})


@pytest.mark.usefixtures("unchecked")  # its network stands for one of ours
def test_samplers_say_which_process_they_serve() -> None:
    predictor = predictor_of(random_law(3, 2, seed=0), 3)
    uniform, masked = model_of(predictor, "uniform"), model_of(predictor, "absorbing")
    for name in ("ancestral", "greedy-tail", "psi"):
        assert isinstance(find_sampler(name).build(predictor, uniform, {}), UniformSampler)
    for name, model, fitting in (
        ("rgas", uniform, "ancestral, greedy-tail, psi"),
        ("first-hitting", uniform, "ancestral, greedy-tail, psi"),
        ("psi", masked, "ancestral, greedy-tail, first-hitting"),
    ):
        with pytest.raises(UserError, match=rf"--sampler {name}: --model mine .*use {fitting}"):
            build_sampler(find_sampler(name), predictor, model, {})
    with pytest.raises(UserError, match="ancestral has no options"):
        find_sampler("ancestral").build(predictor, uniform, {"eta": 1})
    sampler = find_sampler("psi").build(predictor, uniform, {"eta": "0.3"})
    settings = SampleSettings(5)
    assert sampler.plan(settings) == PsiSettings(eta=0.3).plan(settings)
