"""Family statistics of models where their sets are as alike as nature's: `benchmarks.families`.

Cooling a model strengthens its dependences and makes its sequences more alike, so that r, slope and
contacts compare at equal mean pairwise identity alone. As on the frontier, curves are straight in
temperature between neighbouring sets, and are read where they pass nature's identity at that n.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from didi_core.evaluation.bootstrap import Interval
from didi_core.evaluation.frontier import find_crossings
from didi_protein.families import FamilyStatistics, SetStatistics
from didi_protein.families.intervals import normal_interval

IDENTITY = "pairwise_identity"
MEASURES = ("covariance_correlation", "covariance_slope", "contact_precision")


def at_equal_identity(
    curves: Mapping[str, Mapping[float, FamilyStatistics]],
) -> dict[str, Any]:
    """Read every curve where its sets are as alike as natural sequences are.

    Sets of one size are taken to be the same requests, and are resampled together.

    Args:
        curves: by cell and temperature, all of one family; two temperatures or more. The first
            cell is subtracted from the others.

    Returns:
        For JSON: the identity, and of each cell the temperature there, the measures and what they
        are less the first cell's; None for a cell that does not reach it.
    """
    first = next(iter(curves.values()))
    natural = first[1.0].natural
    level = None if natural is None else natural.pairwise_identity
    if natural is None or level is None:
        return {"identity": None, "cells": {}}
    read = {cell: _read(curve, natural, level.mean) for cell, curve in curves.items()}
    base = next(iter(read))
    return {
        "identity": level.as_dict(),
        "source": f"that of {natural.n} natural sequences",
        "baseline": base,
        "cells": {
            cell: None if found is None else _record(found, read[base] if cell != base else None)
            for cell, found in read.items()
        },
    }


Samples = dict[str, Float[ndarray, "samples"]]
"""By measure: the estimate, then what each resample has."""


def _read(
    curve: Mapping[float, FamilyStatistics], natural: SetStatistics, level: float
) -> Samples | None:
    """Read temperature and measures where the curve passes `level`; None where it does not."""
    temperatures = np.array(sorted(curve))
    sets = [curve[each].designs for each in temperatures]
    known = [each for each in sets if each is not None and each.pairwise_identity is not None]
    identities = [each.pairwise_identity.mean for each in known if each.pairwise_identity]
    if len(known) < len(sets) or not min(identities) <= level <= max(identities):
        return None
    across, levels = _samples(known, IDENTITY), _samples([natural], IDENTITY)[:, 0]
    anchor = float(find_crossings(temperatures, across[:1], levels[:1]).temperatures[0])
    found: Samples = {}
    for measure in MEASURES:
        if all(getattr(each, measure) is not None for each in known):
            up = _samples(known, measure)
            # Contacts have fewer resamples: the first ones hold the same sequences.
            crossings = find_crossings(temperatures, across[: len(up)], levels[: len(up)], anchor)
            found[measure] = crossings.read(up)
    return found | {"temperature": np.array([anchor])}


def _samples(sets: list[SetStatistics], measure: str) -> Float[ndarray, "samples sets"]:
    """Return the estimates of some sets, then their resamples, which vary about the estimates."""
    columns = []
    for each in sets:
        interval: Interval = getattr(each, measure)
        # Resamples of a set correlate less than the set itself: only their spread counts.
        spread = each.resampled[measure] - np.nanmean(each.resampled[measure])
        columns.append(interval.mean + np.concatenate([[0.0], np.nan_to_num(spread)]))
    return np.stack(columns, axis=1)


def _record(found: Samples, base: Samples | None) -> dict[str, Any]:
    record: dict[str, Any] = {"temperature": float(found["temperature"][0])}
    for measure in MEASURES:
        if measure in found:
            record[measure] = _interval(found[measure])
            if base is not None and measure in base:
                record[f"{measure}_minus_baseline"] = _interval(found[measure] - base[measure])
    return record


def _interval(samples: Float[ndarray, "samples"]) -> dict[str, float] | None:
    found = normal_interval(float(samples[0]), samples[1:])
    return None if found is None else found.as_dict()


def print_equal_identity(name: str, record: Mapping[str, Any]) -> None:
    """Print a row for each cell."""
    if record["identity"] is None:
        return
    at = record["identity"]["mean"]
    print(f"\n{name} at a mean pairwise identity of {at:.3f}, {record['source']}")
    for cell, found in record["cells"].items():
        if found is None:
            print(f"{cell}: not reached by these temperatures")
            continue
        values = [f"{key} {_shown(found[key])}" for key in found if key != "temperature"]
        print(f"{cell}: temperature {found['temperature']:.3f}, {', '.join(values)}")


def _shown(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return "-"
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"
