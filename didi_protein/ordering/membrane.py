"""Whether a protein may go to a membrane or out of the cell: two rules of thumb.

Both read the letters alone, from the hydropathy of each residue [1]_. They say where to look, not
what is so: a trained predictor tells signal peptides and helices apart far better.

.. [1] Kyte, Doolittle. "A simple method for displaying the hydropathic character of a protein",
   Journal of Molecular Biology 157, 1982.
"""

import itertools

from Bio.SeqUtils.ProtParamData import kd as HYDROPATHY

MEMBRANE_WINDOW = 19
"""Residues that span a membrane as a helix."""
MEMBRANE_HYDROPATHY = 1.6
"""A window above this mean is likely in a membrane (Kyte and Doolittle)."""
CORE_WINDOW = 8
"""Residues of the hydrophobic core of a signal peptide."""
CORE_HYDROPATHY = 2.0
"""Least mean over that core."""
CLEAVED_BEHIND = range(15, 36)
"""Residues that a signal peptide has."""
_LONGEST_START = 12
"""Residues in front of the core, at most."""
_CLEAVAGE_DISTANCE = range(3, 8)
"""Residues between core and cleavage."""


def transmembrane_stretches(protein: str) -> list[tuple[int, int]]:
    """Return first and last residue, from 1, of each stretch hydrophobic enough for a membrane.

    A stretch is what overlapping windows of 19 residues with a mean hydropathy above 1.6 cover. One
    much longer than 30 residues may hold several helices.
    """
    sums = [0.0, *itertools.accumulate(HYDROPATHY[residue] for residue in protein)]
    stretches: list[tuple[int, int]] = []
    for end in range(MEMBRANE_WINDOW, len(protein) + 1):
        first = end - MEMBRANE_WINDOW + 1
        mean = (sums[end] - sums[first - 1]) / MEMBRANE_WINDOW
        if round(mean, 6) <= MEMBRANE_HYDROPATHY:  # sums of floats: 1.6 itself is not above
            continue
        if stretches and first <= stretches[-1][1]:
            stretches[-1] = stretches[-1][0], end
        else:
            stretches.append((first, end))
    return stretches


def has_signal_peptide(protein: str) -> bool:
    """Tell whether a protein begins like a signal peptide.

    It begins with M. After 1 to 12 residues, with no more acids than bases, comes a core: 8
    residues of mean hydropathy 2.0 or more, none of them charged, N, Q or H. And 3 to 7 residues
    behind the core, after residue 15 to 35, signal peptidase may cut by the (-3, -1) rule [1]_: A,
    C, G, Q, S or T at -1; no aromatic, charged or large polar residue at -3; no P from -3 to +1.

    .. [1] von Heijne. "Patterns of amino acids near signal-sequence cleavage sites", European
       Journal of Biochemistry 133, 1983.
    """
    return protein.startswith("M") and any(
        _may_be_cut(protein, length) and _has_core(protein, length)
        for length in CLEAVED_BEHIND
        if length < len(protein)
    )


def _may_be_cut(protein: str, length: int) -> bool:
    """Tell whether signal peptidase may cut behind residue `length`."""
    before = protein[length - 1] in "ACGQST" and protein[length - 3] not in "FHWYDEKRNQ"
    return before and "P" not in protein[length - 3 : length + 1]


def _has_core(protein: str, length: int) -> bool:
    """Tell whether the core and what stands in front of it are those of a signal peptide."""
    for distance in _CLEAVAGE_DISTANCE:
        first = length - distance - CORE_WINDOW
        start, core = protein[: max(0, first)], protein[max(0, first) : length - distance]
        mean = sum(HYDROPATHY[residue] for residue in core) / CORE_WINDOW
        if (
            1 <= len(start) <= _LONGEST_START
            and set("DEKRNQH").isdisjoint(core)
            and round(mean, 6) >= CORE_HYDROPATHY
            and sum(map(start.count, "KR")) >= sum(map(start.count, "DE"))
        ):
            return True
    return False
