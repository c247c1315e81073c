"""How far apart two sets of points lie in an embedding, as papers on generative models print it.

distances = compare_point_sets(designs, natural)     # [n, width] and [m, width], float64
distances.fbd, distances.coverage.low

Frechet distance [1]_ and maximum mean discrepancy [2]_ compare the two laws; precision and recall
[3]_, density and coverage [4]_ count points within balls about those of the other set, which reach
to its k-th nearest neighbour. Kernel, estimators and names are those of the package seqme.

.. [1] Heusel et al. "GANs Trained by a Two Time-Scale Update Rule", NeurIPS 2017.
.. [2] Gretton et al. "A Kernel Two-Sample Test", JMLR 2012; kernel width and scale as in
   Jayasumana et al. "Rethinking FID", CVPR 2024.
.. [3] Kynkaanniemi et al. "Improved Precision and Recall Metric", NeurIPS 2019.
.. [4] Naeem et al. "Reliable Fidelity and Diversity Metrics", ICML 2020.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Bool, Float

from didi_core.evaluation.bootstrap import LEVEL, Interval, bootstrap_mean

NUM_NEIGHBOURS = 5
"""k of the balls, as Naeem et al. advise."""
KERNEL_WIDTH = 10.0
"""Standard deviation of the Gaussian kernel, in units of the embedding."""
MMD_SCALE = 1_000.0
"""What the squared discrepancy is multiplied by, so that it is no row of zeros."""
NUM_BLOCKS = 20
"""Parts of a set, each left out once: what the spread of an estimate is found from."""


@dataclass(frozen=True)
class PointSetDistances:
    """A set of points held against a reference; every interval is of 95%."""

    fbd: Interval
    """Frechet distance of the Gaussians of the two sets, squared, 0 and up."""
    mmd: Interval
    """1,000 times the squared maximum mean discrepancy, biased estimate, 0 and up."""
    density: Interval
    """Balls of the reference that a point of the set lies in, over k: 0 and up; 1 is usual."""
    coverage: Interval
    """Share of the reference points whose ball holds a point of the set."""
    precision: Interval
    """Share of the set's points that lie in some ball of the reference."""
    recall: Interval
    """Share of the reference points that lie in some ball of the set."""


def compare_point_sets(
    points: Float[np.ndarray, "n width"],
    reference: Float[np.ndarray, "m width"],
    num_neighbours: int = NUM_NEIGHBOURS,
    seed: int = 0,
) -> PointSetDistances:
    """Hold a set of points against a reference.

    Every interval is over sets of points like this one, with the reference held fixed. Precision
    and density are means over the points, which are resampled. The others are no means over them,
    and a resample with repeats is further from everything: their intervals are 1.96 standard errors
    of the jackknife over blocks of the points.

    Args:
        num_neighbours: k of the balls; at most one less than either set has points.
        seed: of the bootstrap.

    Raises:
        ValueError: a set has no more than k points, or fewer than three.
    """
    if min(len(points), len(reference)) <= num_neighbours:
        raise ValueError(
            f"{len(points)} and {len(reference)} points have no {num_neighbours} neighbours each"
        )
    in_reference, in_points = _inside_balls(points, reference, num_neighbours)
    # density: (1 / k) sum_j 1[x_i in ball of r_j], of each point i; Naeem et al., equation 4
    density = in_reference.sum(axis=1) / num_neighbours
    frechet = _frechet_to(reference)
    return PointSetDistances(
        fbd=jackknife(lambda kept: frechet(points[kept]), len(points)),
        mmd=jackknife(_mmd_of_part(points, reference), len(points)),
        density=bootstrap_mean(density, seed),
        coverage=jackknife(_share_met(in_reference), len(points), highest=1.0),
        precision=bootstrap_mean(in_reference.any(axis=1), seed),
        recall=jackknife(_share_met(in_points), len(points), highest=1.0),
    )


def frechet_distance(
    points: Float[np.ndarray, "n width"],
    reference: Float[np.ndarray, "m width"],
) -> float:
    """Return the squared Frechet distance of the Gaussians that have the sets' first two moments.

    |mu - nu|^2 + tr(S) + tr(T) - 2 tr((S T)^(1/2)), with covariances over n - 1. With S = A'A and
    T = B'B the last trace is the sum of the singular values of A B': no root of a matrix is taken,
    whose smallest eigenvalues would be nothing but rounding when there are fewer points than
    dimensions.

    Raises:
        ValueError: a set has fewer than two points, and no covariance.
    """
    if min(len(points), len(reference)) < 2:
        raise ValueError(f"{len(points)} and {len(reference)} points: it takes two of each")
    return _frechet_to(reference)(points)


def _frechet_to(
    reference: Float[np.ndarray, "m width"],
) -> Callable[[Float[np.ndarray, "n width"]], float]:
    """Return the distance to a reference, whose moments are computed once."""
    other_mean, other_root = _moments(reference)

    def distance(points: Float[np.ndarray, "n width"]) -> float:
        mean, root = _moments(points)
        overlap = np.linalg.svd(root @ other_root.T, compute_uv=False).sum()
        spread = np.square(root).sum() + np.square(other_root).sum()  # tr(S) + tr(T)
        return max(0.0, float(np.square(mean - other_mean).sum() + spread - 2 * overlap))

    return distance


def _moments(
    points: Float[np.ndarray, "n width"],
) -> tuple[Float[np.ndarray, "width"], Float[np.ndarray, "rank width"]]:
    """Return the mean [width] and a root A [min(n, width), width] of the covariance A'A."""
    mean = points.mean(axis=0)
    # X = Q R with orthonormal columns of Q, so that R'R = X'X: R is no longer than wide.
    _, root = np.linalg.qr((points - mean) / np.sqrt(len(points) - 1))
    return mean, root


def gaussian_mmd(
    points: Float[np.ndarray, "n width"],
    reference: Float[np.ndarray, "m width"],
) -> float:
    """Return 1,000 times the squared maximum mean discrepancy under a Gaussian kernel.

    The biased estimate: mean k(x, x') + mean k(y, y') - 2 mean k(x, y), a point with itself
    included, with k(a, b) = exp(-|a - b|^2 / (2 * 10^2)).
    """
    return _mmd_of_part(points, reference)(np.ones(len(points), dtype=bool))


def _mmd_of_part(
    points: Float[np.ndarray, "n width"],
    reference: Float[np.ndarray, "m width"],
) -> Callable[[Bool[np.ndarray, "n"]], float]:
    """Return the discrepancy as a function of which points are kept; kernels are computed once."""
    own = _kernel(points, points)
    across = _kernel(points, reference).mean(axis=1)
    others = _kernel(reference, reference).mean()

    def mmd(kept: Bool[np.ndarray, "n"]) -> float:
        weights = kept / kept.sum()
        return max(0.0, MMD_SCALE * float(weights @ own @ weights + others - 2 * weights @ across))

    return mmd


def _kernel(
    points: Float[np.ndarray, "n width"], others: Float[np.ndarray, "m width"]
) -> Float[np.ndarray, "n m"]:
    return np.exp(-np.square(_distances(points, others)) / (2 * KERNEL_WIDTH**2))


def _distances(
    points: Float[np.ndarray, "n width"], others: Float[np.ndarray, "m width"]
) -> Float[np.ndarray, "n m"]:
    """Return Euclidean distances from differences: equal points are at exactly 0."""
    exact = "donot_use_mm_for_euclid_dist"
    pair = torch.from_numpy(points), torch.from_numpy(others)
    return torch.cdist(*pair, compute_mode=exact).numpy()


def _inside_balls(
    points: Float[np.ndarray, "n width"],
    reference: Float[np.ndarray, "m width"],
    num_neighbours: int,
) -> tuple[Bool[np.ndarray, "n m"], Bool[np.ndarray, "n m"]]:
    """Tell which point i lies in the ball of reference j, and which reference j in that of i.

    A ball reaches to the k-th nearest other point of its own set, and holds its surface.
    """
    across = _distances(points, reference)
    radii, reference_radii = (
        # In order, the first distance of a row is that of the point to itself.
        np.partition(_distances(each, each), num_neighbours, axis=1)[:, num_neighbours]
        for each in (points, reference)
    )
    return across <= reference_radii[None, :], across <= radii[:, None]


def _share_met(
    inside: Bool[np.ndarray, "n m"],
) -> Callable[[Bool[np.ndarray, "n"]], float]:
    """Return the share of the reference that meets a point that is kept; balls stay as they are."""
    return lambda kept: float(inside[kept].any(axis=0).mean())


def jackknife(
    of_part: Callable[[Bool[np.ndarray, "n"]], float], num_points: int, highest: float = math.inf
) -> Interval:
    """Estimate what is 0 and up, with 1.96 standard errors to either side.

    Blocks may differ by a point, so that pseudo-values are taken, to whose variance a bias in
    1 / n adds nothing [1]_: with h = n / (points of the block), h times the estimate less h - 1
    times that without the block. For equal blocks, g of them, the variance is (g - 1) / g times the
    sum of squares of the estimates without one about their mean.

    Args:
        of_part: the estimate, of the points that are True [num_points].
        num_points: two or more.
        highest: of what can be.

    .. [1] Busing, Meijer, van der Leeden. "Delete-m Jackknife for Unequal m", Statistics and
       Computing 1999.
    """
    blocks = np.arange(num_points) % min(NUM_BLOCKS, num_points)
    left_out = np.array([of_part(blocks != block) for block in range(blocks.max() + 1)])
    estimate = of_part(np.ones(num_points, dtype=bool))
    times = num_points / np.bincount(blocks)
    pseudo = times * estimate - (times - 1) * left_out
    error = np.sqrt(np.mean(np.square(pseudo - (pseudo / times).sum()) / (times - 1)))
    margin = NormalDist().inv_cdf((1 + LEVEL) / 2) * float(error)
    return Interval(estimate, max(0.0, estimate - margin), min(highest, estimate + margin))
