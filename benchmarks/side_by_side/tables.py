"""The tables of the study: likelihood, every cell, and all seeds of a cell at equal diversity."""

from typing import Any

import numpy as np

from benchmarks.side_by_side.plan import CELLS, NUM_SAMPLES, SEEDS, STEPS
from didi_core.evaluation.bootstrap import Interval, bootstrap_ratio
from didi_core.evaluation.frontier import find_crossings

Record = dict[str, Any]
UNITS = {"protein": ("residue", "pooled 3-mer entropy"), "text": ("token", "unigram entropy")}


def bound_lines(corpus: str, records: list[Record]) -> list[str]:
    """Likelihood bounds, and what each has more than MDLM's on the same sequences."""
    bounds = {(r["name"], r["seed"]): r for r in records if r["kind"] == "bound"}
    minutes = {
        (r["name"], r["seed"]): r["processor_seconds"] / 60 for r in records if r["kind"] == "train"
    }
    lines = [
        f"| model | seed | bound on held-out data, nats a {UNITS[corpus][0]} | standard error | "
        "less mdlm | bound on training data | core-minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, seed), record in sorted(bounds.items(), key=lambda each: each[0][::-1]):
        base = bounds.get(("mdlm", seed))
        more = (
            ""
            if base is None or name == "mdlm"
            else shown(bound_difference(record, base).as_dict())
        )
        lines.append(
            f"| {name} | {seed} | {record['nats_per_token']:.4f} | {record['standard_error']:.4f} "
            f"| {more} | {record['training_data']['nats_per_token']:.4f} "
            f"| {minutes.get((name, seed), float('nan')):.1f} |"
        )
    return lines


def bound_difference(record: Record, base: Record) -> Interval:
    """Nats a token that one bound has more than another, sequences resampled in pairs."""
    nats = np.subtract(record["nats_of_each_sequence"], base["nats_of_each_sequence"])
    return bootstrap_ratio(nats, np.array(base["tokens_of_each_sequence"], dtype=np.float64))


def sweep_lines(corpus: str, records: list[Record]) -> list[str]:
    """Every cell: at temperature 1, and at equal diversity."""
    unit, diversity = UNITS[corpus]
    lines = [
        f"| cell | steps | seed | judge NLL, nats a {unit}, T = 1 | {diversity}, T = 1 | NLL at "
        "equal diversity | less mdlm there |",
        "|---|---|---|---|---|---|---|",
    ]
    found = {(r["steps"], r["name"], r["seed"]): r for r in records if r["kind"] == "sweep"}
    names = list(CELLS)
    for (steps, name, seed), record in sorted(
        found.items(), key=lambda each: (each[0][0], names.index(each[0][1]), each[0][2])
    ):
        own = next(point for point in record["points"] if point["temperature"] == 1)
        at = [record["nll_at_equal_diversity"], record["minus_baseline"]]
        if name == record["baseline"]:
            at[1] = None
        cells = [name, steps, seed, shown(own["nll"]), shown(own["diversity"]), *map(shown, at)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def natural_lines(corpus: str, records: list[Record]) -> list[str]:
    """What the judge finds of the corpus itself."""
    found = [r["sequences"] for r in records if r["kind"] == "natural"]
    if not found:
        return []
    unit, diversity = UNITS[corpus]
    lines = [f"| natural | n | judge NLL, nats a {unit} | {diversity} |", "|---|---|---|---|"]
    for name, each in found[0].items():
        lines.append(
            f"| {name} | {each['n']} | {shown(each['nll'])} | {shown(each['diversity'])} |"
        )
    return lines


def shown(interval: dict[str, float] | None) -> str:
    """An interval in the table; a cell stays empty where a curve does not reach."""
    if interval is None:
        return ""
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def equal_lines(corpus: str, records: list[Record]) -> list[str]:
    """Each cell's NLL less MDLM's at its diversity, seeds in their order; bold is beyond chance."""
    del corpus
    found = {(r["name"], r["steps"], r["seed"]): r for r in records if r["kind"] == "sweep"}
    lines = [
        "| less mdlm at equal diversity | " + " | ".join(f"{k} steps" for k in STEPS) + " |",
        "|---" * (1 + len(STEPS)) + "|",
    ]
    for name in CELLS:
        cells = [
            ", ".join(_of_seed(found.get((name, steps, seed))) for seed in SEEDS) for steps in STEPS
        ]
        if name != "mdlm" and any(each != "-, -, -" for each in cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def natural_equal_lines(corpus: str, records: list[Record]) -> list[str]:
    """Each cell's NLL less MDLM's where both have the diversity of natural sequences.

    Estimates, read off the curves that are there; those are of held-out sequences where there are
    as many as of a cell, else of those that were trained on.
    """
    del corpus
    natural = [r["sequences"] for r in records if r["kind"] == "natural"]
    names = [k for k in ("held out", "trained on") if natural and natural[0][k]["n"] == NUM_SAMPLES]
    if not names:
        return []
    level = natural[0][names[0]]["diversity"]["mean"]
    at = f"{level:.3f} nats, natural, {names[0]}"
    found = {(r["name"], r["steps"], r["seed"]): r for r in records if r["kind"] == "sweep"}
    base = [r for (name, _, _), r in found.items() if name == "mdlm"]
    if all(_nll_at(each["points"], level) is None for each in base):
        return [f"At {at}, nothing compares: mdlm does not reach it at these temperatures."]
    lines = [
        f"| less mdlm at {at} | " + " | ".join(f"{k} steps" for k in STEPS) + " |",
        "|---" * (1 + len(STEPS)) + "|",
    ]
    for name in CELLS:
        cells = [
            ", ".join(
                _less(found.get((name, k, s)), found.get(("mdlm", k, s)), level) for s in SEEDS
            )
            for k in STEPS
        ]
        if name != "mdlm" and any(each != "-, -, -" for each in cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _less(record: Record | None, base: Record | None, level: float) -> str:
    """A dash where one was not run."""
    if record is None or base is None:
        return "-"
    nlls = [_nll_at(each["points"], level) for each in (record, base)]
    return "not reached" if None in nlls else f"{nlls[0] - nlls[1]:.2f}"


def _nll_at(points: list[dict[str, Any]], level: float) -> float | None:
    temperatures = np.array([each["temperature"] for each in points])
    curve = {k: np.array([[each[k]["mean"] for each in points]]) for k in ("diversity", "nll")}
    if not curve["diversity"].min() <= level <= curve["diversity"].max():
        return None
    where = find_crossings(temperatures, curve["diversity"], np.array([level]))
    return float(where.read(curve["nll"])[0])


def _of_seed(record: Record | None) -> str:
    """A dash where it was not run; bold where its interval leaves 0 out."""
    if record is None:
        return "-"
    less = record["minus_baseline"]
    if less is None:
        return "not reached"
    mark = "**" if less["low"] > 0 or less["high"] < 0 else ""
    return f"{mark}{less['mean']:.2f}{mark}"
