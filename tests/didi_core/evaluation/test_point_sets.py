"""Distances of point sets: by hand on a few points, and as other packages give them."""

import json
from dataclasses import asdict
from math import exp, sqrt
from pathlib import Path

import numpy as np
import pytest

from didi_core.evaluation.point_sets import (
    compare_point_sets,
    frechet_distance,
    gaussian_mmd,
    jackknife,
)


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_frechet_distance_on_a_line_is_that_of_means_and_deviations():
    # means 1 and 3, variances 2 and 8: (1 - 3)^2 + (sqrt 2 - sqrt 8)^2 = 4 + 2
    assert frechet_distance(column(0, 2), column(1, 5)) == pytest.approx(6, abs=1e-12)


def test_frechet_distance_of_covariances_that_do_not_commute_is_that_of_the_closed_form():
    cross = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    narrow, turn = cross * [3, 1], np.array([[1.0, 1], [-1, 1]]) / sqrt(2)
    one, two = np.cov(narrow.T), np.cov((cross * [2, 5] @ turn).T)
    # of two by two: tr (S T)^(1/2) = sqrt(tr(S T) + 2 sqrt(det S det T))
    root = sqrt(np.trace(one @ two) + 2 * sqrt(np.linalg.det(one) * np.linalg.det(two)))
    expected = 25 + np.trace(one) + np.trace(two) - 2 * root
    found = frechet_distance(narrow, cross * [2, 5] @ turn + [3, 4])
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("num_points", [6, 40])
def test_a_set_is_at_no_distance_from_itself_and_at_that_of_a_shift(num_points):
    points = np.random.default_rng(0).normal(size=(num_points, 12))  # fewer points than dimensions
    shift = np.arange(12.0)
    assert frechet_distance(points, points[::-1]) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(points, points + shift) == pytest.approx(shift @ shift, rel=1e-12)


def test_mmd_is_the_sum_of_kernels_by_hand():
    # a point with itself counts: (2 + 2 k(0, 10)) / 4 + 1 - 2 (1 + k(0, 10)) / 2, times 1,000
    assert gaussian_mmd(column(0, 10), column(0)) == pytest.approx(500 * (1 - exp(-0.5)))
    far = gaussian_mmd(column(0), column(20))
    assert far == pytest.approx(2_000 * (1 - exp(-2)))


def test_balls_are_counted_as_by_hand():
    # reference 0, 1, 3 with balls [-1, 1], [0, 2], [1, 5]; points -1, 0.5, 10 reach 1.5, 1.5, 9.5
    found = compare_point_sets(column(-1, 0.5, 10), column(0, 1, 3), num_neighbours=1)
    assert found.density.mean == pytest.approx((1 + 2 + 0) / 3)  # the surface counts: -1 is inside
    assert found.precision.mean == pytest.approx(2 / 3)
    assert found.coverage.mean == pytest.approx(2 / 3)  # no point from 1 to 5
    assert found.recall.mean == 1
    # without -1, 0.5 or 10 coverage is 2/3, 1/3, 2/3: the jackknife's error is 2/9
    expected = {"mean": 2 / 3, "low": 2 / 3 - 1.959964 * 2 / 9, "high": 1}
    assert asdict(found.coverage) == pytest.approx(expected)
    with pytest.raises(ValueError, match="3 and 3 points have no 3 neighbours"):
        compare_point_sets(column(-1, 0.5, 10), column(0, 1, 3), num_neighbours=3)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.array([2.0, 3, 5, 7, 11, 13])
    found = jackknife(lambda kept: values[kept].mean(), len(values))
    margin = 1.959964 * values.std(ddof=1) / sqrt(len(values))
    assert asdict(found) == pytest.approx(
        {"mean": values.mean(), "low": values.mean() - margin, "high": values.mean() + margin}
    )


def test_a_bias_in_the_number_of_points_has_no_error_whatever_the_blocks():
    assert asdict(jackknife(lambda kept: 3 + 1_000 / kept.sum(), 25)) == pytest.approx(
        {"mean": 43, "low": 43, "high": 43}
    )


@pytest.mark.parametrize(("points", "reference"), [(1, 4), (4, 1)])
def test_one_point_has_no_frechet_distance(points, reference):
    with pytest.raises(ValueError, match=f"{points} and {reference} points"):
        frechet_distance(np.ones((points, 3)), np.ones((reference, 3)))


def test_numbers_are_those_of_seqme_plm_fid_and_prdc():
    """Held to what these packages gave, once, on the points in the file.

    seqme 0.5.1: `FBD(reference, embedder)(sequences)`, `MMD` likewise with its defaults (biased,
    sigma 10, scale 1000), `Precision(5, ...)` and `Recall(5, ...)`; plm-fid 1.0.0:
    `calculate_frechet_distance` of `get_mu_sigma` of each; prdc 0.2: `compute_prdc(reference,
    points, 5)`. The embedder gives the points in the file, float64.
    """
    file = Path(__file__).parent / "point_set_numbers.json"
    theirs = json.loads(file.read_text())
    points, reference = (np.array(theirs[name]) for name in ("points", "reference"))
    found = compare_point_sets(points, reference)
    seqme = theirs["seqme 0.5.1"]
    assert found.fbd.mean == pytest.approx(seqme["FBD"], abs=1e-6)
    assert found.fbd.mean == pytest.approx(theirs["plm-fid 1.0.0"]["fid"], abs=1e-6)
    assert found.mmd.mean == pytest.approx(seqme["MMD"], abs=1e-6)
    assert found.precision.mean == pytest.approx(seqme["Precision"], abs=1e-6)
    assert found.recall.mean == pytest.approx(seqme["Recall"], abs=1e-6)
    for name, value in theirs["prdc 0.2"].items():
        assert getattr(found, name).mean == pytest.approx(value, abs=1e-6)
