"""What a report says of students beside their teacher, design by design.

Sets of one comparison are made of the same lengths under the same ids, so that their designs come
in pairs: what designs of one length have in common cancels, which the intervals of each set for
itself leave in.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from didi_core.evaluation.bootstrap import Interval, bootstrap_mean
from didi_protein.report_data import PLAIN_SAMPLER, Cell

FEWEST_PAIRS = 8


def paired_lines(cells: Sequence[Cell], teacher: str) -> Iterator[str]:
    """One sentence a student: its judge NLL less its teacher's in as many steps."""
    told: dict[str, list[str]] = {}
    for cell in cells:
        base = _counterpart(cell, cells, teacher)
        if base is not None and (found := paired_difference(cell, base)) is not None:
            several = len({each.sampler for each in cells if each.model == cell.model}) > 1
            sampler = f" of {cell.sampler}" if several else ""
            told.setdefault(cell.model, []).append(f"{_in_words(found)} at {cell.steps}{sampler}")
    for model, parts in told.items():
        yield (
            f"{model} beside {teacher} in as many steps, design by design: judge NLL "
            f"{', '.join(parts)} (nats a residue, 95% intervals)."
        )


def paired_difference(cell: Cell, base: Cell) -> Interval | None:
    """Judge NLL of one set less that of another; None where their designs are no pairs."""
    columns = ["id", "length", "judge_perplexity"]
    if any(column not in each.designs for each in (cell, base) for column in columns):
        return None
    pairs = cell.designs[columns].merge(base.designs[columns], on=["id", "length"]).dropna()
    enough = len(pairs) >= FEWEST_PAIRS and len(pairs) == len(cell.designs) == len(base.designs)
    if not enough:
        return None
    less = np.log(pairs["judge_perplexity_x"]) - np.log(pairs["judge_perplexity_y"])
    return bootstrap_mean(less)


def _counterpart(cell: Cell, cells: Sequence[Cell], teacher: str) -> Cell | None:
    """The teacher's set in as many steps, by the same sampler where there is one."""
    if cell.model == teacher or cell.judges_itself or cell.steps is None:
        return None
    own = [each for each in cells if (each.model, each.steps) == (teacher, cell.steps)]
    same = [each for each in own if each.sampler == cell.sampler]
    return next(iter(same or [each for each in own if each.sampler == PLAIN_SAMPLER]), None)


def _in_words(difference: Interval) -> str:
    low, high = sorted((abs(difference.low), abs(difference.high)))
    if difference.high < 0:
        return f"{-difference.mean:.2f} lower ({low:.2f} to {high:.2f})"
    if difference.low > 0:
        return f"{difference.mean:.2f} higher ({low:.2f} to {high:.2f})"
    return "no different beyond chance"
