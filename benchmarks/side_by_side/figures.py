"""The table and the figure of the study, from the JSONs that are there."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.side_by_side.plan import CELLS, MODELS, RESULTS
from didi_core.errors import missing_extra
from didi_core.evaluation.bootstrap import Interval, bootstrap_ratio
from didi_core.files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Record = dict[str, Any]
LINES = {"ancestral": "-", "apart": ":", "remdm": "--", "greedy-tail": "-.", "psi": (0, (1, 3))}
LINES |= {"analytic": "-", "autoregressive": "-"}
"""Line style of each sampler."""
FAR = 1.0
"""Nats."""
UNITS = {"protein": ("residue", "pooled 3-mer entropy"), "text": ("token", "unigram entropy")}


def write_figures(results: Path = RESULTS) -> None:
    """table.md, and the curves of the seed of each corpus that has most of them."""
    sections = []
    for corpus in UNITS:
        records = [json.loads(p.read_text()) for p in sorted((results / corpus).glob("*.json"))]
        if records:
            sections += [f"## {corpus}", "", *bound_lines(corpus, records), ""]
            sections += [*sweep_lines(corpus, records), ""]
            sections += [*natural_lines(corpus, records), ""]
            draw_curves(corpus, records, results / f"{corpus}.png")
    if sections:
        write_text(results / "table.md", "\n".join(sections))


def bound_lines(corpus: str, records: list[Record]) -> list[str]:
    """Likelihood bounds, and what Duo's has more than MDLM's on the same sequences."""
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


def draw_curves(corpus: str, records: list[Record], path: Path) -> None:
    """One panel a number of steps: NLL over diversity along the temperatures, of one seed.

    A curve that is `FAR` from the diversity compared at is left out: it would leave the others no
    room.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
    sweeps = [r for r in records if r["kind"] == "sweep"]
    if not sweeps:
        return
    seeds = [record["seed"] for record in sweeps]
    seed = max(sorted({*seeds}), key=seeds.count)
    drawn = sorted({r["steps"] for r in sweeps if r["seed"] == seed})
    figure = Figure(figsize=(1 + 4 * len(drawn), 4.5), layout="constrained")
    panels = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    unit, diversity = UNITS[corpus]
    for axes, steps in zip(panels, drawn, strict=True):
        for record in sweeps:
            if (record["steps"], record["seed"]) == (steps, seed) and not _is_far(record):
                _draw_curve(axes, record)
        axes.set_title(f"{steps} steps, seed {seed}")
        axes.set_xlabel(f"{diversity} (nats)")
    panels[0].set_ylabel(f"judge NLL (nats a {unit})")
    panels[0].legend(fontsize=7)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _is_far(record: Record) -> bool:
    reached = [point["diversity"]["mean"] for point in record["points"]]
    return min(abs(each - record["equal_diversity"]) for each in reached) > FAR


def _draw_curve(axes: "Axes", record: Record) -> None:
    """A cell in the colour of its model and the line of its sampler."""
    across, up = (
        [point[axis]["mean"] for point in record["points"]] for axis in ("diversity", "nll")
    )
    cell = CELLS[record["name"]]
    colour, line = f"C{list(MODELS).index(cell.model)}", LINES[cell.sampler]
    style = {"color": colour, "linestyle": line, "marker": "o", "markersize": 3}
    axes.plot(across, up, label=record["name"], **style)
