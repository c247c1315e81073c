"""Sequences held out of a file by whole clusters, so that relatives of them are not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from didi_core.errors import UserError
from didi_core.progress import counted
from didi_protein.sequences.fasta import ProteinRecord, unique_ids, write_fasta
from didi_protein.sequences.training_data import read_training_sequences
from didi_protein.similarity import mmseqs

IDENTITIES = (0.5, 0.7, 0.9)
"""Least identity of a sequence to the founder of its cluster: the first of them at which the
clusters are many and small enough. A family of close relatives is one cluster at 50%."""
COVERAGE = 0.8
"""Least part of both of them that is aligned."""
FEWEST_CLUSTERS = 10
"""Below which a part of the clusters stands for none of the others."""

Record = tuple[str, str]
"""Id and sequence."""


@dataclass(frozen=True)
class Split:
    """The records of a file, by what they are for."""

    training: list[Record]
    held_out: list[Record]
    identity: float | None = field(default=None, compare=False)
    """Of the clusters; None where it was read back from its files."""

    def write(self, folder: Path) -> None:
        """Write `train.fasta` and `valid.fasta`, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, records in ((TRAINING_FILE, self.training), (HELD_OUT_FILE, self.held_out)):
            ids = unique_ids([each for each, _ in records])
            pairs = zip(ids, (sequence for _, sequence in records), strict=True)
            write_fasta(folder / name, [ProteinRecord(*each) for each in pairs])


TRAINING_FILE = "train.fasta"
HELD_OUT_FILE = "valid.fasta"


def split_as_before(records: Sequence[Record], folder: Path) -> Split | None:
    """Return the split that is in `folder`; None where there is none.

    Equal sequences are never apart, so that the sequences alone tell which are held out.
    """
    path = folder / HELD_OUT_FILE
    if not path.is_file():
        return None
    return _split(records, {each for _, each in read_training_sequences(path, name="valid=")})


def split_by_cluster(records: Sequence[Record], share: float, seed: int, asked: str) -> Split:
    """Hold out about `share` of the records, in whole clusters drawn at random.

    A cluster that would pass the share stays with what is trained on. Clusters are as wide as
    leaves enough of them.

    Args:
        asked: the setting, as messages call it: `valid=10%`.

    Raises:
        UserError: MMseqs2 is missing, or the clusters are too few or too large.
    """
    sequences = list(dict.fromkeys(sequence for _, sequence in records))
    place = {sequence: at for at, sequence in enumerate(sequences)}
    members = [place[sequence] for _, sequence in records]
    for identity in IDENTITIES:
        founders = mmseqs.cluster_founders(sequences, identity, COVERAGE)
        numbers, clusters = np.unique(founders, return_inverse=True)
        copies = np.bincount(clusters[members])
        chosen = choose_clusters(copies, share, seed)
        if len(numbers) >= FEWEST_CLUSTERS and chosen.any():
            held_out = {sequences[at] for at in np.flatnonzero(chosen[clusters])}
            return replace(_split(records, held_out), identity=identity)
    raise UserError(
        f"{asked}: the sequences fall into {counted(len(numbers), 'cluster')} even at "
        f"{identity:.0%} identity, of {copies.max():,} sequences at most: too few to hold some "
        "out. Give valid=FILE, or more sequences."
    )


def choose_clusters(sizes: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Choose clusters [clusters] at random until they hold `share` of all; a function of the seed.

    None is chosen where those that fit come to less than half of the share.
    """
    most = max(1, round(share * int(sizes.sum())))
    chosen, held = np.zeros(len(sizes), dtype=bool), 0
    for cluster in np.random.default_rng(seed).permutation(len(sizes)):
        if held + sizes[cluster] <= most:
            chosen[cluster], held = True, held + int(sizes[cluster])
    return chosen if 2 * held >= most else np.zeros_like(chosen)


def _split(records: Sequence[Record], held_out: set[str]) -> Split:
    training = [each for each in records if each[1] not in held_out]
    return Split(training, [each for each in records if each[1] in held_out])
