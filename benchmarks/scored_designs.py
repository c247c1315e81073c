"""Where the time of a scored design goes: generate, score, filter, fold the survivors, the page.

    python -m benchmarks.scored_designs                # a moderate random folding model, for a CPU
    python -m benchmarks.scored_designs --full-size    # ESMFold's own sizes, random, for a GPU

Each part is the verb, run as from the command line save for the start of Python, models opened
anew: its seconds by the clock and of the processor (programs it starts included), and its share.
The survivors are folded twice: all of them, and the likeliest first until `--top` of them pass a
rule that half of them pass (random weights have no confidence to speak of). Seconds are of this
machine and these random weights; shares say where to look. Writes JSON to benchmarks/results/. Run
from the repository's root.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.fold_random import FULL_SIZE, MODERATE, build_model, describe_model
from didi_core.io.files import write_json
from didi_core.training.devices import resolve_device
from didi_core.training.run_folder import git_revision, package_versions
from didi_protein.filter import FilterOptions, filter_designs
from didi_protein.generate import GenerateOptions, generate
from didi_protein.report import write_report
from didi_protein.score import ScoreOptions, score

MAX_REPEAT = 0.2


def main() -> None:
    arguments = parse_arguments()
    device = resolve_device(arguments.device)
    model = build_model(FULL_SIZE if arguments.full_size else MODERATE, arguments, device)
    described = describe_model(model, arguments)
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "folding"
        model.network.save_pretrained(network)
        del model
        parts = run_chain(arguments, Path(folder), str(network))
    write_json(arguments.out, describe(arguments, parts, described, device))


def parse_arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny-student")
    parser.add_argument("--num", type=int, default=64)
    parser.add_argument("--length", default="70-82")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--survivors", type=int, default=32, help="designs that filter keeps")
    parser.add_argument("--top", type=int, default=8, help="foldable designs that are enough")
    parser.add_argument("--pseudo", default="none")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full-size", action="store_true")
    parser.add_argument("--blocks", type=int, help="of the trunk; those of the size when not given")
    parser.add_argument("--layers", type=int, help="of the language model, likewise")
    parser.add_argument("--recycles", type=int, default=3)
    parser.add_argument("--precision", help="of the language model: float32, fp16 or bf16")
    parser.add_argument("--chunk-size", type=int)
    results = Path(__file__).parent / "results" / "scored_designs.json"
    parser.add_argument("--out", type=Path, default=results)
    return parser.parse_args(given)


def run_chain(
    arguments: argparse.Namespace, folder: Path, network: str
) -> dict[str, dict[str, Any]]:
    """Run every part in turn; return what each took, and how many designs it gave."""
    designs, table = folder / "designs.fasta", folder / "scores.csv"
    best, folded, top = folder / "best.fasta", folder / "folded.csv", folder / "top.csv"
    common = {"device": arguments.device, "seed": arguments.seed, "quiet": True}
    request = GenerateOptions(
        model=arguments.model,
        num=arguments.num,
        length=arguments.length,
        steps=arguments.steps,
        device=arguments.device,
        seed=arguments.seed,
        out=designs,
    )
    cheap = ScoreOptions(inputs=[str(designs)], out=table, pseudo=arguments.pseudo, **common)
    chosen = FilterOptions(
        table=table, out=best, max_repeat=MAX_REPEAT, copies="keep", top=arguments.survivors
    )
    folding: dict[str, Any] = {"fold": network, "fold_recycles": arguments.recycles}
    folding |= {"pseudo": "none", "training": Path("none"), "tm_pairs": 0, **common}
    every = ScoreOptions(inputs=[str(best)], out=folded, pdb_dir=folder / "pdb", **folding)
    parts = {
        "generate": timed(lambda: generate(request).num_designs),
        "score": timed(lambda: len(score(cheap).table)),
        "filter": timed(lambda: len(filter_designs(chosen).selected)),
    }
    confidence = []
    parts["fold"] = timed(lambda: keep(confidence, score(every).table))
    rule = {"foldable_plddt": float(confidence[0].median()), "foldable_ptm": 0, "foldable_pae": 31}
    first = ScoreOptions(inputs=[str(best)], out=top, top=arguments.top, **folding, **rule)
    parts["page"] = timed(lambda: write_report([folded], folder / "page.html").num_designs)
    parts["fold_top"] = timed(lambda: keep(confidence, score(first).table))
    return parts


def keep(found: list[Any], table: Any) -> int:
    """Append the pLDDT of the designs that were folded, and return their number."""
    found.append(table["mean_plddt"].dropna())
    return len(found[-1])


def timed(part: Callable[[], int]) -> dict[str, Any]:
    """Return what a part took and the number of designs that it returns."""
    wall, before = time.perf_counter(), os.times()
    num_designs = part()
    after = os.times()
    return {
        "num_designs": num_designs,
        "seconds": time.perf_counter() - wall,
        # of this process and of those that it waited for: user and system, both
        "processor_seconds": sum(after[:4]) - sum(before[:4]),
    }


def describe(
    arguments: argparse.Namespace,
    parts: dict[str, dict[str, Any]],
    model: dict[str, Any],
    device: torch.device,
) -> dict[str, Any]:
    """Return the contents of the result file."""
    chain = {name: part for name, part in parts.items() if name != "fold_top"}
    total = sum(part["processor_seconds"] for part in chain.values())
    seconds = sum(part["seconds"] for part in chain.values())
    for part in chain.values():
        part["share_of_processor_time"] = part["processor_seconds"] / total
    ratio = parts["fold_top"]["processor_seconds"] / parts["fold"]["processor_seconds"]
    return {
        "what": Path(__file__).name,
        "parts": parts,
        "folded_designs_an_hour": 3600 * parts["fold"]["num_designs"] / seconds,
        "top_over_all_processor_time": ratio,
        "request": {
            name: getattr(arguments, name)
            for name in ("model", "num", "length", "steps", "survivors", "top", "pseudo", "seed")
        },
        "folding_model": model,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} used",
        "versions": package_versions(),
        "git_revision": git_revision(),
    }


if __name__ == "__main__":
    main()
