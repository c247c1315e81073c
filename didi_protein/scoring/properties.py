"""What can be said of a sequence from its letters alone: repeats, complexity, ProtParam.

Every function takes a sequence of canonical residues, at least one long.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from Bio.SeqUtils.ProtParam import ProteinAnalysis
from numpy.typing import NDArray

from didi_core.evaluation.bootstrap import ENOUGH_RECORDS
from didi_protein.sequences.residues import CANONICAL_RESIDUES

REPEAT_WORD = 4
"""Length of the words looked for twice, and of the shortest run of one letter that counts."""


WINDOW = 12


MOST_FOR_RANGES = 1_000
RANGE = (0.05, 0.95)
"""Percentiles between which nature's range lies."""


TRIGGER_BITS = 2.2


EXTENSION_BITS = 2.5
"""SEG's published window and thresholds."""

_RANK = np.full(128, -1)


_RANK[[ord(residue) for residue in CANONICAL_RESIDUES]] = np.arange(len(CANONICAL_RESIDUES))


def sequence_properties(sequence: str) -> dict[str, float]:
    """Every property of this module, under its column name."""
    return {
        "repeat_fraction": repeat_fraction(sequence),
        "low_complexity_fraction": low_complexity_fraction(sequence),
        "aa_entropy": aa_entropy(sequence),
        **protparam(sequence),
    }


def natural_ranges(sequences: Sequence[str]) -> dict[str, list[float]]:
    """Return the 5th and 95th percentile of every property over natural sequences.

    Of more than `MOST_FOR_RANGES`, evenly spaced ones are measured. A handful is no nature: of
    fewer than `ENOUGH_RECORDS` there is no range.

    Args:
        sequences: those with letters that are no canonical residue are left out.
    """
    known = [each for each in sequences if each and set(each) <= set(CANONICAL_RESIDUES)]
    if len(known) < ENOUGH_RECORDS:
        return {}
    measured = [sequence_properties(each) for each in known[:: _stride(len(known))]]
    columns = {name: [each[name] for each in measured] for name in measured[0]}
    return {name: np.quantile(values, RANGE).tolist() for name, values in columns.items()}


def _stride(count: int) -> int:
    """Return which of `count` sequences are measured: every first, second and so on.

    >>> _stride(0), _stride(1_000), _stride(1_001), _stride(13_023)
    (1, 1, 2, 14)
    """
    return max(1, -(-count // MOST_FOR_RANGES))


def repeat_fraction(sequence: str) -> float:
    """Share of residues inside a repeat, 0 to 1.

    A residue counts when it lies in a word of four residues that occurs more than once in the
    sequence, side by side (tandem) or far apart (dispersed), overlapping occurrences included;
    or in a run of four or more of one letter.

    >>> repeat_fraction("ACDEFGHIKL")
    0.0
    >>> repeat_fraction("GSGSGSGSGS")
    1.0
    """
    ranks = _RANK[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]
    num_words = len(ranks) - REPEAT_WORD + 1
    if num_words < 1:
        return 0.0
    columns = [ranks[offset : offset + num_words] for offset in range(REPEAT_WORD)]
    words = np.zeros(num_words, dtype=np.int64)
    for column in columns:
        words = words * len(CANONICAL_RESIDUES) + column
    _, inverse, occurrences = np.unique(words, return_inverse=True, return_counts=True)
    is_run = np.logical_and.reduce([column == columns[0] for column in columns])
    return float(_covered(is_run | (occurrences[inverse] > 1), REPEAT_WORD).mean())


def low_complexity_fraction(sequence: str) -> float:
    """Share of residues in stretches of low compositional complexity, 0 to 1, after SEG [1]_.

    Entropy is taken in windows of 12 residues. A stretch is a chain of overlapping windows of at
    most 2.5 bits that holds at least one of at most 2.2 bits. SEG's second pass, which trims a
    stretch to its least probable part, is left out. A sequence shorter than 12 is one window, its
    thresholds scaled by log(length) / log(12).

    .. [1] Wootton, Federhen. "Statistics of local complexity in amino acid sequences and sequence
       databases", Computers & Chemistry 17, 1993.
    """
    width = min(WINDOW, len(sequence))
    scale = math.log(width) / math.log(WINDOW)
    bits = _window_bits(sequence, width)
    low = bits <= EXTENSION_BITS * scale + 1e-9
    triggers = bits <= TRIGGER_BITS * scale + 1e-9
    # Number the runs of low windows, and keep those that hold a trigger.
    run = np.cumsum(np.diff(low, prepend=False) & low)
    kept = low & np.isin(run, run[triggers])
    return float(_covered(kept, width).mean())


def _window_bits(sequence: str, width: int) -> NDArray[np.float64]:
    """Entropy, in bits, of the letters of each window [length - width + 1]."""
    ranks = _RANK[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]
    one_hot = np.eye(len(CANONICAL_RESIDUES), dtype=np.int64)[ranks]
    sums = np.concatenate([np.zeros((1, one_hot.shape[1]), np.int64), one_hot.cumsum(axis=0)])
    counts = sums[width:] - sums[:-width]
    terms = [0.0] + [-(n / width) * math.log2(n / width) for n in range(1, width + 1)]
    return np.array(terms)[counts].sum(axis=1)


def _covered(starts: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Residues [starts + width - 1] that lie in a window of `width` beginning where True."""
    change = np.zeros(len(starts) + width, dtype=np.int64)
    change[: len(starts)] += starts
    change[width:] -= starts
    return change.cumsum()[:-1] > 0


def aa_entropy(sequence: str) -> float:
    """Entropy of the amino-acid composition, in nats: 0 (one residue) to ln 20 = 2.996."""
    shares = [count / len(sequence) for count in Counter(sequence).values()]
    return abs(-sum(share * math.log(share) for share in shares))


def protparam(sequence: str) -> dict[str, float]:
    """Instability index, GRAVY, isoelectric point and molecular weight (Da), as ProtParam's."""
    analysis = ProteinAnalysis(sequence)
    return {
        "instability_index": analysis.instability_index(),
        "gravy": analysis.gravy(),
        "isoelectric_point": analysis.isoelectric_point(),
        "molecular_weight": analysis.molecular_weight(),
    }


# Motifs that make trouble in the laboratory, counted from the sequence alone.
#
# Each count is a hint: whether a motif reacts depends on where it lies in the fold, which the
# letters do not say. `scoring.columns` tells a user what each one means.


def developability(sequence: str) -> dict[str, int]:
    """Every count of this module, under its column name.

    >>> developability("QNGTCDGDP")["deamidation_sites"]
    1
    """
    return {name: count(sequence) for name, count in _COUNTS.items()}


def _motif(pattern: str) -> Callable[[str], int]:
    """Counts the places where `pattern` begins, so that overlapping motifs count each."""
    compiled = re.compile(f"(?={pattern})")
    return lambda sequence: sum(1 for _ in compiled.finditer(sequence))


_COUNTS: dict[str, Callable[[str], int]] = {
    "cysteine_count": lambda sequence: sequence.count("C"),
    # One cysteine at least has no partner for a disulphide within the chain.
    "odd_cysteines": lambda sequence: sequence.count("C") % 2,
    # The sequon of oligosaccharyltransferase: Bause, Biochemical Journal 209, 1983.
    "n_glycosylation_sites": _motif("N[^P][ST]"),
    # The fastest pairs: Robinson and Robinson, PNAS 98, 2001.
    "deamidation_sites": _motif("N[GS]"),
    # Through a succinimide: Geiger and Clarke, Journal of Biological Chemistry 262, 1987.
    "isomerisation_sites": _motif("DG"),
    # Piszkiewicz, Landon and Smith, Biochemical and Biophysical Research Communications 40, 1970.
    "acid_cleavage_sites": _motif("DP"),
    # Becomes pyroglutamate: Schilling, Wasternack and Demuth, Biological Chemistry 389, 2008.
    "n_terminal_glutamine": lambda sequence: int(sequence.startswith("Q")),
}


def repeated_word_share(sequence: str, length: int) -> float:
    """Return Rep-n: one less the share of different words of n residues among all of them.

    The seq-rep-n of Welleck et al. ("Neural text generation with unlikelihood training", ICLR
    2020), which benchmarks of designed proteins print for n = 2 and 5. With 400 words of two
    residues it grows with the length of the sequence, whatever that says.

    >>> repeated_word_share("ACACA", 2), repeated_word_share("ACDEF", 2)
    (0.5, 0.0)
    """
    words = [sequence[at : at + length] for at in range(len(sequence) - length + 1)]
    return 1 - len(set(words)) / len(words) if words else 0.0


def residue_composition(sequences: Iterable[str]) -> dict[str, float]:
    """Share of each of the 20 residues among all residues of a set, in alphabetical order."""
    counts = Counter[str]()
    for sequence in sequences:
        counts.update(sequence)
    total = sum(counts[residue] for residue in CANONICAL_RESIDUES)
    return {residue: counts[residue] / total for residue in sorted(CANONICAL_RESIDUES) if total}
