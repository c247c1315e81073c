"""What a set of samples is worth where the truth is known: gap, families, pairs, variety.

Every figure comes with a 95% bootstrap interval. The mean of the process's own draws is known for
each: gap 0, divergence of the families 0 (up to the noise of a finite set, which the row of the
process's own draws shows), broken pairs above the true share 0.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.exact.paired_families import PairedFamilies
from benchmarks.exact.process import ExactProcess, Ranks
from didi_core.evaluation.bootstrap import Interval, percentile_interval
from didi_core.evaluation.distances import kmer_distance
from didi_core.evaluation.frontier import interval_of
from didi_core.evaluation.ratio import PooledKmerEntropy, Ratio, resample_counts

TRUTH_SEQUENCES = 65_536
TRUTH_SEED = 1_000_003
"""Draws for the truth share no seed with training data or samples."""
DATA_SEEDS = (2_000_003, 3_000_017)
"""Two sets of draws that samples are compared with."""
KMER = 3


@dataclass(frozen=True)
class Truth:
    """What is known of the process beforehand."""

    entropy: float
    """Nats a residue, lengths drawn as the process draws them: E[-log p(x | length)] / E[length],
    by Monte Carlo over exact likelihoods."""
    entropy_standard_error: float
    num_sequences: int
    family_prior: list[float]
    """Exact."""
    broken_share: float | None
    """Exact; None where the process has no pairs."""


def truth_of(process: ExactProcess, num_sequences: int = TRUTH_SEQUENCES) -> Truth:
    """Entropy by Monte Carlo with its standard error, and what is known exactly."""
    draws = process.sample(num_sequences, TRUTH_SEED)
    nll, lengths = -process.log_prob(draws.sequences), draws.lengths
    entropy = float(nll.sum() / lengths.sum())
    error = (nll - entropy * lengths).std() / np.sqrt(num_sequences) / lengths.mean()
    paired = isinstance(process, PairedFamilies)
    return Truth(
        entropy=entropy,
        entropy_standard_error=float(error),
        num_sequences=num_sequences,
        family_prior=process.family_prior.tolist(),
        broken_share=process.true_broken_share if paired else None,
    )


def measure_samples(
    process: ExactProcess, truth: Truth, sequences: Sequence[Ranks], seed: int = 0
) -> dict[str, Any]:
    """All figures of a set, as plain values.

    Args:
        sequences: of lengths drawn as the process draws them.
    """
    nll = nll_of(process, sequences)
    posterior = process.family_posterior(sequences)
    figures = {
        "n": len(sequences),
        "nll": interval_of(nll, seed).as_dict(),
        **_gap(nll, truth, seed),
        **_family_figures(posterior, np.array(truth.family_prior), seed),
        **_variety(process, sequences, seed),
    }
    if isinstance(process, PairedFamilies):
        excess = process.broken_share(sequences) - process.true_broken_share
        figures["broken_above_true"] = interval_of(Ratio.mean_of(excess), seed).as_dict()
    return figures


def nll_of(process: ExactProcess, sequences: Sequence[Ranks]) -> Ratio:
    """Exact nats and residues of each sequence."""
    lengths = np.array([len(each) for each in sequences], dtype=np.float64)
    return Ratio(-process.log_prob(sequences), lengths)


def _gap(nll: Ratio, truth: Truth, seed: int) -> dict[str, Any]:
    """Mean NLL less entropy a residue, signed and not; the truth's own error is in the interval."""
    replicates = np.concatenate([nll.resampled(c) for c in resample_counts(len(nll), seed)])
    noise = np.random.default_rng(seed).normal(0, truth.entropy_standard_error, len(replicates))
    signed = percentile_interval(nll.value - truth.entropy, replicates - truth.entropy + noise)
    return {"signed_gap": signed.as_dict(), "gap": absolute(signed).as_dict()}


def absolute(interval: Interval) -> Interval:
    """The interval of the absolute value: from 0 where the sign is not known."""
    ends = sorted((abs(interval.low), abs(interval.high)))
    low = 0.0 if interval.low < 0 < interval.high else ends[0]
    return Interval(abs(interval.mean), low, ends[1])


def _family_figures(
    posterior: Float[np.ndarray, "n family"], prior: Float[np.ndarray, "family"], seed: int
) -> dict[str, Any]:
    """Divergence of the families' histogram from the prior, and total variation.

    A sequence counts in each family by its posterior probability: then the histogram of the
    process's own draws has the prior as its mean. A histogram of finitely many is never at distance
    0, and resampled ones are further off still; so the intervals are *basic* ones (reflected at
    the estimate), which take that bias out, and end at 0.
    """
    counts = np.concatenate(list(resample_counts(len(posterior), seed)))
    shares = counts @ posterior / len(posterior)
    found = posterior.mean(0)
    return {
        "family_kl": _basic(kl(found, prior), kl(shares, prior)).as_dict(),
        "family_tv": _basic(
            total_variation(found, prior), total_variation(shares, prior)
        ).as_dict(),
    }


def kl(shares: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """KL(shares || prior) over the last axis, in nats; no share counts as 0."""
    ratio = np.log(np.maximum(shares, 1e-300) / prior)
    return (shares * ratio).sum(-1)


def total_variation(shares: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Half the summed absolute difference over the last axis."""
    return 0.5 * np.abs(shares - prior).sum(-1)


def _basic(estimate: float, replicates: Float[np.ndarray, "resample"]) -> Interval:
    reflected = percentile_interval(float(estimate), 2 * estimate - replicates)
    return Interval(reflected.mean, max(0.0, reflected.low), max(0.0, reflected.high))


def _variety(process: ExactProcess, sequences: Sequence[Ranks], seed: int) -> dict[str, Any]:
    """3-mer entropy, beside that of the process's own draws; distance to them; distinct share."""
    size = len(sequences)
    data, other = (process.sample(size, each).sequences for each in DATA_SEEDS)
    entropy = PooledKmerEntropy(KMER, process.num_tokens)
    distance = kmer_distance(sequences, data, other, KMER, process.num_tokens, seed)
    return {
        "pooled_3mer_entropy": interval_of(entropy(sequences), seed).as_dict(),
        "pooled_3mer_entropy_of_process": interval_of(entropy(data), seed).as_dict(),
        "kmer_distance": distance.as_dict(),
        "distinct_fraction": len({tuple(map(int, each)) for each in sequences}) / size,
    }


def truth_record(truth: Truth) -> dict[str, Any]:
    """Plain values for JSON."""
    return asdict(truth)
