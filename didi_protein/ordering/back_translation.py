"""From a protein to DNA that meets every rule, by DNA Chisel [1]_; or the rules it cannot meet.

The codons begin as the host uses them. DNA Chisel then changes as few as it must, and what it gives
is checked again by our own search. Random numbers are keyed by seed, protein and attempt: a design
has the same DNA in whatever file and order it stands.

.. [1] Zulkower, Rosser. "DNA Chisel, a versatile sequence optimizer", Bioinformatics 36, 2020.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from Bio.Seq import Seq

from didi_core.errors import UserError, missing_extra
from didi_protein.ordering.construct import Construct
from didi_protein.ordering.hosts import STOP, CodonUsage
from didi_protein.ordering.rules import GcContent, Rule

ATTEMPTS = 5
"""Starts from other codons before a design is given up."""
_EXTENSIONS = (0, 5, 15)
"""Bases on either side of a breach that may change with it, in turn."""


@dataclass(frozen=True)
class BackTranslation:
    """The DNA of one construct, or why there is none."""

    dna: str | None
    """Flanks included; None where a rule cannot be met."""
    broken: tuple[str, ...] = ()
    """The rules that were not met at the last attempt, and where."""


class BackTranslator:
    """Writes the DNA of constructs for one host under one set of rules."""

    def __init__(
        self, usage: CodonUsage, method: str, min_codon_usage: float, rules: Sequence[Rule]
    ) -> None:
        """Take the codons of the host and the rules.

        Args:
            method: `match` (codons as often as the host uses them) or `best` (its most frequent).
            min_codon_usage: codons of a smaller share are left out.

        Raises:
            UserError: an unknown method, a share that is none, or DNA Chisel is not installed.
        """
        if method not in ("match", "best"):
            raise UserError(f"--codons {method}: give match or best.")
        if not 0 <= min_codon_usage <= 1:
            raise UserError(f"--min-codon-usage {min_codon_usage:g}: give a share, 0 to 1.")
        try:
            import dnachisel  # noqa: F401
        except ImportError as error:
            raise missing_extra("dnachisel", "order") from error
        self._usage, self._common = usage, usage.without_rare(min_codon_usage)
        self._method, self._rules = method, rules

    def back_translate(self, construct: Construct, seed: int) -> BackTranslation:
        """Return DNA that meets every rule, or the rules that could not be met."""
        if broken := self._out_of_reach(construct):
            return BackTranslation(None, tuple(broken))
        for attempt in range(ATTEMPTS):
            key = hashlib.sha256(f"{seed} {attempt} {construct.protein}".encode()).digest()
            with _numpy_seeded(int.from_bytes(key[:4], "big")):
                dna, broken = self._attempt(construct)
            if not broken:
                assert Seq(construct.codons(dna)).translate() == construct.protein
                return BackTranslation(dna)
        return BackTranslation(None, tuple(broken))

    def _out_of_reach(self, construct: Construct) -> list[str]:
        """Return the GC contents that no choice of codons has: a search would take long to fail."""
        fixed = _gc(construct.flank5 + construct.stop + construct.flank3)
        counts = {
            residue: [_gc(codon) for codon in shares]
            for residue, shares in self._common.shares.items()
        }
        least = fixed + sum(min(counts[residue]) for residue in construct.protein)
        most = fixed + sum(max(counts[residue]) for residue in construct.protein)
        rules = [each for each in self._rules if isinstance(each, GcContent)]
        found = (each.out_of_reach(least, most, construct.length) for each in rules)
        return [each for each in found if each is not None]

    def _attempt(self, construct: Construct) -> tuple[str, list[str]]:
        """Return DNA, and the rules that it breaks."""
        from dnachisel import NoSolutionError

        codons = self._best(construct) if self._method == "best" else self._matched(construct)
        problem = self._problem(construct, construct.dna(codons))
        try:
            problem.resolve_constraints()
            if self._method == "best":
                problem.optimize()
        except NoSolutionError as error:
            rule = getattr(error.constraint, "rule", None)
            at_fault = rule.broken(problem.sequence, construct) if rule is not None else None
            return problem.sequence, [at_fault] if at_fault else self._broken(problem, construct)
        return problem.sequence, self._broken(problem, construct)

    def _broken(self, problem: Any, construct: Construct) -> list[str]:
        found = (rule.broken(problem.sequence, construct) for rule in self._rules)
        return [each for each in found if each is not None]

    def _best(self, construct: Construct) -> str:
        return "".join(self._common.best(residue) for residue in construct.protein)

    def _matched(self, construct: Construct) -> str:
        """Return codons in the host's shares, each residue's own in random order.

        Of the n places of a residue a codon of share f gets floor(n f), and those with the largest
        remainders one more.
        """
        places = defaultdict(list)
        for place, residue in enumerate(construct.protein):
            places[residue].append(place)
        codons = [""] * len(construct.protein)
        for residue, own in sorted(places.items()):
            dealt = _dealt(self._common.shares[residue], len(own))
            for place, index in zip(own, np.random.permutation(len(own)), strict=True):
                codons[place] = dealt[index]
        return "".join(codons)

    def _problem(self, construct: Construct, dna: str) -> Any:
        from dnachisel import (
            AvoidChanges,
            AvoidRareCodons,
            CodonOptimize,
            DnaOptimizationProblem,
            EnforceTranslation,
            Location,
        )

        start, end = construct.coding_start, construct.coding_end
        coding = Location(start, end, 1)
        # DNA Chisel writes into the tables it is given: these are copies.
        usage = {residue: dict(shares) for residue, shares in self._usage.shares.items()}
        common = {
            residue: {codon: self._common.shares[residue].get(codon, 0.0) for codon in shares}
            for residue, shares in usage.items()
            if residue != STOP
        }
        frozen = [span for span in ((0, start), (end, len(dna))) if span[0] < span[1]]
        problem = DnaOptimizationProblem(
            dna,
            constraints=[
                EnforceTranslation(location=coding, translation=construct.protein),
                AvoidRareCodons(1e-9, codon_usage_table=common, location=coding),
                *(AvoidChanges(location=span) for span in frozen),
                *(each for rule in self._rules for each in rule.constraints(construct)),
            ],
            objectives=[
                CodonOptimize(
                    method="use_best_codon",
                    codon_usage_table=usage,
                    location=coding,
                )
            ],
            logger=None,
        )
        problem.local_extensions = _EXTENSIONS
        return problem


def _gc(bases: str) -> int:
    return bases.count("G") + bases.count("C")


def _dealt(shares: Mapping[str, float], number: int) -> list[str]:
    """Return `number` codons in these shares, by the largest remainders."""
    whole = {codon: int(number * share) for codon, share in shares.items()}
    left = number - sum(whole.values())
    by_remainder = sorted(shares, key=lambda codon: (whole[codon] - number * shares[codon], codon))
    counts = {codon: whole[codon] + (codon in by_remainder[:left]) for codon in shares}
    return [codon for codon, count in sorted(counts.items()) for _ in range(count)]


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Seed NumPy's one generator, which DNA Chisel draws from, and give it back as it was."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
