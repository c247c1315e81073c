"""The frontier: judge NLL against diversity over a sweep of sampling temperatures.

A single perplexity says nothing: a lower temperature lowers it for any model. What compares is the
NLL at *equal diversity*, read off the curve that the temperatures trace. Nothing here knows what
the tokens mean: the caller gives a function that draws a set at a temperature, a judge and a
measure of diversity.

    frontier = trace_frontier("student, 8 steps", draw, [0.6, 0.8, 1.0], judge, diversity)
    nll_at(frontier, diversity=6.9)              # with its 95% interval
    difference_at(frontier, teacher, diversity=6.9)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import nn

from didi_core.evaluation.bootstrap import Interval, percentile_interval
from didi_core.evaluation.judge import BATCH_TOKENS, causal_nll
from didi_core.evaluation.ratio import NUM_RESAMPLES, Ratio, resample_counts

Sequences = Sequence[Sequence[int]]
Draw = Callable[[float], Sequences]
"""A set of sequences at a temperature. Record i is to be the same request, with the same random
numbers, at every temperature: then comparisons are paired."""
Measure = Callable[[Sequences], Ratio]


def causal_judge(model: nn.Module, bos_id: int, batch_tokens: int = BATCH_TOKENS) -> Measure:
    """An autoregressive judge: the mean over sequences of nats a token (see `judge`)."""
    return lambda sequences: Ratio.mean_of(causal_nll(model, sequences, bos_id, batch_tokens))


@dataclass(frozen=True)
class FrontierPoint:
    """One set: its temperature and its two figures."""

    temperature: float
    nll: Ratio
    diversity: Ratio


@dataclass(frozen=True)
class Frontier:
    """The sets of one model and sampler, by rising temperature."""

    name: str
    points: tuple[FrontierPoint, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What made it: model, sampler, steps, precision of network and draws, seed."""

    def __post_init__(self) -> None:
        sizes = {len(ratio) for p in self.points for ratio in (p.nll, p.diversity)}
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


def trace_frontier(
    name: str,
    draw: Draw,
    temperatures: Sequence[float],
    judge: Measure,
    diversity: Measure,
    settings: Mapping[str, Any] | None = None,
) -> Frontier:
    """Draw a set at each temperature and measure it.

    Raises:
        ValueError: no temperature is given, or sets differ in size.
    """
    if not temperatures:
        raise ValueError("a frontier needs one temperature or more")
    points = []
    for temperature in sorted(temperatures):
        sequences = draw(temperature)
        points.append(FrontierPoint(temperature, judge(sequences), diversity(sequences)))
    return Frontier(name, tuple(points), dict(settings or {}))


def nll_at(
    frontier: Frontier, diversity: float, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> Interval | None:
    """Judge NLL where the curve passes `diversity`; None where the sweep does not reach it."""
    if not _reaches(frontier, diversity):
        return None
    replicates = _replicates([frontier], diversity, seed, num_resamples)[0]
    return percentile_interval(_estimate(frontier, diversity), replicates)


def difference_at(
    first: Frontier,
    second: Frontier,
    diversity: float,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Interval | None:
    """NLL of `first` less that of `second` at equal diversity; None where one does not reach it.

    Sets of one size are resampled together, record by record: they are taken to be the same
    requests. Sets of different sizes are resampled apart.
    """
    if not (_reaches(first, diversity) and _reaches(second, diversity)):
        return None
    one, two = _replicates([first, second], diversity, seed, num_resamples)
    return percentile_interval(
        _estimate(first, diversity) - _estimate(second, diversity), one - two
    )


def _reaches(frontier: Frontier, diversity: float) -> bool:
    low, high = frontier.diversity_range
    return low <= diversity <= high


def _estimate(frontier: Frontier, diversity: float) -> float:
    curve = [(point.diversity.value, point.nll.value) for point in frontier.points]
    return float(interpolate(np.array([curve]), diversity)[0])


def _replicates(
    frontiers: Sequence[Frontier], diversity: float, seed: int, num_resamples: int
) -> list[Float[np.ndarray, "resample"]]:
    """NLL at `diversity` of each resample of each frontier."""
    paired = len({frontier.num_records for frontier in frontiers}) == 1
    streams = [seed] * len(frontiers) if paired else range(seed, seed + len(frontiers))
    result = []
    for frontier, stream in zip(frontiers, streams, strict=True):
        chunks = []
        for counts in resample_counts(frontier.num_records, stream, num_resamples):
            pairs = [
                (p.diversity.resampled(counts), p.nll.resampled(counts)) for p in frontier.points
            ]
            chunks.append(interpolate(np.array(pairs).transpose(2, 0, 1), diversity))
        result.append(np.concatenate(chunks))
    return result


def interpolate(
    curves: Float[np.ndarray, "curve point 2"], diversity: float
) -> Float[np.ndarray, "curve"]:
    """NLL at `diversity` on each curve of (diversity, NLL) points, linear between neighbours.

    Beyond the ends, where a resample may fall although the estimate does not, the last segment
    goes on straight: cutting it off there would make intervals too narrow.
    """
    order = curves[:, :, 0].argsort(axis=1)
    curves = np.take_along_axis(curves, order[:, :, None], axis=1)
    if curves.shape[1] == 1:
        return curves[:, 0, 1]
    right = (curves[:, :, 0] < diversity).sum(axis=1).clip(1, curves.shape[1] - 1)
    rows = np.arange(len(curves))
    (x0, y0), (x1, y1) = curves[rows, right - 1].T, curves[rows, right].T
    width = np.where(x1 > x0, x1 - x0, 1.0)
    return y0 + (y1 - y0) * (diversity - x0) / width


def paired_difference_of(
    first: Ratio, second: Ratio, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> Interval:
    """The first figure less the second, with its 95% interval; record i of both is one pair.

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
    """A single figure with its 95% interval."""
    chunks = [ratio.resampled(c) for c in resample_counts(len(ratio), seed, num_resamples)]
    return percentile_interval(ratio.value, np.concatenate(chunks))
