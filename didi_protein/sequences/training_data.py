"""The sequences of files that a model learns from or is compared with: the usable ones, mended."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from didi_core.data.corpus import Corpus
from didi_core.errors import UserError, as_written
from didi_core.progress import counted, say_once
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.bundled import bundled_sequences
from didi_protein.sequences.fasta import (
    expand_inputs,
    fasta_records,
    is_structure_file,
)
from didi_protein.sequences.residues import clean_sequence, is_canonical, reads_as_dna
from didi_protein.structures.read import read_structure


def read_training_sequences(
    path: str | os.PathLike[str],
    min_length: int = 1,
    max_length: int | None = None,
    name: str = "data=",
) -> list[tuple[str, str]]:
    """Read id and canonical sequence of every usable record; what was dropped, and why, on stderr.

    Lower case (told too, save of what ships here), gaps and a stop sign at the end are mended.
    Sequences with other letters than the 20 canonical residues, and those outside the lengths
    given, are dropped.

    Raises:
        UserError: the file cannot be read, or no record is usable.
    """
    kept, dropped, num_lower = [], Counter[str](), 0
    for place in expand_inputs([path], name):
        for record_id, sequence in _ids_and_sequences(place, name):
            cleaned = sequence if is_canonical(sequence) else clean_sequence(sequence)
            reason = _why_dropped(cleaned, min_length, max_length)
            if reason:
                dropped[reason] += 1
            else:
                kept.append((record_id, cleaned))
                num_lower += not sequence.isupper()
    _report_dropped(path, len(kept), dropped)
    if num_lower and not bundled_sequences(path):
        say_once(
            f"{path}: lower case is read as upper case, in {num_lower:,} of "
            f"{counted(len(kept), 'sequence')}"
        )
    return kept


def _ids_and_sequences(path: str | os.PathLike[str], name: str) -> Iterator[tuple[str, str]]:
    if is_structure_file(path):
        yield from ((chain.name, chain.sequence) for chain in read_structure(path, name))
    else:
        yield from ((record.id, record.sequence) for record in fasta_records(path, name))


def _why_dropped(sequence: str, min_length: int, max_length: int | None) -> str | None:
    if not sequence:
        return "empty"
    if not is_canonical(sequence):
        return "with non-standard residues"
    if reads_as_dna(sequence):
        return "that read as DNA"
    if len(sequence) < min_length:
        return f"shorter than {min_length}"
    if max_length is not None and len(sequence) > max_length:
        return f"longer than {max_length}"
    return None


def _report_dropped(path: object, num_kept: int, dropped: Counter[str]) -> None:
    why = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
    if not num_kept:
        raise UserError(f"{path} holds no usable sequence: {why}.")
    if dropped:
        total = num_kept + dropped.total()
        print(
            f"{path}: {dropped.total():,} of {counted(total, 'sequence')} dropped ({why})",
            file=sys.stderr,
        )


# Sequences to train on: FASTA files, or the memory-mapped UniRef50 cache.


UNIREF50 = "uniref50"
"""Name of the cache, in the place of a file's."""
FEWEST = 100
"""Sequences to train on, below which a warning says that they are too few."""


def load_corpus(source: str, name: str = "data=") -> Corpus:
    """Load the corpus of a FASTA path (plain or .gz), or of `uniref50` after its download.

    Args:
        name: what messages call the source: the setting that it came from.

    Raises:
        UserError: the source cannot be read or holds no usable sequence.
    """
    if source == UNIREF50:
        from didi_protein.sequences.uniref50 import open_cache

        return open_cache()
    sequences = read_training_sequences(source, name=name)
    corpus = corpus_of(sequences, f"{source}: {len(sequences):,} sequences")
    if name == "data=":
        warn_of_few(source, len(sequences))
    return corpus


def warn_of_few(source: str, count: int) -> None:
    """Say where `data=` has too few sequences to learn from."""
    if count < FEWEST:
        say_once(
            f"{as_written('data=', source)} holds too few sequences to learn from: a model soon "
            f"knows fewer than {FEWEST} by heart, and writes them again; give hundreds or more."
        )


def corpus_of(records: Sequence[tuple[str, str]], what: str) -> Corpus:
    """Make a corpus of ids and sequences, and say on standard error `what` it is."""
    print(what, file=sys.stderr)
    ids = PROTEIN.id_of_token
    return Corpus.from_ids([[ids[letter] for letter in sequence] for _, sequence in records])


def letters_of(corpus: Corpus) -> list[str]:
    """Return the sequences of a corpus as text."""
    letters = np.array([token.encode("ascii")[:1] for token in PROTEIN.tokens])
    text = letters[np.asarray(corpus.flat)].tobytes().decode("ascii")
    return [text[start:end] for start, end in pairwise(corpus.starts.tolist())]
