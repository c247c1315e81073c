"""Structure files as input: sequences, and the confidence that predicted models carry.

    for chain in read_structure("model.pdb"):
        print(chain.name, chain.sequence, chain.columns["mean_plddt"])

PDB and mmCIF, plain or gzipped, of ESMFold, AlphaFold DB, ColabFold and others; what experiment
put into the B-factor column is never taken for pLDDT (`didi_protein.plddt`).
"""

import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from Bio import BiopythonWarning
from Bio.PDB.Model import Model
from Bio.PDB.Structure import Structure
from Bio.SeqIO.PdbIO import AtomIterator

from didi_core.errors import UserError
from didi_core.files import path_from
from didi_protein.plddt import chain_plddt, decide
from didi_protein.structure_parsing import STRUCTURE_SUFFIXES, parse_structure, protein_residues
from didi_protein.structure_seqres import fill_gaps, stated_sequences
from didi_protein.structure_sidecars import read_sidecar

__all__ = ["STRUCTURE_SUFFIXES", "StructureChain", "name_of_file", "read_structure"]

CHAIN_COLUMN = "pdb_chain"
SOURCE_COLUMN = "plddt_source"
NO_PLDDT = "none: "
"""How `plddt_source` begins where there is no pLDDT."""


@dataclass(frozen=True)
class StructureChain:
    """One protein chain of a file."""

    name: str
    """That of the file, with `_CHAIN` where there are several."""
    sequence: str
    """Of its atoms. A residue missing between two that are numbered apart is taken from the
    sequence the file states for the experiment (SEQRES); it is X where that does not fit."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Values of the table of scores: pdb_file, pdb_chain, mean_plddt, mean_plddt_all_atom,
    plddt_source, and ptm and mean_pae where a ColabFold or AlphaFold JSON stands beside it."""


def read_structure(path: str | os.PathLike[str], name: str = "INPUT") -> list[StructureChain]:
    """Every protein chain of the first model of a file.

    Args:
        name: how messages call the file: the flag or argument it came from.

    Raises:
        UserError: the file cannot be read, is no structure, or holds no protein chain.
    """
    model, evidence = parse_structure(path, name)
    decision = decide(evidence, model)
    sequences = _sequences(model)
    if any("X" in sequence for sequence in sequences.values()):
        stated = stated_sequences(path, name)
        sequences = {
            chain: fill_gaps(sequence, stated.get(chain)) for chain, sequence in sequences.items()
        }
    if not sequences:
        raise UserError(f"{name} {path} holds no protein chain.")
    stem = name_of_file(path)
    alone = len(sequences) == 1
    return [
        StructureChain(
            stem if alone else f"{stem}_{chain}",
            sequence,
            {
                "pdb_file": str(path),
                CHAIN_COLUMN: chain,
                **_confidence(model, chain, decision.factor, decision.reason),
                # pTM and PAE of a complex are no chain's.
                **(read_sidecar(Path(path), len(sequence)) if alone else {}),
            },
        )
        for chain, sequence in sequences.items()
    ]


def name_of_file(path: str | os.PathLike[str]) -> str:
    """What the chain of a file is called: the file's name without its suffixes."""
    return Path(Path(path).name.removesuffix(".gz")).stem


def point_from(columns: Iterable[dict[str, Any]], folder: Path) -> None:
    """Make each `pdb_file` a path from `folder`, the table's, so that both can move together."""
    for each in columns:
        if "pdb_file" in each:
            each["pdb_file"] = path_from(folder, Path(each["pdb_file"]))


def say_without_plddt(columns: Iterable[Mapping[str, Any]]) -> None:
    """One line on standard error for every reason for which chains read have no pLDDT."""
    sources = [each[SOURCE_COLUMN] for each in columns if SOURCE_COLUMN in each]
    refused = Counter(each.removeprefix(NO_PLDDT) for each in sources if each.startswith(NO_PLDDT))
    for reason, count in refused.items():
        print(f"{count:,} of {len(sources):,} chains have no pLDDT: {reason}", file=sys.stderr)


def _confidence(model: Model, chain: str, factor: float | None, reason: str) -> dict[str, Any]:
    if factor is None:
        return {SOURCE_COLUMN: f"{NO_PLDDT}{reason}"}
    return {**chain_plddt(model[chain], factor), SOURCE_COLUMN: f"B-factors ({reason})"}


def _sequences(model: Model) -> dict[str, str]:
    """Sequence of each protein chain, by chain."""
    structure = Structure("file")
    structure.add(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BiopythonWarning)
        records = list(AtomIterator("file", structure))
    found = {record.annotations["chain"]: str(record.seq) for record in records}
    return {chain: text for chain, text in found.items() if protein_residues(model[chain])}
