"""Sequences to train on: FASTA files, or the memory-mapped UniRef50 cache."""

import sys

from didi_core.corpus import Corpus
from didi_protein.alphabet import PROTEIN
from didi_protein.training_sequences import read_training_sequences


def load_corpus(source: str, name: str = "data=") -> Corpus:
    """The corpus of a FASTA path (plain or .gz), or of `uniref50` after its download.

    Args:
        name: what messages call the source: the setting that it came from.

    Raises:
        UserError: the source cannot be read or holds no usable sequence.
    """
    if source == "uniref50":
        from didi_protein.uniref50 import open_cache

        return open_cache()
    sequences = read_training_sequences(source, name=name)
    ids = PROTEIN.id_of_token
    print(f"{source}: {len(sequences):,} sequences", file=sys.stderr)
    return Corpus.from_ids([[ids[letter] for letter in sequence] for _, sequence in sequences])
