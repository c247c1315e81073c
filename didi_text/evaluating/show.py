"""The figures of `evaluate` as people read them."""

from typing import Any

from didi_core.cli.run import console
from didi_core.evaluation.bootstrap import warnings_of_few
from didi_text.samples.measures import one_line


def print_figures(result: dict[str, Any]) -> None:
    """One line a figure on standard output."""
    for line in lines_of(result):
        console().print(line, highlight=False)


def lines_of(result: dict[str, Any]) -> list[str]:
    """What is printed."""
    if result["task"] == "genppl":
        figures = result["figures"]
        lines = [one_line(figures), *warnings_of_few(figures["num_samples"], "samples")]
        written = figures["samples"].get("model") or (result["model"] or {}).get("name")
        lines.append(f"model {written or 'unknown'}, judge {result['judge']['name']}")
        if "mauve" in figures:
            lines.append(f"MAUVE {figures['mauve']['mauve']:.3f}")
        return lines
    if result["task"] == "zeroshot":
        return [_likelihood_line(each["title"], each) for each in result["sets"].values()]
    if result["task"] == "bound":
        return [_likelihood_line("bound", result["figures"])]
    if "harness" in result:
        return [
            f"{task}: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
            for task, figures in result["harness"].items()
        ]
    figures = result["figures"]
    return [
        f"{title} {figures[name]['mean']:.3f} ({figures[name]['low']:.3f} to "
        f"{figures[name]['high']:.3f})"
        for title, name in (
            ("accuracy", "accuracy"),
            ("accuracy by likelihood a character", "accuracy_per_character"),
        )
    ] + [
        f"chance {figures['chance']:.3f}, {figures['num_questions']:,} questions",
        *warnings_of_few(figures["num_questions"], "questions"),
    ]


def _likelihood_line(title: str, figures: dict[str, Any]) -> str:
    error = figures["perplexity_standard_error"]
    shown = "" if not error else f" ± {error:.2f}"
    notes = []
    if not figures.get("published_split", True):
        notes.append("not the published split")
    if not figures["complete"]:
        notes.append(f"first {figures['num_blocks']:,} of {figures['num_blocks_of_set']:,} blocks")
    note = f" [{'; '.join(notes)}]" if notes else ""
    return (
        f"{title}: perplexity {figures['perplexity']:.2f}{shown}, "
        f"{figures['nats_per_token']:.4f} nats a token, {figures['num_tokens']:,} tokens{note}"
    )
