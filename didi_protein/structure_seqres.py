"""Residues that an experiment did not resolve, from the sequence that the file states (SEQRES)."""

import os
import re
from pathlib import Path

from didi_core.text_files import damage_explained
from didi_protein.structure_cif import cif_items
from didi_protein.structure_parsing import CIF_SUFFIXES, letter_of_name
from didi_protein.text_input import open_text


def stated_sequences(path: str | os.PathLike[str], name: str = "INPUT") -> dict[str, str]:
    """Sequence by chain of SEQRES, or of `_pdbx_poly_seq_scheme` in mmCIF; {} where none is stated.

    Raises:
        UserError: the file cannot be read.
        ValueError: it is no CIF.
    """
    with open_text(path, name) as stream, damage_explained(f"{name} {path}"):
        text = stream.read()
    is_cif = Path(path).name.lower().removesuffix(".gz").endswith(CIF_SUFFIXES)
    return _cif_sequences(cif_items(text)) if is_cif else _pdb_sequences(text)


def _pdb_sequences(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.split("\n"):
        if line.startswith("SEQRES"):
            letters = "".join(map(letter_of_name, line[19:70].split()))
            found[line[11:12]] = found.get(line[11:12], "") + letters
    return found


def _cif_sequences(items: dict[str, list[str]]) -> dict[str, str]:
    keys = [f"_pdbx_poly_seq_scheme.{key}" for key in ("pdb_strand_id", "seq_id", "mon_id")]
    if not all(key in items for key in keys):
        return {}
    # A site of several residues is listed once for each: the first one stands for it.
    first: dict[tuple[str, str], str] = {}
    for chain, place, residue in zip(*(items[key] for key in keys), strict=True):
        first.setdefault((chain, place), residue)
    found: dict[str, str] = {}
    for (chain, _), residue in first.items():
        found[chain] = found.get(chain, "") + letter_of_name(residue)
    return found


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
