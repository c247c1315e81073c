"""MDLM-MMD, maximum mean discrepancy in a frozen network's features (arXiv 2610.06648).

The student fills every mask of a reference in one call, several times over. A draw is worth how
near its features lie to the reference's, less how near the draws of one candidate lie to each
other. With k(a, b) = exp(-bandwidth |a - b|^2) over the features of masked positions i and j, the
reward of a candidate of B draws x_1 ... x_B for a reference y is

    2 mean_{b, i, j} k(y_i, x_bj) - mean_{b != b', i != j} k(x_bi, x_b'j),

which is, but for a constant, minus the squared discrepancy of the two laws of features, estimated
from one reference. The student follows it by the score function (REINFORCE). The baseline of a
candidate is the mean reward of the others, which have the same law and know nothing of its draws:
the gradient stays that of the expected reward. No network is trained beside the student.

Features come from the first blocks of the teacher reading clean sequences, and are not normalised.
"""

import copy
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import combinations
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from lightning.fabric import Fabric
from torch import Tensor, nn

from didi_core.data.batches import TokenBatch, mean_or_zero
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream, draw_categorical, keyed_uniform
from didi_core.distill.distributed_mean import all_reduce_metrics, share_of_mean
from didi_core.distill.method import MethodEntry, Network
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.passes import Pass
from didi_core.distill.reference import GroupedReference, ReferenceBatch
from didi_core.distill.student import DistilledStudent
from didi_core.distill.updates import place_frozen
from didi_core.errors import UserError
from didi_core.models.denoiser import Denoiser, time_input
from didi_core.models.noise import NoiseKeys, NoiseSettings
from didi_core.number_checks import positive_errors

MEDIAN_ROWS = 32
"""References of the first update whose features the median is of, at most."""
MEDIAN_FEATURES = 1024
"""Features of them, at most: half a million pairs."""


@dataclass
class MmdSettings:
    """Settings of the rewards. Published: 4,000 updates of 512 sequences, an EMA of 0.9999."""

    candidates: int = 4
    """Candidates of each reference, whose rewards are compared with each other."""
    draws: int = 2
    """Sequences of a candidate, which repel each other."""
    feature_block: int | None = None
    """Number of the teacher's block, from 1, behind which features are read; null: a third of all
    blocks, rounded (published: the fourth of twelve)."""
    bandwidth: float | None = None
    """The kernel of two features is exp(-bandwidth |a - b|^2); null: one over the median squared
    distance of the references' features. Published, for a width of 768: 2e-5."""
    reveal_exponent: float = 1.0
    """The time of a reference's masks is even in r, where alpha = r ** exponent; `generate` follows
    it. Published: 1."""
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    student: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(lr=1e-4, warmup_steps=20, clip_norm=0.0)
    )
    ema: float = 0.99

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = self.noise.problems() + positive_errors(self, "reveal_exponent")
        few = [(name, getattr(self, name)) for name in ("candidates", "draws")]
        wrong += [f"{name}={value} must be at least 2" for name, value in few if value < 2]
        if self.feature_block is not None and self.feature_block < 1:
            wrong.append(f"feature_block={self.feature_block} must be at least 1, or null")
        return wrong + ([] if self.bandwidth is None else positive_errors(self, "bandwidth"))


class FeatureReader(nn.Module):
    """Reads clean sequences with the first blocks of a frozen copy of the teacher."""

    def __init__(self, teacher: Denoiser, num_blocks: int) -> None:
        super().__init__()
        trunk = copy.deepcopy(teacher)
        trunk.blocks = trunk.blocks[:num_blocks]
        trunk.drop_output_layer()
        if hasattr(trunk, "final_norm"):  # features are not normalised
            trunk.final_norm = PassThrough()
        self.trunk = trunk.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(
        self, tokens: Int[Tensor, "batch width"], lengths: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch width hidden"]:
        """Return the stream behind the last block kept. Values at padding are undefined."""
        clean = torch.ones(len(tokens), device=tokens.device)  # alpha = 1: time 0
        return self.trunk.trunk(tokens, lengths, **time_input(self.trunk, clean))


class PassThrough(nn.Module):
    """Stands in the place of a norm and leaves the stream as it is."""

    def forward(self, hidden: Tensor, *_: object) -> Tensor:
        return hidden


class RepresentationMmd(DistilledStudent):
    """Owns the reader of features beside student and teacher."""

    settings: MmdSettings

    def __init__(
        self,
        teacher: nn.Module,
        vocabulary: Vocabulary,
        reference: GroupedReference,
        settings: MmdSettings,
        seed: int,
    ) -> None:
        super().__init__(teacher, vocabulary, reference, settings, seed)
        self.process = AbsorbingProcess(vocabulary.mask_id)
        denoiser = cast(Denoiser, teacher)
        blocks = feature_blocks(settings.feature_block, len(denoiser.blocks))
        self.reader = FeatureReader(denoiser, blocks)

    def networks(self) -> list[Network]:
        return [*super().networks(), Network("features", self.reader)]

    def setup(self, fabric: Fabric) -> None:
        super().setup(fabric)
        place_frozen(self.reader, fabric)

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Move the student towards what its better candidates have written."""
        bandwidth = self.bandwidth  # read by every process, also by one without a mask
        learn = partial(self._learn, step=step, bandwidth=bandwidth)
        figures = self.accumulate([self.student], step, learn)
        if not figures:
            return {}  # on every process alike: none may wait for another
        figures["gradient_norm"] = self.update_student(step, steps)
        return all_reduce_metrics(self.fabric, figures)

    def _learn(self, part: ReferenceBatch, step: int, bandwidth: float) -> Pass:
        """Draw, reward and compare the candidates of a pass."""
        batch, rows = part.batch, part.rows
        state, masked, alpha = self.masked_state(batch, rows, step)
        count, num_rows = int(masked.sum()), int(masked.any(-1).sum())
        whole, whole_rows = yield [count, num_rows]
        if not whole:
            return {}
        keys = NoiseKeys(self.seed, rows, 0, update=step)
        log_probs = self.student_predictor().log_probs(
            state.tokens, batch.lengths, masked, keys, alpha
        )
        drawn = self.draw_candidates(log_probs.detach(), masked, rows, step)
        reward = self.rewards(batch, masked, drawn, bandwidth)
        advantage = leave_one_out(reward)
        row = masked.nonzero()[:, 0]
        share = share_of_mean(self.fabric, count, whole)
        loss = share * mean_or_zero(policy_terms(log_probs, drawn, advantage[row]))
        self.student.backward(loss)
        active, rows_part = masked.any(-1), share_of_mean(self.fabric, num_rows, whole_rows)
        return {
            "reward": rows_part * float(mean_or_zero(reward[active].mean(-1))),
            "advantage": rows_part * float(mean_or_zero(advantage[active].abs().mean(-1))),
        }

    def masked_state(
        self, batch: TokenBatch, rows: Int[Tensor, "batch"], step: int
    ) -> tuple[TokenBatch, Bool[Tensor, "batch width"], Float[Tensor, "batch"]]:
        """Mask references at random times; return the state, what is filled, and alpha.

        A row with fewer than two masks takes no part: the reward compares unequal positions.
        """
        device = rows.device
        progress = keyed_uniform(self.seed, Stream.TIME, step, rows, device=device)
        t = (1.0 - progress**self.settings.reveal_exponent).float()
        position = torch.arange(batch.tokens.shape[1], device=device)
        keys = (rows[:, None], position, step)
        uniform = keyed_uniform(self.seed, Stream.CORRUPT, *keys, device=device)
        tokens = self.process.corrupt(batch.tokens, batch.maskable, t, uniform)
        masked = (tokens == self.vocabulary.mask_id) & batch.maskable
        masked &= masked.sum(-1, keepdim=True) >= 2
        return batch.with_tokens(tokens), masked, self.process.schedule.alpha(t)

    def draw_candidates(
        self,
        log_probs: Float[Tensor, "masked generable"],
        masked: Bool[Tensor, "batch width"],
        rows: Int[Tensor, "batch"],
        step: int,
    ) -> Int[Tensor, "candidates draws masked"]:
        """Draw the rank of a token for every masked position, anew for each draw."""
        row, position = masked.nonzero(as_tuple=True)
        keys = (rows[row], position, step)
        shape = (self.settings.candidates, self.settings.draws)
        drawn = [
            draw_categorical(
                log_probs,
                keyed_uniform(self.seed, Stream.TOKEN, *keys, number, device=row.device),
            )
            for number in range(shape[0] * shape[1])
        ]
        return torch.stack(drawn).view(*shape, len(row))

    @torch.no_grad()
    def rewards(
        self,
        batch: TokenBatch,
        masked: Bool[Tensor, "batch width"],
        drawn: Int[Tensor, "candidates draws masked"],
        bandwidth: float,
    ) -> Float[Tensor, "batch candidates"]:
        """Return the reward of each row's candidates; 0 where nothing of a row was masked."""
        ids = self.vocabulary.generable.to(drawn.device)[drawn]
        reference = self.reader(batch.tokens, batch.lengths)[masked]
        filled = [
            self.reader(batch.tokens.masked_scatter(masked, each), batch.lengths)[masked]
            for each in ids.flatten(0, 1)
        ]
        features = torch.stack(filled).unflatten(0, drawn.shape[:2])
        # Row by row, of its masked positions alone: padding takes no part.
        counts = masked.sum(-1).tolist()
        pairs = zip(reference.split(counts), features.split(counts, dim=2), strict=True)
        none = features.new_zeros(len(drawn))
        return torch.stack(
            [candidate_rewards(*each, bandwidth) if len(each[0]) else none for each in pairs]
        )

    @cached_property
    def bandwidth(self) -> float:
        """Return the kernel's bandwidth, as set or found anew by every run and process.

        The median is of references of the first update, whichever update is asked for: a resumed
        run finds the same.

        Raises:
            UserError: their features do not differ.
        """
        if self.settings.bandwidth is not None:
            return self.settings.bandwidth
        first = self.reference.batch(0)  # the whole batch, in every process alike
        device = self.fabric.device
        batch = first.batch.rows(slice(MEDIAN_ROWS)).to(device)
        row, position = batch.maskable.nonzero(as_tuple=True)
        uniform = keyed_uniform(
            self.seed, Stream.CANDIDATE, first.rows.to(device)[row], position, device=device
        )
        chosen = uniform.argsort()[:MEDIAN_FEATURES]
        features = self.reader(batch.tokens, batch.lengths)[row[chosen], position[chosen]]
        return 1.0 / median_squared_distance(features)


def feature_blocks(asked: int | None, num_blocks: int) -> int:
    """Return how many of the teacher's blocks read features.

    >>> feature_blocks(None, 12), feature_blocks(None, 1), feature_blocks(6, 12)
    (4, 1, 6)

    Raises:
        UserError: more than there are.
    """
    if asked is not None and asked > num_blocks:
        raise UserError(
            f"method.feature_block={asked}: the teacher has {num_blocks} blocks; give at most so "
            "many, or null for a third of them."
        )
    return asked or max(1, round(num_blocks / 3))


def median_squared_distance(features: Float[Tensor, "n hidden"]) -> float:
    """Return the median of |a - b|^2 over all pairs of features.

    Raises:
        UserError: there is no pair, or half of the features are equal.
    """
    distances = torch.pdist(features)
    median = float(distances.median()) ** 2 if len(distances) else 0.0
    if median <= 0:
        raise UserError(
            "method.bandwidth=null: the features of the reference sequences do not differ, so that "
            "there is no distance to scale by; give a number, as in method.bandwidth=2e-5."
        )
    return median


def candidate_rewards(
    reference: Float[Tensor, "masked hidden"],
    draws: Float[Tensor, "candidates draws masked hidden"],
    bandwidth: float,
) -> Float[Tensor, "candidates"]:
    """Return what each candidate for one reference is worth: attraction less repulsion.

    Args:
        reference: features at the masked positions, at least two.
        draws: features there of each candidate's draws, at least two.
    """
    # mean over draws b and all i, j of k(reference_i, draw_bj)
    attraction = kernel(reference, draws, bandwidth).mean((1, 2, 3))
    # mean over b != b' and i != j of k(draw_bi, draw_b'j): k is symmetric, so b < b' is enough.
    masked = len(reference)
    unequal = ~torch.eye(masked, dtype=torch.bool, device=reference.device)
    pairs = [
        kernel(draws[:, one], draws[:, other], bandwidth)[:, unequal].mean(-1)
        for one, other in combinations(range(draws.shape[1]), 2)
    ]
    return 2.0 * attraction - torch.stack(pairs).mean(0)


def kernel(
    a: Float[Tensor, "*m i hidden"], b: Float[Tensor, "*n j hidden"], bandwidth: float
) -> Float[Tensor, "*n i j"]:
    """Return exp(-bandwidth |a_i - b_j|^2)."""
    return (-bandwidth * torch.cdist(a, b).square()).exp()


def leave_one_out(reward: Float[Tensor, "rows candidates"]) -> Float[Tensor, "rows candidates"]:
    """Return each reward less the mean of the row's other candidates'."""
    others = (reward.sum(-1, keepdim=True) - reward) / (reward.shape[-1] - 1)
    return reward - others


def policy_terms(
    log_probs: Float[Tensor, "masked generable"],
    drawn: Int[Tensor, "candidates draws masked"],
    advantage: Float[Tensor, "masked candidates"],
) -> Float[Tensor, "masked"]:
    """Return each position's part of the loss, whose mean over positions is the loss.

    Minus the mean, over candidates and draws, of the advantage times the log-probability of what
    was drawn: d E[reward] = E[advantage d log p].

    Args:
        advantage: of the candidates of the position's row; a constant to the gradient.
    """
    chosen = log_probs.gather(-1, drawn.flatten(0, 1).T)  # masked, candidates * draws
    each = chosen.unflatten(-1, drawn.shape[:2])
    return -(advantage.unsqueeze(-1) * each).mean((1, 2))


ENTRY = MethodEntry(
    "mmd",
    MmdSettings,
    RepresentationMmd,
    summary="MDLM-MMD: rewarded for features as a reference's, and unlike each other's",
)
