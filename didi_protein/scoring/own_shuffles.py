"""Does a judge know these proteins? Each sequence is read beside its own residues shuffled.

A shuffle has the composition and the length of the sequence and none of its order: a judge that
reads a sequence no better than its shuffles knows nothing of it, and ranks chance. The judge of one
family is asked this before it ranks proteins of another. Imports no torch: `filter` reads the
verdict of a summary.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didi_core.data.length_ranges import LengthRanges
from didi_core.evaluation.bootstrap import Interval, bootstrap_mean
from didi_core.progress import counted

MOST_SEQUENCES = 256
"""Sequences of a set that are shuffled, drawn with the seed where there are more: what it costs."""
FEWEST_SHUFFLES = 32
"""Shuffles of a set in all: with fewer sequences than 16 each has more than two."""
ONE_SIDED_95 = 1.6449
"""Standard errors that a shuffle exceeds once in 20: so many are taken for better by chance."""
KNOWN = 0.5
"""Share of a set that must read better than shuffled, or the judge is outside what it knows."""
JUDGE_DOMAIN = "judge_domain"
"""Key of the summary."""

Judged = Callable[[Sequence[str]], NDArray[np.float64]]
"""Nats a residue of each sequence."""


def shuffle_of(sequence: str, seed: int, copy: int = 0, keep: Collection[int] = frozenset()) -> str:
    """Shuffle the residues, keyed by (seed, sequence, copy): whatever else is shuffled.

    Args:
        keep: places, from 0, whose residues stay where they are.
    """
    key = hashlib.sha256(f"{seed} {copy} {sequence}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(key[:8], "big"))
    free = [place for place in range(len(sequence)) if place not in keep]
    letters = np.array(list(sequence))
    letters[free] = generator.permutation(letters[free])
    return "".join(letters)


@dataclass(frozen=True)
class OwnShuffles:
    """Sequences of a set, all or some, and their shuffles, judged."""

    shuffled: list[str]
    """One shuffle of each."""
    shuffled_nll: NDArray[np.float64]
    """[n] nats a residue of those."""
    better: NDArray[np.bool_]
    """[n] whether the sequence reads better than its shuffles."""


def judge_shuffles(
    judged: Judged,
    sequences: Sequence[str],
    nll: ArrayLike,
    seed: int = 0,
    most: int = MOST_SEQUENCES,
) -> OwnShuffles:
    """Shuffle sequences, judge the shuffles, and compare.

    With variance v / L of the nats a residue among shuffles of L residues, v pooled over the set,
    a sequence less the mean of its k shuffles has the variance (1 + 1 / k) v / L where it is no
    better than they are: it must be lower by more than 1.645 standard errors.

    Args:
        judged: the judge.
        sequences: at least one, each of at least one residue.
        nll: [len(sequences)] nats a residue of each.
        seed: of the shuffles, and of which sequences are taken.
        most: sequences that are shuffled, at most.
    """
    places = list(range(len(sequences)))
    if len(places) > most:
        places = sorted(np.random.default_rng(seed).choice(places, most, replace=False).tolist())
    copies = max(2, -(-FEWEST_SHUFFLES // len(places)))
    rows = [[shuffle_of(sequences[place], seed, k) for k in range(copies)] for place in places]
    found = judged([each for row in rows for each in row]).reshape(len(rows), copies)
    lengths = np.array([len(sequences[place]) for place in places])
    # v: the variance of one residue's share, from how a sequence's own shuffles differ
    variance = (found.var(axis=1, ddof=1) * lengths).mean()
    margin = ONE_SIDED_95 * np.sqrt((1 + 1 / copies) * variance / lengths)
    better = found.mean(axis=1) - np.asarray(nll)[places] > margin
    return OwnShuffles([row[0] for row in rows], found[:, 0], better)


# What follows for a table: the verdict, for the summary, and the sentences that go with it.


@dataclass(frozen=True)
class JudgeDomain:
    """Whether a set of proteins is of the judge's world."""

    better_than_shuffled: Interval
    """Share of the sequences that read better than their own residues shuffled."""
    n: int
    """Sequences that were shuffled."""
    natural: float | None
    """The same share of natural held-out sequences of these lengths; None where not known."""
    trained_lengths: LengthRanges | None
    """Of the judge; None where its folder does not say."""
    known_length: float | None
    """Share of the set with a length that the judge was trained on."""

    @property
    def inside(self) -> bool:
        return self.better_than_shuffled.mean >= KNOWN

    def as_json(self) -> dict[str, Any]:
        trained = self.trained_lengths
        return {
            "better_than_shuffled": self.better_than_shuffled.as_dict() | {"n": self.n},
            "natural_better_than_shuffled": self.natural,
            "trained_lengths": None if trained is None else trained.as_json(),
            "known_length_fraction": self.known_length,
            "inside": self.inside,
        }

    def warnings(self, judge: str) -> list[str]:
        """Return what a reader of the judge's figures must know."""
        found = []
        if not self.inside:
            found.append(
                f"{_how_many(self.better_than_shuffled.mean, self.n)} to {judge} than the same "
                "residues shuffled: it does not know these proteins, and filter and report do not "
                "rank by its perplexity (filter --sort-by judge_perplexity does)."
            )
        if self.known_length is not None and self.known_length < 1:
            found.append(
                f"{1 - self.known_length:.0%} of the sequences have a length that {judge} was not "
                f"trained on: it knows {self.trained_lengths} residues."
            )
        return found


def judge_domain(
    shuffles: OwnShuffles,
    lengths: Sequence[int],
    natural: float | None = None,
    trained: LengthRanges | None = None,
    seed: int = 0,
) -> JudgeDomain:
    """Return the verdict on a set.

    Args:
        lengths: of all its sequences.
        natural: share of natural sequences of these lengths that read better than shuffled.
        trained: lengths that the judge was trained on.
        seed: of the bootstrap.
    """
    known = None if trained is None else float(np.mean([trained.knows(each) for each in lengths]))
    share = bootstrap_mean(shuffles.better, seed)
    return JudgeDomain(share, len(shuffles.better), natural, trained, known)


def merged_domain(parts: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Return the verdict on a set from those on its shards; None where nothing was judged.

    The whole set counts, without an interval and without what is beside it.
    """
    shares = [part["better_than_shuffled"] for part in parts if part is not None]
    if not shares:
        return None
    n = sum(each["n"] for each in shares)
    mean = sum(each["mean"] * each["n"] for each in shares) / n
    return {"better_than_shuffled": {"mean": mean, "n": n}, "inside": mean >= KNOWN}


def foreign_to_judge(summary: Mapping[str, Any] | None) -> str | None:
    """Return in words why a judge cannot rank a table; None where it can, or nothing is known.

    Args:
        summary: contents of the table's `NAME.summary.json`, where there is one.
    """
    stored = (summary or {}).get(JUDGE_DOMAIN)
    if not isinstance(stored, dict) or stored.get("inside") is not False:
        return None
    share, judge = stored["better_than_shuffled"], (summary or {}).get("judge") or {}
    read = f"{_how_many(share['mean'], share['n'])} to {judge.get('name', 'the judge')}"
    return f"{read} than the same residues shuffled"


def _how_many(share: float, n: int) -> str:
    """
    >>> _how_many(0.0, 24), _how_many(0.25, 24)
    ('No row of 24 reads better', 'Only 6 of 24 rows read better')
    """
    count = round(share * n)
    verb = "reads" if count == 1 else "read"
    some = f"Only {count} of {counted(n, 'row')} {verb} better"
    return some if count else f"No row of {n} reads better"
