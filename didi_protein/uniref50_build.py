"""Turn the FASTA file of UniRef50 into flat arrays of token ids, and cut the splits out of them."""

from array import array
from pathlib import Path
from typing import IO

import numpy as np
from Bio.SeqIO.FastaIO import SimpleFastaParser

from didi_core.errors import UserError
from didi_core.files import atomic_open
from didi_protein.alphabet import CANONICAL_RESIDUES, PROTEIN

RECORDS_AT_ONCE = 100_000
_TO_IDS = bytes.maketrans(
    CANONICAL_RESIDUES.encode(),
    bytes(PROTEIN.id_of_token[letter] for letter in CANONICAL_RESIDUES),
)


def encode_fasta(stream: IO[bytes], work: Path) -> None:
    """Write `all.ids` and `all.starts` into `work`, streaming.

    Every record keeps its place, because the splits name records by place: one with a letter
    other than the 20 residues becomes a record of length zero.
    """
    # Not io.TextIOWrapper: it asks whether it may seek, which a streamed archive cannot answer.
    lines = (line.decode("ascii") for line in stream)
    starts = array("q", [0])
    with (work / "all.ids").open("wb", buffering=1 << 20) as ids:
        for _, sequence in SimpleFastaParser(lines):
            letters = sequence.encode()
            if not letters.translate(None, CANONICAL_RESIDUES.encode()):
                ids.write(letters.translate(_TO_IDS))
            starts.append(ids.tell())
    np.asarray(starts, "<i8").tofile(work / "all.starts")


def write_split(
    all_ids: np.ndarray, all_starts: np.ndarray, records: np.ndarray, target: Path
) -> dict[str, int]:
    """Write `TARGET.ids` and `TARGET.starts` of the records given.

    Args:
        all_ids: uint8 ids of all records, end to end.
        all_starts: where each begins, and the end of the last.
        records: places of the records wanted, in increasing order.

    Returns:
        How many sequences and residues were written, and how many sequences left out.

    Raises:
        UserError: a record that does not exist.
    """
    if len(records) and not 0 <= records[0] <= records[-1] < len(all_starts) - 1:
        raise UserError(
            f"splits.json of UniRef50 names record {records[-1]} of {len(all_starts) - 1}: the "
            "archive is damaged or another one."
        )
    lengths = np.diff(all_starts)[records]
    kept, lengths = records[lengths > 0], lengths[lengths > 0]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype("<i8")
    with atomic_open(f"{target}.ids", "wb") as stream:
        for first in range(0, len(kept), RECORDS_AT_ONCE):
            chunk = kept[first : first + RECORDS_AT_ONCE]
            spans = zip(all_starts[chunk], all_starts[chunk + 1], strict=True)
            stream.write(np.concatenate([all_ids[start:end] for start, end in spans]).tobytes())
    with atomic_open(f"{target}.starts", "wb") as stream:
        stream.write(starts.tobytes())
    return {
        "sequences": len(kept),
        "residues": int(starts[-1]),
        "left_out": len(records) - len(kept),
    }
