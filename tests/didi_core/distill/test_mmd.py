"""MDLM-MMD: rewards by hand, an estimator that is unbiased, what is masked, and every switch."""

import copy
import itertools
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from tiny_models import (
    FRAMED,
    MASK,
    check_every_setting_acts,
    cpu_fabric,
    framed_batch,
    framed_dit,
    randomise,
    same_weights,
    timed_esm,
    tiny_corpus,
    tiny_denoiser,
    weights_of,
)

from didi_core.data.batches import TokenBatch
from didi_core.data.corpus import Corpus
from didi_core.distill.mmd import (
    FeatureReader,
    MmdSettings,
    RepresentationMmd,
    candidate_rewards,
    feature_blocks,
    leave_one_out,
    median_squared_distance,
    policy_terms,
)
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.reference import GroupedReference
from didi_core.errors import UserError
from didi_core.models.noise import NoiseSettings
from didi_core.sampling.predictor import Predictor
from didi_core.training.devices import build_fabric

FAST = MmdSettings(student=OptimizerSettings(lr=1e-2, warmup_steps=1, clip_norm=0.0), ema=0.5)


def method_with(
    settings: MmdSettings = FAST, tokens: int = 256, dtype: torch.dtype = torch.float32
) -> RepresentationMmd:
    reference = GroupedReference(tiny_corpus(100, low=3, high=12), FRAMED, 1, tokens, 20, seed=1)
    teacher = tiny_denoiser(1, dtype, num_layers=3)
    method = RepresentationMmd(teacher, FRAMED, reference, settings, seed=3)
    method.setup(cpu_fabric())
    return method


# The reward.


def test_a_reward_by_hand() -> None:
    # Two masked positions, features on a line, two draws: one as the reference, one beside it.
    reference = torch.tensor([[0.0], [2.0]])
    draws = torch.tensor([[[[0.0], [2.0]], [[1.0], [2.0]]], [[[0.0], [2.0]], [[0.0], [2.0]]]])
    k = {d: math.exp(-0.3 * d * d) for d in (0, 1, 2)}
    # Of draw one |a - b| is 0 2 2 0; of draw two, at 1 and 2, it is 1 2 1 0.
    as_reference = (2 * k[0] + 2 * k[2]) / 4
    beside = (2 * k[1] + k[2] + k[0]) / 4
    # i != j: 0 of one with 2 of the other, and 2 of the one with 1 of the other.
    mixed = (as_reference + beside) - (k[2] + k[1]) / 2
    alike = 2 * as_reference - k[2]
    found = candidate_rewards(reference, draws, 0.3)
    assert found.tolist() == pytest.approx([mixed, alike], rel=1e-6)


def test_rewards_are_those_of_a_sum_over_all_pairs_without_equal_draws_and_positions() -> None:
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    draws = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        return math.exp(-0.2 * float((a - b).square().sum()))

    places = range(4)
    for candidate, found in zip(draws, candidate_rewards(reference, draws, 0.2), strict=True):
        near = [k(reference[i], x[j]) for x in candidate for i in places for j in places]
        apart = [
            k(candidate[one][i], candidate[other][j])
            for one, other in itertools.permutations(range(3), 2)
            for i, j in itertools.permutations(places, 2)
        ]
        expected = 2 * sum(near) / len(near) - sum(apart) / len(apart)
        assert float(found) == pytest.approx(expected, rel=1e-9)


def test_a_candidate_of_other_tokens_than_the_reference_s_is_worth_less() -> None:
    # The law has two sequences: draws of both beat a sequence twice, which beats neither.
    one, other, neither = torch.zeros(2, 2), torch.full((2, 2), 3.0), torch.full((2, 2), 20.0)
    candidates = [(one, other), (one, one), (other, other), (neither, neither)]
    draws = torch.stack([torch.stack(each) for each in candidates])
    worth = (candidate_rewards(one, draws, 1.0) + candidate_rewards(other, draws, 1.0)) / 2
    assert worth.argsort(descending=True)[0] == 0
    assert worth[1] == pytest.approx(float(worth[2])) and worth[3] < worth[1] < worth[0]


def test_a_baseline_leaves_out_its_own_candidate() -> None:
    found = leave_one_out(torch.tensor([[1.0, 2.0, 6.0], [5.0, 5.0, 5.0]]))
    assert found.tolist() == [[-3.0, -1.5, 4.5], [0.0, 0.0, 0.0]]


def test_the_estimated_gradient_is_that_of_the_expected_reward() -> None:
    # Two masked positions, three tokens, two candidates of two draws: 81 and 81 ways to draw them.
    batch = framed_batch([3, 5, 4])
    masked = torch.zeros_like(batch.maskable)
    masked[0, [1, 3]] = True
    reader = FeatureReader(tiny_denoiser(4, torch.float64, num_layers=2), 2)
    ways = torch.cartesian_prod(*[torch.arange(3)] * 4).view(-1, 2, 2)  # draws, masked
    many = batch.rows(torch.zeros(9, dtype=torch.long))
    pairs = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    tokens = many.tokens.masked_scatter(masked.expand(9, -1), pairs + 3)
    features = reader(tokens, many.lengths)[:, masked[0]]
    own = reader(batch.tokens, batch.lengths)[masked]
    reward = candidate_rewards(own, features[ways[..., 0] * 3 + ways[..., 1]], 0.05)
    assert float(reward.std()) > 0.01

    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logits.requires_grad_(True)

    def chance_of(log_probs: torch.Tensor) -> torch.Tensor:
        return log_probs[torch.arange(2), ways].sum((1, 2)).exp()

    expected = (chance_of(logits.log_softmax(-1)) * reward).sum()
    (exact,) = torch.autograd.grad(expected, logits)

    log_probs = logits.log_softmax(-1)
    chance = chance_of(log_probs.detach())
    estimate = log_probs.new_zeros(())
    for first, second in itertools.product(range(81), repeat=2):
        advantage = leave_one_out(reward[[first, second]][None]).expand(2, -1)
        loss = policy_terms(log_probs, ways[[first, second]], advantage).mean()
        estimate = estimate + chance[first] * chance[second] * loss
    (found,) = torch.autograd.grad(estimate, logits)
    # The loss divides by positions, candidates and draws; it falls where the reward rises.
    torch.testing.assert_close(found, -exact / (2 * 2), rtol=1e-9, atol=1e-12)


PUBLISHED = {
    "rewards": [
        [0.391388, 0.233699, 0.386716, 0.217049],
        [0.362585, 0.436063, 0.282674, 0.511471],
        [0.376526, 0.25619, 0.343925, 0.25345],
    ],
    "loss": 0.00173443718,
    "gradient": [
        [-0.00194855, 0.00295063, 0.0, -0.00100208],
        [-7.13e-05, 0.00087517, -0.00187725, 0.00107338],
        [-0.00295063, 0.00302193, -0.00094646, 0.00087517],
        [-0.00100208, -0.00094646, -7.13e-05, 0.00201984],
        [-7.13e-05, -0.00107338, 7.13e-05, 0.00107338],
        [-0.00134848, -0.00047757, 0.00179925, 2.681e-05],
        [0.00089771, -0.00134848, 0.00137529, -0.00092452],
        [0.0, 0.00017775, -0.00099921, 0.00082146],
        [-0.00043336, 0.00107708, -0.00125483, 0.00061111],
        [-0.00064372, -0.00017775, 0.00125483, -0.00043336],
        [0.0, 0.00107708, -0.00064372, -0.00043336],
        [-0.000223, -0.00082146, -0.00082146, 0.00186593],
        [0.00043336, -0.000223, -0.00082146, 0.00061111],
        [0.00021036, -0.00207629, 0.00186593, 0.0],
    ],
}
"""What `mmd/objective.py` of yandex-research/dlm-mmd (branch mdlm-mmd, commit 068eba4) makes of the
tokens, features and draws below: rewards of rows and candidates, loss, and gradient by logits."""


def test_rewards_loss_and_gradient_are_those_of_the_published_code() -> None:
    rows, width, tokens, candidates, draws = 3, 7, 4, 4, 2
    masked = torch.zeros(rows, width, dtype=torch.bool)
    masked[0, [0, 1, 3, 4, 6]] = masked[1, [1, 2]] = masked[2] = True
    count = torch.arange(rows * width * candidates * draws)
    drawn = ((count**2 * 3 + count // 7) % 11 % tokens).view(rows, width, candidates, draws)
    drawn = drawn.permute(2, 3, 0, 1)
    clean = torch.arange(rows * width).view(rows, width) * 5 % tokens
    table = torch.sin(torch.arange(tokens * width * 5).double() * 0.7 + 0.3).view(tokens, width, 5)

    def features(ids: torch.Tensor) -> torch.Tensor:
        own = 3 * table[ids, torch.arange(width)]
        return own + own.mean(-2, keepdim=True)

    filled = features(torch.where(masked, drawn, clean))
    found = [
        candidate_rewards(features(clean)[row, masked[row]], filled[:, :, row, masked[row]], 0.05)
        for row in range(rows)
    ]
    reward = torch.stack(found)
    expected = {name: torch.tensor(each).double() for name, each in PUBLISHED.items()}
    torch.testing.assert_close(reward, expected["rewards"], rtol=0, atol=2e-6)
    unmasked = candidate_rewards(features(clean)[0], filled[:, :, 0], 0.05)
    assert (unmasked - reward[0]).abs().min() > 2e-4, "positions that z_t shows do not count"

    count = torch.arange(rows * width * tokens).double()
    logits = torch.cos(count * 1.3).view(rows, width, tokens)[masked].requires_grad_(True)
    advantage = leave_one_out(reward)[masked.nonzero()[:, 0]]
    loss = policy_terms(logits.log_softmax(-1), drawn[..., masked], advantage).mean()
    torch.testing.assert_close(loss.detach(), expected["loss"], rtol=1e-4, atol=0)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, expected["gradient"], rtol=0, atol=2e-8)


# Features.


@pytest.mark.parametrize("layout", ["esm", "dit", "timed"])
def test_features_are_the_stream_behind_a_block_of_the_clean_sequence(layout: str) -> None:
    build = {
        "esm": partial(tiny_denoiser, num_layers=3),
        "dit": partial(framed_dit, num_layers=3),
        "timed": partial(timed_esm, num_layers=3),
    }[layout]
    teacher = build(seed=2)
    seen: list[torch.Tensor] = []
    teacher.blocks[1].register_forward_hook(lambda *call: seen.append(call[2]))
    batch = framed_batch([3, 4, 5, 3], [5, 5, 3, 4])
    time = {"alpha": torch.ones(2)} if layout == "timed" else {}
    teacher.trunk(batch.tokens, batch.lengths, **time)
    reader = FeatureReader(teacher, 2)
    assert torch.equal(reader(batch.tokens, batch.lengths), seen[0])
    assert len(teacher.blocks) == 3 and not any(p.requires_grad for p in reader.parameters())


def test_a_third_of_the_blocks_reads_or_as_many_as_are_asked_for() -> None:
    assert [feature_blocks(None, n) for n in (1, 2, 3, 6, 12, 30)] == [1, 1, 1, 2, 4, 10]
    assert len(method_with().reader.trunk.blocks) == 1
    assert len(method_with(replace(FAST, feature_block=3)).reader.trunk.blocks) == 3
    with pytest.raises(UserError, match=r"method\.feature_block=4: the teacher has 3 blocks"):
        method_with(replace(FAST, feature_block=4))


def test_the_bandwidth_is_one_over_the_median_squared_distance() -> None:
    line = torch.tensor([[0.0], [1.0], [3.0]])  # distances 1, 2, 3
    assert median_squared_distance(line) == pytest.approx(4.0)
    method = method_with()
    first = method.reference.batch(0).batch
    batch = first.rows(slice(32))
    features = method.reader(batch.tokens, batch.lengths)[batch.maskable]
    every = (features[:, None] - features).square().sum(-1)
    pairs = every[torch.triu_indices(len(features), len(features), 1).unbind()]
    assert method.bandwidth == pytest.approx(1 / float(pairs.median()), rel=1e-4)
    later = method_with()
    later.step(7, 9)
    assert later.bandwidth == method.bandwidth, "whichever update is the first of a process"
    assert method_with(replace(FAST, bandwidth=0.25)).bandwidth == 0.25


def test_references_without_distances_are_refused() -> None:
    method = method_with()
    randomise(method.reader, 0)
    for parameter in method.reader.parameters():
        parameter.zero_()
    with pytest.raises(UserError, match=r"method\.bandwidth=null.*do not differ"):
        method.step(0, 9)
    alone = GroupedReference(Corpus.from_ids([[3]]), FRAMED, 1, 16, 20, seed=1)
    method = RepresentationMmd(tiny_denoiser(1), FRAMED, alone, FAST, seed=3)
    method.setup(cpu_fabric())
    with pytest.raises(UserError, match=r"method\.bandwidth=null"):
        method.step(0, 9)


# A step.


def test_features_are_read_in_float32_also_where_the_student_is_not() -> None:
    method = method_with()
    method.setup(build_fabric("cpu", "bf16"))
    seen: list[torch.dtype] = []
    method.reader.register_forward_hook(lambda *call: seen.append(call[2].dtype))
    assert math.isfinite(method.step(0, 9)["gradient_norm"])
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_references_are_masked_at_times_even_in_progress(exponent: float) -> None:
    method = method_with(replace(FAST, reveal_exponent=exponent), tokens=60_000)
    reference = method.reference.batch(0)
    batch = reference.batch
    state, masked, alpha = method.masked_state(batch, reference.rows, 0)
    assert float(alpha.mean()) == pytest.approx(1 / (1 + exponent), abs=0.02)
    hidden = (state.tokens == MASK) & batch.maskable
    share = hidden.sum() / batch.maskable.sum()
    assert float(share) == pytest.approx(1 - 1 / (1 + exponent), abs=0.02)
    assert torch.equal(state.tokens[~hidden], batch.tokens[~hidden])
    few = hidden.sum(-1) < 2
    assert few.any() and not masked[few].any() and torch.equal(masked[~few], hidden[~few])


def test_draws_follow_the_student_s_law_and_differ() -> None:
    method = method_with(replace(FAST, candidates=3))
    masked = torch.ones(500, 8, dtype=torch.bool)
    law = torch.tensor([0.2, 0.5, 0.3]).log().expand(4000, -1)
    drawn = method.draw_candidates(law, masked, torch.arange(500), step=2)
    assert drawn.shape == (3, 2, 4000)
    shares = torch.stack([(drawn == token).double().mean(-1) for token in range(3)], -1)
    expected = torch.tensor([0.2, 0.5, 0.3]).double().expand_as(shares)
    torch.testing.assert_close(shares, expected, rtol=0, atol=0.035)
    flat = drawn.flatten(0, 1)
    for one, other in itertools.combinations(flat, 2):
        assert float((one == other).double().mean()) == pytest.approx(0.38, abs=0.035)


def test_the_first_step_s_gradient_is_that_of_its_parts() -> None:
    method = method_with(dtype=torch.float64)
    reference = method.reference.batch(0)
    batch, rows = reference.batch, reference.rows
    state, masked, _ = method.masked_state(batch, rows, 0)
    student = copy.deepcopy(method.teacher).requires_grad_(True)
    log_probs = Predictor(student, FRAMED).log_probs(state.tokens, batch.lengths, masked)
    drawn = method.draw_candidates(log_probs.detach(), masked, rows, 0)
    reader, total = method.reader, torch.zeros(())
    worth, starts = [], masked.sum(-1).cumsum(0) - masked.sum(-1)
    for number in range(len(batch)):
        here, count = masked[number], int(masked[number].sum())
        if not count:
            continue
        alone = batch.rows(slice(number, number + 1))
        own = reader(alone.tokens, alone.lengths)[0, here]
        mine = drawn[..., starts[number] : starts[number] + count]
        draws = torch.stack(
            [
                reader(alone.tokens.masked_scatter(here, x + 3), alone.lengths)[0, here]
                for x in mine.flatten(0, 1)
            ]
        ).view(4, 2, count, -1)
        reward = candidate_rewards(own, draws, method.bandwidth)
        worth.append(reward.mean())
        advantage = leave_one_out(reward[None])[0]
        chosen = log_probs[starts[number] : starts[number] + count].T[mine, torch.arange(count)]
        total = total - (advantage[:, None, None] * chosen).sum()
    (total / (int(masked.sum()) * 4 * 2)).backward()
    norm = torch.stack([p.grad.norm() for p in student.parameters()]).norm()
    figures = method.step(0, 9)
    assert figures["gradient_norm"] == pytest.approx(float(norm), rel=1e-6)
    assert figures["reward"] == pytest.approx(float(torch.stack(worth).mean()), rel=1e-6)


def test_rewards_do_not_depend_on_the_batch_or_its_padding() -> None:
    method = method_with(dtype=torch.float64)
    reference = method.reference.batch(3)
    batch, rows = reference.batch, reference.rows
    _, masked, _ = method.masked_state(batch, rows, 3)
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(3, (4, 2, int(masked.sum())), generator=generator)
    found = method.rewards(batch, masked, drawn, 0.1)
    row = masked.nonzero()[:, 0]
    for number in range(len(batch)):
        tokens = torch.nn.functional.pad(batch.tokens[[number]], (0, 16), value=FRAMED.pad_id)
        wide = torch.nn.functional.pad(batch.maskable[[number]], (0, 16), value=False)
        alone = TokenBatch(tokens, batch.lengths[[number]], wide)
        at = torch.nn.functional.pad(masked[[number]], (0, 16), value=False)
        again = method.rewards(alone, at, drawn[..., row == number], 0.1)
        torch.testing.assert_close(again[0], found[number], rtol=1e-9, atol=1e-12)
        assert bool(found[number].any()) is bool(masked[number].any())


def test_a_student_sure_of_itself_has_nothing_to_learn() -> None:
    method = method_with()
    student = method.student.module
    with torch.no_grad():  # of every token but one the probability is zero
        student.head_bias.copy_(torch.tensor([0.0, 0, 0, 400.0, 0, 0, 0]))
    before = weights_of(student)
    figures = method.step(0, 9)
    assert figures["advantage"] == pytest.approx(0.0, abs=1e-6)
    assert figures["gradient_norm"] == 0.0
    assert same_weights(before, weights_of(student))


def test_the_student_comes_to_write_what_the_reference_holds() -> None:
    # All references are one sequence: what is near it in features is that sequence alone.
    corpus = Corpus.from_ids([[3, 5, 4, 4]])
    reference = GroupedReference(corpus, FRAMED, 1, 512, 20, seed=1)
    method = RepresentationMmd(tiny_denoiser(1), FRAMED, reference, FAST, seed=3)
    method.setup(cpu_fabric())
    batch = framed_batch([3, 5, 4, 4])
    masks = batch.tokens.masked_fill(batch.maskable, MASK)

    def right() -> float:
        log_probs = Predictor(method.student.module, FRAMED).log_probs(
            masks, batch.lengths, batch.maskable
        )
        return float(log_probs.detach()[torch.arange(4), [0, 2, 1, 1]].mean())

    before = right()
    for step in range(60):
        method.step(step, 60)
    assert right() > before + 0.3


@pytest.mark.parametrize("clip", [0.0, 1e-4])
def test_gradients_are_left_as_they_are_unless_a_norm_is_set(clip: float) -> None:
    method = method_with(replace(FAST, student=replace(FAST.student, clip_norm=clip)))
    norm = method.step(0, 9)["gradient_norm"]
    kept = [p.grad.norm() for p in method.student.module.parameters() if p.grad is not None]
    assert norm > 1e-3
    assert float(torch.stack(kept).norm()) == pytest.approx(clip or norm, rel=1e-3)


def test_an_interrupted_run_ends_as_an_unbroken_one() -> None:
    unbroken = method_with()
    saved = None
    for step in range(4):
        unbroken.step(step, 4)
        if step == 1:
            saved = copy.deepcopy(unbroken.state_dict())
    again = method_with()
    again.load_state_dict(saved)
    for step in (2, 3):
        again.step(step, 4)
    assert same_weights(weights_of(again.result()), weights_of(unbroken.result()))
    assert not same_weights(weights_of(again.result()), weights_of(again.teacher))


def test_a_step_without_two_masks_in_a_row_is_passed_over() -> None:
    reference = GroupedReference(Corpus.from_ids([[3, 4], [5, 3]]), FRAMED, 1, 16, 20, seed=1)
    method = RepresentationMmd(tiny_denoiser(1), FRAMED, reference, FAST, seed=3)
    method.setup(cpu_fabric())
    skipped = [not method.step(step, 20) for step in range(20)]
    assert any(skipped) and not all(skipped)


ACTING = {
    "candidates": 3,
    "draws": 3,
    "feature_block": 2,
    "bandwidth": 0.5,
    "reveal_exponent": 2.0,
    "noise": NoiseSettings("position", 4, 0.5),
    "ema": 0.01,
    "student": OptimizerSettings(lr=1e-3, warmup_steps=1),
}


def test_every_setting_changes_the_student() -> None:
    check_every_setting_acts(partial(method_with, tokens=128), FAST, ACTING)
