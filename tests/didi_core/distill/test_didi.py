"""DiDi-Instruct's step: times, reverse steps, masking, discriminator, reward, and every switch."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import FRAMED, MASK, cpu_fabric, tiny_corpus, tiny_denoiser, weights_of
from torch import Tensor
from torch.nn import functional as F

from didi_core.distill.didi import DidiInstruct, MaskedState
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.reference import GroupedReference, ReferenceBatch
from didi_core.models.discriminator import load_discriminator
from didi_core.models.noise import NoiseSettings, without_noise
from didi_core.sampling.predictor import Predictor

FAST = DidiSettings(
    student=OptimizerSettings(lr=1e-2, warmup_steps=1, clip_norm=0.5),
    discriminator=OptimizerSettings(lr=1e-2, warmup_steps=1),
)


def method_with(settings: DidiSettings = FAST, tokens: int = 2048) -> DidiInstruct:
    corpus = tiny_corpus(200, low=3, high=12)
    reference = GroupedReference(corpus, FRAMED, settings.group_size, tokens, 20, seed=1)
    method = DidiInstruct(tiny_denoiser(1, num_layers=2), FRAMED, reference, settings, seed=3)
    method.setup(cpu_fabric())
    return method


def moved(before: dict[str, Tensor], module: torch.nn.Module) -> set[str]:
    return {n for n, t in module.state_dict().items() if not torch.equal(t, before[n])}


def test_tau_is_shared_by_a_group_or_drawn_for_each_row() -> None:
    rows = torch.arange(4000)
    shared = method_with().times.draw(5, rows).view(-1, 4)
    assert (shared == shared[:, :1]).all() and len(shared[:, 0].unique()) > 900
    own = method_with(replace(FAST, share_tau=False)).times.draw(5, rows)
    assert len(own.unique()) > 3800
    for tau in (shared.flatten(), own):
        assert float(tau.min()) == pytest.approx(0.02) and float(tau.max()) == pytest.approx(0.98)
        assert float(tau.mean()) == pytest.approx(0.5, abs=0.02)
    # A process that holds some of the rows draws the same times for them; another step, others.
    some = torch.tensor([8, 9, 10, 11, 400, 401, 402, 403])
    assert torch.equal(method_with().times.draw(5, some), shared.flatten()[some])
    assert not torch.equal(method_with().times.draw(6, some), shared.flatten()[some])


@pytest.mark.parametrize(("a", "b"), [(2.0, 5.0), (5.0, 2.0), (2.0, 2.0)])
def test_tau_follows_its_beta_distribution(a: float, b: float) -> None:
    settings = replace(FAST, tau_beta=(a, b), tau_range=(0.001, 0.999))
    method = method_with(settings)
    before = torch.random.get_rng_state()
    tau = method.times.draw(0, torch.arange(0, 6000, 4))
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator is left alone"
    variance = a * b / ((a + b) ** 2 * (a + b + 1))
    assert float(tau.mean()) == pytest.approx(a / (a + b), abs=4 * math.sqrt(variance / 1500))
    assert float(tau.var()) == pytest.approx(variance, rel=0.15)


def test_weights_of_times() -> None:
    tau = torch.tensor([0.02, 0.5, 0.98])
    assert method_with().times.weight(tau).tolist() == pytest.approx([10.0, 2.0, 1 / 0.98])
    skewed = replace(FAST, tau_beta=(2.0, 2.0))
    density = [6 * x * (1 - x) for x in (0.02, 0.5, 0.98)]
    omega = [10.0, 2.0, 1 / 0.98]
    expected = [w / d for w, d in zip(omega, density, strict=True)]
    assert method_with(skewed).times.weight(tau).tolist() == pytest.approx(expected, rel=1e-5)
    neither = replace(skewed, use_omega=False, use_pi=False)
    assert method_with(neither).times.weight(tau).tolist() == [1.0, 1.0, 1.0]


def first_batch(method: DidiInstruct) -> ReferenceBatch:
    return method.reference.batch(0)


def test_reverse_steps_go_by_way_of_tau() -> None:
    method = method_with(replace(FAST, end_time=0.1), tokens=20_000)
    reference = first_batch(method)
    batch, tau = reference.batch, torch.full((len(reference.rows),), 0.4)
    first, last = method.roll_out(batch, reference.rows, tau, step=0)
    assert torch.equal(first.masked, batch.maskable), "from all-mask"
    assert torch.equal(first.before == MASK, batch.maskable)
    assert torch.equal(last.before, first.after)
    inside = batch.maskable.sum()
    for step, share in ((first, 0.6), (last, 0.9)):
        shown = (step.after[batch.maskable] != MASK).sum() / inside
        assert float(shown) == pytest.approx(share, abs=0.03)
        assert torch.equal(step.after[~batch.maskable], batch.tokens[~batch.maskable])
        # What is scored are the student's own probabilities of the tokens that appear.
        at = step.after[step.masked] != MASK
        assert torch.equal(at, step.revealed)
        own = Predictor(method.student.module, FRAMED)
        log_probs = own.log_probs(step.before, batch.lengths, step.masked)
        ranks = FRAMED.rank_of_id[step.after[step.masked][at]]
        expected = log_probs[at].gather(-1, ranks[:, None])[:, 0]
        torch.testing.assert_close(step.drawn_log_prob()[at], expected)
        assert (step.drawn_log_prob()[~at] == 0).all()
        assert step.drawn_log_prob().requires_grad
    kept = first.after != MASK
    assert torch.equal(last.after[kept], first.after[kept]), "a revealed token is carried over"


def test_without_score_decomposition_there_is_one_step() -> None:
    method = method_with(replace(FAST, score_decomposition=False), tokens=20_000)
    reference = first_batch(method)
    tau = torch.full((len(reference.rows),), 0.4)
    (only,) = method.roll_out(reference.batch, reference.rows, tau, step=0)
    assert torch.equal(only.masked, reference.batch.maskable)
    assert float(only.revealed.float().mean()) > 0.99


def test_tokens_are_drawn_from_the_student() -> None:
    method = method_with(tokens=40_000)
    reference = first_batch(method)
    tau = torch.full((len(reference.rows),), 0.5)
    first = method.roll_out(reference.batch, reference.rows, tau, step=0)[0]
    # All rows of one length have the same probabilities at all-mask.
    length = int(reference.batch.lengths[0])
    position = first.masked.nonzero()[:, 1]
    here = (reference.batch.lengths[first.row] == length) & (position == 1) & first.revealed
    chances = first.at_masked(first.log_probs)[here][0].exp().tolist()
    counts = first.drawn[here].bincount(minlength=3).tolist()
    total = sum(counts)
    assert total > 100
    statistic = sum(
        (n - total * p) ** 2 / (total * p) for n, p in zip(counts, chances, strict=True)
    )
    assert statistic < 16, "two degrees of freedom"


def test_a_row_alone_takes_the_same_steps() -> None:
    method = method_with()
    reference = first_batch(method)
    tau = method.times.draw(0, reference.rows)
    together = method.roll_out(reference.batch, reference.rows, tau, step=0)[-1].after
    for row in (0, 5):
        alone = method.roll_out(
            reference.batch.rows(slice(row, row + 1)), reference.rows[row : row + 1],
            tau[row : row + 1], step=0,
        )  # fmt: skip
        assert torch.equal(alone[-1].after[0], together[row])


def test_masking_anew() -> None:
    method = method_with(tokens=20_000)
    reference = first_batch(method)
    batch, time = reference.batch, torch.full((len(reference.rows),), 0.3)
    states = [method.mask_at(batch, time, reference.rows, 0, side) for side in (0, 1)]
    for state in states:
        assert torch.equal(state.tokens == MASK, state.masked)
        assert not (state.masked & ~batch.maskable).any()
        assert torch.equal(state.tokens[~state.masked], batch.tokens[~state.masked])
        assert float(state.masked[batch.maskable].float().mean()) == pytest.approx(0.3, abs=0.03)
    assert not torch.equal(states[0].masked, states[1].masked), "each side has its own masks"


class Probe(DidiInstruct):
    """Notes the times at which samples and references are masked."""

    def mask_at(self, batch, time, rows, step, side):
        self.seen = {**getattr(self, "seen", {}), side: time}
        return super().mask_at(batch, time, rows, step, side)


@pytest.mark.parametrize("coupled", [True, False])
def test_samples_and_references_are_masked_at_tau_when_coupled(coupled: bool) -> None:
    plain = method_with(replace(FAST, coupled_time=coupled))
    method = Probe(plain.teacher, FRAMED, plain.reference, plain.settings, seed=3)
    method.setup(cpu_fabric())
    method.step(0, 10)
    tau = method.times.draw(0, first_batch(method).rows)
    assert torch.equal(method.seen[0], method.seen[1]), "both sides at the same time"
    assert torch.equal(method.seen[0], tau) is coupled
    groups = method.seen[0].view(-1, 4)
    assert (groups == groups[:, :1]).all(), "a group shares its time, coupled or not"


def both_sides(method: DidiInstruct) -> tuple[ReferenceBatch, MaskedState, MaskedState]:
    reference = first_batch(method)
    time = method.times.draw(0, reference.rows)
    real = method.mask_at(reference.batch, time, reference.rows, 0, side=1)
    fake = method.mask_at(reference.batch, time, reference.rows, 0, side=0)
    return reference, real, fake


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_discriminator_s_update(smoothing: float) -> None:
    settings = replace(FAST, label_smoothing=smoothing, discriminator_blocks=1)
    method = method_with(settings)
    reference, real, fake = both_sides(method)
    judge = copy.deepcopy(method.discriminator.module)
    tokens = torch.cat([real.tokens, fake.tokens])
    lengths = reference.batch.lengths.repeat(2)
    logits = judge.logits_at(tokens, lengths, torch.cat([real.masked, fake.masked])).detach()
    labels = torch.full_like(logits, smoothing)
    labels[: int(real.masked.sum())] = 1 - smoothing
    each = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    sides = each.split([int(real.masked.sum()), int(fake.masked.sum())])
    expected = float((sides[0].mean() + sides[1].mean()) / 2)

    before = weights_of(method.discriminator.module)
    counts = [int(side.masked.sum()) for side in (real, fake)]

    def update() -> dict[str, float]:
        method.discriminator.clear()
        figures = method.discriminate(reference.batch, real, fake, counts)
        method.discriminator.update(0, 10)
        return figures

    figures = update()
    assert figures["discriminator_loss"] == pytest.approx(expected, rel=1e-5)
    changed = moved(before, method.discriminator.module)
    frozen = {n for n in before if n.startswith(("trunk.embedding", "trunk.blocks.0"))}
    assert changed and not changed & frozen
    assert any(n.startswith("trunk.blocks.1") for n in changed)
    for _ in range(30):
        figures = update()
    assert figures["discriminator_loss"] < expected


@pytest.mark.parametrize("clip", [8.0, 0.05])
def test_the_reward(clip: float) -> None:
    method = method_with(replace(FAST, reward_clip=clip))
    reference, _, fake = both_sides(method)
    before = weights_of(method.discriminator.module)
    reward = method.judge(reference.batch, fake).reward
    assert not moved(before, method.discriminator.module), "judging is not training"
    assert method.discriminator.module.training and not reward.requires_grad
    judge = copy.deepcopy(method.discriminator.module).eval()
    for row in range(0, len(reference.rows), 3):
        length = int(reference.batch.lengths[row])
        alone = fake.tokens[row : row + 1, :length]
        at = alone == MASK
        with torch.no_grad():
            logits = judge.logits_at(alone, torch.tensor([length]), at)
        expected = float(logits.clamp(-clip, clip).mean()) if at.any() else 0.0
        assert float(reward[row]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_discriminator_alone_at_first() -> None:
    method = method_with(replace(FAST, discriminator_warmup=2))
    student, teacher = weights_of(method.student.module), weights_of(method.teacher)
    for step in range(3):
        judge = weights_of(method.discriminator.module)
        figures = method.step(step, 10)
        assert moved(judge, method.discriminator.module)
        assert bool(moved(student, method.student.module)) is (step == 2)
        assert ("policy_loss" in figures) is (step == 2)
    assert not moved(teacher, method.teacher), "the teacher is frozen"
    average = weights_of(method.result())
    assert moved(student, method.result()) and average.keys() == student.keys()


ACTING = {
    "share_tau": False,
    "score_decomposition": False,
    "coupled_time": False,
    "end_time": 0.5,
    "tau_range": (0.4, 0.6),
    "tau_beta": (5.0, 2.0),
    "label_smoothing": 0.0,
    "discriminator_blocks": 0,
    "reward_clip": 0.01,
    "group_normalise": False,
    "group_deviation": "sample",
    "group_size": 2,
    "advantage_clip": 0.1,
    "noise": NoiseSettings("position", 4, 0.5),
    "use_omega": False,
    "use_pi": False,
    "kl_kind": "forward",
    "kl_beta": 0.0,
    "kl_start": 0.0,
    "kl_middle": 0.0,
    "entropy_bonus": 0.0,
    "reduce_log_prob": "sum",
    "ema": 0.01,
    "discriminator_warmup": 1,
    "omega_range": (0.1, 1.2),
    "student": OptimizerSettings(lr=1e-4, warmup_steps=1),
    "discriminator": OptimizerSettings(lr=1e-4, warmup_steps=1),
}


def result_of(settings: DidiSettings) -> dict[str, Tensor]:
    method = method_with(settings, tokens=256)
    for step in range(3):
        method.step(step, 10)
    return weights_of(without_noise(method.result())[0])


def test_every_setting_changes_the_student() -> None:
    assert set(ACTING) == {name for name in vars(FAST)}, "a new setting needs its line here"
    strong = replace(FAST, kl_start=0.5, kl_middle=0.5, entropy_bonus=0.1)
    plain = result_of(strong)
    again = result_of(strong)
    assert all(torch.equal(plain[name], again[name]) for name in plain), "runs repeat exactly"
    for name, value in ACTING.items():
        # The density of a uniform tau is 1: whether it divides shows on another distribution.
        base = replace(strong, tau_beta=(2.0, 2.0)) if name == "use_pi" else strong
        reference = result_of(base) if name == "use_pi" else plain
        found = result_of(replace(base, **{name: value}))
        assert any(not torch.equal(found[n], reference[n]) for n in found), f"{name} does nothing"


def test_the_discriminator_is_saved_beside_the_student(tmp_path: Path) -> None:
    method = method_with()
    ((name, write),) = method.extra_weights().items()
    write(tmp_path / f"{name}.safetensors")
    stored = load_discriminator(tiny_denoiser(1, num_layers=2), tmp_path / f"{name}.safetensors")
    assert not moved(weights_of(method.discriminator.module), stored)
