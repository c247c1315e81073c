"""Sequences of structure files: PDB and mmCIF, plain or gzipped, read by Biopython."""

import io
import os
import warnings
from pathlib import Path

from Bio import BiopythonWarning, SeqIO

from didi_core.errors import UserError
from didi_protein.text_input import open_text

STRUCTURE_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")


def read_structure(path: str | os.PathLike[str], name: str = "INPUT") -> list[tuple[str, str]]:
    """Name and sequence of each chain, from its atoms.

    The name is that of the file, with `_CHAIN` where there are several. Biopython writes X for
    residues that are modified, and for those missing between two that are numbered apart.

    Raises:
        UserError: the file is no structure, or holds no protein chain.
    """
    stem, suffix = os.path.splitext(Path(path).name.removesuffix(".gz"))
    format_name = "cif-atom" if suffix.lower() in (".cif", ".mmcif") else "pdb-atom"
    with open_text(path, name) as stream:
        text = stream.read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BiopythonWarning)
        try:
            parsed = list(SeqIO.parse(io.StringIO(text), format_name))
        except (ValueError, KeyError, IndexError) as error:
            raise UserError(
                f"{name} {path} holds no protein chain that can be read ({error!r})."
            ) from error
    # Biopython's ids are STRUCTURE:CHAIN; a chain of X alone is a ligand or a nucleic acid.
    chains = [(each.id.split(":")[-1], str(each.seq)) for each in parsed if each.seq.strip("X")]
    if not chains:
        raise UserError(f"{name} {path} holds no protein chain.")
    if len(chains) == 1:
        return [(stem, chains[0][1])]
    return [(f"{stem}_{chain}", sequence) for chain, sequence in chains]
