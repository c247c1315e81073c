"""Redesigns of held-out proteins beside random mutation: identity, family bits, covariances.

    OMP_NUM_THREADS=1 python -m benchmarks.redesign --out benchmarks/results/redesign.json

Some held-out members of a bundled family (drawn by the seed) are redesigned by `generate --start
--mutate` at several shares, in equal numbers. Each design has a random twin: the same positions of
the same parent changed, each to a residue other than the parent's, drawn by the family's own
frequencies of residues (a harder control than all 19 alike). Counted are the identity to the parent
against what was asked, changes outside the positions that were to change, the family's bits and the
correlation of pair covariances with nature's. Differences to the twins are paired; intervals are of
a bootstrap over parents, whose variants stand or fall together. Designs are kept in the folder
NAME.sets beside --out: the same command goes on.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from benchmarks.families import Cell, parse_cell
from didi_core.cli.run import run_program
from didi_core.evaluation.bootstrap import bootstrap_mean, warnings_of_few
from didi_core.io.files import write_json, write_text
from didi_core.training.devices import describe_device
from didi_core.training.run_folder import git_revision, package_versions
from didi_protein.families import FamilyAlignment, FamilyProfile, FamilyReference
from didi_protein.families.covariances import NUM_RESIDUES, fit_covariances
from didi_protein.families.intervals import bootstrap_weights, normal_interval
from didi_protein.generate import generate
from didi_protein.generating.options import GenerateOptions
from didi_protein.generating.redesign import Parent, Variant
from didi_protein.generating.redesign_request import read_redesign
from didi_protein.generating.templates import FREE
from didi_protein.sequences.bundled import bundled_sequences
from didi_protein.sequences.fasta import read_records
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.sequences.training_data import read_training_sequences


@dataclass(frozen=True)
class Redesigned:
    """One design, what it was asked to be, and its random twin."""

    variant: Variant
    sequence: str
    random: str

    @property
    def outside(self) -> int:
        """Count changes at positions that were to stay."""
        triples = zip(
            self.variant.pattern, self.variant.parent.sequence, self.sequence, strict=True
        )
        return sum(asked != FREE and own != now for asked, own, now in triples)


def main(
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    family: Annotated[str, typer.Option(help="A bundled family.")] = "PF13354",
    cells: Annotated[
        str, typer.Option(help="MODEL:STEPS; limit is the exact sampler.")
    ] = "tiny:8,tiny-student:8,tiny:limit",
    shares: Annotated[str, typer.Option(help="Of residues to change.")] = "10%,20%,40%",
    num_parents: Annotated[int, typer.Option(help="Held-out members to redesign.")] = 20,
    num: Annotated[int, typer.Option(help="Designs of each.")] = 26,
    seed: Annotated[int, typer.Option(help="Of parents, designs, twins and intervals.")] = 0,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap of covariances.")] = 1_000,
) -> None:
    """Redesign, count, and write one JSON; print a line a cell."""
    profile = FamilyProfile.read(bundled_sequences(family)[0], "--family")
    nature = profile.align_members()
    assert nature is not None, "a bundled family is an alignment"
    reference = FamilyReference(nature, seed=seed)
    scratch = out.with_suffix(".sets")
    scratch.mkdir(parents=True, exist_ok=True)
    start = write_parents(scratch / "parents.fasta", family, num_parents, seed)
    rows = []
    for cell in map(parse_cell, cells.split(",")):
        for share in shares.split(","):
            designs, cost = redesigned(cell, start, share, num, seed, scratch, reference)
            row = measured(designs, profile, reference, seed, resamples)
            rows.append({"cell": cell.name, "mutate": share, **cost, **row})
            print_row(rows[-1])
    natural, independent = reference.controls(num_parents * num)
    controls = {
        name: None if (each := counted.covariance_correlation) is None else each.as_dict()
        for name, counted in (("natural", natural), ("independent", independent))
    }
    record = {
        "family": family,
        "parents": num_parents,
        "designs_each": num,
        "seed": seed,
        "cells": rows,
        "covariance_correlation_of": controls,
        "warnings": warnings_of_few(num_parents, "parents"),
        "device": describe_device(torch.device("cpu")),
        "versions": package_versions(),
        "git_revision": git_revision(),
    }
    write_json(out, record)
    print(f"Wrote {out}.", file=sys.stderr)


def write_parents(path: Path, family: str, number: int, seed: int) -> Path:
    """Write held-out members drawn without replacement; return the file."""
    members = read_training_sequences(bundled_sequences(f"{family}-held-out")[0])
    chosen = np.sort(np.random.default_rng(seed).permutation(len(members))[:number])
    write_text(path, "".join(">{}\n{}\n".format(*members[place]) for place in chosen))
    return path


def redesigned(
    cell: Cell,
    start: Path,
    share: str,
    num: int,
    seed: int,
    scratch: Path,
    reference: FamilyReference,
) -> tuple[list[Redesigned], dict[str, float | None]]:
    """Return a cell's designs with what they were asked to be, and their mean calls."""
    name = "".join(c if c.isalnum() else "_" for c in f"{cell.name}_{share}_{num}_{seed}")
    options = GenerateOptions(
        model=cell.model,
        num=num,
        out=scratch / f"{name}.fasta",
        start=start,
        mutate=share,
        steps=cell.steps,
        sampler=cell.sampler,
        seed=seed,
        resume=True,
        quiet=True,
    )
    made = generate(options)
    asked = read_redesign(options, None)
    assert made is not None and asked is not None
    assert not made.failed, "nothing is refused here"
    generator = np.random.default_rng(seed)
    chances = residue_frequencies(reference)
    designs = [
        Redesigned(variant, record.sequence, random_twin(variant, chances, generator))
        for variant, record in zip(
            asked.variants(num, seed), read_records([made.fasta]), strict=True
        )
    ]
    return designs, {"calls": made.mean_nfe, "seconds": made.seconds}


def residue_frequencies(reference: FamilyReference) -> NDArray[np.float64]:
    """Return how often each residue is among the family's, in the order of the alphabet."""
    counts = np.bincount(reference.nature.rows.ravel(), minlength=NUM_RESIDUES + 1)[:NUM_RESIDUES]
    return counts / counts.sum()


def random_twin(
    variant: Variant, chances: NDArray[np.float64], generator: np.random.Generator
) -> str:
    """Change the positions of a variant at random, never to the parent's residue."""
    letters = []
    for asked, own in zip(variant.pattern, variant.parent.sequence, strict=True):
        if asked != FREE:
            letters.append(own)
            continue
        others = np.where([each == own for each in CANONICAL_RESIDUES], 0.0, chances)
        letters.append(CANONICAL_RESIDUES[generator.choice(NUM_RESIDUES, p=others / others.sum())])
    return "".join(letters)


def measured(
    designs: Sequence[Redesigned],
    profile: FamilyProfile,
    reference: FamilyReference,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    """Count designs, their twins, and the paired differences."""
    parents = list(dict.fromkeys(each.variant.parent for each in designs))
    own = profile.align([each.sequence for each in designs])
    twins = profile.align([each.random for each in designs])
    asked = [each.variant.pattern.count(FREE) for each in designs]
    changes = [each.variant.parent.num_changes(each.sequence) for each in designs]
    identities = [each.variant.parent.identity(each.sequence) for each in designs]
    return {
        "n": len(designs),
        "distinct": len({each.sequence for each in designs}),
        "mean_identity": float(np.mean(identities)),
        "identity_range": [min(identities), max(identities)],
        "designs_with_another_number_of_changes": int(np.sum(np.array(asked) != changes)),
        "changes_outside": sum(each.outside for each in designs),
        "bits": paired_bits(designs, parents, own, twins, profile, seed),
        "covariances": paired_covariances(designs, parents, own, twins, reference, seed, resamples),
    }


def paired_bits(
    designs: Sequence[Redesigned],
    parents: Sequence[Parent],
    own: FamilyAlignment,
    twins: FamilyAlignment,
    profile: FamilyProfile,
    seed: int,
) -> dict[str, Any]:
    """Return mean bits of a design, and the difference to its twin over parents.

    A sequence that HMMER does not report counts with 0 bits.
    """
    belongs = np.array([parents.index(each.variant.parent) for each in designs])
    bits, random = (np.nan_to_num(each.bits, nan=0.0) for each in (own, twins))
    apart = [float((bits - random)[belongs == place].mean()) for place in range(len(parents))]
    unaligned = {"designs": int((~own.aligned).sum()), "random": int((~twins.aligned).sum())}
    return {
        "parents": float(profile.align([each.sequence for each in parents]).bits.mean()),
        "designs": float(bits.mean()),
        "random": float(random.mean()),
        "difference": bootstrap_mean(apart, seed).as_dict(),
        "not_aligned": unaligned,
    }


def paired_covariances(
    designs: Sequence[Redesigned],
    parents: Sequence[Parent],
    own: FamilyAlignment,
    twins: FamilyAlignment,
    reference: FamilyReference,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    """Return correlation and slope of pair covariances with nature's, and paired differences.

    Of pairs of which both align; each resample of parents is the same of both sets.
    """
    both = own.aligned & twins.aligned
    belongs = np.array([parents.index(each.variant.parent) for each in designs])[both]
    weights = bootstrap_weights(len(parents), resamples, seed)[:, belongs]
    fits = [
        fit_covariances(
            aligned.rows[both], reference.entries, reference.target.covariances, weights
        )
        for aligned in (own, twins)
    ]
    record: dict[str, Any] = {"n": int(both.sum())}
    for place, name in enumerate(("correlation", "slope")):
        first, second = (getattr(fit, name) for fit in fits)
        if first is None or second is None:
            continue
        resampled = fits[0].resampled[place] - fits[1].resampled[place]
        difference = normal_interval(first.mean - second.mean, resampled)
        record[name] = {
            "designs": first.as_dict(),
            "random": second.as_dict(),
            "difference": None if difference is None else difference.as_dict(),
        }
    return record


def print_row(row: dict[str, Any]) -> None:
    """Print a line of a cell."""
    bits, apart = row["bits"], row["bits"]["difference"]
    line = (
        f"{row['cell']:16} {row['mutate']:>4}  identity {row['mean_identity']:.3f}  outside "
        f"{row['changes_outside']}  bits {bits['designs']:.1f} random {bits['random']:.1f} "
        f"difference {apart['mean']:.1f} [{apart['low']:.1f}, {apart['high']:.1f}]"
    )
    if found := row["covariances"].get("correlation"):
        line += f"  covariances {found['designs']['mean']:.3f} random {found['random']['mean']:.3f}"
    print(line, flush=True)


if __name__ == "__main__":
    app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
    app.command()(main)
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
