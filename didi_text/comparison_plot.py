"""The figure of a comparison: judge perplexity over entropy, and over what a sample costs."""

from pathlib import Path

import pandas as pd

from didi_core.commands.comparison_cells import LIMIT_SAMPLER
from didi_core.commands.comparison_print import steps_in_words
from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import Interval
from didi_core.evaluation.tradeoff_plot import MeasuredPoint, plot_tradeoffs
from didi_core.sampling.folder_defaults import PLAIN_SAMPLER


def plot_comparison(table: pd.DataFrame, path: Path, judge: str) -> Path | None:
    """Draw a comparison's table.

    Returns:
        `path`, or None where the extra `report` is not installed.
    """
    made = table.dropna(subset=["sampler", "judge_nll"])
    real = table[table["sampler"].isna()]
    references = {
        row["model"]: (row["entropy"], row["judge_perplexity"]) for row in real.to_dict("records")
    }
    try:
        plot_tradeoffs(
            curves_of(made), path, references, Path(judge).name, seconds_label="seconds a sample"
        )
    except UserError:
        return None
    return path


def curves_of(made: pd.DataFrame) -> dict[str, list[MeasuredPoint]]:
    """Points by step count of each model and sampler; a model's limit ends its ancestral curve."""
    curves: dict[str, list[MeasuredPoint]] = {}
    for row in made.sort_values("steps", kind="stable", na_position="last").to_dict("records"):
        sampler = PLAIN_SAMPLER if row["sampler"] == LIMIT_SAMPLER else row["sampler"]
        name = f"{row['model']}, {sampler}"
        nll = Interval(row["judge_nll"], row["judge_nll_low"], row["judge_nll_high"])
        entropy = Interval(row["entropy"], row["entropy_low"], row["entropy_high"])
        seconds = row["seconds_per_sample"]
        curves.setdefault(name, []).append(
            MeasuredPoint(
                label=steps_in_words(row),
                perplexity=nll.exp().as_dict(),
                entropy=entropy.as_dict(),
                seconds=Interval(seconds, seconds, seconds).as_dict(),
            )
        )
    return curves
