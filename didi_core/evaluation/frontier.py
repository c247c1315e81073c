"""The frontier: judge NLL against diversity over a sweep of sampling temperatures.

A single perplexity says nothing: a lower temperature lowers it for any model. What compares is the
NLL at *equal diversity*, as a rule that of natural data, read off the curve that the temperatures
trace. Along a curve both figures are straight in temperature between neighbouring sets: the curve
is read at the temperature where its diversity is the one asked for. Nothing here knows what the
tokens mean: the caller gives a function that draws a set at a temperature, a judge and a measure
of diversity.

    frontier = trace_frontier("student, 8 steps", draw, [0.6, 0.8, 1.0], judge, diversity)
    natural = diversity(held_out)                # resampled like all else
    nll_at(frontier, natural)                    # with its 95% interval
    difference_at(frontier, teacher, natural)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import nn

from didi_core.evaluation.bootstrap import Interval, percentile_interval
from didi_core.evaluation.judge import BATCH_TOKENS, causal_nll
from didi_core.evaluation.ratio import NUM_RESAMPLES, Ratio, resample_counts

Sequences = Sequence[Sequence[int]]
Draw = Callable[[float], Sequences]
"""A set of sequences at a temperature. Record i is to be the same request, with the same random
numbers, at every temperature: then comparisons are paired."""
Measure = Callable[[Sequences], Ratio]
_NATURAL_STREAM = 1
"""Of the random numbers by which natural data are resampled."""


def causal_judge(model: nn.Module, bos_id: int, batch_tokens: int = BATCH_TOKENS) -> Measure:
    """Make a measure of an autoregressive judge: nats a token, averaged over sequences."""
    return lambda sequences: Ratio.mean_of(causal_nll(model, sequences, bos_id, batch_tokens))


@dataclass(frozen=True)
class FrontierPoint:
    """One set: its temperature and its figures."""

    temperature: float
    nll: Ratio
    diversity: Ratio
    ngrams: Ratio | None = None
    """Entropy of longer n-grams than `diversity` counts: a second diversity to compare at."""


@dataclass(frozen=True)
class Level:
    """Where curves are compared."""

    diversity: Ratio | float
    """Of natural data, one entry a record, which are resampled too; or a number, taken as exact."""
    source: str = "a number that was given"
    """What has this diversity, in words."""
    ngrams: Ratio | float | None = None
    """Its entropy of longer n-grams; None where the curves are not compared at it."""


@dataclass(frozen=True)
class Frontier:
    """The sets of one model and sampler, by rising temperature."""

    name: str
    points: tuple[FrontierPoint, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What made it: model, sampler, steps, precision of network and draws, seed."""

    def __post_init__(self) -> None:
        figures = [each for p in self.points for each in (p.nll, p.diversity, p.ngrams)]
        sizes = {len(ratio) for ratio in figures if ratio is not None}
        if len(sizes) != 1:
            raise ValueError(f"{self.name}: every set needs the same records, got sizes {sizes}")

    @property
    def num_records(self) -> int:
        return len(self.points[0].nll)

    @property
    def diversity_range(self) -> tuple[float, float]:
        """Least and largest diversity that the sweep reached."""
        reached = [point.diversity.value for point in self.points]
        return min(reached), max(reached)

    @property
    def over_ngrams(self) -> "Frontier | None":
        """The same curve over the entropy of longer n-grams; None where a set has none."""
        points = [replace(p, diversity=p.ngrams) for p in self.points if p.ngrams is not None]
        if len(points) < len(self.points):
            return None
        return Frontier(self.name, tuple(points), self.settings)


def trace_frontier(
    name: str,
    draw: Draw,
    temperatures: Sequence[float],
    judge: Measure,
    diversity: Measure,
    settings: Mapping[str, Any] | None = None,
    ngrams: Measure | None = None,
) -> Frontier:
    """Draw a set at each temperature and measure it.

    Args:
        ngrams: entropy of longer n-grams, where curves are to compare at it too.

    Raises:
        ValueError: no temperature is given, or sets differ in size.
    """
    if not temperatures:
        raise ValueError("a frontier needs one temperature or more")
    points = []
    for temperature in sorted(temperatures):
        sequences = draw(temperature)
        figures = judge(sequences), diversity(sequences), ngrams and ngrams(sequences)
        points.append(FrontierPoint(temperature, *figures))
    return Frontier(name, tuple(points), dict(settings or {}))


def nll_at(
    frontier: Frontier,
    diversity: Ratio | float,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Interval | None:
    """Return the judge NLL where the curve passes `diversity`; None where it does not reach it."""
    return _figure_at(frontier, diversity, _nll_of, seed, num_resamples)


def ngrams_at(
    frontier: Frontier,
    diversity: Ratio | float,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Interval | None:
    """Return the entropy of longer n-grams where the curve passes `diversity`.

    None where it does not reach it, or where its sets have no such entropy.
    """
    if frontier.over_ngrams is None:
        return None
    return _figure_at(frontier, diversity, _ngrams_of, seed, num_resamples)


def temperature_at(frontier: Frontier, diversity: Ratio | float) -> float | None:
    """Return the temperature at which the curve passes `diversity`, of several that nearest to 1.

    None where the sweep does not reach it.
    """
    if not reaches(frontier, diversity):
        return None
    return float(_crossings_of(frontier, diversity).temperatures[0])


def difference_at(
    first: Frontier,
    second: Frontier,
    diversity: Ratio | float,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Interval | None:
    """Return the NLL of `first` less that of `second` at equal diversity.

    Sets of one size are resampled together, record by record: they are taken to be the same
    requests. Sets of different sizes are resampled apart. Natural data are resampled apart from
    both, and each resample of them is one diversity for both curves. None where one does not
    reach it.
    """
    if not (reaches(first, diversity) and reaches(second, diversity)):
        return None
    one, two = _replicates([first, second], diversity, _nll_of, seed, num_resamples)
    return percentile_interval(
        _estimate(first, diversity, _nll_of) - _estimate(second, diversity, _nll_of), one - two
    )


def reaches(frontier: Frontier, diversity: Ratio | float) -> bool:
    """Return whether the sets of the sweep lie on both sides of `diversity`, or at it."""
    low, high = frontier.diversity_range
    return low <= value_of(diversity) <= high


def value_of(diversity: Ratio | float) -> float:
    """Return a diversity as a number."""
    return diversity.value if isinstance(diversity, Ratio) else float(diversity)


@dataclass(frozen=True)
class Crossings:
    """Where curves pass a diversity: between which neighbours, and how far on the way."""

    segments: Int[np.ndarray, "curve"]
    """Number of the earlier of the two neighbours."""
    shares: Float[np.ndarray, "curve"]
    """0 at the earlier, 1 at the later; outside of it where the end of a curve goes on straight."""
    temperatures: Float[np.ndarray, "curve"]

    def read(self, figures: Float[np.ndarray, "curve point"]) -> Float[np.ndarray, "curve"]:
        """Return a figure of each curve there, straight in temperature between neighbours."""
        rows = np.arange(len(figures))
        left = figures[rows, self.segments]
        right = figures[rows, np.minimum(self.segments + 1, figures.shape[1] - 1)]
        return left + self.shares * (right - left)


def find_crossings(
    temperatures: Float[np.ndarray, "point"],
    diversities: Float[np.ndarray, "curve point"],
    levels: Float[np.ndarray, "curve"],
    anchor: float = 1.0,
) -> Crossings:
    """Find where curves, straight in temperature between neighbours, pass each its level.

    Of several crossings the one whose temperature is nearest to `anchor` counts. A curve that
    passes its level nowhere (a resample may, although the estimate does) goes on straight beyond
    its ends: cutting it off there would make intervals too narrow. One that does not pass it even
    so is read at the set whose diversity is nearest.

    Args:
        temperatures: rising; two or more.
    """
    left, rise, gaps = diversities[:, :-1], np.diff(diversities, axis=1), np.diff(temperatures)
    level, is_flat = levels[:, None], rise == 0
    # Solve left + share * rise = level. A flat stretch at the level has it everywhere.
    nearest_on_flat = np.clip((anchor - temperatures[:-1]) / gaps, 0, 1)
    shares = np.where(is_flat, nearest_on_flat, (level - left) / np.where(is_flat, 1.0, rise))
    passes = np.where(is_flat, left == level, (shares >= 0) & (shares <= 1))
    # Where no segment passes it: the first drawn on to the left, or the last to the right.
    beyond = np.zeros_like(passes)
    beyond[:, 0] |= (shares[:, 0] < 0) & ~is_flat[:, 0]
    beyond[:, -1] |= (shares[:, -1] > 1) & ~is_flat[:, -1]
    usable = np.where(passes.any(axis=1, keepdims=True), passes, beyond)
    where = temperatures[:-1] + shares * gaps
    segments = np.where(usable, np.abs(where - anchor), np.inf).argmin(axis=1)
    # Flat ends are not drawn on: then the set of nearest diversity stands in, at share 0 or 1.
    rows, is_lost = np.arange(len(levels)), ~usable.any(axis=1)
    nearest = np.abs(diversities - level).argmin(axis=1)
    segments = np.where(is_lost, nearest.clip(max=len(gaps) - 1), segments)
    positions = np.where(is_lost, nearest - segments, shares[rows, segments])
    return Crossings(segments, positions, temperatures[segments] + positions * gaps[segments])


Figure = Callable[[FrontierPoint], Ratio]


def _nll_of(point: FrontierPoint) -> Ratio:
    return point.nll


def _ngrams_of(point: FrontierPoint) -> Ratio:
    assert point.ngrams is not None
    return point.ngrams


def _figure_at(
    frontier: Frontier, diversity: Ratio | float, figure: Figure, seed: int, num_resamples: int
) -> Interval | None:
    if not reaches(frontier, diversity):
        return None
    replicates = _replicates([frontier], diversity, figure, seed, num_resamples)[0]
    return percentile_interval(_estimate(frontier, diversity, figure), replicates)


def _crossings_of(frontier: Frontier, diversity: Ratio | float) -> Crossings:
    diversities = np.array([[point.diversity.value for point in frontier.points]])
    return _crossings(frontier, diversities, np.array([value_of(diversity)]), anchor=1.0)


def _crossings(
    frontier: Frontier,
    diversities: Float[np.ndarray, "curve point"],
    levels: Float[np.ndarray, "curve"],
    anchor: float,
) -> Crossings:
    """Find crossings; a curve of one set is read there, wherever it is."""
    temperatures = np.array([point.temperature for point in frontier.points])
    if len(temperatures) > 1:
        return find_crossings(temperatures, diversities, levels, anchor)
    none = np.zeros(len(levels))
    return Crossings(none.astype(np.int64), none, none + temperatures[0])


def _estimate(frontier: Frontier, diversity: Ratio | float, figure: Figure) -> float:
    values = np.array([[figure(point).value for point in frontier.points]])
    return float(_crossings_of(frontier, diversity).read(values)[0])


def _replicates(
    frontiers: Sequence[Frontier],
    diversity: Ratio | float,
    figure: Figure,
    seed: int,
    num_resamples: int,
) -> list[Float[np.ndarray, "resample"]]:
    """Read the figure at `diversity` on each resample of each frontier.

    Of several crossings a resample has the one nearest to that of the estimate.
    """
    levels = _resampled_levels(diversity, seed, num_resamples)
    paired = len({frontier.num_records for frontier in frontiers}) == 1
    streams = [seed] * len(frontiers) if paired else range(seed, seed + len(frontiers))
    result = []
    for frontier, stream in zip(frontiers, streams, strict=True):
        anchor, chunks, start = float(_crossings_of(frontier, diversity).temperatures[0]), [], 0
        for counts in resample_counts(frontier.num_records, stream, num_resamples):
            diversities, values = (
                np.stack([of(point).resampled(counts) for point in frontier.points], axis=1)
                for of in (lambda point: point.diversity, figure)
            )
            level = levels[start : start + len(counts)]
            chunks.append(_crossings(frontier, diversities, level, anchor).read(values))
            start += len(counts)
        result.append(np.concatenate(chunks))
    return result


def _resampled_levels(
    diversity: Ratio | float, seed: int, num_resamples: int
) -> Float[np.ndarray, "resample"]:
    """Draw the diversity of each resample of natural data; a number is the same in all."""
    if not isinstance(diversity, Ratio):
        return np.full(num_resamples, float(diversity))
    stream = (seed, _NATURAL_STREAM)  # not that of the samples: they are other records
    counts = resample_counts(len(diversity), stream, num_resamples)
    return np.concatenate([diversity.resampled(each) for each in counts])


def paired_difference_of(
    first: Ratio, second: Ratio, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> Interval:
    """Subtract the second figure from the first, with 95% interval; record i of both is one pair.

    Raises:
        ValueError: the figures do not rest on as many records.
    """
    if len(first) != len(second):
        raise ValueError(f"pairs need as many records on both sides: {len(first)}, {len(second)}")
    replicates = [
        first.resampled(counts) - second.resampled(counts)
        for counts in resample_counts(len(first), seed, num_resamples)
    ]
    return percentile_interval(first.value - second.value, np.concatenate(replicates))


def interval_of(ratio: Ratio, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> Interval:
    """Return a single figure with its 95% interval."""
    chunks = [ratio.resampled(c) for c in resample_counts(len(ratio), seed, num_resamples)]
    return percentile_interval(ratio.value, np.concatenate(chunks))
