"""Helices and strands from alpha carbons: on ideal geometry, by hand."""

import numpy as np
import pytest
from structure_fixtures import RADIUS, RISE, TURN

from didi_protein.structures.secondary import secondary_structure


def helix(count):
    """An ideal alpha helix: 5.4, 5.0 and 6.2 ångström over two, three and four residues."""
    angles = TURN * np.arange(count)
    return np.stack(
        [RADIUS * np.cos(angles), RADIUS * np.sin(angles), RISE * np.arange(count)], axis=1
    )


def strand(count):
    """A zigzag of 3.3 ångström a residue, 0.9 to either side."""
    number = np.arange(count)
    return np.stack([3.3 * number, 0.9 * (-1) ** number, 0 * number], axis=1)


@pytest.mark.parametrize(
    ("coordinates", "expected"),
    [
        (helix(12), "--HHHHHHHH--"),
        (strand(9), "--EEEEE--"),
        (np.zeros((6, 3)), "------"),  # 5.45 from a helix: too far, by 3.35
        (helix(5), "--H--"),
        (helix(4), "----"),
        (np.zeros((0, 3)), ""),
        (np.concatenate([helix(8), strand(8) + np.array([30, 0, 0])]), "--HHHH----EEEE--"),
    ],
)
def test_ideal_geometry_is_told_but_for_the_ends(coordinates, expected):
    assert secondary_structure(coordinates) == expected
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    assert secondary_structure(coordinates @ turn + [7, -3, 50]) == expected


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        *[(1.67, "-"), (1.68, "H"), (2.11, "H"), (2.12, "-")],
        *[(2.99, "-"), (3.0, "E"), (3.6, "E"), (3.61, "-")],
    ],
)
def test_bounds_are_those_of_the_rule_on_a_straight_line(spacing, expected):
    """Distances of 2, 3 and 4 spacings: a helix from 3.35 / 2 to 8.47 / 4 ångström of spacing, a
    strand from 8.98 / 3 to 14.42 / 4."""
    line = np.arange(5)[:, None] * [[spacing, 0, 0]]
    assert secondary_structure(line) == f"--{expected}--"
