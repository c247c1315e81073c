"""The work of `filter`: read, rank, filter, write."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from didi_core import __version__
from didi_core.cli import check_output
from didi_core.errors import UserError
from didi_core.files import check_writable, path_from, write_json
from didi_protein import mmseqs
from didi_protein.fasta import FASTA_SUFFIXES, ProteinRecord, write_fasta
from didi_protein.filter import FilterOptions, FilterResult
from didi_protein.filter_bounds import bounds_of
from didi_protein.filter_columns import compared_columns
from didi_protein.filter_funnel import Funnel, rejected_table, run_funnel
from didi_protein.filter_setup import add_counts, build_filters, in_order, sort_keys
from didi_protein.provenance import check_ids, header_of_row, with_words_as_ids
from didi_protein.ranking import SortKey, too_short
from didi_protein.scores_table import read_scores, summary_path, write_scores

FORMAT = "didi-protein filter 1"


@dataclass(frozen=True)
class FilterFiles:
    """Where one run writes: F.fasta and, beside it, F.selected.csv and so on."""

    fasta: Path

    @property
    def selected(self) -> Path:
        return self._beside(".selected.csv")

    @property
    def rejected(self) -> Path:
        return self._beside(".rejected.csv")

    @property
    def summary(self) -> Path:
        return self._beside(".filter.json")

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
        for path in (self.fasta, self.selected, self.rejected, self.summary):
            if path.resolve() == table.resolve():
                raise UserError(f"--out {self.fasta} would replace the table {table}: rename it.")
            if path.is_dir():
                raise UserError(f"--out {self.fasta}: {path} is a folder; choose another name.")
            check_output(path, overwrite=overwrite)

    def check_writable(self) -> None:
        """Raise UserError where one of them cannot be written: before designs are compared."""
        for path in (self.fasta, self.selected, self.rejected, self.summary):
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
    compared = _compared(options.table)
    keys = sort_keys(options.sort_by, scored)
    filters = build_filters(options, scored, bounds, keys, compared)
    funnel = run_funnel(table, in_order(scored, keys, compared), filters)
    rejected, selected = rejected_table(table, funnel), _selected(funnel.kept, options)
    summary = _summary(options, files, table, funnel, keys)
    _write(files, selected, rejected, summary)
    return FilterResult(selected, rejected, funnel.steps, summary, options.out)


def _compared(table: Path) -> frozenset[str]:
    """Columns that were computed, says the summary beside the table, even if all are empty."""
    path = summary_path(table)
    if not path.is_file():
        return frozenset()
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}): write it again with score.") from error
    return compared_columns(summary)


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
        "num_selected": len(funnel.kept),
        "num_too_short": int(too_short(funnel.kept).sum()),
        "order": ", ".join(key.in_words() for key in keys) or "order in the table",
        "filters": [step.as_json() for step in funnel.steps],
        "files": {
            "fasta": str(files.fasta),
            "selected": str(files.selected),
            "rejected": str(files.rejected),
        },
        "versions": versions,
    }


def _write(
    files: FilterFiles, selected: pd.DataFrame, rejected: pd.DataFrame, summary: dict[str, Any]
) -> None:
    write_scores(files.rejected, rejected)
    write_scores(files.selected, selected)
    write_json(files.summary, summary)
    rows = selected.to_dict("records")
    write_fasta(
        files.fasta,
        (ProteinRecord(row["id"], row["sequence"], header_of_row(row)) for row in rows),
    )
