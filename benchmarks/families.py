"""Models or designs held against whole protein families, by counting: no network judges.

    python -m benchmarks.families --data DIR --models runs/teacher,tiny --steps 8,limit --num 2048 \
        --out benchmarks/results/families.json
    python -m benchmarks.families --data DIR --designs designs.fasta.gz --out families.json

DIR holds FAMILY_train.aligned.fasta.gz for each family, and where they exist
FAMILY_valid.aligned.fasta.gz (held out, to stand beside) and FAMILY_contacts.tsv.gz. A model is
asked for --num designs of each family, with lengths drawn from its natural sequences; designs of a
file go to the family whose profile gives them most bits, those that align to none to the family of
nearest mean length. Beside every set stand nature and independent columns at its n. Designs are
kept in the folder NAME.sets beside --out: the same command goes on.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.frontier_request import parse_cells
from didi_core.cli.run import run_program
from didi_core.errors import UserError
from didi_core.io.files import write_json, write_text
from didi_core.training.run_folder import git_revision, package_versions
from didi_protein.families import (
    ContactMap,
    FamilyAlignment,
    FamilyProfile,
    FamilyReference,
    FamilyStatistics,
    SetStatistics,
)
from didi_protein.generate import generate
from didi_protein.generating.options import GenerateOptions
from didi_protein.sequences.training_data import read_training_sequences

ALIGNED = "_train.aligned.fasta.gz"
MEASURES = (
    "covariance_correlation",
    "covariance_slope",
    "site_correlation",
    "contact_precision",
    "nearest_identity",
    "copies",
    "pairwise_identity",
)


@dataclass(frozen=True)
class Family:
    """A family of the data folder."""

    name: str
    profile: FamilyProfile
    reference: FamilyReference
    held_out: FamilyAlignment | None

    @property
    def mean_length(self) -> float:
        return float(np.mean([len(member) for member in self.profile.members or ()]))


def main(
    data: Annotated[Path, typer.Option(help="Folder of aligned families.")],
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    models: Annotated[str, typer.Option(help="Folders, names or checkpoint files.")] = "",
    designs: Annotated[str, typer.Option(help="FASTA files, between commas.")] = "",
    steps: Annotated[
        str, typer.Option(help="Of the models; limit is the exact sampler.")
    ] = "limit",
    num: Annotated[int, typer.Option(help="Designs of a model, of each family.")] = 2_048,
    temperature: Annotated[float, typer.Option(help="Of the models.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of designs, controls and intervals.")] = 0,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap.")] = 100,
    contact_resamples: Annotated[int, typer.Option(help="The same for contacts.")] = 10,
) -> None:
    """Measure every set against every family; write one JSON, print one table."""
    if not models and not designs:
        raise UserError("Nothing to measure: give --models, --designs, or both.")
    families = read_families(data, seed, resamples, contact_resamples)
    scratch = out.with_suffix(".sets")
    sets: dict[str, dict[str, Any]] = {}
    for path in filter(None, designs.split(",")):
        sequences = [each for _, each in read_training_sequences(Path(path))]
        sets[path] = measured(split_designs(sequences, families), families)
    named = [f"{m}:{k}" for m in filter(None, models.split(",")) for k in steps.split(",")]
    for cell in parse_cells(",".join(named)) if named else []:
        drawn = {f.name: draw(cell, f, scratch, num, temperature, seed) for f in families}
        sets[cell] = measured(drawn, families)
    record = {"temperature": temperature, "seed": seed, "sets": sets}
    record |= {"versions": package_versions(), "git_revision": git_revision()}
    write_json(out, record)
    print(f"Wrote {out}.", file=sys.stderr)


def read_families(
    data: Path, seed: int = 0, resamples: int = 100, contact_resamples: int = 10
) -> list[Family]:
    """Read every family of a folder and align its natural sequences."""
    found = []
    for path in sorted(data.glob(f"*{ALIGNED}")):
        name = path.name.removesuffix(ALIGNED)
        profile = FamilyProfile.read(path, "--data")
        nature = profile.align_members()
        contacts, valid = data / f"{name}_contacts.tsv.gz", data / f"{name}_valid.aligned.fasta.gz"
        known = None
        if contacts.exists():
            known = ContactMap.read(contacts, profile.num_columns, "--data")
        held_out = None
        if valid.exists():
            held_out = profile.align(FamilyProfile.read(valid, "--data").members or ())
        if nature is None or not nature.aligned.any():
            raise UserError(f"--data {path}: no sequence aligns to the family's own profile.")
        reference = FamilyReference(nature, known, seed, resamples, contact_resamples)
        found.append(Family(name, profile, reference, held_out))
    if not found:
        raise UserError(f"--data {data} holds no file named *{ALIGNED}.")
    return found


def split_designs(sequences: Sequence[str], families: Sequence[Family]) -> dict[str, list[str]]:
    """Give every design to the family of most bits; see the top of this file for the others."""
    bits = np.stack([family.profile.align(sequences).bits for family in families])
    lengths = np.array([len(each) for each in sequences])
    apart = np.abs(lengths[None] - np.array([[family.mean_length] for family in families]))
    aligned = ~np.isnan(bits).all(axis=0)
    chosen = np.where(aligned, np.nan_to_num(bits, nan=-np.inf).argmax(0), apart.argmin(0))
    return {
        family.name: [sequences[at] for at in np.flatnonzero(chosen == place)]
        for place, family in enumerate(families)
    }


def draw(
    cell: str, family: Family, scratch: Path, num: int, temperature: float, seed: int
) -> list[str]:
    """Designs of MODEL:STEPS with lengths of the family's natural sequences."""
    folder = scratch / family.name
    folder.mkdir(parents=True, exist_ok=True)
    lengths = folder / "lengths.fasta"
    members = family.profile.members or ()
    write_text(lengths, "".join(f">{at}\n{each}\n" for at, each in enumerate(members)))
    model, _, steps = cell.rpartition(":")
    # The whole cell and request in the name: a kept set is never taken for that of another.
    name = "".join(c if c.isalnum() else "_" for c in f"{cell}_{temperature:g}_{num}_{seed}")
    options = GenerateOptions(
        model=model,
        num=num,
        out=folder / f"{name}.fasta",
        length=f"from:{lengths}",
        steps=None if steps == "limit" else int(steps),
        sampler="first-hitting" if steps == "limit" else "ancestral",
        seed=seed,
        temperature=temperature,
        resume=True,
        quiet=True,
    )
    generate(options)
    return [sequence for _, sequence in read_training_sequences(options.out)]


def measured(drawn: dict[str, list[str]], families: Sequence[Family]) -> dict[str, Any]:
    """Statistics of one set for every family that has designs in it, also printed."""
    found = {}
    for family in families:
        sequences = drawn[family.name]
        if not sequences:
            continue
        start = time.monotonic()
        aligned = family.profile.align(sequences)
        statistics = family.reference.measure(aligned, family.held_out)
        seconds = time.monotonic() - start
        print_statistics(family.name, statistics)
        bits = aligned.bits[aligned.aligned]
        found[family.name] = statistics.as_dict() | {
            "mean_bits": float(bits.mean()) if len(bits) else None,
            "seconds": seconds,
        }
    return found


def print_statistics(name: str, statistics: FamilyStatistics) -> None:
    """Print a table with a row for each set, then the warnings."""
    print(f"\n{name}: {statistics.num_columns} columns, {statistics.num_natural} natural sequences")
    if statistics.reason:
        print(f"no statistics: {statistics.reason}")
    print(f"{'':12}{'n':>6}{'distinct':>9}" + "".join(f"{each[:20]:>24}" for each in MEASURES))
    for row in ("designs", "natural", "independent", "held_out"):
        counted: SetStatistics | None = getattr(statistics, row)
        if counted is not None:
            values = "".join(f"{_shown(getattr(counted, each)):>24}" for each in MEASURES)
            print(f"{row:12}{counted.n:>6}{counted.num_distinct:>9}{values}")
    for warning in statistics.warnings:
        print(f"Warning: {warning}")


def _shown(interval: Any) -> str:
    if interval is None:
        return "-"
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


if __name__ == "__main__":
    app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
    app.command()(main)
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
