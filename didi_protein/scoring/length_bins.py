"""What a judge finds of natural proteins of the lengths at hand: reference rows by length.

A judge reads longer proteins better, and families differ in length: natural proteins of other
lengths are no yardstick. So `reference_rows.json` in a judge's folder holds, beside its rows over
all lengths, bins of lengths under `by_length`, and the rows of a table weigh them by its lengths.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didi_core.evaluation.bootstrap import Interval
from didi_protein.scoring.properties import (
    low_complexity_fraction,
    repeat_fraction,
    residue_composition,
)

BY_LENGTH = "by_length"
OWN_LENGTHS = "own_lengths"
"""Key of a row: whether it is of the lengths of the table that it stands beside."""
COVERED = "covered"
"""Key of such a row: share of the table's sequences whose lengths it knows."""
FEWEST = 8
"""Sequences of a bin that its figures may rest on."""
NORMAL_95 = 1.96
NORMAL_90 = 1.645


def bin_of(length: int) -> tuple[int, int]:
    """Return the shortest and longest of the bin of a length: a tenth wide, from 10 residues on.

    >>> bin_of(3), bin_of(10), bin_of(64), bin_of(100), bin_of(200)
    ((1, 9), (10, 10), (63, 69), (94, 103), (187, 205))
    """
    if length < 10:
        return 1, 9
    low = 10
    while length >= (after := low + -(-low // 10)):
        low = after
    return low, after - 1


def figures_by_length(
    sequences: Sequence[str],
    nll: NDArray[np.float64],
    better: NDArray[np.bool_] | None = None,
) -> dict[tuple[int, int], dict[str, Any]]:
    """Return the figures of each bin that enough sequences fall into, in order of length.

    Args:
        sequences: canonical ones.
        nll: [len(sequences)] nats a residue of each.
        better: [len(sequences)] whether each reads better than its own residues shuffled.
    """
    places: dict[tuple[int, int], list[int]] = {}
    for place, sequence in enumerate(sequences):
        places.setdefault(bin_of(len(sequence)), []).append(place)
    found = {}
    for edges, members in sorted(places.items()):
        if len(members) < FEWEST:
            continue
        own, values = [sequences[place] for place in members], nll[members]
        found[edges] = {
            "n": len(own),
            "judge_nll": {"mean": float(values.mean()), "sd": float(values.std(ddof=1))},
            "mean_length": float(np.mean([len(each) for each in own])),
            "mean_repeat_fraction": float(np.mean([repeat_fraction(each) for each in own])),
            "mean_low_complexity_fraction": float(
                np.mean([low_complexity_fraction(each) for each in own])
            ),
            "residue_composition": residue_composition(own),
            **({} if better is None else {"better_than_shuffled": float(better[members].mean())}),
        }
    return found


def bins_as_json(
    rows: Mapping[str, Mapping[tuple[int, int], dict[str, Any]]],
) -> list[dict[str, Any]]:
    """Return the entry `by_length`: for each bin its edges, and the figures of each row in it."""
    edges = sorted({each for figures in rows.values() for each in figures})
    return [
        {"lengths": list(each)}
        | {name: figures[each] for name, figures in rows.items() if each in figures}
        for each in edges
    ]


# Rows of the lengths of a table.


def rows_of_lengths(
    stored: Mapping[str, Any], lengths: Sequence[int], keep_others: bool = False
) -> dict[str, dict[str, Any]]:
    """Return the reference rows of sequences of these lengths.

    `covered` is the share of `lengths` that a row has bins for and so speaks of.

    Args:
        stored: contents of `reference_rows.json`; without bins, as of older folders, its rows over
            all lengths are returned, marked as of other lengths.
        lengths: of the sequences, at least one.
        keep_others: return such a row also where no bin is of these lengths; else there is none.
    """
    wanted = Counter(bin_of(each) for each in lengths)
    keep_others = keep_others or BY_LENGTH not in stored
    rows = {}
    for name in (each for each in stored if each != BY_LENGTH):
        bins = {edges: row for edges, row in _bins(stored, name) if edges in wanted}
        if bins:
            counts = [wanted[edges] for edges in bins]
            row = weighted_row(list(bins.values()), counts)
            rows[name] = {**row, OWN_LENGTHS: True, COVERED: sum(counts) / len(lengths)}
        elif keep_others:
            rows[name] = {**stored[name], OWN_LENGTHS: False}
    return rows


def _bins(
    stored: Mapping[str, Any], name: str
) -> Iterator[tuple[tuple[int, int], Mapping[str, Any]]]:
    """Edges and figures of the bins that a row has."""
    for each in stored.get(BY_LENGTH, ()):
        if name in each:
            low, high = each["lengths"]
            yield (low, high), each[name]


def row_title(name: str, row: Mapping[str, Any]) -> str:
    """Return what a column of the terminal calls a row.

    >>> row_title("natural_held_out", {"n": 7, "own_lengths": False})
    'natural held out (other lengths)'
    """
    return name.replace("_", " ") + (" (other lengths)" if row.get(OWN_LENGTHS) is False else "")


def known_bins(stored: Mapping[str, Any], name: str) -> str:
    """Return in words the lengths that a row has bins for; "" where it has none."""
    joined: list[list[int]] = []
    for (low, high), _ in _bins(stored, name):
        if joined and joined[-1][1] + 1 == low:
            joined[-1][1] = high
        else:
            joined.append([low, high])
    return ", ".join(f"{low} to {high}" for low, high in joined)


def weighted_row(bins: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> dict[str, Any]:
    """Return one row from bins, each weighing as many sequences as `counts` says.

    The standard error of its mean follows from those of the bins: sqrt(sum w^2 sd^2 / n). The range
    holds 90% of the sequences, were their NLL normal: its variance is that within the bins and that
    between their means.
    """
    weights = np.array(counts) / sum(counts)
    n = np.array([each["n"] for each in bins])
    means, sds = (np.array([each["judge_nll"][key] for each in bins]) for key in ("mean", "sd"))
    mean = float(weights @ means)
    error = NORMAL_95 * float(np.sqrt(weights**2 @ (sds**2 / n)))
    nll = Interval(mean, mean - error, mean + error)
    spread = NORMAL_90 * float(np.sqrt(weights @ (sds**2 + (means - mean) ** 2)))
    perplexities = {"low": float(np.exp(mean - spread)), "high": float(np.exp(mean + spread))}
    return mean_row(bins, counts) | {
        "judge_nll": nll.as_dict(),
        "judge_perplexity": nll.exp().as_dict(),
        "judge_perplexity_range": perplexities,
    }


def mean_row(rows: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> dict[str, Any]:
    """Return the mean of rows, each weighing as `counts` says, in what all of them have.

    `n` is their sum; the ends of an interval are averaged, which errs on the wide side.
    """
    shared = [name for name in rows[0] if name != "n" and all(name in each for each in rows)]
    means = {name: _mean([each[name] for each in rows], counts) for name in shared}
    return {"n": sum(each["n"] for each in rows)} | means


def _mean(values: Sequence[Any], counts: Sequence[int]) -> Any:
    """Weighted mean of numbers, or of dictionaries of numbers; None where one is none."""
    if any(value is None for value in values):
        return None
    if isinstance(values[0], Mapping):
        names = dict.fromkeys(name for value in values for name in value)
        return {name: _mean([each.get(name, 0.0) for each in values], counts) for name in names}
    return float(np.average(values, weights=counts))
