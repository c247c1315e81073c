"""Guided designs against filtered ones, at the same network calls.

    OMP_NUM_THREADS=1 python -m benchmarks.guided --designs DIR --out benchmarks/results/guided.json

For each bundled family `--num` designs of lengths as held out, without a guide and with each of
`CELLS`. A guide costs no network call, so that n guided designs stand beside n unguided ones, all
of them and the best quarter by what is guided (`filtered`). Of each set: the guided property's
mean, family bits (0 where a design does not align), and variety, the mean pairwise identity of
aligned designs; 95% intervals by a bootstrap over designs. Designs stay in the folder: a run that
was interrupted goes on there.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from Bio.SeqUtils.ProtParamData import kd
from jaxtyping import Float
from numpy import ndarray

from didi_core.cli.run import run_program
from didi_core.evaluation.bootstrap import bootstrap_difference, bootstrap_mean
from didi_core.io.files import write_json
from didi_core.training.run_folder import git_revision, package_versions
from didi_protein.families import FamilyProfile, mean_identities
from didi_protein.families.intervals import bootstrap_weights, mean_interval
from didi_protein.generate import generate
from didi_protein.generating.options import GenerateOptions, GenerateResult
from didi_protein.sequences.bundled import FAMILIES, HELD_OUT, bundled_sequences
from didi_protein.sequences.fasta import read_records

NUM_RESAMPLES = 1_000
PLAIN = "no guide"


def hydropathy(sequences: list[str]) -> list[float]:
    """Return the summed hydropathy (Kyte and Doolittle) of each sequence: a guide."""
    return [sum(kd[residue] for residue in each) for each in sequences]


def hydropathy_expected(probabilities: torch.Tensor) -> torch.Tensor:
    """Return the same of expected tokens: a guide with a gradient."""
    values = torch.tensor([kd[residue] for residue in sorted(kd)], device=probabilities.device)
    return (probabilities @ values).sum(-1)


def bits_of(family: str) -> Callable[[Sequence[str]], Float[ndarray, "n"]]:
    """Return what gives the bits of sequences, 0 where one does not align."""
    profile = FamilyProfile.read(bundled_sequences(family)[0])
    return lambda sequences: np.nan_to_num(profile.align(sequences, threads=1).bits)


bits_PF00595, bits_PF13354 = (bits_of(family) for family in ("PF00595", "PF13354"))


@dataclass(frozen=True)
class Cell:
    """A way to make designs."""

    property: str
    """What is guided: hydropathy a residue, or bits."""
    guide: str
    """A function of this file; `FAMILY` stands for the accession."""
    scale: float
    candidates: int | None = None


CELLS = {
    "re-ranked for hydropathy, M = 4": Cell("hydropathy", "hydropathy", 0.5, 4),
    "tilted for hydropathy": Cell("hydropathy", "hydropathy_expected", 0.1),
    "re-ranked for bits, M = 4": Cell("bits", "bits_FAMILY", 1.0, 4),
    "re-ranked for hydropathy, M = 16": Cell("hydropathy", "hydropathy", 0.5, 16),
    "re-ranked for bits, M = 16": Cell("bits", "bits_FAMILY", 1.0, 16),
}


def main(
    designs: Annotated[Path, typer.Option(help="Folder for the designs.")],
    out: Annotated[Path, typer.Option(help="JSON to write, after each set.")],
    model: Annotated[str, typer.Option(help="Masked model.")] = "tiny",
    num: Annotated[int, typer.Option(help="Designs a set.")] = 256,
    steps: Annotated[int, typer.Option()] = 8,
    cells: Annotated[int, typer.Option(help="How many of the cells, from the first.")] = len(CELLS),
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Make the sets of every family, measure them, and write a JSON."""
    designs.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, Any]] = {family: {} for family in FAMILIES}
    chosen: dict[str, Cell | None] = {PLAIN: None, **dict(list(CELLS.items())[:cells])}
    for name, cell in chosen.items():
        for family in FAMILIES:
            place = designs / f"{family}_{'_'.join(name.replace(',', '').split())}.fasta"
            options = GenerateOptions(
                model=model,
                num=num,
                length=f"from:{bundled_sequences(family + HELD_OUT)[0]}",
                steps=steps,
                sampler="ancestral",
                seed=seed,
                out=place,
                resume=True,
            )
            made = make(family, cell, options)
            plain = designs / f"{family}_{'_'.join(PLAIN.split())}.fasta"
            found[family][name] = record(family, cell, made, plain, seed)
            print(f"{family} {name}: {found[family][name]['all']}", flush=True)
            versions = {"versions": package_versions(), "git_revision": git_revision()}
            options = {"model": model, "num": num, "steps": steps, "seed": seed}
            write_json(out, {"families": found, "settings": options, **versions})


def make(family: str, cell: Cell | None, options: GenerateOptions) -> GenerateResult:
    """Make one set, or read what is there of it."""
    started = time.perf_counter()
    changes: dict[str, Any] = {}
    if cell is not None:
        function = cell.guide.replace("FAMILY", family)
        changes = {
            "guide": f"{Path(__file__)}:{function}",
            "guide_scale": cell.scale,
            "guide_candidates": cell.candidates,
        }
    made = generate(GenerateOptions(**{**vars(options), **changes}))
    assert made is not None
    print(f"{options.out.name}: {time.perf_counter() - started:.0f} seconds", file=sys.stderr)
    return made


def record(
    family: str, cell: Cell | None, made: GenerateResult, plain: Path, seed: int
) -> dict[str, Any]:
    """Return costs and measures of a set; of a guided one, those of the filtered set beside it."""
    sets = {"all": read(made.out)}
    if cell is not None:
        values = VALUES[cell.property]
        for name, sequences in (("best quarter", sets["all"]), ("filtered", read(plain))):
            order = np.argsort(-values(family, sequences), kind="stable")
            sets[name] = [sequences[at] for at in order[: len(order) // 4]]
    measured = {name: measure(family, each, seed) for name, each in sets.items()}
    costs: dict[str, Any] = {"mean_nfe": made.mean_nfe, "seconds": made.seconds}
    costs["guide_calls"] = made.guide_calls / made.num_made
    if cell is not None:
        guided, best, filtered = (VALUES[cell.property](family, each) for each in sets.values())
        costs["guided"] = cell.property
        costs["best_quarter_less_filtered"] = bootstrap_difference(best, filtered, seed).as_dict()
        costs["all_less_filtered"] = bootstrap_difference(guided, filtered, seed).as_dict()
    return {**costs, **measured}


def measure(family: str, sequences: Sequence[str], seed: int) -> dict[str, Any]:
    """Return the measures of one set, with intervals."""
    aligned = FamilyProfile.read(bundled_sequences(family)[0]).align(sequences, threads=1)
    values = {name: bootstrap_mean(of(family, sequences), seed) for name, of in VALUES.items()}
    rows = aligned.rows[aligned.aligned]
    return {
        "n": len(sequences),
        "aligned": len(rows),
        **{name: each.as_dict() for name, each in values.items()},
        "pairwise_identity": pairwise_identity(rows, seed),
    }


def pairwise_identity(rows: ndarray, seed: int) -> dict[str, float] | None:
    """Return the mean identity of two sequences of a set, resampled by sequence."""
    if len(rows) < 2:
        return None
    means = mean_identities(rows)
    # A mean over pairs varies as the mean of twice each sequence's own part in it (Hoeffding).
    weights = bootstrap_weights(len(rows), NUM_RESAMPLES, seed)
    found = mean_interval(2 * means - means.mean(), weights)
    return None if found is None else found.as_dict()


def read(path: Path) -> list[str]:
    """Return the sequences of a file."""
    return [each.sequence for each in read_records([path])]


def _hydropathy_a_residue(family: str, sequences: Sequence[str]) -> ndarray:
    del family
    return np.array(hydropathy(list(sequences))) / [len(each) for each in sequences]


def _bits(family: str, sequences: Sequence[str]) -> ndarray:
    return {"PF00595": bits_PF00595, "PF13354": bits_PF13354}[family](sequences)


VALUES: dict[str, Callable[[str, Sequence[str]], ndarray]] = {
    "hydropathy": _hydropathy_a_residue,
    "bits": _bits,
}


if __name__ == "__main__":
    app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
    app.command()(main)
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
