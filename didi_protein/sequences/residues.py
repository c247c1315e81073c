"""Letters of protein sequences: the 20 canonical residues, and what else a file may hold.

A sequence is scorable when every letter is one of them, in upper case. `clean_sequence` mends what
is safe to mend (`--clean`); what it leaves (X, B, Z, U, O, J, a stop sign in the middle) needs a
decision that only the user can take. No torch is imported: a table is read without it.
"""

import re
from collections.abc import Iterable

CANONICAL_RESIDUES = "LAGVSERTIDPKQNFYMHWC"
"""In the order of the ESM-2 tokens."""

_NOT_CANONICAL = re.compile(f"[^{CANONICAL_RESIDUES}]")
_GAPS = str.maketrans("", "", "-. \t")
SHORTEST_DNA = 20
"""Below it alanine, cysteine, glycine and threonine alone are a peptide."""
DNA = "reads as DNA (nothing but A, C, G, T and N): give the protein, translated"
"""Why a sequence is refused that happens to have residues only."""
MENDED = "--clean mends this"
"""Ends the reason of a sequence that `clean_sequence` would make scorable."""


def clean_sequence(sequence: str) -> str:
    """Write in upper case, without gaps (`-`, `.`, blanks) and stop signs (`*`) at the end."""
    return sequence.translate(_GAPS).upper().rstrip("*")


def is_canonical(sequence: str) -> bool:
    """Tell whether there is at least one letter and all are canonical residues in upper case."""
    return bool(sequence) and _NOT_CANONICAL.search(sequence) is None


def find_problem(sequence: str) -> str | None:
    """Say why a sequence cannot be scored, in words that name what and where; None when it can.

    Positions count from 1.
    """
    if not sequence:
        return "the sequence is empty"
    if is_canonical(sequence):
        return DNA if reads_as_dna(sequence) else None
    classes: dict[str, list[int]] = {}
    for match in _NOT_CANONICAL.finditer(sequence):
        classes.setdefault(_class_of(match.group()), []).append(match.start() + 1)
    problem = ", ".join(_describe(name, positions) for name, positions in classes.items())
    return problem + (f"; {MENDED}" if is_canonical(clean_sequence(sequence)) else "")


def reads_as_dna(sequence: str) -> bool:
    """Tell a gene from a protein that is rich in four residues: it has all four, and no others."""
    return len(sequence) >= SHORTEST_DNA and set("ACGT") <= set(sequence) <= set("ACGTN")


def hint_of(errors: Iterable[object]) -> str | None:
    """Return a sentence where rows failed for what `--clean` mends; None where none did.

    >>> hint_of([None, "lower-case residue at position 1; --clean mends this"])
    '1 row failed for lower case, gaps or a stop sign at the end: --clean mends them.'
    """
    count = sum(str(error).endswith(MENDED) for error in errors)
    if not count:
        return None
    rows = "1 row" if count == 1 else f"{count:,} rows"
    return f"{rows} failed for lower case, gaps or a stop sign at the end: --clean mends them."


def _class_of(letter: str) -> str:
    if letter in "-.":
        return "gap"
    if letter == "*":
        return "stop sign"
    if letter.upper() in CANONICAL_RESIDUES:
        return "lower-case residue"
    return f"non-standard residue {letter.upper()}" if letter.isalpha() else f"character {letter!r}"


def _describe(name: str, positions: list[int]) -> str:
    if len(positions) == 1:
        return f"{name} at position {positions[0]}"
    return f"{len(positions)} x {name}, first at position {positions[0]}"
