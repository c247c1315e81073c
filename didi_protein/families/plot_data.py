"""What the plots of a family are drawn from, binned: a page then needs no alignment and no model.

A set is a few kB, whatever its size: a histogram of pair covariances in two dimensions, one of
identities, and the pairs of columns that are coupled most strongly. Numbers are kept in words, so
that an indented JSON stays short.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

COVARIANCE_BINS = 40
"""Of either axis, from -limit to limit."""
IDENTITY_BINS = 20
"""From 0 to 1; the last one holds what is at least 95% identical."""


@dataclass(frozen=True)
class SetPlotData:
    """What is drawn of one set."""

    covariance_counts: Int[ndarray, "nature set"]
    """Entries by nature's covariance and by this set's; what lies beyond the limit counts at the
    edge."""
    mean_natural: float
    """Nature's covariance over all entries; the regression line passes through both means."""
    mean_own: float
    identity_counts: Int[ndarray, "bins"]
    """Sequences by identity to the nearest natural one."""
    couplings: Int[ndarray, "pairs 2"] | None
    """Columns, from 0, of the L pairs coupled most strongly, strongest first; None without known
    contacts."""

    @classmethod
    def count(
        cls,
        natural: Float[ndarray, "entries"],
        own: Float[ndarray, "entries"],
        limit: float,
        identities: Float[ndarray, "sequences"],
        couplings: Int[ndarray, "pairs 2"] | None,
    ) -> "SetPlotData":
        """Bin covariances and identities.

        Args:
            natural: covariances of nature.
            own: those of this set, at the same entries.
            limit: where the bins of both end.
            identities: to the nearest natural sequence, 0 to 1.
        """
        edges = np.linspace(-limit, limit, COVARIANCE_BINS + 1)
        inside = natural.clip(-limit, limit), own.clip(-limit, limit)
        return cls(
            np.histogram2d(*inside, bins=edges)[0].astype(np.int64),
            float(natural.mean()) if len(natural) else 0.0,
            float(own.mean()) if len(own) else 0.0,
            np.histogram(identities, bins=np.arange(IDENTITY_BINS + 1) / IDENTITY_BINS)[0],
            couplings,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON; columns are numbered from 1 there."""
        pairs = None
        if self.couplings is not None:
            pairs = " ".join(f"{first + 1}-{second + 1}" for first, second in self.couplings)
        return {
            "covariance_counts": [_in_words(row) for row in self.covariance_counts],
            "mean_natural": self.mean_natural,
            "mean_own": self.mean_own,
            "identity_counts": _in_words(self.identity_counts),
            "couplings": pairs,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "SetPlotData":
        """Read what `as_dict` gave; KeyError, TypeError or ValueError where it is no such thing."""
        counts = np.array([_numbers(row) for row in plain["covariance_counts"]], dtype=np.int64)
        identities = _numbers(plain["identity_counts"])
        if counts.shape != (COVARIANCE_BINS, COVARIANCE_BINS) or len(identities) != IDENTITY_BINS:
            raise ValueError("the histograms have other bins")
        pairs = None
        if plain["couplings"] is not None:
            words = plain["couplings"].replace("-", " ")
            pairs = _numbers(words).reshape(-1, 2) - 1
        means = float(plain["mean_natural"]), float(plain["mean_own"])
        return cls(counts, *means, identities, pairs)


@dataclass(frozen=True)
class FamilyPlotData:
    """What is drawn of a set of designs, with nature and independent columns beside it."""

    num_columns: int
    """Match columns, L."""
    covariance_limit: float
    """Where the bins of covariances end, on either side of 0."""
    contacts: Bool[ndarray, "columns columns"] | None
    """Known contacts among the pairs that count, i < j; None where none are known."""
    sets: Mapping[str, SetPlotData]
    """By designs, natural, independent and held_out."""

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON: of each column the later ones it is in contact with."""
        contacts = None
        if self.contacts is not None:
            contacts = [_as_runs(np.flatnonzero(row) + 1) for row in self.contacts]
        return {
            "num_columns": self.num_columns,
            "covariance_limit": self.covariance_limit,
            "contacts": contacts,
            "sets": {name: each.as_dict() for name, each in self.sets.items()},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "FamilyPlotData":
        """Read what `as_dict` gave; KeyError, TypeError or ValueError where it is no such thing."""
        num_columns, contacts = int(plain["num_columns"]), None
        if plain["contacts"] is not None:
            contacts = np.zeros((num_columns, num_columns), dtype=bool)
            for row, runs in zip(contacts, plain["contacts"], strict=True):
                for first, last in _from_runs(runs):
                    row[first - 1 : last] = True
        sets = {name: SetPlotData.from_dict(each) for name, each in plain["sets"].items()}
        return cls(num_columns, float(plain["covariance_limit"]), contacts, sets)


def _in_words(counts: Int[ndarray, "bins"]) -> str:
    return " ".join(map(str, counts))


def _numbers(words: str) -> Int[ndarray, "bins"]:
    return np.array(words.split(), dtype=np.int64)


def _as_runs(columns: Sequence[int] | Int[ndarray, "columns"]) -> str:
    """Write rising numbers, neighbours joined.

    >>> _as_runs([6, 7, 8, 40])
    '6-8 40'
    """
    runs: list[list[int]] = []
    for column in columns:
        if runs and runs[-1][1] == column - 1:
            runs[-1][1] = int(column)
        else:
            runs.append([int(column), int(column)])
    return " ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in runs)


def _from_runs(words: str) -> list[tuple[int, int]]:
    """Read the ends of runs.

    >>> _from_runs("6-8 40")
    [(6, 8), (40, 40)]
    """
    ends = [run.split("-") for run in words.split()]
    return [(int(run[0]), int(run[-1])) for run in ends]
