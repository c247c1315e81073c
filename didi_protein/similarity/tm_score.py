"""TM-score [1]_ of two chains by TM-align, the same in either order.

The score of a pair is the mean of TM-align's two, one normalised by each length; at equal lengths
the two agree. TM-align's search depends slightly on which chain comes first: a pair is always
aligned in one order, so that the score is symmetric.

.. [1] Zhang, Skolnick. "Scoring function for automated assessment of protein structure template
   quality", Proteins 57, 2004; TM-align: Nucleic Acids Research 33, 2005.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version as package_version
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from didi_core.errors import missing_extra
from didi_core.evaluation.bootstrap import NUM_RESAMPLES, Interval, percentile_interval

MIN_RESIDUES = 3
"""Fewest that TM-align takes."""


@dataclass(frozen=True)
class Trace:
    """The C-alpha atoms of a chain."""

    coordinates: Float[ndarray, "residues 3"]
    """Ångström."""
    sequence: str

    def __len__(self) -> int:
        return len(self.sequence)


def is_available() -> bool:
    """Tell whether the package that brings TM-align is installed."""
    try:
        import tmtools  # noqa: F401
    except ImportError:
        return False
    return True


def version() -> str:
    """Return the version of the package that brings TM-align."""
    return package_version("tmtools")


def tm_score(one: Trace, other: Trace) -> float:
    """Return a pair's TM-score, 0 to 1; `tm_score(a, b) == tm_score(b, a)` exactly.

    Raises:
        ValueError: a chain is shorter than `MIN_RESIDUES`.
        UserError: tmtools is not installed.
    """
    try:
        import tmtools
    except ImportError as error:
        raise missing_extra("tmtools", "metrics") from error
    if min(len(one), len(other)) < MIN_RESIDUES:
        raise ValueError(f"TM-align needs {MIN_RESIDUES} residues or more")
    first, second = sorted((one, other), key=_order)
    alignment = tmtools.tm_align(
        first.coordinates, second.coordinates, first.sequence, second.sequence
    )
    return (alignment.tm_norm_chain1 + alignment.tm_norm_chain2) / 2


def _order(trace: Trace) -> tuple[int, str, bytes]:
    """Return a chain's sort key: which one comes first changes TM-align's search slightly."""
    return len(trace), trace.sequence, trace.coordinates.tobytes()


# Structural diversity of a set: the mean TM-score of pairs of designs of similar length.
#
# Pairs are taken within bins of length, because TM-scores of different lengths do not compare; of
# too
# many, a seeded sample.

BIN_WIDTH = 25
"""Residues: 76 to 100 share a bin, 101 to 125 the next."""


@dataclass(frozen=True)
class LengthBin:
    """The pairs of one bin of length."""

    min_length: int
    max_length: int
    members: tuple[int, ...]
    """Places of its designs in the set; two or more."""
    pairs: tuple[tuple[int, int], ...]
    """Places of the two designs of each pair compared, the smaller first."""

    @property
    def num_possible(self) -> int:
        return len(self.members) * (len(self.members) - 1) // 2


@dataclass(frozen=True)
class PairwiseTm:
    """Mean pairwise TM-score of a set: lower is more diverse."""

    interval: Interval
    """Mean over bins, each weighted by its designs; ends of the 95% interval over designs."""
    bins: tuple[LengthBin, ...]
    means: tuple[float, ...]
    """Mean over the pairs of each bin."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as under `set` in the summary."""
        rows = [
            {
                "min_length": each.min_length,
                "max_length": each.max_length,
                "n": len(each.members),
                "pairs": len(each.pairs),
                "possible_pairs": each.num_possible,
                "mean": mean,
            }
            for each, mean in zip(self.bins, self.means, strict=True)
        ]
        num = sum(len(each.members) for each in self.bins)
        return {**self.interval.as_dict(), "n": num, "by_length": rows}


def definition(max_pairs: int) -> str:
    """Say the measure in a sentence, with version and settings."""
    return (
        "mean TM-score of pairs of designs whose lengths share a bin of "
        f"{BIN_WIDTH} residues, by TM-align (tmtools {version()}, C-alpha atoms); of a "
        "pair, the mean of the two scores normalised by either length; at most "
        f"{max_pairs:,} pairs in all, drawn by --seed; mean over bins weighted by their designs, "
        "and the ends of its 95% bootstrap interval over designs, up to 1.7 times too wide where "
        "designs differ little; lower is more diverse"
    )


def plan_pairs(lengths: Sequence[int], max_pairs: int, seed: int = 0) -> list[LengthBin]:
    """Choose the bins with two designs or more, and which pairs of each are compared.

    Small bins are compared whole; the others share what is left of `max_pairs` evenly.
    """
    members: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        if length >= MIN_RESIDUES:
            members.setdefault((length - 1) // BIN_WIDTH, []).append(place)
    bins = {number: places for number, places in sorted(members.items()) if len(places) > 1}
    quota = _quotas(
        {number: len(each) * (len(each) - 1) // 2 for number, each in bins.items()}, max_pairs
    )
    return [
        LengthBin(
            min_length=number * BIN_WIDTH + 1,
            max_length=(number + 1) * BIN_WIDTH,
            members=tuple(places),
            pairs=tuple(_draw_pairs(places, quota[number], [seed, number])),
        )
        for number, places in bins.items()
        if quota[number]
    ]


def _quotas(possible: dict[int, int], max_pairs: int) -> dict[int, int]:
    left, quotas = max_pairs, {}
    for done, (number, count) in enumerate(sorted(possible.items(), key=lambda item: item[1])):
        quotas[number] = min(count, left // (len(possible) - done))
        left -= quotas[number]
    return quotas


def _draw_pairs(places: Sequence[int], count: int, seed: list[int]) -> list[tuple[int, int]]:
    """Draw `count` different pairs of `places`, all equally likely, in order."""
    possible = len(places) * (len(places) - 1) // 2
    chosen = np.random.default_rng(seed).choice(possible, size=count, replace=False)
    # Pair number k stands at row j of the triangle whose row j holds (0, j) to (j - 1, j).
    later = ((1 + np.sqrt(1 + 8 * np.sort(chosen).astype(np.float64))) / 2).astype(np.int64)
    earlier = np.sort(chosen) - later * (later - 1) // 2
    return [(places[i], places[j]) for i, j in zip(earlier.tolist(), later.tolist(), strict=True)]


def mean_pairwise_tm(
    traces: Sequence[Trace],
    max_pairs: int,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> PairwiseTm | None:
    """See the module; None where no two designs share a bin.

    Args:
        on_progress: called with the number of pairs done.
    """
    bins = plan_pairs([len(trace) for trace in traces], max_pairs, seed)
    if not bins:
        return None
    scores, done = [], 0
    for each in bins:
        pair_scores = []
        for i, j in each.pairs:
            pair_scores.append(tm_score(traces[i], traces[j]))
            done += 1
            if on_progress is not None:
                on_progress(done)
        scores.append(np.array(pair_scores))
    means = tuple(float(each.mean()) for each in scores)
    return PairwiseTm(_interval(bins, scores, means, seed), tuple(bins), means)


def _interval(
    bins: Sequence[LengthBin],
    scores: Sequence[Float[ndarray, "_"]],
    means: Sequence[float],
    seed: int,
) -> Interval:
    """Resample designs within their bins; a pair counts as often as both its designs."""
    generator = np.random.default_rng(seed)
    sums, weights = np.zeros(NUM_RESAMPLES), np.zeros(NUM_RESAMPLES)
    for each, score in zip(bins, scores, strict=True):
        size = len(each.members)
        paired, place = np.unique(np.array(each.pairs), return_inverse=True)
        first, second = place.reshape(-1, 2).T
        # The last count is of all designs without a pair: they need not be told apart.
        chances = np.append(np.full(len(paired), 1 / size), 1 - len(paired) / size).clip(0)
        count = generator.multinomial(size, chances / chances.sum(), size=NUM_RESAMPLES)
        times = count[:, first] * count[:, second]
        total = times.sum(axis=1)
        # A resample that holds no pair of a small bin says nothing of it.
        known = total > 0
        sums[known] += size * (times[known] @ score) / total[known]
        weights[known] += size
    resampled = sums[weights > 0] / weights[weights > 0]
    mean = np.average(means, weights=[len(each.members) for each in bins])
    return percentile_interval(mean, resampled)
