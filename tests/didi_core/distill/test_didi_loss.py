"""DiDi-Instruct's student loss on three tokens: every term and switch against plain arithmetic."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_models import FRAMED, MASK, cpu_fabric, framed_batch, tiny_corpus, tiny_denoiser
from torch import Tensor, nn

from didi_core.distill.didi import DidiInstruct
from didi_core.distill.didi_loss import advantage, judge
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.reference import GroupedReference
from didi_core.distill.rollout import ReverseStep

SIZES = [3, 3, 2, 2]
"""Tokens of the four rows; positions below count from 0 inside the framing."""
REVEALED_FIRST = [[True, False, True], [False, False, True], [False, True], [True, True]]
DRAWN_FIRST = [[0, 1, 2], [2, 2, 1], [1, 0], [0, 2]]
REVEALED_LAST = [[True], [True, False], [True], []]
DRAWN_LAST = [[2], [0, 1], [1], []]
TAU = [0.3, 0.3, 0.05, 0.05]
REWARD = [-1.0, 0.5, 2.0, 1.9]
BASE = DidiSettings(
    group_size=2, kl_start=0.3, kl_middle=0.2, entropy_bonus=0.1, advantage_clip=0.9
)
TEACHER = torch.tensor([[0.2, -0.5, 0.1], [1.0, 0.3, -0.2], [-0.7, 0.4, 0.9]], dtype=torch.float64)


class TableTeacher(nn.Module):
    """Logits of a position: its row of `TEACHER` times the number of masks in the sequence."""

    def logits_at(self, tokens: Tensor, lengths: Tensor, at: Tensor) -> Tensor:
        del lengths
        logits = torch.full((*tokens.shape, FRAMED.size), 30.0, dtype=torch.float64)
        masks = (tokens == MASK).sum(-1)[:, None, None]
        logits[:, 1:4, 3:6] = TEACHER * masks  # the other ids are never written
        return logits[at]


def method_with(settings: DidiSettings) -> DidiInstruct:
    reference = GroupedReference(tiny_corpus(), FRAMED, settings.group_size, 256, 20, seed=0)
    method = DidiInstruct(tiny_denoiser(), FRAMED, reference, settings, seed=0)
    method.setup(cpu_fabric())
    method.teacher = TableTeacher()
    return method


def masked_last() -> list[list[int]]:
    return [[i for i, done in enumerate(row) if not done] for row in REVEALED_FIRST]


def reverse_steps(first: Tensor, last: Tensor) -> list[ReverseStep]:
    """Both steps from the student's logits at every masked position, in row-major order."""
    start = framed_batch(*([MASK] * size for size in SIZES))
    middle = start.tokens.clone()
    for row, (shown, drawn) in enumerate(zip(REVEALED_FIRST, DRAWN_FIRST, strict=True)):
        for i, done in enumerate(shown):
            middle[row, 1 + i] = 3 + drawn[i] if done else MASK
    steps = []
    for before, logits, shown, drawn in (
        (start.tokens, first, REVEALED_FIRST, DRAWN_FIRST),
        (middle, last, REVEALED_LAST, DRAWN_LAST),
    ):
        flat = [torch.tensor([x for row in rows for x in row]) for rows in (shown, drawn)]
        masked = before == MASK
        steps.append(ReverseStep(before, masked, logits.log_softmax(-1), before, *flat))
    return steps


def softmax(logits: list[float]) -> list[float]:
    weights = [math.exp(x) for x in logits]
    return [w / sum(weights) for w in weights]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def advantages_by_hand(settings: DidiSettings) -> list[float]:
    if not settings.group_normalise:
        return REWARD
    result = []
    for start in range(0, 4, settings.group_size):
        group = REWARD[start : start + settings.group_size]
        mean = sum(group) / len(group)
        divisor = len(group) - (settings.group_deviation == "sample")
        deviation = math.sqrt(sum((r - mean) ** 2 for r in group) / divisor)
        clip = settings.advantage_clip
        result += [max(-clip, min(clip, (r - mean) / (deviation + 1e-6))) for r in group]
    return result


def weight_by_hand(tau: float, settings: DidiSettings) -> float:
    weight = 1.0
    if settings.use_omega:
        low, high = settings.omega_range
        weight *= min(high, max(low, 1 / tau))
    if settings.use_pi:
        a, b = settings.tau_beta
        norm = math.gamma(a) * math.gamma(b) / math.gamma(a + b)
        weight /= tau ** (a - 1) * (1 - tau) ** (b - 1) / norm
    return weight


def divergence_by_hand(student: list[float], teacher: list[float], settings: DidiSettings) -> float:
    forward, backward = kl(teacher, student), kl(student, teacher)
    if settings.kl_kind != "jeffreys":
        return forward if settings.kl_kind == "forward" else backward
    return (1 - settings.kl_beta) * forward + settings.kl_beta * backward


def loss_by_hand(first: list, last: list, settings: DidiSettings) -> float:
    """The loss from the student's logits, row by row, without tensors."""
    advantages = advantages_by_hand(settings)
    parts = [([list(range(size)) for size in SIZES], first, REVEALED_FIRST, DRAWN_FIRST)]
    if settings.score_decomposition:
        parts.append((masked_last(), last, REVEALED_LAST, DRAWN_LAST))
    scored, divergences, entropies = [0.0] * 4, [0.0, 0.0], 0.0
    for number, (masked, logits, revealed, drawn) in enumerate(parts):
        rest = list(logits)
        for row, positions in enumerate(masked):
            student = [softmax(rest.pop(0)) for _ in positions]
            teacher = [softmax([x * len(positions) for x in TEACHER[i]]) for i in positions]
            for chances, shown, token in zip(student, revealed[row], drawn[row], strict=True):
                scored[row] += advantages[row] * math.log(chances[token]) if shown else 0.0
            if positions:
                each = [divergence_by_hand(*pair, settings) for pair in zip(student, teacher)]  # noqa: B905
                divergences[number] += sum(each) / len(positions) / 4
                each = [-sum(p * math.log(p) for p in chances) for chances in student]
                entropies += sum(each) / len(positions) / 4 / len(parts)
    loss = settings.kl_start * divergences[0] + settings.kl_middle * divergences[1]
    loss -= settings.entropy_bonus * entropies
    for row, each in enumerate(scored):
        size = SIZES[row] if settings.reduce_log_prob == "mean" else 1
        loss -= weight_by_hand(TAU[row], settings) * each / size / 4
    return loss


def student_logits() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    sizes = (sum(SIZES), sum(len(row) for row in masked_last()))
    return tuple(
        torch.randn(n, 3, generator=generator, dtype=torch.float64).requires_grad_() for n in sizes
    )


def advantage_of(settings: DidiSettings) -> Tensor:
    reward, judged = torch.tensor(REWARD, dtype=torch.float64), torch.ones(4, dtype=torch.bool)
    return advantage(settings, reward, judged)


def loss_of(settings: DidiSettings, first: Tensor, last: Tensor) -> Tensor:
    method = method_with(settings)
    steps = reverse_steps(first, last)
    steps = steps if settings.score_decomposition else steps[:1]
    batch = framed_batch(*([3] * size for size in SIZES))
    tau = torch.tensor(TAU, dtype=torch.float64)
    return method.student_loss(batch, steps, advantage_of(settings), tau)[0]


SWITCHES = {
    "nothing": {},
    "score decomposition": {"score_decomposition": False},
    "group normalisation": {"group_normalise": False},
    "group size": {"group_size": 4},
    "advantage clip": {"advantage_clip": 0.3},
    "omega": {"use_omega": False},
    "omega range": {"omega_range": (0.1, 2.5)},
    "density of tau": {"tau_beta": (2.0, 5.0)},
    "pi": {"tau_beta": (2.0, 5.0), "use_pi": False, "omega_range": (0.1, 9.0)},
    "divergence at the start": {"kl_start": 0.0},
    "divergence in the middle": {"kl_middle": 0.0},
    "forward": {"kl_kind": "forward"},
    "backward": {"kl_kind": "backward"},
    "beta": {"kl_beta": 0.2},
    "entropy": {"entropy_bonus": 0.0},
    "sum of log-probabilities": {"reduce_log_prob": "sum"},
    "group deviation": {"group_deviation": "sample"},
    "group deviation, wide group": {"group_deviation": "sample", "group_size": 4},
}


@pytest.mark.parametrize("changed", SWITCHES.values(), ids=SWITCHES)
def test_the_loss_and_its_gradient_are_those_by_hand(changed: dict[str, object]) -> None:
    settings = replace(BASE, **changed)
    first, last = student_logits()
    loss = loss_of(settings, first, last)
    logits = [first.tolist(), last.tolist()]
    value = float(loss.detach())
    assert value == pytest.approx(loss_by_hand(*logits, settings), rel=1e-9)
    if changed:
        assert abs(value - loss_by_hand(*logits, BASE)) > 1e-3, "the switch must act"
    loss.backward()
    # Advantage and weight are constants to the gradient; so they are to these differences.
    for number, tensor in enumerate((first, last)):
        if tensor.grad is None:
            assert number == 1 and not settings.score_decomposition
            continue
        for place in ((0, 0), (1, 2), (3, 1)):
            sides = []
            for shift in (1e-6, -1e-6):
                moved = [first.tolist(), last.tolist()]
                moved[number][place[0]][place[1]] += shift
                sides.append(loss_by_hand(*moved, settings))
            slope = (sides[0] - sides[1]) / 2e-6
            assert float(tensor.grad[place]) == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_a_praised_row_becomes_more_probable() -> None:
    only_policy = replace(BASE, kl_start=0.0, kl_middle=0.0, entropy_bonus=0.0)
    first, last = student_logits()
    loss_of(only_policy, first, last).backward()
    steps = reverse_steps(first - 0.1 * first.grad, last - 0.1 * last.grad)
    before = reverse_steps(first, last)
    change = torch.zeros(4, dtype=torch.float64)
    for new, old in zip(steps, before, strict=True):
        difference = (new.drawn_log_prob() - old.drawn_log_prob()).detach()
        change = change.index_add(0, new.row, difference)
    assert [c > 0 for c in change.tolist()] == [a > 0 for a in advantages_by_hand(only_policy)]


def test_the_figures_are_the_parts() -> None:
    first, last = student_logits()
    method = method_with(BASE)
    batch = framed_batch(*([3] * size for size in SIZES))
    tau = torch.tensor(TAU, dtype=torch.float64)
    steps = reverse_steps(first, last)
    loss, figures = method.student_loss(batch, steps, advantage_of(BASE), tau)
    one = replace(BASE, kl_start=0.5, kl_middle=0.5, entropy_bonus=0.0)
    logits = [first.tolist(), last.tolist()]
    policy = loss_by_hand(*logits, replace(one, kl_start=0.0, kl_middle=0.0))
    assert figures["policy_loss"] == pytest.approx(policy)
    assert figures["kl_to_teacher"] == pytest.approx(loss_by_hand(*logits, one) - policy)
    rest = float(loss.detach()) - loss_by_hand(*logits, replace(BASE, entropy_bonus=0.0))
    assert figures["entropy"] == pytest.approx(-rest / BASE.entropy_bonus)


def test_rewards_and_advantages_are_those_of_rows() -> None:
    settings = replace(BASE, reward_clip=1.0, advantage_clip=3.0, group_deviation="sample")
    masked = torch.tensor(
        [[True, True, False], [False, False, True], [True, True, True], [False] * 3]
    )
    logits = torch.tensor([0.4, -9.0, 1.5, 0.1, -0.6, 0.2], dtype=torch.float64)
    found = judge(settings, logits, masked)
    assert found.reward.tolist() == pytest.approx([(0.4 - 1.0) / 2, 1.0, -0.3 / 3, 0.0])
    # Two rows a group; of the second only one was judged.
    assert found.advantage.tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5, 0.0, 0.0], rel=1e-5)
    plain = judge(replace(settings, group_normalise=False), logits, masked)
    assert torch.equal(plain.advantage, found.reward)
