"""How much faster `score --fold` folds than the library alone, and what memory each length takes.

    python -m benchmarks.fold_speed                    # a moderate random model, for a CPU
    python -m benchmarks.fold_speed --full-size        # ESMFold's own sizes, random, for a GPU

Throughput: the same sequences of mixed lengths (50 to 400) once in our batches and once through the
library's `infer`, one at a time in input order; same weights, precision, chunk size and recycles,
both warmed up, in turns, the median of the turns. On a busy machine the wall clock says little, so
on a CPU the processor time of both is compared beside it, on one thread. Agreement of all
confidences is checked in the same run. Writes JSON to benchmarks/results/. Run from the
repository's root.
"""

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.fold_memory import measure_memory
from benchmarks.fold_random import (
    FULL_SIZE,
    MODERATE,
    build_model,
    describe_model,
    random_record,
    single_confidence,
)
from didi_core.io.files import write_json
from didi_core.training.run_folder import git_revision, package_versions
from didi_protein.folding.esmfold import EsmFold
from didi_protein.folding.fold import Fold
from didi_protein.folding.memory import PAIR_BUDGETS, padding_waste, plan_pair_batches

TOLERANCES = {"plddt": 1e-3, "ptm": 1e-5, "pae": 1e-3}


def main() -> None:
    arguments = parse_arguments()
    device = torch.device(arguments.device)
    if device.type == "cpu":
        torch.set_num_threads(arguments.threads)
    model = build_model(FULL_SIZE if arguments.full_size else MODERATE, arguments, device)
    throughput = {} if arguments.memory_only else measure_throughput(model, arguments)
    result = {
        "what": Path(__file__).name,
        "throughput": throughput,
        "memory": [measure_memory(model, length, arguments) for length in arguments.memory],
        "model": describe_model(model, arguments),
        "device": describe_device(device, arguments),
        "versions": package_versions(),
        "git_revision": git_revision(),
    }
    write_json(arguments.out, result)
    print(json.dumps(result, indent=2))


def parse_arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full-size", action="store_true", help="ESMFold's own sizes")
    parser.add_argument(
        "--blocks", type=int, help="of the trunk; memory beside the weights is same"
    )
    parser.add_argument("--layers", type=int, help="of the language model; likewise")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU")
    parser.add_argument("--precision", default=None, help="of the language-model half")
    parser.add_argument("--num", type=int, default=12, help="sequences")
    parser.add_argument("--shortest", type=int, default=50)
    parser.add_argument("--longest", type=int, default=400)
    parser.add_argument("--recycles", type=int, default=0, help="passes after the first")
    parser.add_argument("--chunk-size", type=int, default=128, help="of both paths")
    parser.add_argument("--pairs", type=int, help="as --fold-pairs; default: the device's")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=420, help="no new turn after so many")
    parser.add_argument("--memory", type=int, nargs="*", default=[], help="lengths to measure")
    parser.add_argument("--memory-only", action="store_true")
    parser.add_argument("--alone-up-to", type=int, default=400, help="memory of the library's path")
    parser.add_argument("--seed", type=int, default=0)
    results = Path(__file__).parent / "results" / "fold_speed.json"
    parser.add_argument("--out", type=Path, default=results)
    return parser.parse_args(given)


def measure_throughput(model: EsmFold, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both paths in turns, on the same sequences."""
    generator = random.Random(arguments.seed)
    records = [
        random_record(generator, generator.randint(arguments.shortest, arguments.longest))
        for _ in range(arguments.num)
    ]
    lengths = [len(record.sequence) for record in records]
    budget = arguments.pairs or PAIR_BUDGETS[model.network.device.type]
    batches = plan_pair_batches(lengths, budget)
    model.network.trunk.set_chunk_size(arguments.chunk_size)

    def ours() -> list[Fold]:
        folds: dict[int, Fold] = {}
        for batch in batches:
            found = model.fold_batch([records[i].sequence for i in batch], arguments.chunk_size)
            folds |= dict(zip(batch, found, strict=True))
        return [folds[i] for i in range(len(records))]

    def alone() -> list[tuple[torch.Tensor, float, torch.Tensor]]:
        return [single_confidence(model, record.sequence) for record in records]

    shortest = min(records, key=lambda record: len(record.sequence))
    model.fold_batch([shortest.sequence], arguments.chunk_size)
    single_confidence(model, shortest.sequence)
    times, folds, references = take_turns(ours, alone, model.network.device, arguments)
    return {
        "num_sequences": len(records),
        "lengths": lengths,
        "num_batches": len(batches),
        "pairs_budget": budget,
        "padding_waste": padding_waste(lengths, batches),
        "residues_per_second": sum(lengths) / times["ours"]["wall_seconds"],
        "turns": len(times["ours"]["all_wall_seconds"]),
        **times,
        "speed_up_wall": times["alone"]["wall_seconds"] / times["ours"]["wall_seconds"],
        "speed_up_processor": times["alone"]["processor_seconds"]
        / times["ours"]["processor_seconds"],
        "agreement": agreement(folds, references),
    }


def take_turns(
    ours: Callable[[], Any], alone: Callable[[], Any], device: torch.device, arguments: Any
) -> tuple[dict[str, Any], Any, Any]:
    """Median times of both, and what each returned last."""
    taken: dict[str, list[tuple[float, float]]] = {"ours": [], "alone": []}
    results: dict[str, Any] = {}
    start = time.monotonic()
    for _ in range(arguments.turns):
        for name, work in (("ours", ours), ("alone", alone)):
            results[name], *spent = timed(work, device)
            taken[name].append(tuple(spent))
        used = time.monotonic() - start
        if used * (1 + 1 / len(taken["ours"])) > arguments.seconds:
            break
    times = {
        name: {
            "wall_seconds": statistics.median(wall for wall, _ in each),
            "processor_seconds": statistics.median(processor for _, processor in each),
            "all_wall_seconds": [wall for wall, _ in each],
            "all_processor_seconds": [processor for _, processor in each],
        }
        for name, each in taken.items()
    }
    return times, results["ours"], results["alone"]


def timed(work: Callable[[], Any], device: torch.device) -> tuple[Any, float, float]:
    """What `work` returns, and its seconds by the clock and of the processor."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - wall, time.process_time() - processor


def agreement(folds: list[Fold], references: list[Any]) -> dict[str, Any]:
    """Largest differences between the paths, and whether all are within the tolerances."""
    pairs = list(zip(folds, references, strict=True))
    found = {
        "plddt": max(float((one.atom_plddt - ref[0]).abs().max()) for one, ref in pairs),
        "ptm": max(abs(one.ptm - ref[1]) for one, ref in pairs),
        "pae": max(float((one.residue_pae - ref[2]).abs().max()) for one, ref in pairs),
    }
    spread = {
        "plddt": float(torch.cat([ref[0].flatten() for _, ref in pairs]).std()),
        "ptm": max(ref[1] for _, ref in pairs) - min(ref[1] for _, ref in pairs),
        "pae": float(torch.cat([ref[2] for _, ref in pairs]).std()),
    }
    within = all(found[name] <= limit for name, limit in TOLERANCES.items())
    return {
        "largest_difference": found,
        "spread_of_the_values": spread,
        "tolerances": TOLERANCES,
        "within": within,
    }


def describe_device(device: torch.device, arguments: argparse.Namespace) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {os.cpu_count()} cores, {arguments.threads} threads used"


if __name__ == "__main__":
    main()
