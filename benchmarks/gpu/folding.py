"""The folding models' parts: random weights at full size, batched by us and one at a time."""

import argparse
from importlib.util import find_spec

from benchmarks.fold_memory import measure_memory
from benchmarks.fold_random import FULL_SIZE, MODERATE, build_model
from benchmarks.fold_speed import measure_throughput, parse_arguments
from benchmarks.gpu.runner import Bench, Row, Rows, measured


def esmfold(bench: Bench) -> Rows:
    """Time ESMFold's own sizes on mixed lengths, and measure the memory of one long sequence."""
    arguments = _arguments(bench)
    model = build_model(MODERATE if bench.dry else FULL_SIZE, arguments, bench.device)

    def throughput() -> Row:
        return measure_throughput(model, arguments) | {"num_parameters": model.num_parameters}

    length = 12 if bench.dry else 512
    yield from measured(
        {"throughput": throughput, "memory": lambda: measure_memory(model, length, arguments)}
    )


def _arguments(bench: Bench) -> argparse.Namespace:
    arguments = parse_arguments([])
    small = {"blocks": 1, "layers": 1, "num": 2, "shortest": 10, "longest": 14, "turns": 1}
    large = {"num": 12, "turns": 2, "seconds": 45.0}
    vars(arguments).update(small if bench.dry else large, device=str(bench.device))
    return arguments


def esmfold2(_bench: Bench) -> Rows:
    """Name what is missing: the second folding model is not in the package."""
    missing = find_spec("didi_protein.folding.esmfold2") is None
    yield (
        "throughput",
        {"skipped": "didi_protein has no such model"}
        if missing
        else {"error": "there is such a model, and no measure of it here"},
    )
