"""Which command comes after which, on the way from a model to an order.

Each function looks at what a verb was asked and what it wrote, and returns the command that goes on
from there, with the flags that fit: it works as it stands. None where nothing goes on.
"""

import json
import shlex
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from didi_core.cli.command_options import command_line
from didi_core.cli.next_command import fresh_path
from didi_core.commands.comparing.labels import label_of, split_words
from didi_core.commands.comparing.options import CompareResult
from didi_core.commands.headroom.options import HeadroomOptions, HeadroomResult
from didi_core.commands.merge import MergeOptions, sibling_shard
from didi_core.io.shards import parse_shard, read_shard_record
from didi_protein.comparing.options import CompareOptions
from didi_protein.filtering.options import FilterOptions, FilterResult
from didi_protein.generating.options import GenerateOptions, GenerateResult
from didi_protein.ordering.options import OrderOptions
from didi_protein.reporting.options import ReportOptions
from didi_protein.scanning.options import ScanOptions, ScanResult, is_of_scan
from didi_protein.scoring.options import ScoreOptions, ScoreResult
from didi_protein.scoring.table import SUFFIXES, summary_path
from didi_protein.sequences.bundled import FAMILY_LENGTHS
from didi_protein.sequences.fasta import FASTA_SUFFIXES, fasta_records
from didi_protein.sequences.positions import parse_positions, positions_text
from didi_protein.similarity import mmseqs

PLATE = 96
"""Designs of a first order: those of a plate."""
DESIGNS = Path("designs.fasta")


def after_generate(options: GenerateOptions, result: GenerateResult) -> str | None:
    """Score the designs: variants against their parents, so that these are known by their ids.

    Designs around a motif are folded, so that it can be looked for in the structures.
    """
    if options.shard is not None:
        return _merge_all(options.shard, result.fasta)
    if not result.num_designs:
        return None
    reference = options.start if mmseqs.is_available() else None
    motif = None if options.motif is None else Path(options.motif.rpartition(":")[0])
    return _score(result.fasta, reference, motif)


def _score(fasta: Path, reference: Path | None = None, motif: Path | None = None) -> str:
    """Score against the family where it ships, and without the slow exact pseudo-perplexity."""
    table = fresh_path(_bare(fasta).with_suffix(".csv"), ".summary.json", ".csv.partial")
    scored = ScoreOptions(
        inputs=[_argument(fasta)],
        out=table,
        reference=reference,
        family=_family_of(fasta),
        pseudo="none",
        fold="none" if motif is None else "esmfold",
        motif=motif,
    )
    return command_line("didi-protein", "score", scored)


def _family_of(fasta: Path) -> Path | None:
    """Return the bundled family that designs are of; None where that is not plain.

    It is where a bundled model wrote all of them, and all have lengths of one family.
    """
    if not (_are_installed("pyhmmer") and fasta.is_file()):
        return None
    from didi_protein.models.load import BUNDLED_MODELS

    records = list(fasta_records(fasta, "INPUT"))
    if not {each.header.get("model") for each in records} <= set(BUNDLED_MODELS.names):
        return None
    for family, (low, high) in FAMILY_LENGTHS.items():
        if all(low <= len(each.sequence) <= high for each in records):
            return None if Path(family).exists() else Path(family)
    return None


def after_score(options: ScoreOptions, result: ScoreResult) -> str | None:
    """Choose the best designs, of those that fold where any does; first by their motif."""
    if options.shard is not None:
        return _merge_all(options.shard, result.out)
    ok = result.table[result.table["status"] == "ok"]
    if not len(ok):
        return None
    folds = bool(ok["foldable"].fillna(False).astype(bool).any())
    by = "motif_rmsd" if "motif_rmsd" in ok and ok["motif_rmsd"].notna().any() else None
    top = PLATE if len(ok) > PLATE else None
    return _filter(result.out, foldable=folds, top=top, sort_by=by)


def _filter(
    table: Path, *, foldable: bool = False, top: int | None = None, sort_by: str | None = None
) -> str:
    out = fresh_path(
        table.with_name(f"{table.stem}.best.fasta"),
        *(".selected.csv", ".selected.summary.json", ".rejected.csv", ".filter.json"),
    )
    chosen = FilterOptions(
        table=Path(_argument(table)), out=out, foldable=foldable, top=top, sort_by=sort_by
    )
    return command_line("didi-protein", "filter", chosen)


def after_filter(options: FilterOptions, result: FilterResult) -> str | None:
    """Look at what was chosen; without the packages of `report`, order it."""
    if not len(result.selected):
        return None
    if not _are_installed("jinja2", "matplotlib"):
        return _order(result.out)
    inputs, page = [options.table], fresh_path(_bare(result.out).with_suffix(".html"))
    if result.out.resolve().parent != options.table.resolve().parent:
        # What was rejected is found beside the table alone.
        inputs.append(_bare(result.out).with_suffix(".rejected.csv"))
    inputs = [Path(_argument(each)) for each in inputs]
    return command_line("didi-protein", "report", ReportOptions(inputs=inputs, out=page))


def after_report(options: ReportOptions) -> str | None:
    """Order what was last chosen from the tables shown; where nothing was, choose."""
    tables = [each for each in options.inputs if each.suffix in SUFFIXES and each.is_file()]
    folders = dict.fromkeys(each if each.is_dir() else each.parent for each in options.inputs)
    found = [path for folder in folders for path in folder.glob("*.filter.json")]
    for path in sorted(found, key=lambda each: each.stat().st_mtime, reverse=True):
        fasta = _chosen_of(path, tables)
        if fasta is not None:
            return _order(fasta)
    return _filter(tables[0]) if len(tables) == 1 else None


def _chosen_of(path: Path, tables: list[Path]) -> Path | None:
    """Return the FASTA that a `F.filter.json` is about; None where it is of no table shown."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        fasta, table = (
            path.with_name(Path(said["files"]["fasta"]).name),
            path.parent / said["table"],
        )
        shown = not tables or _is_among(table, tables) or _is_among(_rejected(path), tables)
        return fasta if shown and said["num_selected"] and fasta.is_file() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no file of ours


def _rejected(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".filter.json") + ".rejected.csv")


def _is_among(path: Path, others: list[Path]) -> bool:
    return path.resolve() in {each.resolve() for each in others}


def _order(fasta: Path) -> str | None:
    if not _are_installed("dnachisel", "python_codon_tables"):
        return None
    sheet = _bare(fasta).with_name(f"{_bare(fasta).stem}.order.csv")
    out = fresh_path(sheet, ".designs.csv", ".order.json")
    return command_line("didi-protein", "order", OrderOptions(inputs=[_argument(fasta)], out=out))


def after_compare(options: CompareOptions, result: CompareResult) -> str | None:
    """Design with the student that the judge finds most natural, or the teacher without any."""
    methods = {
        label_of(each): options.out / label_of(each) for each in split_words(options.methods)
    }
    students = {label_of(each): each for each in split_words(options.students)}
    models = {**methods, **students}
    rows = result.table[result.table["steps"].notna() & result.table["judge_nll"].notna()]
    of_students = rows[rows["model"].isin(list(models))]
    rows = of_students if len(of_students) else rows[rows["model"] == label_of(options.teacher)]
    if not len(rows):
        return None
    best = rows.loc[pd.to_numeric(rows["judge_nll"]).idxmin()]
    asked = GenerateOptions(
        model=str(models.get(best["model"], options.teacher)),
        num=100,
        length=options.length,
        steps=int(best["steps"]),
        sampler=str(best["sampler"]),
        out=fresh_path(DESIGNS, ".generate.json"),
    )
    return command_line("didi-protein", "generate", asked)


def after_headroom(options: HeadroomOptions, result: HeadroomResult) -> str | None:
    """Design with as few calls as the curve bears, on its best grid where that is kept."""
    asked = GenerateOptions(
        model=options.model,
        num=100,
        length=f"from:{options.data}",
        steps=8,
        grid="exact" if result.kept is None else "best",
        out=fresh_path(DESIGNS, ".generate.json"),
    )
    return command_line("didi-protein", "generate", asked)


def after_scan(options: ScanOptions, result: ScanResult) -> str | None:
    """Write the most tolerant positions anew."""
    if options.shard is not None:
        return _merge_all(options.shard, result.out)
    return _vary(result.summary)


def _vary(summary: Mapping[str, Any]) -> str | None:
    """Return what writes the most tolerant positions anew; None where it cannot be given so."""
    inputs, model = summary["inputs"], summary["settings"]["scan"]["name"]
    from didi_protein.models.esm2 import is_esm2_name  # imports torch, which others do without

    if len(inputs) != 1 or not Path(inputs[0]).is_file() or is_esm2_name(model):
        return None
    if _bare(Path(inputs[0])).suffix not in FASTA_SUFFIXES:
        return None
    if not any(each.get("known") for each in summary["sequences"]):
        return None  # it would write into proteins that the model does not know
    asked = GenerateOptions(
        model=model,
        start=Path(inputs[0]),
        vary="tolerant:20%",
        keep=_kept(summary),
        num=10,
        steps=8,
        out=fresh_path(Path("variants.fasta"), ".generate.json"),
    )
    return command_line("didi-protein", "generate", asked)


def _kept(summary: Mapping[str, Any]) -> str | None:
    """Return what to keep of one protein: its surest positions, its ends, what was not scanned.

    Near the ends tolerance says little. None of several proteins, whose positions differ.
    """
    from didi_protein.scanning.substitutions import near_ends  # imports torch, as above

    if len(summary["sequences"]) != 1:
        return None
    (only,) = summary["sequences"]
    kept = {position - 1 for position in only.get("least_tolerant", ())}
    kept |= near_ends(len(only["sequence"]))
    if scanned := summary["settings"]["scan"]["positions"]:
        kept |= {*range(len(only["sequence"]))} - {*parse_positions(scanned, "--positions")}
    return positions_text(kept) or None


def after_merge(options: MergeOptions) -> str | None:
    """Go on as after the whole; of scores, first find the figures of the whole set."""
    if _bare(options.out).suffix in FASTA_SUFFIXES:
        return _score(options.out)
    side = json.loads(summary_path(options.out).read_text(encoding="utf-8"))
    if is_of_scan(side):
        return _vary(side)
    shard = json.loads(summary_path(options.shards[0]).read_text(encoding="utf-8"))
    record = read_shard_record(shard)
    if record is None or not record.command:
        return _filter(options.out)
    # The rows are known: nothing is scored again.
    return f"{record.command} --resume --out {shlex.quote(str(options.out))}"


def _merge_all(shard: str, out: Path) -> str | None:
    """Put shards together once all of them are there."""
    own = parse_shard(shard)
    parts = [sibling_shard(out, own.index, number) for number in range(1, own.count + 1)]
    if own.count < 2 or not all(each.is_file() for each in parts):
        return None
    whole = fresh_path(_bare(out).with_name(f"merged{_bare(out).suffix}"), ".summary.json")
    asked = MergeOptions(shards=[Path(_argument(each)) for each in parts], out=whole)
    return command_line("didi-protein", "merge", asked)


def _bare(path: Path) -> Path:
    """Return the path without `.gz`."""
    return path.with_name(path.name.removesuffix(".gz"))


def _argument(path: Path) -> str:
    """Return a path that no command line takes for a flag."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def _are_installed(*packages: str) -> bool:
    return all(find_spec(each) is not None for each in packages)
