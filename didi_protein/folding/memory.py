"""Memory while folding: what a batch needs, what there is, and what to do when it is too little.

A GPU that runs out says so. A processor does not: Linux ends the process instead, and all rows with
it. So on a CPU the need is compared with what is free before anything is computed.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from transformers import EsmConfig

from didi_core.peak_memory import is_out_of_memory, release_cached_memory
from didi_protein.folding.fold import Fold, FoldingModel

Result = TypeVar("Result")

SMALLEST_CHUNK = 8


FIRST_CHUNK = 64
"""Tried first where no chunk size was set."""


_MEMINFO = Path("/proc/meminfo")


_CGROUP = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def bytes_per_pair(config: EsmConfig) -> int:
    """Return the peak memory of a pair entry (residue with residue, padding too), beside weights.

    Two moments decide: the triangle layers hold the pair representation four times over; the
    structure module three times, with the points of all heads. For ESMFold 2,880 bytes; measured
    from 400 to 1,000 residues: 2,900 to 2,940 (`benchmarks/fold_memory.py`).
    """
    trunk = config.esmfold_config.trunk
    structure = trunk.structure_module
    channels, heads = trunk.pairwise_state_dim, structure.num_heads_ipa
    # Differences of query and key points with their squares; then weighted value points.
    points = 3 * heads * max(2 * structure.num_qk_points, structure.num_v_points)
    trunk_heads = trunk.sequence_state_dim // trunk.sequence_head_width
    in_trunk = 4 * channels + 2 * trunk_heads
    in_structure = channels + 2 * structure.pairwise_dim + points + 4 * heads
    return torch.float32.itemsize * max(in_trunk, in_structure)


def require_memory(pair_bytes: int, batch: int, width: int, device: torch.device) -> None:
    """Raise MemoryError where a processor has too little for a batch of this shape.

    Args:
        pair_bytes: what a pair entry takes; see `bytes_per_pair`.
    """
    if device.type != "cpu":
        return
    need, free = batch * width**2 * pair_bytes, available_memory()
    if free is not None and need > free:
        raise MemoryError(
            f"{batch} x {width} residues need about {need / 1e9:.1f} GB and {free / 1e9:.1f} GB "
            "are free"
        )


def available_memory() -> int | None:
    """Return the bytes a process may still take without swapping; None where nothing says so."""
    available = [_available_in_container(limit, used) for limit, used in _CGROUP]
    if _MEMINFO.is_file():
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        available.append(int(lines["MemAvailable"].split()[0]) * 1024)
    return min((each for each in available if each is not None), default=None)


def _available_in_container(limit: Path, used: Path) -> int | None:
    try:
        return int(limit.read_text()) - int(used.read_text())
    except (OSError, ValueError):  # no such group, or "max": no limit
        return None


def smaller_chunks(chunk_size: int | None) -> Iterator[int]:
    """Yield chunk sizes to try one after the other when `chunk_size` was too large."""
    size = FIRST_CHUNK if chunk_size is None else chunk_size // 2
    while size >= SMALLEST_CHUNK:
        yield size
        size //= 2


def with_smaller_chunks(
    compute: Callable[[int | None], Result], chunk_size: int | None
) -> tuple[Result, int | None]:
    """Call `compute(chunk_size)`, again with ever smaller chunks while memory runs out.

    Returns:
        The result, and the chunk size that was small enough.

    Raises:
        Exception: what `compute` raised with the smallest chunk, or what is no lack of memory.
    """
    for size in (chunk_size, *smaller_chunks(chunk_size)):
        try:
            return compute(size), size
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            # Only the text is kept: the traceback would hold on to the tensors.
            message = f"{type(error).__name__}: {error}"
        release_cached_memory()
    raise MemoryError(f"even alone and in chunks of {size}: {message}" if size else message)


def fold_or_shrink(
    model: FoldingModel, sequences: Sequence[str], chunk_size: int | None = None
) -> list[Fold]:
    """Fold a batch in chunks of this size; one sequence alone in ever smaller ones.

    Raises:
        MemoryError: too little memory; fewer sequences at once may do.
    """
    if len(sequences) > 1:
        return model.fold_batch(sequences, chunk_size)
    return with_smaller_chunks(lambda size: model.fold_batch(sequences, size), chunk_size)[0]


# Which sequences are folded together: by length, under a budget of pairs and a limit of padding.
#
# Time and memory of folding go with the padded length squared: the pair entries of a batch.

PAIR_BUDGETS = {"cuda": 1 << 19, "cpu": 1 << 16}
"""Pair entries of a batch by kind of device: about 1.5 GB of ESMFold's; a processor gains nothing
from more than its caches hold."""


MAX_PADDING = 0.15
"""Of the pair entries of a batch, the share that may be padding."""


def plan_pair_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """List the record numbers of each batch, shortest first; a function of the whole request alone.

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
    """Return the share of all pair entries computed that are padding."""
    padded = sum(len(batch) * max(lengths[i] for i in batch) ** 2 for batch in batches)
    return 1 - sum(lengths[i] ** 2 for batch in batches for i in batch) / padded if padded else 0.0
