"""The memory that folding one sequence takes beside the weights, by us and by the library alone."""

import argparse
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from benchmarks.fold_random import random_record, single_confidence
from didi_core.peak_memory import PeakMemory, is_out_of_memory, release_cached_memory
from didi_protein.folding.esmfold import EsmFold


def measure_memory(model: EsmFold, length: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Peak beside the weights while one sequence is folded, by us and by the library."""
    record = random_record(random.Random(length), length)
    once = replace(model, recycles=0)
    model.network.trunk.config.max_recycles = 1
    paths = {
        "ours": lambda: once.fold_batch([record.sequence], arguments.chunk_size),
        "alone": lambda: single_confidence(model, record.sequence),
    }
    if length > arguments.alone_up_to:
        del paths["alone"]
    found = {name: peak_bytes(work, model.network.device) for name, work in paths.items()}
    return {
        "length": length,
        **{f"{name}_bytes": each for name, each in found.items()},
        "ours_bytes_per_pair": None if found["ours"] is None else found["ours"] / length**2,
    }


def peak_bytes(work: Callable[[], Any], device: torch.device) -> int | None:
    """The highest memory during `work` above what was held before; None where it ran out."""
    release_cached_memory()
    with PeakMemory(device) as before:
        pass
    try:
        with PeakMemory(device) as peak:
            work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None
    if peak.bytes is None or before.bytes is None:
        return None
    return peak.bytes - before.bytes
