"""Which sequences are folded together: by length, under a budget of pairs and a limit of padding.

Time and memory of folding go with the padded length squared: the pair entries of a batch.
"""

from collections.abc import Sequence

PAIR_BUDGETS = {"cuda": 1 << 19, "cpu": 1 << 16}
"""Pair entries of a batch by kind of device: about 1.5 GB of ESMFold's; a processor gains nothing
from more than its caches hold."""
MAX_PADDING = 0.15
"""Of the pair entries of a batch, the share that may be padding."""


def plan_pair_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Record numbers of each batch, shortest first; a function of the whole request alone.

    Args:
        lengths: residues of each record.
        budget: most sequences times padded length squared; a longer record is alone.
    """
    batches: list[list[int]] = []
    entries = 0
    for record in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        square = lengths[record] ** 2
        padded = (len(batches[-1]) + 1) * square if batches else 0
        too_much = padded > budget or entries + square < (1 - MAX_PADDING) * padded
        if not batches or too_much:
            batches.append([])
            entries = 0
        batches[-1].append(record)
        entries += square
    return batches


def padding_waste(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Share of all pair entries computed that are padding."""
    padded = sum(len(batch) * max(lengths[i] for i in batch) ** 2 for batch in batches)
    return 1 - sum(lengths[i] ** 2 for batch in batches for i in batch) / padded if padded else 0.0
