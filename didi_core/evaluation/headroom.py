"""How few calls a masked model bears: what revealing tokens together costs, from one curve.

Mask every token independently with probability m. The curve is f(m), the mean of -log p over the
masked tokens (nats), sums pooled over sequences: E[sum of -log p at masked positions] / (m L). It
falls from the marginals, f(1), to each token given all others, f(0+).

A sampler that keeps the shares 0 = a_0 < a_1 < ... < a_K = 1 reveals a token in the step from a_k
with probability a_{k+1} - a_k, in a state where each token is masked with probability 1 - a_k, and
draws what a step reveals independently. In nats a token it spends the sum of
(a_{k+1} - a_k) f(1 - a_k), and one token at a time the integral of f over 0 to 1. The difference is
the *loss* of the grid: what drawing together, with these conditionals, could win in likelihood.
With the conditionals of a law, one step loses its total correlation. It is no bound for better
conditionals, and samples lose more, because what was drawn wrongly is built upon.

f is measured at a few m, dense near 1 where it is steep, and is the straight line between them;
below the least m the line of the two least ones goes on, to f(0+).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from didi_core.data.batches import pad_batch
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.evaluation.bootstrap import Interval, percentile_interval
from didi_core.evaluation.masked_nll import row_nll
from didi_core.evaluation.ratio import resample_counts
from didi_core.sampling.batching import plan_batches


def masked_shares(count: int) -> tuple[float, ...]:
    """Return shares m at which the curve is measured: 1 - (j / count)^2, rising to exactly 1.

    >>> masked_shares(2)
    (0.75, 1.0)
    """
    return tuple(1.0 - (j / count) ** 2 for j in reversed(range(count)))


MASKED_SHARES = masked_shares(16)
"""The least is 0.12, the gaps next to 1 are 0.004 and 0.012: one and two residues of 180."""
CALLS = (1, 2, 4, 8, 16, 32)
"""Numbers of calls that are reported."""
MOST_GRID_STEPS = 256
"""Most steps that a best grid is sought for: of more, hardly anything is left to win."""
_CELLS = 512
"""The best grid's shares are sought among multiples of 1 / 512, and those of the usual grids."""


@dataclass(frozen=True)
class Curve:
    """Nats of a masked token over the share of tokens masked: straight lines between points."""

    masked: tuple[float, ...]
    """Shares m that were measured, rising, the last one 1."""
    nats: tuple[float, ...]
    """f(m) at each."""

    def at(self, masked: ArrayLike) -> NDArray[np.float64]:
        """Return f at any shares from 0 to 1; at 0 it is the limit f(0+)."""
        return _between(self.masked, masked) @ np.array(self.nats)

    @property
    def integral(self) -> float:
        """The nats of a token where tokens are revealed one by one."""
        return float(_integral_weights(self.masked) @ np.array(self.nats))

    def loss(self, grid: Sequence[float]) -> float:
        """Return what a grid of kept shares 0 = a_0 < ... < a_K = 1 loses, in nats a token."""
        return float(loss_weights(self.masked, grid) @ np.array(self.nats))

    def best_grid(self, steps: int) -> tuple[float, ...]:
        """Return the `steps` + 1 kept shares, from 0 to 1, of the grid that loses least.

        Dynamic programming over a fine set of shares that holds those of the even and of the late
        grid, so that neither loses less.
        """
        known = [1 - each for each in self.masked]
        candidates = [*even_grid(_CELLS), *even_grid(steps), *late_grid(steps), *known]
        # Rounded: the same share from two formulas is one candidate.
        shares = np.unique(np.array(candidates, dtype=np.float64).round(12))
        return tuple(shares[_cheapest_path(shares, self.at(1 - shares), steps)].tolist())


def even_grid(steps: int) -> tuple[float, ...]:
    """Return the kept shares k / K."""
    return tuple(k / steps for k in range(steps + 1))


def late_grid(steps: int) -> tuple[float, ...]:
    """Return the kept shares (k / K)^2: early steps reveal few tokens."""
    return tuple(share**2 for share in even_grid(steps))


def _cheapest_path(
    shares: NDArray[np.float64], nats: NDArray[np.float64], steps: int
) -> NDArray[np.int64]:
    """Return the places of `steps` + 1 shares, first and last among them, that spend least."""
    # cost[i, j]: nats spent on revealing the share from i to j in one step.
    cost = (shares[None, :] - shares[:, None]) * nats[:, None]
    cost[np.tri(len(shares), dtype=bool)] = np.inf
    spent, came_from = cost[0], []
    for _ in range(steps - 1):
        total = spent[:, None] + cost
        came_from.append(total.argmin(0))
        spent = total.min(0)
    path = [len(shares) - 1]
    for before in reversed(came_from):
        path.append(int(before[path[-1]]))
    return np.array([0, *reversed(path)])


# The curve is linear in its points, and so is every figure made of it: a row of weights each.


def _between(points: Sequence[float], masked: ArrayLike) -> NDArray[np.float64]:
    """Return the weights [share, point] by which points give f at shares of masked tokens."""
    known, wanted = np.array(points), np.asarray(masked, dtype=np.float64)
    left = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, len(known) - 2)
    along = (wanted - known[left]) / (known[left + 1] - known[left])  # below 0: the line goes on
    weights, row = np.zeros((len(wanted), len(known))), np.arange(len(wanted))
    weights[row, left] = 1 - along
    weights[row, left + 1] = along
    return weights


def _integral_weights(points: Sequence[float]) -> NDArray[np.float64]:
    """Return the weight of each point in the integral of f over 0 to 1."""
    # The trapezoid rule, exact for straight lines: between the points, and from 0 to the first.
    gaps, least = np.diff(points), points[0]
    weights = (np.append(gaps, 0) + np.append(0, gaps)) / 2
    weights[0] += least / 2
    return weights + least / 2 * _between(points, [0.0])[0]


def loss_weights(points: Sequence[float], grid: Sequence[float]) -> NDArray[np.float64]:
    """Return the weight of each point of a curve in the loss of a grid of kept shares."""
    kept = np.array(grid)
    spent = np.diff(kept) @ _between(points, 1 - kept[:-1])
    return spent - _integral_weights(points)


# Measuring the curve, and how well it is known.


@dataclass(frozen=True)
class CallsLoss:
    """What so many calls lose, in nats a token, with 95% intervals over sequences."""

    calls: int
    even: Interval
    late: Interval
    best: Interval
    """Of the grid below, which is chosen on the same sequences and held fixed."""
    grid: tuple[float, ...]
    """Kept shares of the best grid, from 0 to 1."""


@dataclass(frozen=True)
class MaskedSums:
    """What was measured: sums over the masked tokens of each sequence, at each share masked."""

    masked: tuple[float, ...]
    nats: NDArray[np.float64]
    """[point, sequence]: sum of -log p at masked positions."""
    counts: NDArray[np.float64]
    """[point, sequence]: positions masked, m L in expectation."""

    @property
    def curve(self) -> Curve:
        """The curve of all sequences, their sums pooled."""
        return Curve(self.masked, tuple((self.nats.sum(1) / self.counts.sum(1)).tolist()))

    def resampled(self, seed: int) -> Float[np.ndarray, "resample point"]:
        """Return the curve of each bootstrap resample of the sequences."""
        parts = resample_counts(self.nats.shape[1], seed)
        # Of few short sequences a resample may mask nothing at the least share: no figure there.
        with np.errstate(invalid="ignore"):
            return np.concatenate([(n @ self.nats.T) / (n @ self.counts.T) for n in parts])

    def losses(self, calls: Sequence[int] = CALLS, seed: int = 0) -> list[CallsLoss]:
        """Return the losses of the even, the late and the best grid for each number of calls."""
        curve, resampled = self.curve, self.resampled(seed)

        def interval(grid: Sequence[float]) -> Interval:
            found = resampled @ loss_weights(self.masked, grid)
            return percentile_interval(curve.loss(grid), found[np.isfinite(found)])

        best = {each: curve.best_grid(each) for each in calls}
        return [
            CallsLoss(k, interval(even_grid(k)), interval(late_grid(k)), interval(grid), grid)
            for k, grid in best.items()
        ]


@torch.no_grad()
def masked_sums(
    denoiser: nn.Module,
    vocabulary: Vocabulary,
    sequences: Sequence[Sequence[int]],
    masked: Sequence[float] = MASKED_SHARES,
    *,
    seed: int = 0,
    tokens_per_batch: int = 16_384,
    autocast: torch.dtype | None = None,
    show: Callable[[float], object] = float,
) -> MaskedSums:
    """Measure a masked model's curve on real sequences.

    A token is masked at the share m where its uniform number, keyed by sequence and position, is
    below m. So the batch size changes nothing, the masks of a smaller share lie within those of a
    larger one, and the differences that a loss is made of are known better than the curve itself.

    Args:
        sequences: ids without framing, none empty.
        masked: shares m, rising, the last one 1.
        autocast: compute the network in this type; log-probabilities stay float32, sums float64.
        show: told how many passes (a sequence at one m) are done.

    Returns:
        The sums at the shares at which any token was masked.

    Raises:
        ValueError: the sequences are so few and short that less than two shares masked one.
    """
    count, device = len(sequences), next(denoiser.parameters()).device
    shares = torch.tensor(masked, dtype=torch.float64)
    nats, counts = np.zeros((len(masked), count)), np.zeros((len(masked), count))
    framed = [vocabulary.frame(each) for each in sequences]
    done = 0
    # An item is a sequence at one share: passes of all shares stand in batches together.
    for items in plan_batches([len(each) for each in framed] * len(masked), tokens_per_batch):
        item = torch.tensor(items)
        point, record = item // count, item % count
        batch = pad_batch([framed[i] for i in record.tolist()], vocabulary)
        hidden = batch.maskable & _below(shares[point], record, batch.tokens.shape[1], seed)
        total = row_nll(
            denoiser,
            vocabulary,
            batch.to(device),
            hidden.to(device),
            shares[point].float(),
            autocast,
        )
        nats[point.numpy(), record.numpy()] = total.numpy()
        counts[point.numpy(), record.numpy()] = hidden.sum(-1).numpy()
        done += len(items)
        show(done)
    seen: NDArray[np.bool_] = counts.sum(1) > 0
    if seen.sum() < 2:
        raise ValueError("too few tokens to measure a curve on")
    known = tuple(share for share, some in zip(masked, seen.tolist(), strict=True) if some)
    return MaskedSums(known, nats[seen], counts[seen])


def _below(share: Float[Tensor, "batch"], record: Tensor, width: int, seed: int) -> Tensor:
    """Mark the positions [batch, width] whose uniform number lies below the row's share."""
    uniform = keyed_uniform(seed, Stream.CORRUPT, record[:, None], torch.arange(width))
    return uniform < share[:, None]
