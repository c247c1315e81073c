"""Hold the identity that a training sketch estimates against alignment, on the shipped families.

    python -m benchmarks.training_sketch --num 150 --out benchmarks/results/training_sketch.json

Of each family that ships, queries of four kinds are held against its training sequences: `copies`
(training sequences with up to 5% of their residues substituted and up to three cut off each end),
`near_copies` (with 5 to 15% substituted), `chimeras` (the first half of one, by columns, and the
second half of another) and `held_out` (members of clusters without a training sequence). The truth
is the identity that `score --training` finds by alignment; a copy has 0.95 or more. Layouts of
other words, numbers of hashes and bits stand beside the one that is used.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from didi_core.cli.run import run_program
from didi_core.io.files import write_json
from didi_core.training.run_folder import git_revision, package_versions
from didi_protein.sequences.bundled import FAMILIES, bundled_sequences
from didi_protein.sequences.fasta import iterate_fasta
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.sequences.training_data import read_training_sequences
from didi_protein.similarity.neighbours import COPY_IDENTITY, nearest_neighbours
from didi_protein.similarity.sketch import NUM_HASHES, WORD, identity_of, minimum_hashes

LONGEST_CUT = 3
"""Most residues cut off each end of a copy."""


@dataclass(frozen=True)
class Layout:
    """What is kept of a sequence."""

    word: int
    num_hashes: int
    bits: int

    @property
    def num_bytes(self) -> int:
        return self.num_hashes * self.bits // 8

    def in_words(self) -> str:
        return f"words of {self.word}, {self.num_hashes} hashes of {self.bits} bits"


USED = Layout(WORD, NUM_HASHES, 1)
LAYOUTS = (
    USED,
    *(Layout(WORD, hashes, 1) for hashes in (128, 256, 1_024, 2_048)),
    *(Layout(WORD, NUM_HASHES // bits, bits) for bits in (2, 4, 8)),
    *(Layout(word, NUM_HASHES, 1) for word in (2, 4)),
)


@dataclass(frozen=True)
class Agreement:
    """Estimates of one kind of query beside the truth."""

    n: int
    num_copies: int
    bias: float | None
    """Mean of estimate less truth, over queries of at least 0.85 in truth."""
    rmse: float | None
    """Root of the mean square of the same."""
    error_95: float | None
    """95% of the same are within this."""
    false_copies: dict[str, float] | None
    """Share of those that are no copies estimated as copies."""
    false_copies_below_90: dict[str, float] | None
    """The same of those below 0.90 in truth."""
    missed_copies: dict[str, float] | None
    """Share of the copies that are not estimated as such."""


def main(
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    num: Annotated[int, typer.Option(help="Queries of each kind and family.")] = 150,
    seed: Annotated[int, typer.Option(help="Of the queries.")] = 0,
) -> None:
    """Measure every layout on every family; write one JSON, print one table."""
    found: dict[str, Any] = {each.in_words(): {"bytes": each.num_bytes} for each in LAYOUTS}
    for family in FAMILIES:
        training = [sequence for _, sequence in read_training_sequences(family)]
        kinds = queries_of(family, training, num, np.random.default_rng(seed))
        queries = [each for sequences in kinds.values() for each in sequences]
        neighbours = nearest_neighbours(queries, training, near_only=True)
        truth = np.array([0.0 if each is None else each.identity for each in neighbours])
        ends = np.cumsum([len(each) for each in kinds.values()])
        for layout in LAYOUTS:
            estimates, seconds = estimated(layout, queries, training)
            parts = zip(np.split(estimates, ends[:-1]), np.split(truth, ends[:-1]), strict=True)
            results = {kind: agreement(*part) for kind, part in zip(kinds, parts, strict=True)}
            print_results(family, layout, results)
            found[layout.in_words()][family] = {
                "sketched_and_searched_in_seconds": seconds,
                **{kind: asdict(each) for kind, each in results.items()},
            }
    record = {"num": num, "seed": seed, "used": USED.in_words(), "layouts": found}
    record |= {"versions": package_versions(), "git_revision": git_revision()}
    write_json(out, record)
    print(f"Wrote {out}.", file=sys.stderr)


def queries_of(
    family: str, training: Sequence[str], num: int, generator: np.random.Generator
) -> dict[str, list[str]]:
    """Draw the queries of each kind, `num` of each that has so many."""

    def mutated(low: float, high: float, longest_cut: int) -> list[str]:
        chosen = generator.choice(len(training), num, replace=False)
        return [
            substituted(
                cut(training[place], longest_cut, generator),
                generator.uniform(low, high),
                generator,
            )
            for place in chosen
        ]

    held_out = [sequence for _, sequence in read_training_sequences(f"{family}-held-out")]
    kept = generator.choice(len(held_out), min(num, len(held_out)), replace=False)
    return {
        "copies": mutated(0.0, 1 - COPY_IDENTITY, LONGEST_CUT),
        "near_copies": mutated(1 - COPY_IDENTITY, 0.15, 0),
        "chimeras": chimeras(family, num, generator),
        "held_out": [held_out[place] for place in kept],
    }


def cut(sequence: str, longest: int, generator: np.random.Generator) -> str:
    """Return the sequence without some residues of its ends."""
    first, last = generator.integers(0, longest + 1, 2)
    return sequence[first : len(sequence) - last]


def substituted(sequence: str, share: float, generator: np.random.Generator) -> str:
    """Return the sequence with that share of its residues, rounded down, another residue each."""
    letters = list(sequence)
    for place in generator.choice(len(letters), int(share * len(letters)), replace=False):
        others = CANONICAL_RESIDUES.replace(letters[place], "")
        letters[place] = others[generator.integers(len(others))]
    return "".join(letters)


def chimeras(family: str, num: int, generator: np.random.Generator) -> list[str]:
    """Join halves of two aligned training sequences at the middle column."""
    (path,) = bundled_sequences(family)
    aligned = [sequence for _, sequence in iterate_fasta(path)]
    pairs = generator.choice(len(aligned), (num, 2))
    middle = len(aligned[0]) // 2
    halves = [aligned[one][:middle] + aligned[other][middle:] for one, other in pairs]
    return [each.replace("-", "").replace(".", "").upper() for each in halves]


def estimated(
    layout: Layout, queries: Sequence[str], training: Sequence[str]
) -> tuple[NDArray[np.float64], float]:
    """Estimate the identity of each query to the nearest training sequence; and the seconds."""
    start = time.monotonic()
    asked, asked_words = minimum_hashes(queries, layout.word, layout.num_hashes)
    known, known_words = minimum_hashes(training, layout.word, layout.num_hashes)
    jaccard = _jaccard_of(layout)(asked, known)
    identity = identity_of(jaccard, asked_words, known_words, layout.word)
    return identity.max(axis=1).astype(np.float64), time.monotonic() - start


def _jaccard_of(layout: Layout) -> Callable[..., NDArray[np.float32]]:
    """Return what estimates Jaccard indices [queries, references] from minima."""

    def of_one_bit(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> NDArray[np.float32]:
        signs = [(each & 1).astype(np.float32) * 2 - 1 for each in (one, other)]
        return signs[0] @ signs[1].T / np.float32(layout.num_hashes)

    def of_bits(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> NDArray[np.float32]:
        mask, by_chance = 2**layout.bits - 1, 2.0**-layout.bits
        equal = np.zeros((len(one), len(other)), dtype=np.float32)
        for hash_of in range(layout.num_hashes):
            low = [(each[:, hash_of] & mask).astype(np.uint8) for each in (one, other)]
            equal += low[0][:, None] == low[1][None, :]
        return (equal / layout.num_hashes - by_chance) / (1 - by_chance)

    return of_one_bit if layout.bits == 1 else of_bits


def agreement(estimates: NDArray[np.float64], truth: NDArray[np.float64]) -> Agreement:
    """Hold estimates against the truth."""
    error = (estimates - truth)[truth >= 0.85]
    copies, called = truth >= COPY_IDENTITY, estimates >= COPY_IDENTITY
    return Agreement(
        n=len(truth),
        num_copies=int(copies.sum()),
        bias=float(error.mean()) if len(error) else None,
        rmse=float(np.sqrt((error**2).mean())) if len(error) else None,
        error_95=float(np.percentile(np.abs(error), 95)) if len(error) else None,
        false_copies=share_of(called[~copies]),
        false_copies_below_90=share_of(called[truth < 0.90]),
        missed_copies=share_of(~called[copies]),
    )


def share_of(flags: NDArray[np.bool_]) -> dict[str, float] | None:
    """Return a share with Wilson's 95% interval, and on how many it rests; None of none."""
    n, z = len(flags), 1.96
    if not n:
        return None
    share = float(flags.mean())
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
    return {"mean": share, "low": max(0.0, centre - half), "high": min(1.0, centre + half), "n": n}


def print_results(family: str, layout: Layout, results: dict[str, Agreement]) -> None:
    """Print a line for each kind of query."""
    print(f"\n{family}, {layout.in_words()}, {layout.num_bytes} bytes a sequence")
    for kind, each in results.items():
        error = "" if each.rmse is None else f"  bias {each.bias:+.4f} rmse {each.rmse:.4f}"
        shares = {
            "false": each.false_copies,
            "false below 0.90": each.false_copies_below_90,
            "missed": each.missed_copies,
        }
        told = "  ".join(
            f"{name} {share['mean']:.3f} of {share['n']}" for name, share in shares.items() if share
        )
        print(f"  {kind:12} n {each.n} copies {each.num_copies}{error}  {told}")


if __name__ == "__main__":
    app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
    app.command()(main)
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
