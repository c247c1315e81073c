"""The work of `filter`: read, rank, filter, write."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from didi_core import __version__
from didi_core.cli.run import check_output
from didi_core.errors import UserError
from didi_core.io.files import check_writable, path_from, write_json
from didi_protein.filtering.criteria import OnePer
from didi_protein.filtering.from_flags import add_counts, build_filters, in_order, sort_keys
from didi_protein.filtering.funnel import Funnel, rejected_table, run_funnel
from didi_protein.filtering.memory import Memory
from didi_protein.filtering.options import FilterOptions, FilterResult
from didi_protein.filtering.ranking import (
    DEFAULT_COLUMNS,
    JUDGED,
    SortKey,
    rewards_memory,
    too_short,
)
from didi_protein.filtering.thresholds import (
    Bound,
    bounds_of,
    compared_columns,
)
from didi_protein.scoring.ids import check_ids, header_of_row, with_words_as_ids
from didi_protein.scoring.natural_range import natural_ranges_of, ranges_as_json
from didi_protein.scoring.own_shuffles import foreign_to_judge
from didi_protein.scoring.table import (
    are_designs,
    numbers_of,
    read_scores,
    scored_designs,
    summary_path,
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
    summary["warnings"] += _about_one_group(funnel)
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


def _about_one_group(funnel: Funnel) -> list[str]:
    """Say why of many designs one was left, where all were of one group."""
    before, found = None, []
    for step in funnel.steps:
        if step.filter == OnePer.name and step.left == 1 and before is not None and before > 1:
            found.append(
                f"All {before:,} designs that came to {step.filter} {step.column} are of one "
                f"{step.column}, as the variants of one parent are, so that one is left: leave it "
                "out to keep more."
            )
        before = step.left
    return found


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
