"""The study as a table of Markdown, from the JSONs that are there."""

from typing import Any

from benchmarks.exact.study import PROCESSES

COLUMNS = ("signed_gap", "family_kl", "family_tv", "broken_above_true", "pooled_3mer_entropy")
Record = dict[str, Any]


def table(records: list[Record]) -> str:
    """Every cell as a row of Markdown: calls, and figures with their 95% intervals.

    Calls of a discriminator stand after those of the denoiser, as in 7.9 + 15.8.
    """
    lines = []
    for process in PROCESSES:
        own = [r for r in records if r["job"]["process"] == process]
        if not own:
            continue
        lines += [f"## {process}", "", *_truth_lines(own), ""]
        columns = [c for c in COLUMNS if any(c in r.get("figures", {}) for r in own)]
        header = ["model", "task", "seed", "calls", *columns, "of the process's 3-mers"]
        lines += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        for record in own:
            if "figures" in record:
                lines.append("| " + " | ".join(_row(record, columns)) + " |")
        lines += ["", *_training_lines(own), ""]
    return "\n".join(lines)


def _row(record: Record, columns: list[str]) -> list[str]:
    figures, job = record["figures"], record["job"]
    share = (
        figures["pooled_3mer_entropy"]["mean"] / figures["pooled_3mer_entropy_of_process"]["mean"]
    )
    return [
        job["model"],
        job["task"],
        str(job["seed"]),
        _calls(record["cost"]),
        *(_shown(figures[column]) for column in columns),
        f"{share:.3f}",
    ]


def _calls(cost: dict[str, float]) -> str:
    named = ("mean_nfe", "mean_discriminator_calls")
    return " + ".join(f"{cost[name]:.1f}" for name in named if cost.get(name))


def _shown(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def _truth_lines(records: list[Record]) -> list[str]:
    lines = []
    for record in records:
        if "truth" in record and "entropy" in record["truth"]:
            truth = record["truth"]
            lines.append(
                f"Entropy {truth['entropy']:.4f} +- {truth['entropy_standard_error']:.4f} nats a "
                f"residue (one standard error, n = {truth['num_sequences']:,})."
            )
    return lines


def _training_lines(records: list[Record]) -> list[str]:
    lines = []
    for record in records:
        if training := record.get("training"):
            job = record["job"]
            text = f"- {job['model']}, seed {job['seed']}: "
            text += f"{record['cost']['core_minutes_of_job']:.1f} core-minutes of training"
            if "bound_above_truth" in training:
                text += (
                    f", bound {training['bound_above_truth']:.3f} nats a residue above the truth"
                )
            lines.append(text)
    return lines
