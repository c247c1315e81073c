"""Measured fitness of single substitutions, and what models and a family's profile make of them.

    python -m benchmarks.fitness --measured TEM1_fitness.csv --family PF13354 \
        --models tiny,tiny-student --judges tiny-judge --out benchmarks/results/fitness.json

The file has the columns `mutation` (`D1A`: residue, position, other residue; rows such as `D1D` are
the wild type, which is read from them) and `fitness`. It does not ship with the project: without it
nothing is measured, one line says so, and the exit status is 0. A masked model's score of a
substitution is log p(mutant) - log p(wild type) with that position masked; a judge's is the
difference of the whole sequences' log-likelihoods; a profile's is the log-odds of the column's
frequencies (with one pseudo-count spread over the 20 residues), where the position aligns to one.
Spearman's correlation with fitness, intervals by a bootstrap over positions, not substitutions:
those of one position stand or fall together.

Of masked models also what they say of whole positions is held against the mean fitness of a
position's substitutions: the tolerance of `scan`, 1 - p(wild type), and in its place the number of
residues that fit, the exponential of the entropy of the same law.
"""

import csv
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.held_out_likelihood import column_log_probs
from didi_core.cli.run import run_program
from didi_core.errors import UserError
from didi_core.io.files import write_json
from didi_core.training.run_folder import git_revision, package_versions
from didi_protein.families.profile import FamilyProfile, residues_of_columns
from didi_protein.models.judges import open_judge, open_masked_scorer
from didi_protein.scanning.substitutions import SequenceScan, scan_of, scan_sequences
from didi_protein.sequences.bundled import bundled_sequences
from didi_protein.sequences.residues import CANONICAL_RESIDUES

_MUTATION = re.compile(r"([A-Z])(\d+)([A-Z])")


@dataclass(frozen=True)
class Substitution:
    """One measured row."""

    position: int
    """From 0."""
    mutant: str
    fitness: float


@dataclass(frozen=True)
class Measured:
    """A wild type and its measured substitutions, the wild type's own rows left out."""

    wild_type: str
    substitutions: tuple[Substitution, ...]

    @property
    def fitness(self) -> NDArray[np.float64]:
        return np.array([each.fitness for each in self.substitutions])

    @property
    def positions(self) -> NDArray[np.int64]:
        return np.array([each.position for each in self.substitutions])


@dataclass(frozen=True)
class Correlation:
    """Spearman's correlation with a 95% interval."""

    spearman: float
    low: float
    high: float
    substitutions: int


@dataclass(frozen=True)
class PositionCorrelation:
    """The same over positions."""

    spearman: float
    low: float
    high: float
    positions: int


def main(
    measured: Annotated[Path, typer.Option(help="CSV with the columns mutation and fitness.")],
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    models: Annotated[str, typer.Option(help="Masked models, between commas.")] = "tiny",
    judges: Annotated[str, typer.Option(help="Autoregressive ones.")] = "",
    family: Annotated[str, typer.Option(help="Alignment whose columns are the floor.")] = "PF13354",
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Correlate every model's scores with the measured fitness; write a JSON, print a table."""
    if not measured.exists():
        print(f"skipped: {measured} is not here, and is not shipped with the project.")
        return
    data = read_measured(measured)
    scorers: dict[str, Callable[[Measured], NDArray[np.float64]]] = {
        f"profile of {family}": lambda known: profile_scores(known, family)
    }
    for name in filter(None, models.split(",")):
        scorers[name] = lambda known, name=name: masked_scores(known, name)
    for name in filter(None, judges.split(",")):
        scorers[name] = lambda known, name=name: judge_scores(known, name)
    found = {}
    for name, scores_of in scorers.items():
        found[name] = correlate(scores_of(data), data, seed)
        it = found[name]
        print(
            f"{name:24} {it.spearman:.3f} [{it.low:.3f}, {it.high:.3f}]  n = {it.substitutions:,}"
        )
    of_positions = {}
    for name in filter(None, models.split(",")):
        for what, values in position_measures(data, name).items():
            of_positions[f"{what} of {name}"] = it = correlate_positions(values, data, seed)
            print(f"{what} of {name}: {it.spearman:.3f} [{it.low:.3f}, {it.high:.3f}]")
    record = {name: vars(each) for name, each in found.items()}
    by_position = {name: vars(each) for name, each in of_positions.items()}
    versions = {"versions": package_versions(), "git_revision": git_revision()}
    figures = {"spearman_with_fitness": record, "spearman_with_mean_fitness": by_position}
    write_json(out, {**figures, "seed": seed, **versions})
    print(f"Wrote {out}.", file=sys.stderr)


def read_measured(path: Path) -> Measured:
    """Read a table of substitutions.

    Raises:
        UserError: a row that is no substitution, or two residues said to be the wild type's.
    """
    wild_type: dict[int, str] = {}
    substitutions = []
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            match = _MUTATION.fullmatch(row.get("mutation") or "")
            if match is None:
                raise UserError(f"--measured {path}: {row} names no substitution such as D1A.")
            residue, place, mutant = match[1], int(match[2]) - 1, match[3]
            if wild_type.setdefault(place, residue) != residue:
                raise UserError(f"--measured {path}: position {place + 1} has two wild types.")
            if mutant != residue:
                substitutions.append(Substitution(place, mutant, float(row["fitness"])))
    if sorted(wild_type) != list(range(len(wild_type))):
        raise UserError(f"--measured {path}: not every position from 1 on has a row.")
    return Measured("".join(wild_type[at] for at in sorted(wild_type)), tuple(substitutions))


@cache
def scan_of_model(wild_type: str, name: str) -> SequenceScan:
    """Return what `didi-protein scan` finds of a sequence."""
    scorer = open_masked_scorer(name)
    (scan,) = scan_sequences(scorer.denoiser, scorer.vocabulary, [wild_type])
    return scan


def masked_scores(data: Measured, name: str) -> NDArray[np.float64]:
    """Return what `scan` gives each substitution: the position masked, mutant less wild type."""
    return _scores_at(scan_of_model(data.wild_type, name).log_odds, data)


def position_measures(data: Measured, name: str) -> dict[str, NDArray[np.float64]]:
    """Return what may be said of how much a position bears, [positions] each."""
    scan = scan_of_model(data.wild_type, name)
    probabilities = np.exp(scan.log_odds) * (1 - scan.tolerance[:, None])
    entropy = -(probabilities * np.log(probabilities)).sum(1)
    return {"tolerance": scan.tolerance, "residues that fit": np.exp(entropy)}


def _scores_at(by_residue: NDArray[np.float64], data: Measured) -> NDArray[np.float64]:
    """Choose each substitution's value of [positions, residues of `CANONICAL_RESIDUES`]."""
    columns = [CANONICAL_RESIDUES.index(each.mutant) for each in data.substitutions]
    return by_residue[data.positions, columns]


def judge_scores(data: Measured, name: str) -> NDArray[np.float64]:
    """Return the log-likelihood of each mutant less that of the wild type, in nats."""
    wild, length = data.wild_type, len(data.wild_type)
    mutants = [
        wild[: each.position] + each.mutant + wild[each.position + 1 :]
        for each in data.substitutions
    ]
    nll = open_judge(name).nll([wild, *mutants])
    return (nll[0] - nll[1:]) * length


def profile_scores(data: Measured, family: str) -> NDArray[np.float64]:
    """Return log-odds of the column's frequencies; NaN where a position aligns to no column."""
    profile = FamilyProfile.read((bundled_sequences(family) or [Path(family)])[0])
    members = profile.align_members()
    if members is None:
        raise UserError(f"--family {family} is a profile alone: give an alignment.")
    of_columns = column_log_probs(members.rows[members.aligned])
    residues = residues_of_columns(profile, data.wild_type)
    log_probs = np.full((len(data.wild_type), 20), np.nan)
    log_probs[residues[residues >= 0]] = of_columns[residues >= 0]
    scan = scan_of(data.wild_type, tuple(range(len(data.wild_type))), log_probs)
    return _scores_at(scan.log_odds, data)


def correlate(
    scores: NDArray[np.float64], data: Measured, seed: int, resamples: int = 1_000
) -> Correlation:
    """Return Spearman's correlation over the substitutions that have a score."""
    known = ~np.isnan(scores)
    found = _correlate(scores[known], data.fitness[known], data.positions[known], seed, resamples)
    return Correlation(*found, int(known.sum()))


def correlate_positions(
    values: NDArray[np.float64], data: Measured, seed: int, resamples: int = 1_000
) -> PositionCorrelation:
    """Return Spearman's correlation of [positions] with the mean fitness of their substitutions."""
    places = np.unique(data.positions)
    means = np.array([data.fitness[data.positions == each].mean() for each in places])
    return PositionCorrelation(
        *_correlate(values[places], means, places, seed, resamples), len(places)
    )


def _correlate(
    scores: NDArray[np.float64],
    fitness: NDArray[np.float64],
    positions: NDArray[np.int64],
    seed: int,
    resamples: int,
) -> tuple[float, float, float]:
    """Return Spearman's correlation and the ends of its interval, positions resampled."""
    groups = [np.flatnonzero(positions == each) for each in np.unique(positions)]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        rows = np.concatenate([groups[at] for at in rng.integers(len(groups), size=len(groups))])
        drawn.append(spearmanr(scores[rows], fitness[rows]).statistic)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(spearmanr(scores, fitness).statistic), float(low), float(high)


if __name__ == "__main__":
    app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
    app.command()(main)
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
