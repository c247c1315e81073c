"""Quality against calls: teacher and student, with everything DESIGN 6 asks to be printed together.

    python benchmarks/quality.py --held-out families_valid.fasta.gz \
        --training families_train.fasta.gz --out quality.json \
        --cells tiny:8,tiny:16,tiny:64,tiny:limit,tiny-student:8,tiny-student:16 --num 512

Lengths are drawn as in the held-out set (between --shortest and --longest). Draws are float64;
intervals are 95% bootstrap. A cell that is already in the output file is not computed again.
"""

import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from didi_core.evaluation.bootstrap import bootstrap_difference
from didi_core.io.files import write_json
from didi_core.training.run_folder import package_versions
from didi_protein.generate import generate
from didi_protein.generating.options import GenerateOptions
from didi_protein.models.judges import open_judge
from didi_protein.scoring.set_measures import measure_set, shuffle_residues
from didi_protein.sequences.training_data import read_training_sequences


def main(
    held_out: Annotated[Path, typer.Option(help="Natural sequences kept from training.")],
    training: Annotated[Path, typer.Option(help="What the teacher was trained on.")],
    cells: Annotated[str, typer.Option(help="model:steps or model:limit, comma-separated.")],
    out: Annotated[Path, typer.Option(help="JSON to write or continue.")],
    judge: Annotated[str, typer.Option(help="Autoregressive judge.")] = "tiny-judge",
    num: Annotated[int, typer.Option(help="Designs a cell.")] = 512,
    seed: Annotated[int, typer.Option(help="Seed; the same for every cell.")] = 11,
    shortest: Annotated[int, typer.Option(help="Residues.")] = 30,
    longest: Annotated[int, typer.Option(help="Residues.")] = 160,
) -> None:
    """Measure each cell and write all of them, with reference rows, to one JSON."""
    natural = _sequences(held_out, shortest, longest)
    trained_on = _sequences(training, shortest, longest)
    record = json.loads(out.read_text()) if out.exists() else {"cells": {}}
    record |= {
        "num": num,
        "seed": seed,
        "draws": "float64",
        "precision": "float32",
        "judge": judge,
        "length_range": [shortest, longest],
        "num_held_out": len(natural),
        "num_training": len(trained_on),
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "versions": package_versions(),
    }
    opened = open_judge(judge)
    rows = {"natural_held_out": natural, "natural_training": trained_on[:1024]}
    rows["residue_shuffled"] = shuffle_residues(natural)
    with tempfile.TemporaryDirectory() as scratch:
        lengths = Path(scratch) / "lengths.fasta"
        lengths.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(natural)))
        for name, sequences in rows.items():
            if name not in record["cells"]:
                measured = measure_set(
                    sequences, judge=opened, reference=trained_on, held_out=natural
                )
                _keep(record, name, measured, {}, out)
        for cell in cells.split(","):
            if cell not in record["cells"]:
                _measure_cell(record, cell, lengths, scratch, opened, natural, trained_on, out)
    record["differences"] = _differences(record["cells"])
    write_json(out, record)


def _sequences(path: Path, shortest: int, longest: int) -> list[str]:
    return [s for _, s in read_training_sequences(path) if shortest <= len(s) <= longest]


def _measure_cell(
    record: dict[str, Any],
    cell: str,
    lengths: Path,
    scratch: str,
    judge: Any,
    natural: list[str],
    trained_on: list[str],
    out: Path,
) -> None:
    model, steps = cell.rsplit(":", 1)
    started = time.perf_counter()
    made = generate(
        GenerateOptions(
            model=model,
            num=record["num"],
            out=Path(scratch) / f"{len(record['cells'])}.fasta",
            length=f"from:{lengths}",
            steps=None if steps == "limit" else int(steps),
            sampler="first-hitting" if steps == "limit" else "ancestral",
            seed=record["seed"],
            quiet=True,
        )
    )
    designs = [s for _, s in read_training_sequences(made.fasta)]
    measured = measure_set(
        designs, judge=judge, reference=trained_on, held_out=natural, training=trained_on
    )
    cost = {
        "mean_nfe": made.mean_nfe,
        "seconds_per_design": made.seconds / made.num_designs,
        "seconds_in_all": time.perf_counter() - started,
    }
    _keep(record, cell, measured, cost, out)
    nll = measured.figures["judge_nll"]["mean"]
    print(f"{cell}: judge NLL {nll:.3f}, {made.seconds / made.num_designs:.3f} s a design")


def _keep(record: dict[str, Any], name: str, measured: Any, cost: dict, out: Path) -> None:
    figures = {k: v for k, v in measured.figures.items() if k != "residue_composition"}
    record["cells"][name] = (
        figures | cost | {"nll_values": [round(float(x), 5) for x in measured.judge_nll]}
    )
    write_json(out, record)


def _differences(cells: dict[str, Any]) -> dict[str, Any]:
    """Judge NLL of every cell minus that of every other one of a model, with 95% intervals."""
    measured = [name for name in cells if ":" in name]
    return {
        f"{a} - {b}": bootstrap_difference(cells[a]["nll_values"], cells[b]["nll_values"]).as_dict()
        for a in measured
        for b in measured
        if a < b
    }


if __name__ == "__main__":
    typer.run(main)
