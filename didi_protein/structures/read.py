"""Structure files as input: sequences, and the confidence that predicted models carry.

    for chain in read_structure("model.pdb"):
        print(chain.name, chain.sequence, chain.columns["mean_plddt"])

PDB and mmCIF, plain or gzipped, of ESMFold, AlphaFold DB, ColabFold and others; what experiment
put into the B-factor column is never taken for pLDDT (`didi_protein.structures.plddt`).
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from Bio.PDB.Chain import Chain
from Bio.PDB.Residue import Residue

from didi_core.errors import UserError, as_written
from didi_core.io.files import path_from
from didi_core.io.text_files import damage_explained, open_text
from didi_core.progress import counted
from didi_protein.structures.cif import cif_items
from didi_protein.structures.confidences import Tool, columns_of, read_alphafold_db
from didi_protein.structures.parse import (
    CIF_SUFFIXES,
    STRUCTURE_SUFFIXES,
    alpha_residues,
    letter_of,
    letter_of_name,
    parse_structure,
)
from didi_protein.structures.plddt import PlddtDecision, chain_plddt, decide
from didi_protein.structures.predictions import PredictedModel, recognise

__all__ = ["STRUCTURE_SUFFIXES", "StructureChain", "name_of_file", "read_structure"]


CHAIN_COLUMN = "pdb_chain"


SOURCE_COLUMN = "plddt_source"


NO_PLDDT = "none: "
"""How `plddt_source` begins where there is no pLDDT."""


BONDED = (2.0, 4.5)
"""Ångström between the C-alpha atoms of two residues that follow one another: 2.9 (cis) or 3.8."""


MOST_MISSING = 9_999
"""A jump in the numbers beyond this is none that residues were left out of."""


@dataclass(frozen=True)
class StructureChain:
    """One protein chain of a file."""

    name: str
    """That of the file, with `_CHAIN` where there are several."""
    sequence: str
    """Of the residues that have a C-alpha, in the order of the file. One that is missing is taken
    from the sequence the file states (SEQRES); it is X where that does not fit."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Values of the table of scores: pdb_file, pdb_chain, mean_plddt, mean_plddt_all_atom,
    plddt_source; and what the program that predicted it wrote beside it: predictor, prediction,
    ptm, mean_pae, iptm and others (`didi_protein.structures.confidences`)."""


def read_structure(path: str | os.PathLike[str], name: str = "INPUT") -> list[StructureChain]:
    """Read every protein chain of the first model of a file.

    Args:
        name: how messages call the file: the flag or argument it came from.

    Raises:
        UserError: the file cannot be read, is no structure, or holds no protein chain.
    """
    found = recognise(Path(path))
    known = found if found is not None and found.scores.is_file() else None
    chains, has_others = _read(path, name, known.tool if known else None)
    try:
        if known is not None:
            return _with_confidences(known, chains, has_others)
        return [_with_alphafold_db(chain, Path(path)) for chain in chains]
    except UserError:  # what stands beside it is of something else, and states nothing
        return chains


def read_prediction(
    model: PredictedModel, name: str = "INPUT", stem: str | None = None
) -> list[StructureChain]:
    """Read every protein chain of a model in the output folder of a program, and what that says.

    Args:
        stem: what its chains are called, in place of the file.

    Raises:
        UserError: the structure cannot be read, or what should stand beside it is missing, cut
            short, or of another number of residues.
    """
    chains, has_others = _read(model.structure, name, model.tool, stem)
    return _with_confidences(model, chains, has_others)


def _with_confidences(
    model: PredictedModel, chains: Sequence[StructureChain], has_others: bool
) -> list[StructureChain]:
    """Add what the files beside a model say."""
    lengths = [(each.columns[CHAIN_COLUMN], len(each.sequence)) for each in chains]
    own = columns_of(model.confidences(), lengths, has_others, model.scores)
    said = {"predictor": model.tool, "prediction": model.name}
    return [
        replace(chain, columns=chain.columns | said | more)
        for chain, more in zip(chains, own, strict=True)
    ]


_ALPHAFOLD_DB = re.compile(r"(AF-.*)-model_(v\d+)")


def _with_alphafold_db(chain: StructureChain, path: Path) -> StructureChain:
    """Add the mean PAE of AlphaFold DB, where its JSON stands beside `AF-X-F1-model_v4.pdb`."""
    match = _ALPHAFOLD_DB.fullmatch(Path(path.name.removesuffix(".gz")).stem)
    beside = match and path.with_name(f"{match[1]}-predicted_aligned_error_{match[2]}.json")
    if not beside or not beside.is_file():
        return chain
    pae = read_alphafold_db(beside, len(chain.sequence))
    return replace(chain, columns=chain.columns | {"mean_pae": pae})


def _read(
    path: str | os.PathLike[str], name: str, tool: Tool | None, stem: str | None = None
) -> tuple[list[StructureChain], bool]:
    """Return the chains of a file, and whether it holds more than proteins.

    Args:
        tool: the program in whose output folder it stands, if in any.
    """
    model, evidence = parse_structure(path, name)
    if tool is not None and evidence.predictor is None:
        evidence = replace(evidence, predictor=f"it stands in an output folder of {tool}")
    decision = decide(evidence, model)
    sequences = {chain.id: chain_sequence(chain) for chain in model}
    if any("X" in sequence for sequence in sequences.values()):
        stated = stated_sequences(path, name)
        sequences = {
            chain: fill_gaps(sequence, stated.get(chain.partition("#")[0]))
            for chain, sequence in sequences.items()
        }
    stem = name_of_file(path) if stem is None else stem
    alone = len(sequences) == 1
    chains = [
        StructureChain(
            stem if alone or not chain.strip() else f"{stem}_{chain}",
            sequence,
            {
                "pdb_file": str(path),
                CHAIN_COLUMN: chain,
                **_confidence(model[chain], sequence, decision),
            },
        )
        for chain, sequence in sequences.items()
    ]
    return chains, evidence.marks is not None


def chain_sequence(chain: Chain) -> str:
    """Return one letter a residue, and X for each that is missing or has no C-alpha.

    Residues stand in the order of the file.
    """
    places = chain_places(chain)
    letters = ["X"] * (places[-1] + 1 if places else 0)
    for place, residue in zip(places, chain, strict=True):
        if "CA" in residue:
            letters[place] = letter_of(residue)
    return "".join(letters)


def chain_places(chain: Chain) -> list[int]:
    """Return the place of each residue in the sequence of its chain, from 0, missing ones counted.

    Numbers count missing residues only between two that are not bonded; where the numbers fall, one
    place says that some may be missing.
    """
    places: list[int] = []
    previous: Residue | None = None
    for residue in chain:
        skipped = 0 if previous is None else _missing_between(previous, residue)
        places.append((places[-1] + 1 if places else 0) + skipped)
        previous = residue
    return places


def _missing_between(first: Residue, second: Residue) -> int:
    step = second.id[1] - first.id[1]
    if step in (0, 1):
        return 0
    if "CA" in first and "CA" in second:
        low, high = BONDED
        if low <= first["CA"] - second["CA"] <= high:
            return 0
    return step - 1 if 1 < step <= MOST_MISSING else 1


def name_of_file(path: str | os.PathLike[str]) -> str:
    """Return what the chain of a file is called: the file's name without its suffixes."""
    name = re.sub(r"\.gz$", "", Path(path).name, flags=re.IGNORECASE)
    return escaped(Path(name).stem)


def escaped(text: str | os.PathLike[str]) -> str:
    """Return a path as text that can be written, bytes that are not UTF-8 as `\\xe8`."""
    return os.fspath(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def file_of_cell(folder: Path, cell: str) -> Path:
    """Return the path that a `pdb_file` of the table in `folder` names; `escaped` is undone."""
    path = folder / cell
    if path.exists() or "\\x" not in cell:
        return path
    unescaped = re.sub(
        rb"\\x([89a-f][0-9a-f])", lambda match: bytes.fromhex(match[1].decode()), cell.encode()
    )
    return folder / os.fsdecode(unescaped)


def point_from(columns: Iterable[dict[str, Any]], folder: Path) -> None:
    """Make each `pdb_file` a path from `folder`, the table's, so that both can move together."""
    for each in columns:
        if "pdb_file" in each:
            each["pdb_file"] = escaped(path_from(folder, Path(each["pdb_file"])))


def say_without_plddt(columns: Iterable[Mapping[str, Any]]) -> None:
    """Print one line on standard error for every reason for which chains read have no pLDDT."""
    sources = [each[SOURCE_COLUMN] for each in columns if SOURCE_COLUMN in each]
    refused = Counter(each.removeprefix(NO_PLDDT) for each in sources if each.startswith(NO_PLDDT))
    for reason, count in refused.items():
        print(
            f"{count:,} of {counted(len(sources), 'chain')} without a pLDDT: {reason}",
            file=sys.stderr,
        )


def say_which_models(columns: Iterable[Mapping[str, Any]], all_models: bool) -> None:
    """Print one line on standard error for what was found in output folders of predictors."""
    found = Counter(each["predictor"] for each in columns if "predictor" in each)
    if not found:
        return
    tools = ", ".join(f"{tool} {count:,}" for tool, count in found.items())
    models = (
        "every model of each design"
        if all_models
        else "the best model of each design (--all-models reads every one)"
    )
    print(f"Chains of predictions in output folders: {tools}; {models}", file=sys.stderr)


def _confidence(chain: Chain, sequence: str, decision: PlddtDecision) -> dict[str, Any]:
    if decision.factor is None:
        return {SOURCE_COLUMN: f"{NO_PLDDT}{decision.reason}"}
    if len(alpha_residues(chain)) != len(sequence):
        return {SOURCE_COLUMN: f"{NO_PLDDT}residues of the chain are missing or have no C-alpha"}
    return {**chain_plddt(chain, decision.factor), SOURCE_COLUMN: f"B-factors ({decision.reason})"}


# Residues that an experiment did not resolve, from the sequence that the file states (SEQRES).


def stated_sequences(path: str | os.PathLike[str], name: str = "INPUT") -> dict[str, str]:
    """Read the sequence by chain of SEQRES, or of `_pdbx_poly_seq_scheme` in mmCIF; {} without one.

    Raises:
        UserError: the file cannot be read.
        ValueError: it is no CIF.
    """
    with open_text(path, name) as stream, damage_explained(as_written(name, path)):
        text = stream.read()
    is_cif = Path(path).name.lower().removesuffix(".gz").endswith(CIF_SUFFIXES)
    return _cif_sequences(cif_items(text)) if is_cif else _pdb_sequences(text)


def _pdb_sequences(text: str) -> dict[str, str]:
    sequences: dict[str, str] = {}
    for line in text.split("\n"):
        if line.startswith("SEQRES"):
            letters = "".join(map(letter_of_name, line[19:70].split()))
            sequences[line[11:12]] = sequences.get(line[11:12], "") + letters
    return sequences


def _cif_sequences(items: dict[str, list[str]]) -> dict[str, str]:
    keys = [f"_pdbx_poly_seq_scheme.{key}" for key in ("pdb_strand_id", "seq_id", "mon_id")]
    if not all(key in items for key in keys):
        return {}
    # A site of several residues is listed once for each: the first one stands for it.
    first: dict[tuple[str, str], str] = {}
    for chain, place, residue in zip(*(items[key] for key in keys), strict=True):
        first.setdefault((chain, place), residue)
    sequences: dict[str, str] = {}
    for (chain, _), residue in first.items():
        sequences[chain] = sequences.get(chain, "") + letter_of_name(residue)
    return sequences


def fill_gaps(sequence: str, stated: str | None) -> str:
    """Replace each X of `sequence`, if it fits into `stated` at exactly one place.

    >>> fill_gaps("MKXXQR", "GSMKTAQRHHH")
    'MKTAQR'
    >>> fill_gaps("MKXXQR", "MKTQR")
    'MKXXQR'
    """
    if stated is None or "X" not in sequence:
        return sequence
    pattern = re.compile(f"(?=({sequence.replace('X', '.')}))")
    fits = {match.group(1) for match in pattern.finditer(stated)}
    return fits.pop() if len(fits) == 1 else sequence
