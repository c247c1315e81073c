"""Estimators of a model's likelihood bound, with their standard errors.

`time` is the form of every process: a time t, tokens noised to it, and the process's own terms;
for masked models (MDLM [1]_) every token masked with probability t, weight 1/t. `order`, for those,
is the form of any-order models [2]_: a number m of masked tokens, uniform over 1 to L, a random
set of exactly m, weight L/m; it is the mean over all orders of revealing one token at a time, as
the first-hitting sampler does. The two expectations are equal for every network that is not told
the time, because integrating t leaves each m with the same mass; they share no weight and no
law of masks, so that each checks the other.

`order` is the default where it is the same bound. The second moment of `time` is infinite: a token
is masked with probability t and then weighs 1/t, which leaves the integral of 1/t; so few draws
rarely show how wrong they are, and its stated error is too small, the more so for short sequences,
of which a small t masks nothing. With `order` nothing weighs more than L.

.. [1] Sahoo et al. "Simple and effective masked diffusion language models", arXiv 2406.07524,
   equation 10, with eps = 0.
.. [2] Hoogeboom et al. "Autoregressive diffusion models", arXiv 2110.02037, equation 4.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from didi_core.data.batches import TokenBatch, pad_batch
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.absorbing import low_discrepancy_times
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.diffusion.process import DEFAULT_PROCESS, Process, build_process
from didi_core.errors import UserError
from didi_core.evaluation.masked_nll import row_bound, row_nll
from didi_core.models.denoiser import is_time_conditioned
from didi_core.sampling.batching import ALONE, Share, plan_batches

Form = Literal["time", "order"]
Spread = Literal["sequences", "draws"]


def default_form(denoiser: nn.Module, process: str) -> Form:
    """Return order for masked models that are not told the time, else the process's own form."""
    is_order = process == "absorbing" and not is_time_conditioned(denoiser)
    return "order" if is_order else "time"


@dataclass(frozen=True)
class BoundEstimate:
    """An upper bound on the negative log-likelihood, and how well it is known."""

    nats_per_token: float
    standard_error: float
    """Of `nats_per_token`: from differences between items of neighbouring times, so that what
    the even spread of the times gains is counted. What texts differ by is still in it, so it is
    on the safe side as an error of the masks and times alone."""
    num_tokens: int
    num_sequences: int
    draws: int
    """Times (or numbers of masked tokens) drawn for each sequence."""


@dataclass(frozen=True)
class BoundSamples:
    """One-sample estimates of the bound of each sequence."""

    nats: NDArray[np.float64]
    """[draws, sequences]: of the whole sequence."""
    times: NDArray[np.float64]
    """[draws, sequences]: share of tokens masked, in expectation."""
    lengths: NDArray[np.int64]
    """[sequences]: tokens that are scored."""

    def per_sequence(self) -> NDArray[np.float64]:
        """Return the nats of each whole sequence [sequences]."""
        return self.nats.mean(axis=0)

    def estimate(self) -> BoundEstimate:
        """Return the bound over all sequences, in nats a token."""
        draws, count = self.nats.shape
        tokens = int(self.lengths.sum())
        mean = float(self.nats.sum() / (draws * tokens))
        # What an item has above its share of the mean; half the mean squared difference of
        # neighbours in time is the variance that the even spread of the times leaves.
        residual = (self.nats - mean * self.lengths).ravel()
        gaps = np.diff(residual[np.argsort(self.times.ravel(), kind="stable")])
        variance = float((gaps**2).mean() / 2) if len(gaps) else float("nan")
        error = (variance * draws * count) ** 0.5 / (draws * tokens)
        return BoundEstimate(mean, error, tokens, count, draws)


def order_masking(
    maskable: Bool[Tensor, "batch width"],
    t: Float[Tensor, "batch"],
    uniform: Float[Tensor, "batch width"],
) -> tuple[Bool[Tensor, "batch width"], Float[Tensor, "batch"]]:
    """Mask the last m tokens of a random order, m = ceil(t L); their weight is L/m."""
    length = maskable.sum(-1)
    count = (t.double() * length).ceil().clamp(min=1).minimum(length)
    # Positions that cannot be masked come first in the order, and so are never among the last.
    # The argsort of an argsort is each entry's rank.
    rank = uniform.masked_fill(~maskable, -1.0).argsort(-1).argsort(-1)
    masked = maskable & (rank >= maskable.shape[-1] - count.unsqueeze(-1))
    return masked, length / count


@torch.no_grad()
def bound_samples(
    denoiser: nn.Module,
    vocabulary: Vocabulary,
    sequences: Sequence[Sequence[int]],
    *,
    scored_from: Sequence[int] | None = None,
    process: str = DEFAULT_PROCESS,
    form: Form | None = None,
    draws: int = 1,
    spread: Spread = "sequences",
    seed: int = 0,
    tokens_per_batch: int = 16_384,
    device: torch.device | str | None = None,
    autocast: torch.dtype | None = None,
    show: Callable[[float], object] = float,
    share: Share = ALONE,
) -> BoundSamples:
    """Estimate the bound of each sequence.

    Randomness is keyed by the sequence's place and the draw, so figures do not depend on the
    batch size.

    Args:
        sequences: ids without framing.
        scored_from: tokens of each before this place are context: given, never masked. All are
            scored where None.
        draws: times for each sequence.
        spread: whether times cover (0, 1) evenly over all sequences and draws, which is best for
            a figure of the whole set, or over the draws of each sequence, which is best where
            sequences are compared with each other.
        process: name of the process that `denoiser` reverses.
        form: the estimator; that of `default_form` where None.
        device: where `denoiser` is; its parameters say so where None.
        autocast: compute the network in this type; log-probabilities stay float32.
        show: told how many items (a sequence, a draw) are done.
        share: the processes that estimate items together; each returns all of them.

    Raises:
        UserError: `form` is order, and the process is not the absorbing one.
        ValueError: nothing of a sequence is scored.
    """
    form = form or default_form(denoiser, process)
    if form == "order" and process != "absorbing":
        raise UserError(
            f"--form order is the any-order bound of absorbing models; a model of the {process} "
            "process takes --form time."
        )
    context = np.zeros(len(sequences), int) if scored_from is None else np.asarray(scored_from)
    lengths = np.array([len(each) for each in sequences], int) - context
    if len(lengths) and lengths.min() < 1:
        raise ValueError("a sequence of which nothing is scored has no bound")
    device = device or next(denoiser.parameters()).device
    noising = build_process(process, vocabulary)
    estimator = _Estimator(denoiser, vocabulary, noising, form, seed, device, autocast)
    times = _times(len(sequences), draws, spread, seed)
    nats = np.empty((draws, len(sequences)))
    # An item is a draw of a sequence: draws of short sequences share batches, too.
    framed = [len(each) + vocabulary.num_special_per_sequence for each in sequences]
    done = 0

    def compute(items: list[int]) -> NDArray[np.float64]:
        nonlocal done
        item = torch.tensor(items)
        draw, record = item // len(sequences), item % len(sequences)
        rows = [sequences[i] for i in record.tolist()]
        batch = _batch(vocabulary, rows, context[record.numpy()])
        total = estimator.nats(batch, times[draw, record], record, draw)
        done += len(items) * share.count
        show(min(done, nats.size))
        return total.numpy()

    batches = plan_batches(framed * draws, tokens_per_batch)
    for items, total in zip(batches, share.results(batches, compute), strict=True):
        nats.flat[items] = total
    return BoundSamples(nats, times.double().numpy(), lengths)


@dataclass(frozen=True)
class _Estimator:
    """What items are estimated with; see `bound_samples`."""

    denoiser: nn.Module
    vocabulary: Vocabulary
    process: Process
    form: Form
    seed: int
    device: torch.device | str
    autocast: torch.dtype | None

    def nats(
        self,
        batch: TokenBatch,
        t: Float[Tensor, "batch"],
        record: Int[Tensor, "batch"],
        draw: Int[Tensor, "batch"],
    ) -> Float[Tensor, "batch"]:
        """Return the nats of each whole sequence of a batch, noised once."""
        position = torch.arange(batch.tokens.shape[1])
        keys = (record.unsqueeze(-1), position, draw.unsqueeze(-1))
        uniform = keyed_uniform(self.seed, Stream.CORRUPT, *keys)
        asked, here = (self.denoiser, self.vocabulary), batch.to(self.device)
        if self.form == "time":
            return row_bound(*asked, self.process, here, t, uniform, self.autocast)
        masked, weight = order_masking(batch.maskable, t, uniform)
        total = row_nll(*asked, here, masked.to(self.device), t, self.autocast)
        # L/m times the sum over the m masked tokens ([2]_, equation 4).
        return total * weight.double()


def _batch(
    vocabulary: Vocabulary, rows: Sequence[Sequence[int]], context: NDArray[np.int64]
) -> TokenBatch:
    batch = pad_batch([vocabulary.frame(row) for row in rows], vocabulary)
    first = torch.as_tensor(context) + int(vocabulary.bos_id is not None)
    scored = torch.arange(batch.tokens.shape[1]) >= first.unsqueeze(-1)
    return TokenBatch(batch.tokens, batch.lengths, batch.maskable & scored)


def _times(count: int, draws: int, spread: str, seed: int) -> Float[Tensor, "draws count"]:
    """Draw a time for each draw of each sequence, spread evenly over (0, 1)."""
    if spread == "draws":
        shift = keyed_uniform(seed, Stream.TIME, torch.arange(count))
        return ((torch.arange(draws).unsqueeze(-1) + shift) / draws).float()
    times = low_discrepancy_times(count * draws, float(keyed_uniform(seed, Stream.TIME, 0)))
    # Lengths and times must not be correlated by the file's order.
    shuffle = torch.randperm(count * draws, generator=torch.Generator().manual_seed(seed))
    return times[shuffle].view(draws, count)
