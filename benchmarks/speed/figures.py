"""The results of one device as a table of Markdown and a figure."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.speed.plan import CENTRE, curve
from benchmarks.speed.runner import read_records
from didi_core.errors import missing_extra
from didi_core.io.files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("cell", "ratio", "median [quartiles]", "seconds", "tokens/s", "peak memory, GB")
TITLES = {
    "step": "our sampler / its bare network calls",
    "set": "the published loop, plain / ours",
    "compile": "our sampler / the same on a compiled network",
    "head": "our sampler with a joint head / without",
    "distill": "the training step, plain / ours",
}


def write_figures(folder: Path) -> None:
    """table.md and speed.png in the folder of a device."""
    records = read_records(folder)
    if not records:
        return
    write_text(folder / "table.md", table(records))
    _draw([record for record in records if "error" not in record], folder / "speed.png")


def table(records: list[dict[str, Any]]) -> str:
    """A row for each ratio of each cell, under the device it was measured on."""
    lines: list[str] = []
    machine = ""
    for record in sorted(records, key=_machine):
        if machine != _machine(record):
            machine = _machine(record)
            lines += ["", f"## {machine}", "", "| " + " | ".join(COLUMNS) + " |"]
            lines.append("|" + "---|" * len(COLUMNS))
        lines += ["| " + " | ".join(row) + " |" for row in _rows(record)]
    return "\n".join(lines).strip() + "\n"


def _machine(record: dict[str, Any]) -> str:
    torch_version = record["versions"]["torch"]
    return f"{record['device']}, {record['precision']}, torch {torch_version}"


def _rows(record: dict[str, Any]) -> list[list[str]]:
    key = key_of(record)
    if "error" in record:
        return [[key, "failed", record["error"].splitlines()[0], "", "", ""]]
    rows = []
    for name, ratio in record["ratios"].items():
        pair = name.split(" / ")
        seconds = [_seconds(record, each) for each in pair]
        rates = record.get("student_tokens_per_second", {})
        memory = [record["peak_bytes"].get(each) for each in pair]
        rows.append(
            [
                key,
                name,
                "" if ratio is None else shown(ratio),
                " / ".join(seconds),
                " / ".join(f"{rates[each]:,.0f}" for each in pair if each in rates),
                " / ".join("" if m is None else f"{m / 1e9:.2f}" for m in memory),
            ]
        )
    return rows


def _seconds(record: dict[str, Any], name: str) -> str:
    if name in record["out_of_memory"]:
        return "out of memory"
    return f"{record['seconds'][name]['median']:.3g}"


def shown(ratio: dict[str, float]) -> str:
    """
    >>> shown({"median": 2.0, "low": 1.9, "high": 2.25})
    '2.00 [1.90, 2.25]'
    """
    return f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def key_of(record: dict[str, Any]) -> str:
    """Layout, task and size: what tells a row from its neighbours."""
    cell = record["cell"]
    low, high = cell["lengths"]
    length = f"{low}" if low == high else f"{low}-{high}"
    steps = f", {cell['steps']} steps" if cell["steps"] else ""
    return f"{cell['kind']}: {cell['layout']}, {cell['task']}, {cell['rows']} x {length}{steps}"


def _draw(records: list[dict[str, Any]], path: Path) -> None:
    """Above, the ratios of each kind; below, the scaling curves."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
    figure = Figure(figsize=(19, 8), layout="constrained")
    panels = figure.subplots(2, len(TITLES))
    for panel, kind in zip(panels[0], TITLES, strict=True):
        own = [r for r in records if r["cell"]["kind"] == kind and not r["cell"]["scaling"]]
        _bars(panel, own)
        panel.set_title(TITLES[kind], fontsize=9)
    for spare in panels[1][len(CENTRE) :]:
        spare.set_axis_off()
    for panel, axis in zip(panels[1], CENTRE, strict=False):
        _curves(panel, curve(records, axis))
        panel.set_xlabel({"batch": "rows", "length": "residues a row"}.get(axis, axis))
        panel.set_ylabel("the published loop, plain / ours")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _bars(panel: "Axes", records: list[dict[str, Any]]) -> None:
    """Medians with their quartiles; a line at 1."""
    bars = [
        (f"{key_of(record).split(': ')[1]}{' (cached)' if 'cached' in name else ''}", ratio)
        for record in records
        for name, ratio in record["ratios"].items()
        if ratio is not None
    ]
    middle = [ratio["median"] for _, ratio in bars]
    panel.barh([name for name, _ in bars], middle, xerr=_spread([r for _, r in bars]), height=0.6)
    panel.axvline(1, color="black", linewidth=0.8)
    panel.tick_params(labelsize=7)


def _curves(panel: "Axes", points: list[tuple[int, dict[str, Any]]]) -> None:
    """A line for each form of the published loop."""
    for layout in sorted({record["cell"]["layout"] for _, record in points}):
        for name in ("plain / ours", "plain cached / ours"):
            own = [(x, r["ratios"][name]) for x, r in points if r["cell"]["layout"] == layout]
            own = [(x, ratio) for x, ratio in own if ratio is not None]
            ratios = [ratio for _, ratio in own]
            middle = [ratio["median"] for ratio in ratios]
            label = f"{layout}, {name.split(' / ')[0]}"
            panel.errorbar([x for x, _ in own], middle, _spread(ratios), marker="o", label=label)
    panel.set_xscale("log", base=2)
    panel.axhline(1, color="black", linewidth=0.8)
    if points:
        panel.legend(fontsize=7)


def _spread(ratios: list[dict[str, float]]) -> list[list[float]]:
    below = [max(0.0, ratio["median"] - ratio["low"]) for ratio in ratios]
    return [below, [max(0.0, ratio["high"] - ratio["median"]) for ratio in ratios]]
