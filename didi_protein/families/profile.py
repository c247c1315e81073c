"""A family's profile HMM, and sequences aligned to it by HMMER [1]_ (pyhmmer [2]_).

.. [1] Eddy. "Accelerated profile HMM searches", PLoS Computational Biology 7, 2011.
.. [2] Larralde, Zeller. "PyHMMER", Bioinformatics 39, 2023.
"""

import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from didi_core.errors import UserError, missing_extra
from didi_core.io.text_files import damage_explained, open_text
from didi_protein.families.alignments import Alignment, read_alignment
from didi_protein.sequences.residues import CANONICAL_RESIDUES

if TYPE_CHECKING:
    from pyhmmer.plan7 import HMM

NOMINAL_SEQUENCES = 10_000
"""E-values are those of a search of this many sequences, so that they do not depend on how many
designs are scored together."""
MAX_E_VALUE = 10.0
"""A sequence with a hit up to this, HMMER's own bound of what is reported, counts as aligned: of
unrelated sequences about one in a thousand."""
GAP = len(CANONICAL_RESIDUES)
"""The 21st letter of aligned rows."""
MAX_LENGTH = 100_000
"""Residues; the longest sequence that HMMER searches."""
_LONGEST_INSERTION = 20
"""Of what the profile is built from, which bounds the width of its alignment: the probability of
going on inserting changes little."""
_AT_ONCE = 1_000  # sequences aligned together, which bounds the width of their alignment

_CODES = np.full(128, GAP, dtype=np.uint8)
_CODES[np.frombuffer(CANONICAL_RESIDUES.encode(), dtype=np.uint8)] = np.arange(GAP)


@dataclass(frozen=True)
class FamilyAlignment:
    """Sequences aligned to a profile; where one does not align, its numbers are NaN."""

    sequences: tuple[str, ...]
    rows: UInt8[ndarray, "sequences columns"]
    """Residue in each match column, numbered as in `CANONICAL_RESIDUES`; 20 is a gap (or a letter
    that is none of the 20). Insertions are dropped."""
    bits: Float[ndarray, "sequences"]
    """Bit score of the whole sequence."""
    evalue: Float[ndarray, "sequences"]
    """Expected number of unrelated sequences with such a score among `NOMINAL_SEQUENCES`."""
    coverage: Float[ndarray, "sequences"]
    """Share of the match columns that hold a residue, 0 to 1."""

    @property
    def aligned(self) -> Bool[ndarray, "sequences"]:
        """Which sequences align."""
        return ~np.isnan(self.bits)

    @property
    def num_columns(self) -> int:
        return self.rows.shape[1]

    def __len__(self) -> int:
        return len(self.sequences)

    def take(self, places: ndarray) -> "FamilyAlignment":
        """Return the sequences at `places` (numbers, or one flag a sequence)."""
        chosen = np.arange(len(self))[places]
        sequences = tuple(self.sequences[place] for place in chosen)
        numbers = (self.bits[chosen], self.evalue[chosen], self.coverage[chosen])
        return FamilyAlignment(sequences, self.rows[chosen], *numbers)


@dataclass(frozen=True)
class FamilyProfile:
    """A profile HMM, with the sequences it was built from where they are known."""

    hmm: "HMM"
    members: tuple[str, ...] | None = None
    """Natural sequences without gaps; None for an HMM file, which holds none."""

    @property
    def num_columns(self) -> int:
        """Match columns."""
        return self.hmm.M

    @classmethod
    def read(cls, path: str | os.PathLike[str], name: str = "--family") -> "FamilyProfile":
        """Read an alignment and build its profile, or read a profile of HMMER 3.

        Args:
            path: aligned FASTA, A2M, A3M or Stockholm, or `.hmm`; plain or gzipped. What it is
                is seen from its content.
            name: how messages call the file: the flag it came from.

        Raises:
            UserError: pyhmmer is missing, or the file is none of these.
        """
        with open_text(path, name) as stream, damage_explained(f"{name} {path}"):
            start = stream.read(32).lstrip()
            if re.match(r"HMMER[0-9]/", start):
                return cls(_read_hmm(start + stream.read(), f"{name} {path}"))
        return cls.from_alignment(read_alignment(path, name), bare_name(path))

    @classmethod
    def from_alignment(cls, alignment: Alignment, family: str = "family") -> "FamilyProfile":
        """Build a profile whose match columns are those of `alignment`, however gapped they are."""
        return cls(_build_hmm(alignment, family), tuple(alignment.sequences()))

    def align_members(self, threads: int | None = None) -> FamilyAlignment | None:
        """Align the family's own sequences as designs are aligned; None where there are none."""
        return None if self.members is None else self.align(self.members, threads)

    def align(self, sequences: Sequence[str], threads: int | None = None) -> FamilyAlignment:
        """Align sequences to the profile; each result depends on its sequence alone.

        Args:
            sequences: unaligned; letters that are no residue are read as X.
            threads: of the search; all available when None.
        """
        sequences = tuple(sequences)
        count = len(sequences)
        rows = np.full((count, self.num_columns), GAP, dtype=np.uint8)
        bits, evalue, coverage = (np.full(count, np.nan) for _ in range(3))
        for place, score, expected in _search(self.hmm, sequences, threads):
            bits[place], evalue[place] = score, expected
        aligned = np.flatnonzero(~np.isnan(bits))
        for start in range(0, len(aligned), _AT_ONCE):
            places = aligned[start : start + _AT_ONCE]
            rows[places] = _align(self.hmm, [sequences[place] for place in places])
        coverage[aligned] = (rows[aligned] != GAP).mean(axis=1)
        return FamilyAlignment(sequences, rows, bits, evalue, coverage)


def residues_of_columns(profile: FamilyProfile, sequence: str) -> Int[ndarray, "columns"]:
    """Return the place in `sequence`, from 0, of the residue in each match column; -1 for a gap.

    Raises:
        UserError: the sequence does not align to the profile.
    """
    if not profile.align([sequence]).aligned[0]:
        raise UserError("The sequence does not align to the family's profile.")
    places, at = [], 0
    for letter in _msa_rows(profile.hmm, [sequence])[0].replace(".", ""):
        if not letter.islower():
            places.append(-1 if letter == "-" else at)
        at += letter != "-"
    return np.array(places)


def extents(profile: FamilyProfile, sequences: Sequence[str]) -> Int[ndarray, "sequences ends"]:
    """Return the first and the last residue of each sequence, from 1, that fills a match column.

    What stands before and behind is not of the family's domain.

    Args:
        sequences: that align to the profile.
    """
    found = np.zeros((len(sequences), 2), dtype=np.int64)
    for start in range(0, len(sequences), _AT_ONCE):
        part = list(sequences[start : start + _AT_ONCE])
        for place, row in enumerate(_msa_rows(profile.hmm, part), start=start):
            letters = row.replace("-", "").replace(".", "")
            filled = [at for at, letter in enumerate(letters, start=1) if letter.isupper()]
            found[place] = (filled[0], filled[-1]) if filled else (0, 0)
    return found


def encode_rows(rows: Sequence[str]) -> UInt8[ndarray, "sequences columns"]:
    """Return rows of match columns as numbers, as in `FamilyAlignment.rows`."""
    letters = [np.frombuffer(row.encode("ascii"), dtype=np.uint8) for row in rows]
    return _CODES[np.stack(letters)]


def import_pyhmmer() -> Any:
    """Return the package pyhmmer.

    Raises:
        UserError: it is not installed.
    """
    try:
        import pyhmmer
    except ImportError as error:
        raise missing_extra("pyhmmer", "metrics") from error
    return pyhmmer


def bare_name(path: str | os.PathLike[str]) -> str:
    """Return a file's name in one word, without its suffixes: what its family is called."""
    return re.sub(r"\W+", "_", Path(path).name.split(".")[0]) or "family"


def _read_hmm(text: str, called: str) -> "HMM":
    pyhmmer = import_pyhmmer()
    _check_hmm_header(text, called)
    try:
        with pyhmmer.plan7.HMMFile(io.BytesIO(text.encode())) as file:
            model = file.read()
        if model is None:
            raise EOFError("no profile")
        model.validate(tolerance=1e-3)  # probabilities add up to 1, or are NaN
        if not all(np.isfinite(np.asarray(table)).all() for table in _probabilities(model)):
            raise ValueError("a probability is no number")
        _search(model, [CANONICAL_RESIDUES], threads=1)  # raises where it cannot be searched with
    except pyhmmer.errors.InvalidHMM as error:
        raise UserError(f"{called} is damaged: its probabilities do not add up to 1.") from error
    except (ValueError, EOFError, OSError, RuntimeError, SystemError) as error:
        raise UserError(
            f"{called} cannot be read as a profile of HMMER 3 ({error}): write it again with "
            "hmmbuild or hmmconvert."
        ) from error
    return model


def _probabilities(model: Any) -> tuple[Any, ...]:
    return model.transition_probabilities, model.match_emissions, model.insert_emissions


def _check_hmm_header(text: str, called: str) -> None:
    """Refuse what HMMER's reader would not survive, or its search would find nothing with."""
    starts = len(re.findall(r"^HMMER3/", text, re.MULTILINE))
    if starts != 1:
        raise UserError(f"{called} holds {starts} profiles: give one (hmmfetch takes it out).")
    header = re.split(r"^HMM\s", text, maxsplit=1, flags=re.MULTILINE)[0]
    alphabet = re.search(r"^ALPH\s+(\w+)", header, re.MULTILINE)
    if alphabet is not None and alphabet[1].lower() != "amino":
        raise UserError(f"{called} is a profile of {alphabet[1]}, not of proteins (ALPH amino).")
    length = re.search(r"^LENG\s+[1-9][0-9]{0,5}\s*$", header, re.MULTILINE)
    if alphabet is None or length is None or not re.search(r"^NAME\s+\S", header, re.MULTILINE):
        raise UserError(f"{called} lacks a line NAME, LENG or ALPH, or holds none of use there.")
    if len(re.findall(r"^STATS LOCAL ", header, re.MULTILINE)) != 3:
        raise UserError(f"{called} is not calibrated (STATS lines): write it again with hmmbuild.")


def _build_hmm(alignment: Alignment, family: str) -> "HMM":
    pyhmmer = import_pyhmmer()
    alphabet = pyhmmer.easel.Alphabet.amino()
    rows, is_match = _widened(alignment)
    sequences = [
        pyhmmer.easel.TextSequence(name=f"{place}", sequence=row) for place, row in enumerate(rows)
    ]
    msa = pyhmmer.easel.TextMSA(name=family, sequences=sequences)
    msa.reference = "".join("x" if match else "." for match in is_match)
    builder = pyhmmer.plan7.Builder(alphabet, architecture="hand")
    background = pyhmmer.plan7.Background(alphabet)
    return builder.build_msa(msa.digitize(alphabet), background)[0]


def _widened(alignment: Alignment) -> tuple[list[str], list[bool]]:
    """Widen rows to one width, a column for each inserted residue; say which columns are match."""
    pieces = [re.split(r"[A-Z-]", row) for row in alignment.rows]  # insertions around each column
    pieces = [[insertion[:_LONGEST_INSERTION] for insertion in row] for row in pieces]
    widths = [max(map(len, slot)) for slot in zip(*pieces, strict=True)]
    rows = [
        "".join(
            insertion.ljust(width, ".") + letter
            for insertion, width, letter in zip(inserted, widths, [*matched, ""], strict=True)
        )
        for inserted, matched in zip(pieces, alignment.match_rows(), strict=True)
    ]
    is_match = [flag for width in widths for flag in (*[False] * width, True)][:-1]
    return rows, is_match


def _digital(sequences: Sequence[str], places: Sequence[int]) -> Any:
    easel = import_pyhmmer().easel
    alphabet = easel.Alphabet.amino()
    letters = [re.sub(f"[^{CANONICAL_RESIDUES}]", "X", sequences[place]) for place in places]
    block = [
        easel.TextSequence(name=f"{place}", sequence=text).digitize(alphabet)
        for place, text in zip(places, letters, strict=True)
    ]
    return easel.DigitalSequenceBlock(alphabet, block)


def _search(
    hmm: "HMM", sequences: Sequence[str], threads: int | None
) -> list[tuple[int, float, float]]:
    """Search for the place, bit score and E-value of each sequence with a hit."""
    pyhmmer = import_pyhmmer()
    places = [place for place, each in enumerate(sequences) if 0 < len(each) <= MAX_LENGTH]
    if not places:
        return []
    hits = next(
        pyhmmer.hmmer.hmmsearch(
            [hmm],
            _digital(sequences, places),
            cpus=threads or 0,
            Z=NOMINAL_SEQUENCES,
            E=MAX_E_VALUE,
        )
    )
    return [(int(hit.name), hit.score, hit.evalue) for hit in hits if hit.reported]


def _align(hmm: "HMM", sequences: Sequence[str]) -> UInt8[ndarray, "sequences columns"]:
    # Insertions are lowercase letters and dots; what is left is one letter a match column.
    return encode_rows([re.sub("[^A-Z-]", "", row) for row in _msa_rows(hmm, sequences)])


def _msa_rows(hmm: "HMM", sequences: Sequence[str]) -> list[str]:
    block = _digital(sequences, range(len(sequences)))
    return list(import_pyhmmer().hmmer.hmmalign(hmm, block, all_consensus_cols=True).alignment)
