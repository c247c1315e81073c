"""The ablation as Markdown: components added in the order of the paper, and left out alone."""

from collections.abc import Iterable, Mapping

from benchmarks.exact.ablation import ALSO_OFF, OFF, STEPS
from benchmarks.exact.study import PROCESSES
from benchmarks.exact.table import Record

ADDED: Mapping[str, tuple[str, str, float]] = {
    "nothing": ("didi-up-to-nothing", "", 803.9),
    "+ score decomposition": ("didi-up-to-decomposition", "", 667.8),
    "+ coupled time": ("didi-up-to-coupling", "", 101.0),
    "+ omega": ("didi-up-to-omega", "", 95.0),
    "+ pi": ("didi-without-regulariser", "", 92.1),
    "+ regulariser (all)": ("didi-all", "", 88.3),
    "+ RGAS": ("didi-all", "-rgas", 62.2),
}
"""Rows of the paper's cumulative order: student, variant of the sampler, and the published
generative perplexity of text at 8 steps (DiDi-Instruct, arXiv 2509.25035)."""
LEFT_OUT = {"all": "didi-all"} | {
    f"without {name}": f"didi-without-{name}" for name in (*OFF, *ALSO_OFF)
}
COLUMNS = ("signed_gap", "family_tv", "broken_above_true", "pooled_3mer_entropy")


def ablation_tables(records: Iterable[Record]) -> str:
    """Every process and number of steps that has cells; seeds in their order in each field."""
    cells: dict[tuple[str, str, str], dict[int, Record]] = {}
    for record in records:
        job = record["job"]
        if "figures" in record:
            key = (job["process"], job["model"], job["task"])
            cells.setdefault(key, {})[job["seed"]] = record
    parts = []
    for process in PROCESSES:
        for steps in STEPS:
            of = {
                (model, task.removeprefix(steps)): list(dict(sorted(found.items())).values())
                for (at, model, task), found in cells.items()
                if at == process and task.partition("-")[0] == steps
            }
            if ("didi-all", "") in of:
                parts += _tables(process, steps, of)
    return "\n".join(parts)


def _tables(process: str, steps: str, of: Mapping[tuple[str, str], list[Record]]) -> list[str]:
    columns = [c for c in COLUMNS if c in of["didi-all", ""][0]["figures"]]
    header = ["", *columns, "published perplexity (text, 8 steps)"]
    added = [
        [name, *_fields(of.get((model, variant), []), columns), f"{published:g}"]
        for name, (model, variant, published) in ADDED.items()
    ]
    left_out = [
        [name, *_fields(of.get((model, ""), []), columns)] for name, model in LEFT_OUT.items()
    ]
    return [
        f"## {process}, {steps} steps: one added after the other",
        "",
        *_markdown(header, added),
        "",
        f"## {process}, {steps} steps: one left out",
        "",
        *_markdown(header[:-1], left_out),
        "",
    ]


def _fields(found: list[Record], columns: list[str]) -> list[str]:
    """Means of each seed; the 3-mer entropy as a share of the process's own."""
    return [", ".join(f"{_value(record, column):.3f}" for record in found) for column in columns]


def _value(record: Record, column: str) -> float:
    figures = record["figures"]
    value = figures[column]["mean"]
    return value / figures[f"{column}_of_process"]["mean"] if "3mer" in column else value


def _markdown(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows if any(row[1:-1])]
