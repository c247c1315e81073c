"""What the report says in sentences: what stands out, and what to look at twice."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from didi_core.evaluation.bootstrap import ENOUGH_RECORDS, Interval, bootstrap_mean
from didi_core.progress import counted
from didi_protein.filtering.memory import Memory
from didi_protein.reporting.cells import PLAIN_SAMPLER, Cell, ReferenceRow, natural_row
from didi_protein.reporting.figures import Estimate
from didi_protein.reporting.tables import ScoreTable
from didi_protein.sequences.bundled import FRAGMENTS, writes_fragments
from didi_protein.similarity.neighbours import COPY_IDENTITY

ENOUGH_DESIGNS = 512  # below this, set figures are too loose to conclude from


MORE_DESIGNS = 1.1  # ratio from which figures that grow with n mislead


MANY_COPIES = 0.2


FEW_DISTINCT = 0.95


MORE_REPEATS = 0.05  # above the natural share of residues in repeats


def name_of(cell: Cell) -> str:
    """The cell in words: "tiny-student, ancestral, 8 steps"."""
    parts = [cell.model, cell.sampler]
    if cell.steps is not None:
        parts.append(f"{cell.steps} step{'s' if cell.steps != 1 else ''}")
    return ", ".join(part for part in parts if part)


def highlights(tables: Sequence[ScoreTable], cells: Sequence[Cell]) -> list[str]:
    """Sentences about the best row, the limit, and how far each student gets.

    Rows of different judges are not set against each other: `cautions` says why.
    """
    judged = [cell for cell in cells if "judge_perplexity" in cell.figures]
    found = []
    one_judge = len(_settings_of(tables, "judge")) <= 1
    ranked = [cell for cell in judged if not cell.judges_itself and cell.foreign is None]
    fast = [cell for cell in ranked if not cell.is_limit]
    alike = one_judge and len(_settings_of(tables, "fold")) <= 1
    if alike and len(cells) == 2 and (sentence := which_is_better(*cells)):
        found.append(sentence)
    elif one_judge and len(fast) > 1:
        aside = " (limits aside)" if any(cell.is_limit for cell in judged) else ""
        found.append(_best_of(fast, aside))
    limits = [cell for cell in judged if cell.is_limit]
    found += [
        f"{cell.model} at its limit, one residue at a time: {_told(cell)}." for cell in limits
    ]
    if one_judge and len(limits) == 1:
        found += paired_lines(judged, limits[0].model)
        found += _gaps_closed(judged, limits[0])
    return found


def _best_of(cells: Sequence[Cell], aside: str) -> str:
    """Name the set of lowest judge perplexity; the best only where chance does not explain it."""
    first, second, *_ = sorted(cells, key=lambda cell: cell.figures["judge_perplexity"].mean)
    figures = [cell.figures["judge_perplexity"] for cell in (second, first)]
    if min(len(first.designs), len(second.designs)) < ENOUGH_RECORDS:
        return f"Lowest{aside}: {name_of(first)}: {_told(first)}; too few designs to call it best."
    if not _is_above(*figures):
        return f"Lowest{aside}: {name_of(first)}: {_told(first)}; within chance of the next."
    return f"Best{aside}: {name_of(first)}: {_told(first)}."


def _told(cell: Cell) -> str:
    perplexity = cell.figures["judge_perplexity"].mean
    calls = cell.figures.get("calls")
    cost = f" in {calls.mean:.3g} calls a design" if calls else ""
    return f"judge perplexity {perplexity:.2f}{cost}"


def _gaps_closed(cells: Sequence[Cell], limit: Cell) -> Iterator[str]:
    """How much of the way from the teacher, at equal steps, to its limit each student goes.

    Nothing where the way is within chance.
    """
    nll = {
        (cell.model, cell.sampler, cell.steps): cell.figures["judge_nll"]
        for cell in cells
        if "judge_nll" in cell.figures and not cell.judges_itself
    }
    end = nll.get((limit.model, limit.sampler, limit.steps))
    several = len({sampler for _, sampler, _ in nll} - {limit.sampler}) > 1
    closed: dict[str, list[str]] = {}
    for (model, sampler, steps), value in nll.items():
        own = (limit.model, sampler, steps) in nll
        start = nll.get((limit.model, sampler if own else PLAIN_SAMPLER, steps))
        if model == limit.model or start is None or end is None or not _is_above(start, end):
            continue
        share = f"{(start.mean - value.mean) / (start.mean - end.mean):.0%} at {steps} steps"
        share += f" of {sampler}" if several else ""
        share += "" if own else f" (from {limit.model}'s {PLAIN_SAMPLER})"
        closed.setdefault(model, []).append(share)
    for model, shares in closed.items():
        yield (
            f"{model} closes this much of the judge-NLL gap between {limit.model} at as many steps "
            f"and its limit: {', '.join(shares)}."
        )


def _is_above(one: Estimate, other: Estimate) -> bool:
    """Whether a figure is the higher by more than chance, by the widths of both intervals."""
    widths = [
        (each.high - each.low) / 2
        for each in (one, other)
        if each.high is not None and each.low is not None
    ]
    return one.mean - other.mean > math.hypot(*widths)


def cautions(
    tables: Sequence[ScoreTable], cells: Sequence[Cell], references: Sequence[ReferenceRow]
) -> list[str]:
    """What would mislead a reader who did not know it."""
    natural = natural_row(references)
    return [
        *_about_fragments(cells),
        *_about_counts(cells),
        *_about_comparability(tables),
        *_about_the_judge(cells),
        *_about_copies(cells),
        *_about_memory(cells, references),
        *_about_variety(cells, natural.figures.get("repeat_fraction") if natural else None),
    ]


def _about_fragments(cells: Sequence[Cell]) -> Iterator[str]:
    """Say once what the bundled models write, where designs of theirs are shown."""
    for cell in cells:
        anew = "parent" not in cell.designs or cell.designs["parent"].isna().all()
        if anew and writes_fragments(cell.model):
            yield f"{cell.model} writes {FRAGMENTS}."
            return


def _about_counts(cells: Sequence[Cell]) -> Iterator[str]:
    counts = sorted({len(cell.designs) for cell in cells})
    if counts == [0]:
        yield (
            "No record of these tables was scored (none has the status ok), so there is nothing to "
            "compare: the reasons stand in their column error."
        )
    elif counts[0] < ENOUGH_DESIGNS and len(cells) == 1:
        yield (
            f"Means and shares of {counted(counts[0], 'design')} are loose: they take "
            f"{ENOUGH_DESIGNS} or more. The scores of each design are not touched by that."
        )
    elif counts[0] < ENOUGH_DESIGNS:
        each = f"{counts[0]}" if len(counts) == 1 else f"between {counts[0]} and {counts[-1]}"
        plural = "" if counts[-1] == 1 else "s"
        yield (
            f"Each set holds {each} design{plural}. Sets whose intervals overlap may well be "
            f"equal; take at least {ENOUGH_DESIGNS} designs a set before you conclude from its "
            "figures."
        )
    if counts[-1] > MORE_DESIGNS * counts[0]:
        yield (
            "The sets hold different numbers of designs: recall and 3-mer entropy grow with "
            "the number and cannot be compared between them."
        )
    for cell in cells:
        if failed := cell.num_records - len(cell.designs):
            yield (
                f"{name_of(cell)}: {failed} of {counted(cell.num_records, 'record')} could not be "
                f"scored (column status of {cell.source}) and count in no figure."
            )


def _about_comparability(tables: Sequence[ScoreTable]) -> Iterator[str]:
    for part, consequence in (
        ("judge", "judge perplexities cannot be compared between them"),
        ("fold", "pLDDT, pTM, PAE and foldable shares cannot be compared between them"),
        ("embedding", "FBD, MMD, density and coverage cannot be compared between them"),
        ("reference", "precision and recall cannot be compared between them"),
        ("training", "copies cannot be compared between them"),
    ):
        if (different := len(_settings_of(tables, part))) > 1:
            yield f"The tables were scored with {different} different settings of the {part}: " + (
                f"{consequence}."
            )


def _about_the_judge(cells: Sequence[Cell]) -> Iterator[str]:
    if own := [name_of(cell) for cell in cells if cell.judges_itself]:
        yield (
            f"{'; '.join(own)}: written by the judge itself, which finds its own designs likely. "
            "Its judge figures say nothing, and its designs are not ranked by them."
        )
    for cell in cells:
        if cell.foreign is not None:
            yield (
                f"{name_of(cell)}: {cell.foreign[0].lower()}{cell.foreign[1:]}. The judge does not "
                "know such proteins, and they are not ranked by its perplexity."
            )


def _about_copies(cells: Sequence[Cell]) -> Iterator[str]:
    """Count the designs that are copies of training sequences, where the rows say so."""
    memories = {name_of(cell): Memory.of(cell.designs) for cell in cells}
    counted = [
        f"{name} ({memory.is_copy.sum():,} of {memory.identity.notna().sum():,})"
        for name, memory in memories.items()
        if memory.is_copy.any()
    ]
    if counted:
        yield (
            f"Copies of training sequences ({COPY_IDENTITY:.0%} identity or more), which read well "
            f"because they were learnt by heart: {'; '.join(counted)}. They are left out of the "
            "best designs, unless a run of filter kept them."
        )


def _about_memory(cells: Sequence[Cell], references: Sequence[ReferenceRow]) -> Iterator[str]:
    """Count designs likelier than what the judge was trained on, where copies are not known."""
    rows = [each.figures for each in references if each.key == "natural_training"]
    trained = rows[0].get("judge_perplexity") if len(rows) == 1 else None  # else: several judges
    judged = [
        cell.designs["judge_perplexity"].dropna()
        for cell in cells
        if "judge_perplexity" in cell.designs
        and not cell.judges_itself
        and "copies" not in cell.figures
        and not Memory.of(cell.designs).is_known
    ]
    if trained is None:
        return
    likelier = sum(int((each < trained.mean).sum()) for each in judged)
    if likelier:
        yield (
            f"{likelier} of {counted(sum(map(len, judged)), 'design')}: a judge perplexity below "
            f"the mean of natural training sequences ({trained.mean:.2f}). They may be memories of "
            "proteins that the model and the judge were trained on, and rank first all the same. "
            "Score with --training or --reference set to those proteins to see."
        )


def _settings_of(tables: Sequence[ScoreTable], part: str) -> set[str]:
    """What the summaries say of one part of the scoring: the judge, the folding model, a file."""
    stated = [table.summary.get(part) for table in tables if table.summary]
    # A table scored without this part has none of its figures, and nothing to be compared.
    return {str(each) for each in stated if each is not None}


def _about_variety(cells: Sequence[Cell], natural_repeats: Estimate | None) -> Iterator[str]:
    """One sentence for each kind of narrowness, naming the rows that show it."""
    told = [cell for cell in cells if not Memory.of(cell.designs).is_known]  # the rows say it
    if copying := _those(told, "copies", lambda share: share > MANY_COPIES):
        yield f"Many designs copy a training sequence: {copying}."
    if equal := _those(cells, "distinct_fraction", lambda share: share < FEW_DISTINCT):
        yield f"Many designs are the same sequence (share that differ): {equal}."
    if natural_repeats is None:
        return
    bound = natural_repeats.mean + MORE_REPEATS
    if repetitive := _those(cells, "repeat_fraction", lambda share: share > bound):
        yield (
            f"More residues lie in repeats than in natural sequences ({natural_repeats.mean:.0%}), "
            f"which flatters judge perplexity: {repetitive}."
        )


def _those(cells: Sequence[Cell], figure: str, is_bad: Callable[[float], bool]) -> str:
    """The rows whose figure is bad, with the figure: "tiny, ancestral, 8 steps (31%)"."""
    return "; ".join(
        f"{name_of(cell)} ({cell.figures[figure].mean:.0%})"
        for cell in cells
        if figure in cell.figures and is_bad(cell.figures[figure].mean)
    )


# What a report says of students beside their teacher, design by design.
#
# Sets of one comparison are made of the same lengths under the same ids, so that their designs come
# in pairs: what designs of one length have in common cancels, which the intervals of each set for
# itself leave in.

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


def which_is_better(one: Cell, other: Cell) -> str:
    """Return in a sentence which of two sets drawn in pairs is better, or that neither is.

    Pairs are designs of one id, seed and length. The mean pLDDT decides where both sets were
    folded, else the judge NLL; "" where neither can, or the sets are no pairs.
    """
    if _have_seeds(one, other) and not _in_pairs(one, other, ["seed"]):
        return ""
    names = _names_apart(one, other)
    if (found := _paired_plddt(one, other)) is not None:
        figure, unit, better = "pLDDT", "", _sign(found)
    elif one.judges_itself or other.judges_itself or one.foreign or other.foreign:
        return ""
    elif (found := paired_difference(one, other)) is not None:
        figure, unit, better = "judge NLL", " nats a residue", -_sign(found)
    else:
        return ""
    pairs = f"design by design ({len(one.designs):,} pairs of one seed and length)"
    size = f"{abs(found.mean):.2f}{unit}"
    ends = sorted((abs(found.low), abs(found.high)))
    if not better:
        return (
            f"Neither {names[0]} nor {names[1]} is better, {pairs}: their {figure} differs by no "
            f"more than chance ({found.mean:+.2f}{unit}, 95% interval {found.low:+.2f} to "
            f"{found.high:+.2f})."
        )
    best, worse = names if better > 0 else names[::-1]
    way = "higher" if figure == "pLDDT" else "lower"
    return (
        f"{best} is better than {worse}, {pairs}: its {figure} is {size} {way} "
        f"(95% interval {ends[0]:.2f} to {ends[1]:.2f})."
    )


def _names_apart(one: Cell, other: Cell) -> tuple[str, str]:
    """Return the names of two sets, by their tables where their settings are the same."""
    names = name_of(one), name_of(other)
    if names[0] != names[1]:
        return names
    return f"{names[0]} ({one.source})", f"{names[1]} ({other.source})"


def _sign(difference: Interval) -> int:
    """Return 1 or -1 for a difference beyond chance, else 0."""
    return int(difference.low > 0) - int(difference.high < 0)


def _have_seeds(one: Cell, other: Cell) -> bool:
    return all(
        "seed" in each.designs and each.designs["seed"].notna().any() for each in (one, other)
    )


def _in_pairs(one: Cell, other: Cell, columns: Sequence[str]) -> bool:
    """Return whether every design of one set has a partner in the other."""
    keys = ["id", "length", *columns]
    pairs = one.designs[keys].merge(other.designs[keys], on=keys)
    return FEWEST_PAIRS <= len(pairs) == len(one.designs) == len(other.designs)


def _paired_plddt(one: Cell, other: Cell) -> Interval | None:
    column = "mean_plddt"
    keys = ["id", "length"]
    if any(
        column not in each.designs or each.designs[column].isna().any() for each in (one, other)
    ):
        return None
    if not _in_pairs(one, other, []):
        return None
    pairs = one.designs[[*keys, column]].merge(other.designs[[*keys, column]], on=keys)
    return bootstrap_mean(pairs[f"{column}_x"] - pairs[f"{column}_y"])


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
