"""Models or designs held against whole protein families, by counting: no network judges.

    python -m benchmarks.families --data DIR --models runs/teacher,tiny --steps 8,limit --num 2048 \
        --out benchmarks/results/families.json
    python -m benchmarks.families --data DIR --designs designs.fasta.gz --out families.json
    python -m benchmarks.families --data DIR --models runs/teacher,runs/student --steps 8 \
        --temperatures 0.9,1,1.1 --out families.json
    python -m benchmarks.families --data DIR --cells tiny:limit,tiny:8:momentum,two:4:contrast \
        --out families.json

DIR holds FAMILY_train.aligned.fasta.gz for each family, and where they exist
FAMILY_valid.aligned.fasta.gz (held out, to stand beside) and FAMILY_contacts.tsv.gz. A model is
asked for --num designs of each family, with lengths drawn from its natural sequences; designs of a
file go to the family whose profile gives them most bits, those that align to none to the family of
nearest mean length. Beside every set stand nature and independent columns at its n. With
--temperatures, models are also compared where their sets are as alike as nature's (see
`benchmarks.equal_identity`). Designs are kept in the folder NAME.sets beside --out: the same
command goes on.
"""

import math
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.equal_identity import at_equal_identity, print_equal_identity
from benchmarks.frontier_request import parse_cells, parse_temperatures
from didi_core.cli.run import run_program
from didi_core.errors import UserError
from didi_core.io.files import write_json, write_text
from didi_core.training.run_folder import git_revision, package_versions
from didi_protein.families import (
    ContactMap,
    Family,
    FamilyProfile,
    FamilyStatistics,
    SetStatistics,
    split_designs,
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
class Counted:
    """What was counted of one set for one family."""

    statistics: FamilyStatistics
    mean_bits: float | None
    """Of the designs that align."""
    seconds: float


def main(
    data: Annotated[Path, typer.Option(help="Folder of aligned families.")],
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    models: Annotated[str, typer.Option(help="Folders, names or checkpoint files.")] = "",
    designs: Annotated[str, typer.Option(help="FASTA files, between commas.")] = "",
    steps: Annotated[
        str, typer.Option(help="Of the models; limit is the exact sampler.")
    ] = "limit",
    cells: Annotated[
        str, typer.Option(help="MODEL:STEPS or MODEL:STEPS:SAMPLER, in place of the two.")
    ] = "",
    num: Annotated[int, typer.Option(help="Designs of a model, of each family.")] = 2_048,
    temperatures: Annotated[
        str,
        typer.Option(
            help="Of the models, as in 0.9,1,1.1; 1 is always among them and comes first, then "
            "the others until a set passes nature's likeness."
        ),
    ] = "1",
    seed: Annotated[int, typer.Option(help="Of designs, controls and intervals.")] = 0,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap.")] = 100,
    contact_resamples: Annotated[int, typer.Option(help="The same for contacts.")] = 10,
) -> None:
    """Measure every set against every family; write one JSON, print one table."""
    if not (models or designs or cells):
        raise UserError("Nothing to measure: give --models, --cells, --designs, or several.")
    sweep = parse_temperatures(temperatures)
    families = read_families(data, seed, resamples, contact_resamples)
    scratch = out.with_suffix(".sets")
    sets: dict[str, dict[str, Any]] = {}
    for path in filter(None, designs.split(",")):
        sequences = [each for _, each in read_training_sequences(Path(path))]
        sets[path] = as_record(measured(split_designs(sequences, families), families))
    named = [f"{m}:{k}" for m in filter(None, models.split(",")) for k in steps.split(",")]
    named += filter(None, re.split(r",(?![^(]*\))", cells))  # not within brackets
    curves: dict[str, dict[float, dict[str, Counted]]] = {}
    for cell in [parse_cell(each) for each in named]:
        for temperature in sorted(sweep, key=lambda each: abs(each - 1)):
            if not needed(temperature, curves.get(cell.name, {})):
                continue
            drawn = {f.name: draw(cell, f, scratch, num, temperature, seed) for f in families}
            found = {name: each.sequences for name, each in drawn.items()}
            counted = measured(found, families, held_out=temperature == 1)
            curves.setdefault(cell.name, {})[temperature] = counted
            key = cell.name if temperature == 1 else f"{cell.name} at {temperature:g}"
            sets[key] = as_record(counted)
            for name, each in drawn.items():
                if name in counted:
                    sets[key][name] |= each.cost
    record = {"temperatures": sweep, "seed": seed, "sets": sets}
    if len(sweep) > 1:
        record["equal_identity"] = compare_at_equal_identity(curves, families)
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
        contacts, valid = data / f"{name}_contacts.tsv.gz", data / f"{name}_valid.aligned.fasta.gz"
        known = None
        if contacts.exists():
            known = ContactMap.read(contacts, profile.num_columns, "--data")
        held_out = None
        if valid.exists():
            held_out = profile.align(FamilyProfile.read(valid, "--data").members or ())
        settings = {"num_resamples": resamples, "num_contact_resamples": contact_resamples}
        found.append(
            Family.of(
                name, profile, known, held_out, called=f"--data {path}", seed=seed, **settings
            )
        )
    if not found:
        raise UserError(f"--data {data} holds no file named *{ALIGNED}.")
    return found


@dataclass(frozen=True)
class Cell:
    """How designs are made."""

    name: str
    """MODEL:STEPS or MODEL:STEPS:SAMPLER."""
    model: str
    steps: int | None
    """None for the exact sampler."""
    sampler: str


def parse_cell(text: str) -> Cell:
    """Read MODEL:STEPS or MODEL:STEPS:SAMPLER; ancestral where none is named.

    Raises:
        UserError: another form.
    """
    parts = text.split(":")
    model, steps = parse_cells(":".join(parts[:2]))[0].rsplit(":", 1)
    if steps == "limit":
        return Cell(text, model, None, "first-hitting")
    return Cell(text, model, int(steps), ":".join(parts[2:]) or "ancestral")


@dataclass(frozen=True)
class Drawn:
    """Designs, and what they cost."""

    sequences: list[str]
    cost: dict[str, float | None]
    """Calls of a whole network and passes of a joint head, of a design."""


def draw(
    cell: Cell, family: Family, scratch: Path, num: int, temperature: float, seed: int
) -> Drawn:
    """Make designs of a cell with lengths of the family's natural sequences."""
    folder = scratch / family.name
    folder.mkdir(parents=True, exist_ok=True)
    lengths = folder / "lengths.fasta"
    members = family.profile.members or ()
    write_text(lengths, "".join(f">{at}\n{each}\n" for at, each in enumerate(members)))
    # The whole cell and request in the name: a kept set is never taken for that of another.
    name = "".join(c if c.isalnum() else "_" for c in f"{cell.name}_{temperature:g}_{num}_{seed}")
    options = GenerateOptions(
        model=cell.model,
        num=num,
        out=folder / f"{name}.fasta",
        length=f"from:{lengths}",
        steps=cell.steps,
        sampler=cell.sampler,
        seed=seed,
        temperature=temperature,
        resume=True,
        quiet=True,
    )
    made = generate(options)
    assert made is not None, "generate returns nothing where it only reports"
    sequences = [sequence for _, sequence in read_training_sequences(options.out)]
    passes = made.head_passes / made.num_made
    return Drawn(sequences, {"calls": made.mean_nfe, "head_passes": passes})


def measured(
    drawn: Mapping[str, Sequence[str]], families: Sequence[Family], *, held_out: bool = True
) -> dict[str, Counted]:
    """Count one set against every family that has designs in it, and print it.

    Args:
        held_out: count the held-out sequences too.
    """
    found = {}
    for family in families:
        sequences = drawn[family.name]
        if not sequences:
            continue
        start = time.monotonic()
        aligned = family.profile.align(sequences)
        statistics = family.reference.measure(aligned, family.held_out if held_out else None)
        seconds = time.monotonic() - start
        print_statistics(family.name, statistics)
        bits = aligned.bits[aligned.aligned]
        mean_bits = float(bits.mean()) if len(bits) else None
        found[family.name] = Counted(statistics, mean_bits, seconds)
    return found


def needed(temperature: float, curve: Mapping[float, Mapping[str, Counted]]) -> bool:
    """Return whether the crossing of nature's identity may lie at this temperature or beyond.

    Args:
        temperature: the next, no nearer to 1 than those drawn.
        curve: what was counted so far, by temperature and family. Colder sets are more alike.
    """
    side = 1 if temperature < 1 else -1
    nearer = [found for drawn, found in curve.items() if side * (1 - drawn) >= 0]
    families = {name for found in nearer for name in found}
    return not families or not all(
        any(name in found and side * _excess(found[name].statistics) >= 0 for found in nearer)
        for name in families
    )


def _excess(statistics: FamilyStatistics) -> float:
    """Return mean pairwise identity less nature's; NaN where either is unknown."""
    sets = (statistics.designs, statistics.natural)
    designs, natural = (each.pairwise_identity if each else None for each in sets)
    return designs.mean - natural.mean if designs and natural else math.nan


def as_record(found: Mapping[str, Counted]) -> dict[str, Any]:
    """What the JSON has of one set, by family."""
    return {
        name: each.statistics.as_dict() | {"mean_bits": each.mean_bits, "seconds": each.seconds}
        for name, each in found.items()
    }


def compare_at_equal_identity(
    curves: Mapping[str, Mapping[float, Mapping[str, Counted]]], families: Sequence[Family]
) -> dict[str, Any]:
    """Every model's curve over the temperatures, read at nature's pairwise identity; also printed.

    Args:
        curves: by cell, temperature and family; the first cell is what others are compared with.
    """
    record = {}
    for family in families:
        own = {
            cell: {t: found[family.name].statistics for t, found in curve.items()}
            for cell, curve in curves.items()
            if all(family.name in found for found in curve.values())
        }
        if own:
            record[family.name] = at_equal_identity(own)
            print_equal_identity(family.name, record[family.name])
    return record


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
