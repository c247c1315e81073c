"""The work of `order`: read, write DNA for each, put on plates, write."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from didi_core.errors import UserError
from didi_core.io.files import check_writable, write_json
from didi_core.number_checks import seed_errors
from didi_core.progress import progress_bar
from didi_protein.ordering.back_translation import BackTranslation, BackTranslator
from didi_protein.ordering.construct import Construct, Frame
from didi_protein.ordering.frame import frame_of
from didi_protein.ordering.hosts import CodonUsage, codon_usage
from didi_protein.ordering.membrane import has_signal_peptide, transmembrane_stretches
from didi_protein.ordering.options import OrderOptions, OrderResult
from didi_protein.ordering.plates import OrderFiles, Sheet, Well
from didi_protein.ordering.rules import gc_counts, longest_run, rules_of, sites_of
from didi_protein.ordering.summary import notes_on, summary_of
from didi_protein.scoring.ids import check_ids, with_words_as_ids
from didi_protein.scoring.properties import developability
from didi_protein.scoring.table import (
    SUFFIXES,
    is_missing,
    is_native,
    read_scores,
    rounded,
    write_scores,
)
from didi_protein.sequences.design_ids import OTHER_PREFIX, shared_ids
from didi_protein.sequences.fasta import ProteinRecord, expand_inputs, read_records
from didi_protein.sequences.mpnn import NATIVE_KEY
from didi_protein.sequences.residues import clean_sequence, find_problem

Place = str | os.PathLike[str]

COLUMNS = {
    **dict.fromkeys(("id", "status", "error"), "object"),
    "plate": "Int64",
    **dict.fromkeys(("well", "design", "protein"), "object"),
    "protein_length": "Int64",
    "dna": "object",
    "dna_length": "Int64",
    "gc": "float64",
    "longest_homopolymer": "Int64",
    "codon_adaptation": "float64",
    **dict.fromkeys(("signal_peptide", "transmembrane_stretches"), "Int64"),
    "transmembrane_at": "object",
    **dict.fromkeys(developability("M"), "Int64"),
}
"""Columns of `F.designs.csv`, in order, and their types."""


@dataclass(frozen=True)
class OrderedDesign:
    """One design and what became of it."""

    record: ProteinRecord
    construct: Construct | None
    """None where the record holds no protein."""
    written: BackTranslation
    error: str | None
    """Why it cannot be ordered."""

    @property
    def status(self) -> str:
        """`ok`, `invalid` (no protein) or `failed` (no DNA that meets the rules)."""
        if self.error is None:
            return "ok"
        return "invalid" if self.construct is None else "failed"


def run_order(options: OrderOptions) -> OrderResult:
    """See `didi_protein.order.order`."""
    if wrong := seed_errors(options.seed):
        raise UserError("; ".join(wrong) + ".")
    sheet = Sheet(options.plate, options.fill, options.vendor)
    sheet.check()
    usage, sites = codon_usage(options.host), sites_of(options.avoid)
    rules = rules_of(options, sites)
    frame = frame_of(options, usage, sites)
    translator = BackTranslator(usage, options.codons, options.min_codon_usage, rules)
    inputs, files = list(expand_inputs(options.inputs, "INPUT")), OrderFiles(options.out)
    records, num_natives = read_designs(inputs, options.prefix_files)
    read = [Path(each) for each in inputs if str(each) != "-"]
    files.check(read, sheet.num_uploads(len(records)), options.overwrite)
    for path in (files.out, files.designs, files.summary):
        check_writable(path)
    designs = []
    with progress_bar("Back-translating", len(records)) as show:
        for done, record in enumerate(records):
            show(done)
            record = _cleaned(record) if options.clean else record
            designs.append(_ordered(record, frame, translator, options.seed))
    table = _table(designs, sheet, usage)
    notes = notes_on(table, records, frame, sites, num_natives)
    summary = summary_of(options, table, usage, notes)
    uploads = _write(files, table, sheet, summary)
    failed = int((table["status"] != "ok").sum())
    return OrderResult(table, summary, uploads, files.designs, failed)


# Which designs: FASTA, structures, or the rows of a table.


def read_designs(inputs: Iterable[Place], prefix_files: bool) -> tuple[list[ProteinRecord], int]:
    """Return the designs of all inputs, in order, and how many sequences are none.

    Ids are unique, as names on a plate must be. No design is what an inverse folder was given.

    Args:
        prefix_files: put the name of its file before each id.

    Raises:
        UserError: an input cannot be read, or two of them share ids.
    """
    num_natives, by_file = 0, []
    for place in inputs:
        read = _read_one(place)
        records = [each for each in read if not is_native(each.header.get(NATIVE_KEY))]
        num_natives += len(read) - len(records)
        if prefix_files:
            records = [replace(each, id=f"{_stem(place)}_{each.id}") for each in records]
        by_file.append((place, records))
    if shared := shared_ids((place, [each.id for each in own]) for place, own in by_file):
        raise UserError(
            f"INPUT {shared}, and names on a plate must differ: --prefix-files puts the name of "
            f"its file before each id, and {OTHER_PREFIX}."
        )
    return [each for _, own in by_file for each in own], num_natives


def _read_one(place: Place) -> list[ProteinRecord]:
    if Path(place).suffix not in SUFFIXES:
        return read_records([place])
    table = read_scores(place, "INPUT")
    check_ids(table, f"INPUT {place}")
    table = with_words_as_ids(table)
    return [
        ProteinRecord(
            row["id"],
            row["sequence"],
            _origin(row),
            problem=_problem_of(row),
        )
        for row in table.to_dict("records")
    ]


def _origin(row: dict[Any, Any]) -> dict[str, str]:
    """Return what of a row's origin a header would say, where it is known."""
    values = {name: row.get(name) for name in (NATIVE_KEY, "model", "parent")}
    return {name: str(value) for name, value in values.items() if not is_missing(value)}


def _problem_of(row: dict[Any, Any]) -> str | None:
    if row["status"] == "ok":
        return None
    error = row.get("error")
    return f"{row['status']} in the table" + ("" if is_missing(error) else f": {error}")


def _stem(place: Place) -> str:
    return "_".join(Path(place).name.removesuffix(".gz").rpartition(".")[0].split()) or "stdin"


def _cleaned(record: ProteinRecord) -> ProteinRecord:
    return replace(record, sequence=clean_sequence(record.sequence))


# From a design to its row.


def _ordered(
    record: ProteinRecord, frame: Frame, translator: BackTranslator, seed: int
) -> OrderedDesign:
    problem = record.problem or find_problem(record.sequence)
    if problem is not None:
        return OrderedDesign(record, None, BackTranslation(None), problem)
    construct = frame.around(record.sequence)
    written = translator.back_translate(construct, seed)
    error = None if written.dna is not None else f"cannot be met: {'; '.join(written.broken)}"
    return OrderedDesign(record, construct, written, error)


def _table(designs: Sequence[OrderedDesign], sheet: Sheet, usage: CodonUsage) -> pd.DataFrame:
    """Return a row for every design; wells are those of designs that can be ordered."""
    wells = iter(sheet.places(sum(each.status == "ok" for each in designs)))
    rows = [_row(each, next(wells) if each.status == "ok" else None, usage) for each in designs]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({name: dtype for name, dtype in COLUMNS.items() if dtype != "object"})


def _row(design: OrderedDesign, well: Well | None, usage: CodonUsage) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": design.record.id,
        "status": design.status,
        "error": design.error,
        "plate": well.plate if well else None,
        "well": well.name if well else None,
        "design": design.record.sequence,
    }
    if design.construct is not None:
        row |= _of_protein(design.construct.protein)
        if design.written.dna is not None:
            row |= _of_dna(design.written.dna, design.construct, usage)
    return row


def _of_protein(protein: str) -> dict[str, Any]:
    stretches = transmembrane_stretches(protein)
    return {
        "protein": protein,
        "protein_length": len(protein),
        "signal_peptide": int(has_signal_peptide(protein)),
        "transmembrane_stretches": len(stretches),
        "transmembrane_at": " ".join(f"{first}-{last}" for first, last in stretches),
        **developability(protein),
    }


def _of_dna(dna: str, construct: Construct, usage: CodonUsage) -> dict[str, Any]:
    return {
        "dna": dna,
        "dna_length": len(dna),
        "gc": rounded(gc_counts(dna, len(dna))[0] / len(dna)),
        "longest_homopolymer": longest_run(dna),
        "codon_adaptation": rounded(usage.adaptation(construct.codons(dna))),
    }


def _write(
    files: OrderFiles, table: pd.DataFrame, sheet: Sheet, summary: dict[str, Any]
) -> tuple[Path, ...]:
    """Write everything, and remove plates of an earlier order, which are none of this one."""
    sheets = sheet.tables(table[table["status"] == "ok"])
    uploads = tuple(files.upload(number) for number in range(1, len(sheets) + 1))
    named = {"uploads": [str(each) for each in uploads], "designs": str(files.designs)}
    write_scores(files.designs, table)
    for path, each in zip(uploads, sheets, strict=True):
        write_scores(path, each)
    for path in set(files.later_plates()) - set(uploads):
        path.unlink()
    summary["files"] = named
    write_json(files.summary, summary)
    return uploads
