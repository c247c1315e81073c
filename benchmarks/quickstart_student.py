"""The student that `make quickstart` distils in a few minutes, against its teacher at equal calls.

    didi-protein quickstart --out didi-quickstart
    python benchmarks/quickstart_student.py --student didi-quickstart/student

The quickstart's own table rests on 64 designs a cell, too few for a difference of a tenth of a
nat. Here both models write `--num` designs of the quickstart's lengths; designs of one number have
one length and one source of randomness, so that differences are taken in pairs. Draws are float64,
intervals 95% bootstrap; JSON goes to benchmarks/results/.
"""

import platform
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from didi_core.evaluation.bootstrap import bootstrap_mean
from didi_core.io.files import write_json
from didi_core.training.run_folder import git_revision, package_versions
from didi_protein.comparing.options import Plan
from didi_protein.generate import generate
from didi_protein.generating.options import GenerateOptions
from didi_protein.models.judges import Judge, open_judge
from didi_protein.scoring.set_measures import measure_set
from didi_protein.sequences.training_data import read_training_sequences

RESULT = Path(__file__).parent / "results" / "quickstart_student.json"


def main(
    student: Annotated[Path, typer.Option(help="Student folder of a quickstart.")],
    out: Annotated[Path, typer.Option(help="JSON to write.")] = RESULT,
    teacher: Annotated[str, typer.Option(help="Its teacher.")] = Plan().teacher,
    judge: Annotated[str, typer.Option(help="Autoregressive judge.")] = Plan().judge,
    steps: Annotated[str, typer.Option(help="Step counts, comma-separated.")] = "8,16",
    num: Annotated[int, typer.Option(help="Designs a cell.")] = 512,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 1,
) -> None:
    """Measure student less teacher at each number of steps."""
    opened = open_judge(judge)
    record: dict[str, Any] = {
        "num": num,
        "seed": seed,
        "lengths": Plan().length,
        "teacher": teacher,
        "judge": judge,
        "draws": "float64",
        "precision": "float32",
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "revision": git_revision(),
        "versions": package_versions(),
        "steps": {},
    }
    for count in (int(part) for part in steps.split(",")):
        values, cells = {}, {}
        for role, model in (("teacher", teacher), ("student", str(student))):
            values[role], cells[role] = measure(model, count, num, seed, opened)
        cells["judge_nll_student_less_teacher"] = bootstrap_mean(
            values["student"] - values["teacher"]
        ).as_dict()
        record["steps"][count] = cells
        write_json(out, record)
        print(f"{count} steps: {cells['judge_nll_student_less_teacher']}")


def measure(model: str, steps: int, num: int, seed: int, judge: Judge) -> tuple[Any, dict]:
    """Judge NLL [num] in nats a residue, and the set's figures."""
    with tempfile.TemporaryDirectory() as folder:
        made = generate(
            GenerateOptions(
                model=model,
                num=num,
                out=Path(folder) / "designs.fasta",
                length=Plan().length,
                steps=steps,
                sampler="ancestral",
                seed=seed,
                quiet=True,
            )
        )
        measured = measure_set([s for _, s in read_training_sequences(made.fasta)], judge=judge)
    kept = ("judge_nll", "pooled_3mer_entropy")
    figures = {name: measured.figures[name] for name in kept if name in measured.figures}
    cost = {"mean_nfe": made.mean_nfe, "seconds_per_design": made.seconds / made.num_designs}
    return measured.judge_nll, figures | cost


if __name__ == "__main__":
    typer.run(main)
