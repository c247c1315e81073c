"""What it costs to draw all positions of a step independently, computed without any network.

Take the exact conditionals of a process and reveal a sequence in K steps. The positions R of a step
are drawn independently given what is known, O. In place of p(x_R | x_O) that is the product of
p(x_i | x_O), and the loss in expectation is the total correlation of R given O [1]_. Over all
steps, for x drawn from the process and the plan of which step reveals what,

    loss(K) = E[ sum_i -log p(x_i | x_O(i)) ] - E[ -log p(x) ],

because the log p(x_R | x_O) of one sequence add up to log p(x). It is the divergence between the
process and the K-step sampler over (sequence, plan), so it bounds KL(process || K-step law) from
above; it is zero for one position a step. Of all networks whose mask is deterministic the exact
conditionals make that divergence over (sequence, plan) least; of sequences alone they need not.

.. [1] "IMDM", arXiv 2605.10518.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from benchmarks.exact.process import UNKNOWN, ExactProcess, by_length
from didi_core.evaluation.frontier import interval_of
from didi_core.evaluation.ratio import Ratio


@dataclass(frozen=True)
class StepLoss:
    """Expected total correlation of what K steps reveal together, in nats a residue."""

    steps: int
    exponent: float
    loss: dict[str, float]
    """Mean with its 95% bootstrap interval over sequences and plans."""
    by_step: list[float]
    """-log p(x_i | x_O) summed over the positions of each step, a sequence: the loss's first term,
    by step."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "reveal_exponent": self.exponent,
            "nats_a_residue": self.loss,
            "cross_entropy_by_step": self.by_step,
        }


def step_loss(
    process: ExactProcess,
    steps: int,
    num_sequences: int,
    exponent: float = 1.0,
    seed: int = 0,
) -> StepLoss:
    """Monte Carlo over sequences and plans of the exact law; the conditionals are exact.

    Args:
        steps: K of the exact grid.
        exponent: alpha = (k / K) ** exponent after step k.
    """
    sequences = process.sample(num_sequences, seed).sequences
    generator = np.random.default_rng(seed + 1)
    excess, lengths = np.zeros(num_sequences), np.zeros(num_sequences)
    by_step = np.zeros(steps)
    for records, tokens in by_length(sequences):
        uniform = generator.random(tokens.shape)
        plan = np.minimum((uniform ** (1 / exponent) * steps).astype(int), steps - 1)
        cross = step_cross_entropy(process, tokens, plan, steps)
        excess[records] = cross.sum(-1) + process.log_prob(list(tokens))
        lengths[records] = tokens.shape[1]
        by_step += cross.sum(0)
    loss = interval_of(Ratio(excess, lengths), seed).as_dict()
    return StepLoss(steps, exponent, loss, (by_step / num_sequences).tolist())


def step_cross_entropy(
    process: ExactProcess,
    tokens: Int[np.ndarray, "n length"],
    plan: Int[np.ndarray, "n length"],
    steps: int,
) -> Float[np.ndarray, "n step"]:
    """Sum over the positions that each step reveals of -log p(token | tokens of earlier steps)."""
    result = np.zeros((len(tokens), steps))
    for step in range(steps):
        rows = np.flatnonzero((plan == step).any(-1))
        if not len(rows):
            continue
        now = plan[rows] == step
        state = np.where(plan[rows] < step, tokens[rows], UNKNOWN)
        chances = process.conditionals(state)
        of_token = np.take_along_axis(chances, tokens[rows][..., None], axis=-1)[..., 0]
        result[rows, step] = -(np.log(of_token) * now).sum(-1)
    return result


def bound_record(
    process: ExactProcess, steps: Sequence[int], exponents: Sequence[float], num_sequences: int
) -> dict[str, Any]:
    """The whole curve as plain values."""
    return {
        "process": process.name,
        "num_sequences": num_sequences,
        "how": "Monte Carlo over sequences and plans of the exact law, exact conditionals",
        "curve": [
            step_loss(process, count, num_sequences, exponent).as_dict()
            for exponent in exponents
            for count in steps
        ],
    }
