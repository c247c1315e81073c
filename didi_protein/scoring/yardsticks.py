"""What stands beside a table of judge perplexities: natural and shuffled sequences of its lengths.

Natural rows are the judge's folder's, weighed by the lengths of the table (`length_bins`); shuffled
ones are the table's own sequences, and tell whether the judge knows them (`own_shuffles`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from didi_core.peak_memory import is_out_of_memory, release_cached_memory
from didi_protein.scoring.length_bins import (
    BY_LENGTH,
    COVERED,
    OWN_LENGTHS,
    known_bins,
    rows_of_lengths,
)
from didi_protein.scoring.options import ScoreOptions
from didi_protein.scoring.own_shuffles import OwnShuffles, judge_domain, judge_shuffles
from didi_protein.scoring.scorers import JudgeScorer, autocast_of
from didi_protein.scoring.set_measures import measure_reference_rows, measure_set
from didi_protein.scoring.table import scored_designs

NATURAL = ("natural_held_out", "natural_training")


@dataclass(frozen=True)
class Yardsticks:
    """Parts of a summary."""

    rows: dict[str, Any] | None = None
    """Figures of natural and shuffled sequences by the names of the rows."""
    domain: dict[str, Any] | None = None
    """Whether the judge knows these proteins."""
    warnings: Sequence[str] = ()


def measure_yardsticks(
    options: ScoreOptions,
    judges: Sequence[JudgeScorer],
    table: pd.DataFrame,
    reference: Sequence[str] | None,
    training: Sequence[str] | None,
) -> Yardsticks:
    """Return what stands beside the rows of `table` that were judged.

    Args:
        judges: the one that judged; empty where nothing was judged.
        table: every row.
        reference: natural held-out sequences, where the user gave any.
        training: training sequences, where the user gave any.
    """
    designs = scored_designs(table)
    judged = designs[designs["judge_perplexity"].notna()]
    if not judges or judged.empty:
        return Yardsticks()
    judge = judges[0].judge
    stored, lengths = judge.reference_rows or {}, judged["length"].tolist()
    measured = BY_LENGTH not in stored and (reference is not None or training is not None)
    if measured:
        seed, threads = options.seed, options.threads
        stored = measure_reference_rows(judge, reference, training, seed=seed, threads=threads)
    rows = rows_of_lengths(stored, lengths, keep_others=measured)
    shuffles = _own_shuffles(options, judges[0], judged)
    rows["residue_shuffled"] = _shuffled_row(shuffles, options)
    natural = rows.get("natural_held_out", {}).get("better_than_shuffled")
    domain = judge_domain(shuffles, lengths, natural, judge.trained_lengths, options.seed)
    warnings = [*domain.warnings(judge.name), *_about_coverage(stored, rows, judge.name)]
    return Yardsticks(rows, domain.as_json(), warnings)


def _own_shuffles(options: ScoreOptions, scorer: JudgeScorer, judged: pd.DataFrame) -> OwnShuffles:
    """Judge shuffles as the rows were judged: those that fit alone may not in a batch."""
    autocast = autocast_of(scorer.precision)

    def nll(sequences: Sequence[str]) -> NDArray[np.float64]:
        try:
            return scorer.judge.nll(sequences, scorer.batch_tokens, autocast)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        release_cached_memory()
        return scorer.judge.nll(sequences, 1, autocast)  # one a batch

    known = np.log(judged["judge_perplexity"].to_numpy(dtype=float))
    return judge_shuffles(nll, judged["sequence"].tolist(), known, options.seed)


def _shuffled_row(shuffles: OwnShuffles, options: ScoreOptions) -> dict[str, Any]:
    measures = measure_set(
        shuffles.shuffled,
        judge_nll=shuffles.shuffled_nll.tolist(),
        seed=options.seed,
        find_clusters=False,
    )
    return {**measures.figures, OWN_LENGTHS: True}


def _about_coverage(
    stored: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], judge: str
) -> list[str]:
    """Say of which lengths there are no natural sequences to compare with."""
    name = next((each for each in NATURAL if each in stored), None)
    if name is None:
        return []
    row = rows.get(name)
    if row is not None and not row[OWN_LENGTHS]:
        return [
            f"The natural rows of {judge} are of other lengths than these sequences, which read "
            "otherwise: compare with natural ones of their lengths (--reference, eight or more)."
        ]
    covered = 0.0 if row is None else row[COVERED]
    if covered == 1:
        return []
    left = "there is no natural row" if row is None else "the natural rows are for the others"
    return [
        f"{1 - covered:.0%} of the sequences have lengths of which {judge} has no natural ones to "
        f"compare with (it has those of {known_bins(stored, name)} residues): {left}."
    ]
