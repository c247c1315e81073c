"""Residues that an experiment did not resolve, from the sequence that the file states (SEQRES)."""

import os
import re
import warnings
from pathlib import Path

from Bio import BiopythonWarning, SeqIO

from didi_core.errors import UserError
from didi_core.text_files import damage_explained
from didi_protein.structure_parsing import CIF_SUFFIXES
from didi_protein.text_input import open_text


def stated_sequences(path: str | os.PathLike[str], name: str = "INPUT") -> dict[str, str]:
    """Sequence by chain of SEQRES, or of `_pdbx_poly_seq_scheme` in mmCIF; {} where none is stated.

    Raises:
        UserError: the file cannot be read.
    """
    is_cif = Path(path).name.lower().removesuffix(".gz").endswith(CIF_SUFFIXES)
    with (
        open_text(path, name) as stream,
        damage_explained(f"{name} {path}"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", BiopythonWarning)
        try:
            records = list(SeqIO.parse(stream, "cif-seqres" if is_cif else "pdb-seqres"))
        except UserError:
            raise
        except Exception:  # Biopython lets through whatever a damaged file leads to
            return {}
    return {record.annotations["chain"]: str(record.seq) for record in records}


def fill_gaps(sequence: str, stated: str | None) -> str:
    """`sequence` with each X replaced, if it fits into `stated` at exactly one place.

    >>> fill_gaps("MKXXQR", "GSMKTAQRHHH")
    'MKTAQR'
    >>> fill_gaps("MKXXQR", "MKTQR")
    'MKXXQR'
    """
    if stated is None or "X" not in sequence:
        return sequence
    pattern = re.compile(f"(?=({sequence.replace('X', '.')}))")
    found = {match.group(1) for match in pattern.finditer(stated)}
    return found.pop() if len(found) == 1 else sequence
