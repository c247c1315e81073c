"""The work of `filter`: read, rank, filter, write."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from didi_core import __version__
from didi_core.cli.run import check_output
from didi_core.errors import UserError
from didi_core.io.files import check_writable, path_from, write_json
from didi_protein.filtering.criteria import (
    Copies,
    Duplicate,
    Filter,
    Natives,
    Neighbours,
    OnePer,
    Similar,
    Threshold,
    Top,
)
from didi_protein.filtering.funnel import Funnel, rejected_table, run_funnel
from didi_protein.filtering.memory import Memory
from didi_protein.filtering.options import FilterOptions, FilterResult
from didi_protein.filtering.ranking import (
    DEFAULT_COLUMNS,
    JUDGED,
    SortKey,
    default_sort,
    ranked,
    rewards_memory,
    too_short,
)
from didi_protein.filtering.thresholds import (
    Bound,
    bounds_of,
    compared_columns,
    how_to_compute,
    known_numbers,
    raise_all,
)
from didi_protein.scoring.columns import COLUMN, names_by
from didi_protein.scoring.natural_range import NaturalRange, natural_ranges_of, ranges_as_json
from didi_protein.scoring.own_shuffles import foreign_to_judge
from didi_protein.scoring.properties import developability
from didi_protein.scoring.table import (
    are_designs,
    check_ids,
    header_of_row,
    numbers_of,
    read_scores,
    scored_designs,
    summary_path,
    with_words_as_ids,
    without_figures,
    write_scores,
)
from didi_protein.sequences.fasta import FASTA_SUFFIXES, ProteinRecord, write_fasta
from didi_protein.similarity import mmseqs

FORMAT = "didi-protein filter 1"


@dataclass(frozen=True)
class FilterFiles:
    """Where one run writes: F.fasta and, beside it, F.selected.csv and so on."""

    fasta: Path

    @property
    def selected(self) -> Path:
        return self._beside(".selected.csv")

    @property
    def scoring(self) -> Path:
        """How those rows were scored: filtered again, they are as well known as here."""
        return summary_path(self.selected)

    @property
    def rejected(self) -> Path:
        return self._beside(".rejected.csv")

    @property
    def summary(self) -> Path:
        return self._beside(".filter.json")

    @property
    def all(self) -> tuple[Path, ...]:
        return self.fasta, self.selected, self.scoring, self.rejected, self.summary

    def _beside(self, suffix: str) -> Path:
        bare = self.fasta.with_name(self.fasta.name.removesuffix(".gz"))
        return bare.with_suffix(suffix)

    def check(self, table: Path, overwrite: bool) -> None:
        """Refuse a name that is no FASTA file's, and whatever would be lost.

        Raises:
            UserError: see above.
        """
        if Path(self.fasta.name.removesuffix(".gz")).suffix not in FASTA_SUFFIXES:
            raise UserError(
                f"--out {self.fasta}: the name must end in {', '.join(FASTA_SUFFIXES)}, or that "
                "and .gz."
            )
        for path in self.all:
            if path.resolve() == table.resolve():
                raise UserError(f"--out {self.fasta} would replace the table {table}: rename it.")
            if path.is_dir():
                raise UserError(f"--out {self.fasta}: {path} is a folder; choose another name.")
            check_output(path, overwrite=overwrite)

    def check_writable(self) -> None:
        """Raise UserError where one of them cannot be written: before designs are compared."""
        for path in self.all:
            check_writable(path)


def run_filter(options: FilterOptions) -> FilterResult:
    """See `didi_protein.filter.filter_designs`."""
    files = FilterFiles(options.out)
    files.check(options.table, options.overwrite)
    bounds = bounds_of(options)
    table = read_scores(options.table, "F.csv")
    check_ids(table, f"F.csv {options.table}")
    table = add_counts(with_words_as_ids(table), options, bounds)
    files.check_writable()
    scored = table[table["status"] == "ok"]
    scoring = _scoring(options.table)
    compared, foreign = compared_columns(scoring), foreign_to_judge(scoring)
    natural = natural_ranges_of(scoring)
    keys = sort_keys(options.sort_by, scored, foreign is None, natural)
    filters = build_filters(options, scored, bounds, keys, compared)
    funnel = run_funnel(table, in_order(scored, keys, compared), filters)
    rejected, selected = rejected_table(table, funnel), _selected(funnel.kept, options)
    summary = _summary(options, files, table, funnel, keys)
    summary["warnings"] = _about_the_judge(foreign, scored, keys, bounds)
    summary["parents"] = _beside_parents(scoring, selected, keys)
    _write(files, selected, rejected, summary, scoring)
    return FilterResult(selected, rejected, funnel.steps, summary, options.out)


def _scoring(table: Path) -> dict[str, Any]:
    """The summary that `score` wrote beside the table; empty where there is none."""
    path = summary_path(table)
    if not path.is_file():
        return {}
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}): write it again with score.") from error
    return summary if isinstance(summary, dict) else {}


def _beside_parents(
    scoring: dict[str, Any], selected: pd.DataFrame, keys: Sequence[SortKey]
) -> list[dict[str, Any]]:
    """Return each parent's value of what ranks, and how many of its variants kept are better.

    Args:
        scoring: the summary of `score`, which has the scores of parents.
        selected: the rows kept.
    """
    found: list[dict[str, Any]] = []
    if not keys or "parent" not in selected or keys[0].column not in selected:
        return found
    column, highest = keys[0].column, keys[0].highest_first
    for name, scores in (scoring.get("parents") or {}).items():
        own = selected.loc[selected["parent"] == name, column]
        values = pd.to_numeric(own, errors="coerce").dropna()
        value = scores.get(column)
        if value is None or not len(values):
            continue
        better = int((values > value).sum() if highest else (values < value).sum())
        found.append(
            {"parent": name, "column": column, "value": value, "better": better, "of": len(values)}
        )
    return found


def _about_the_judge(
    foreign: str | None, scored: pd.DataFrame, keys: Sequence[SortKey], bounds: Sequence[Bound]
) -> list[str]:
    """Say what becomes of a judge that does not know the designs, in one sentence at most.

    Args:
        foreign: why it cannot rank them; None where it can.
        scored: the rows that were scored.
        keys: what they are ranked by.
        bounds: what they must fulfil.
    """
    if foreign is None or not len(scored):
        return []
    asked = [each.flag for each in bounds if each.column == JUDGED]
    asked += [f"--sort-by {each.column}" for each in keys if each.column == JUDGED]
    if asked:
        return [f"{foreign}, so that {' and '.join(asked)} may go by chance."]
    if keys and keys[0].column == DEFAULT_COLUMNS[0]:
        return []
    order = f"by {', '.join(key.in_words() for key in keys)}" if keys else "that of the table"
    return [f"{foreign}, so that {JUDGED} does not rank them: the order is {order}."]


def _selected(kept: pd.DataFrame, options: FilterOptions) -> pd.DataFrame:
    """The rows kept, every column of the table among them, with their ranks."""
    # A table that was filtered before has ranks of its own, which no longer hold.
    kept = kept.drop(columns="rank", errors="ignore").reset_index(drop=True)
    kept.insert(1, "rank", pd.Series(range(1, len(kept) + 1), dtype="Int64"))
    kept["pdb_file"] = [
        _from_folder(each, options.table.parent, options.out.parent) for each in kept["pdb_file"]
    ]
    return kept


def _from_folder(file: str | None, old: Path, new: Path) -> str | None:
    """A path that was relative to the folder `old`, relative to `new`."""
    if file is None or pd.isna(file) or Path(file).is_absolute():
        return file
    return path_from(new, old / file)


def _summary(
    options: FilterOptions,
    files: FilterFiles,
    table: pd.DataFrame,
    funnel: Funnel,
    keys: Sequence[SortKey],
) -> dict[str, Any]:
    versions = {"didi-protein": __version__}
    if options.max_similarity is not None:
        versions["mmseqs2"] = mmseqs.version()
    return {
        "format": FORMAT,
        # From the folder of this file, so that they can move together.
        "table": path_from(files.fasta.parent, options.table),
        "num_records": len(table),
        "num_natives": int((~are_designs(table)).sum()),
        "num_scored": len(scored_designs(table)),
        "num_selected": len(funnel.kept),
        "num_too_short": int(too_short(funnel.kept).sum()),
        "copies": _copies(options, table),
        "num_nearer_than_nature": _num_demoted(funnel.kept, keys),
        "beyond_nature": _beyond_nature(funnel.kept, keys),
        "order": ", ".join(key.in_words() for key in keys) or "order in the table",
        "filters": [step.as_json() for step in funnel.steps],
        "files": {
            "fasta": str(files.fasta),
            "selected": str(files.selected),
            "rejected": str(files.rejected),
        },
        "versions": versions,
    }


def _copies(options: FilterOptions, table: pd.DataFrame) -> dict[str, Any]:
    """Return what became of copies: how many there are, of how many rows that is known."""
    memory = Memory.of(scored_designs(table))
    return {
        "policy": options.copies,
        "num_known": int(memory.identity.notna().sum()),
        "num_copies": int(memory.is_copy.sum()),
    }


def _num_demoted(kept: pd.DataFrame, keys: Sequence[SortKey]) -> int:
    """Count the designs kept that come after others for being near to training data."""
    return int(Memory.of(kept).is_nearer_than_nature.sum()) if rewards_memory(keys) else 0


def _beyond_nature(kept: pd.DataFrame, keys: Sequence[SortKey]) -> dict[str, Any] | None:
    """Return how many of the designs kept are likelier than nature by the first column of the
    order, and tie; None where it has no end."""
    first = next(iter(keys), None)
    if first is None or first.nature is None:
        return None
    values = numbers_of(kept, first.column, f"--sort-by {first.column}")
    return {
        "column": first.column,
        "nature": first.nature,
        "num_kept": int(first.is_beyond(values).sum()),
    }


def _write(
    files: FilterFiles,
    selected: pd.DataFrame,
    rejected: pd.DataFrame,
    summary: dict[str, Any],
    scoring: dict[str, Any],
) -> None:
    write_scores(files.rejected, rejected)
    files.scoring.unlink(missing_ok=True)  # of an earlier run: it vouches for other rows
    write_scores(files.selected, selected)
    if scoring:
        write_json(files.scoring, without_figures(scoring) | ranges_as_json(scoring))
    write_json(files.summary, summary)
    rows = selected.to_dict("records")
    write_fasta(
        files.fasta,
        (ProteinRecord(row["id"], row["sequence"], header_of_row(row)) for row in rows),
    )


# From the flags of `filter` and the table to the order of the designs and the filters.

GROUPING = ("cluster", "structure_cluster", "parent")
"""Columns of ours that put designs in groups, for `--one-per`."""
SIMILARITY_FLAGS = ("-c", "0.7", "--cov-mode", "0")
"""At least 70% of both sequences aligns, as for clusters."""


def add_counts(
    table: pd.DataFrame, options: FilterOptions, bounds: Sequence[Bound]
) -> pd.DataFrame:
    """Return the table with the counts of `scoring.properties`, where anything asks for them."""
    named = {each.column for each in bounds}
    named |= {column for column, _ in _sort_parts(options.sort_by)}
    motifs = list(names_by("motifs"))
    if not options.developability and named.isdisjoint(motifs):
        return table
    scored = table["status"] == "ok"
    counts = [developability(each) for each in table.loc[scored, "sequence"]]
    columns = pd.DataFrame(counts, index=table.index[scored], columns=motifs)
    table = table.drop(columns=[name for name in columns if name in table])
    return table.join(columns.astype("Int64"))


def _sort_parts(sort_by: str | None) -> list[tuple[str, str]]:
    parts = [each.strip().partition(":") for each in (sort_by or "").split(",") if each.strip()]
    return [(column, direction) for column, _, direction in parts]


def sort_keys(
    sort_by: str | None,
    table: pd.DataFrame,
    judge_knows: bool = True,
    natural: Mapping[str, NaturalRange] | None = None,
) -> list[SortKey]:
    """The order asked for, else the usual one; a likelihood ranks no further than nature's best.

    Args:
        judge_knows: whether the judge may rank where no order is asked for.
        natural: where natural sequences lie, by column.

    Raises:
        UserError: a column whose better end is neither known nor said; all of them.
    """
    parts = [(column, direction or _better(column)) for column, direction in _sort_parts(sort_by)]
    raise_all(
        [
            f"--sort-by {column}: say which end is better, {column}:highest or {column}:lowest."
            for column, direction in parts
            if direction not in ("highest", "lowest")
        ]
    )
    asked = [SortKey(column, direction == "highest") for column, direction in parts]
    return [key.limited(natural or {}) for key in asked] or default_sort(
        table, judge_knows, natural
    )


def _better(column: str) -> str:
    return COLUMN[column].better if column in COLUMN else ""


def in_order(
    table: pd.DataFrame, keys: Sequence[SortKey], compared: frozenset[str]
) -> pd.DataFrame:
    """The rows, best first.

    Raises:
        UserError: a column that does not exist or was never computed.
    """
    columns = {
        key.column: known_numbers(
            table, key.column, f"--sort-by {key.column}", key.column in compared
        )
        for key in keys
    }
    return table.loc[ranked(table.assign(**columns), keys).index]


def build_filters(
    options: FilterOptions,
    table: pd.DataFrame,
    bounds: Sequence[Bound],
    keys: Sequence[SortKey],
    compared: frozenset[str],
) -> list[Filter]:
    """The filters in the order of the funnel, after the status.

    Args:
        table: the rows that were scored.
        compared: columns that were computed even where all rows are empty.

    Raises:
        UserError: a column was never computed; all of them are named.
    """
    problems: list[str] = []
    filters: list[Filter] = [] if are_designs(table).all() else [Natives()]
    if options.copies == "drop" and (memory := Memory.of(table)).is_known:
        filters.append(Copies(memory))
    for each in bounds:
        try:
            values = known_numbers(table, each.column, each.flag, each.column in compared)
        except UserError as error:
            problems.append(str(error))
            continue
        filters.append(Threshold(each.flag, each.column, each.bound, each.is_minimum, values))
    problems += _problems_of_one_per(options.one_per, table)
    raise_all(problems)
    return [*filters, *_comparing_filters(options, table, keys)]


def _problems_of_one_per(column: str | None, table: pd.DataFrame) -> Iterator[str]:
    if column is None:
        return
    present = [name for name in GROUPING if name in table and table[name].notna().any()]
    instead = f", or give --one-per {' or '.join(present)}, which it has" if present else ""
    if column not in table:
        missing = "the table has no such column"
    elif len(table) and table[column].isna().all():
        missing = "it was not computed in this table"
    else:
        return
    yield f"--one-per {column}: {missing}; {how_to_compute(column)}{instead}."


def _comparing_filters(
    options: FilterOptions, table: pd.DataFrame, keys: Sequence[SortKey]
) -> Iterator[Filter]:
    yield Duplicate()
    if options.one_per is not None:
        yield OnePer(options.one_per)
    if options.max_similarity is not None:
        yield Similar(options.max_similarity, _neighbours(table["sequence"]))
    if options.top is not None:
        yield Top(options.top, ", ".join(key.in_words() for key in keys) or "order in the table")


def _neighbours(sequences: "pd.Series[str]") -> Neighbours:
    """Identity of each pair of different sequences that MMseqs2 aligns, both ways."""
    distinct = list(dict.fromkeys(sequences))
    found: dict[str, dict[str, float]] = {each: {} for each in distinct}
    if len(distinct) < 2:
        return found
    flags = (*SIMILARITY_FLAGS, "--max-seqs", str(max(1_000, len(distinct))))
    every = mmseqs.all_pairs_flags(distinct, distinct)
    for first, second, identity, *_ in mmseqs.search(distinct, distinct, flags, prefilter=every):
        if first != second:
            one, two = distinct[first], distinct[second]
            found[one][two] = found[two][one] = max(identity, found[one].get(two, 0.0))
    return found
