"""The rules that DNA must meet: each checks a sequence, and asks DNA Chisel for one that passes.

The check is plain search of our own, so that what DNA Chisel gives is never taken on trust.
"""

import itertools
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from Bio.Data.IUPACData import ambiguous_dna_complement, ambiguous_dna_values
from Bio.Restriction.Restriction_Dictionary import rest_dict

from didi_core.errors import UserError
from didi_protein.ordering.construct import Construct
from didi_protein.ordering.options import OrderOptions

_SHORTEST_SITE = 4


class Rule(Protocol):
    """Something that the DNA of a construct must meet."""

    def broken(self, dna: str, construct: Construct) -> str | None:
        """Say what is wrong and where, counted from 1; None where nothing is."""

    def constraints(self, construct: Construct) -> list[Any]:
        """Return the same as specifications of DNA Chisel, each with its `rule`."""


@dataclass(frozen=True)
class ForbiddenSite:
    """A site that stands on neither strand, unless it lies whole in a flank as it was given."""

    name: str
    """The enzyme, or the bases themselves."""
    bases: str
    """In IUPAC's letters, 5' to 3'."""

    @property
    def title(self) -> str:
        """The enzyme and its bases."""
        return self.name if self.name == self.bases else f"{self.name} ({self.bases})"

    @cached_property
    def _strands(self) -> tuple[re.Pattern[str], ...]:
        """What to look for: the site, and what its other strand reads on this one."""
        other = "".join(ambiguous_dna_complement[base] for base in reversed(self.bases))
        return tuple(
            re.compile(f"(?=({''.join(f'[{ambiguous_dna_values[base]}]' for base in each)}))")
            for each in dict.fromkeys((self.bases, other))
        )

    def places(self, dna: str, in_front: int, behind: int) -> list[int]:
        """Return where it begins, on either strand, but for whole sites in the flanks.

        Args:
            in_front: bases of `dna` that are the flank in front.
            behind: bases of `dna` that are the flank behind.
        """
        low, high = self._window(len(dna), in_front, behind)
        return sorted(
            low + match.start()
            for strand in self._strands
            for match in strand.finditer(dna[low:high])
        )

    def _window(self, length: int, in_front: int, behind: int) -> tuple[int, int]:
        """Return the part in which each site has a base that is of neither flank."""
        overlap = len(self.bases) - 1
        return max(0, in_front - overlap), length - max(0, behind - overlap)

    def broken(self, dna: str, construct: Construct) -> str | None:
        found = self.places(dna, len(construct.flank5), len(construct.flank3))
        return f"--avoid {self.title} at {_listed(found, len(self.bases))}" if found else None

    def constraints(self, construct: Construct) -> list[Any]:
        from dnachisel import AvoidPattern, Location
        from dnachisel.SequencePattern import DnaNotationPattern

        low, high = self._window(construct.length, len(construct.flank5), len(construct.flank3))
        pattern = DnaNotationPattern(self.bases, name=self.name)
        return [_with_rule(self, AvoidPattern(pattern, location=Location(low, high, 0)))]


@dataclass(frozen=True)
class GcContent:
    """The share of G and C in every window, and in the whole."""

    low: int
    """Percent."""
    high: int
    """Percent."""
    window: int
    """Bases."""

    def broken(self, dna: str, construct: Construct) -> str | None:  # noqa: ARG002
        width = min(self.window, len(dna))
        wrong = [
            place
            for place, count in enumerate(gc_counts(dna, width))
            if not self.low * width <= 100 * count <= self.high * width
        ]
        if wrong:
            return f"{self._asked} in windows of {width} bases within {_listed(wrong, width)}"
        total = gc_counts(dna, len(dna))[0]
        if not self.low * len(dna) <= 100 * total <= self.high * len(dna):
            return f"{self._asked} in the whole, which has {100 * total / len(dna):.0f}%"
        return None

    def out_of_reach(self, least: int, most: int, length: int) -> str | None:
        """Say that no codons bring the whole into the range; None where some may.

        Args:
            least: bases G and C of the whole with the codons poorest in them.
            most: the same with the richest.
            length: bases of the whole.
        """
        if self.low * length <= 100 * most and 100 * least <= self.high * length:
            return None
        ends = f"{100 * least / length:.0f}% to {100 * most / length:.0f}%"
        return f"{self._asked}: the protein's codons allow {ends} in the whole"

    @property
    def _asked(self) -> str:
        return f"--gc {self.low}-{self.high}"

    def constraints(self, construct: Construct) -> list[Any]:
        from dnachisel import EnforceGCContent

        if (self.low, self.high) == (0, 100):
            return []
        low, high = self.low / 100, self.high / 100
        width = min(self.window, construct.length)
        windows = _with_rule(self, EnforceGCContent(low, high, window=width))
        return [windows, _with_rule(self, EnforceGCContent(low, high))]


@dataclass(frozen=True)
class Homopolymer:
    """The longest run of one base."""

    longest: int

    def broken(self, dna: str, construct: Construct) -> str | None:  # noqa: ARG002
        place, found = 0, longest_run(dna)
        if found <= self.longest:
            return None
        place = next(
            place for place in range(len(dna)) if dna[place] * found == dna[place : place + found]
        )
        return f"--max-homopolymer {self.longest}: a run of {found} at {_listed([place], found)}"

    def constraints(self, construct: Construct) -> list[Any]:
        from dnachisel import AvoidPattern
        from dnachisel.SequencePattern import HomopolymerPattern

        if self.longest >= construct.length:  # no run is longer, and a huge one fills the memory
            return []
        return [
            _with_rule(self, AvoidPattern(HomopolymerPattern(base, self.longest + 1), strand=1))
            for base in "ACGT"
        ]


def _with_rule(rule: Rule, specification: Any) -> Any:
    specification.rule = rule
    return specification


def _listed(starts: list[int], length: int) -> str:
    """Return stretches counted from 1, those that overlap as one, the first three of them.

    >>> _listed([0, 1, 2, 30], 10)
    '1-12, 31-40'
    """
    spans: list[tuple[int, int]] = []
    for start in starts:
        if spans and start < spans[-1][1]:
            spans[-1] = spans[-1][0], start + length
        else:
            spans.append((start, start + length))
    named = ", ".join(f"{start + 1}-{end}" for start, end in spans[:3])
    return f"{named} and {len(spans) - 3} more" if len(spans) > 3 else named


def gc_counts(dna: str, width: int) -> list[int]:
    """Return how many G and C each window [length - width + 1] holds."""
    sums = [0, *itertools.accumulate(base in "GC" for base in dna)]
    return [sums[end] - sums[end - width] for end in range(width, len(dna) + 1)]


def longest_run(dna: str) -> int:
    """Return the length of the longest run of one base; 0 of nothing.

    >>> longest_run("ACCCGT")
    3
    """
    return max((sum(1 for _ in run) for _, run in itertools.groupby(dna)), default=0)


# From the flags to the rules.


def sites_of(avoid: str | None) -> tuple[ForbiddenSite, ...]:
    """Return the sites of `--avoid`, in its order.

    Raises:
        UserError: a name that is no enzyme's, or bases too short to be kept out.
    """
    names = [each.strip() for each in (avoid or "").split(",") if each.strip()]
    return tuple(dict.fromkeys(site for name in names for site in _sites(name)))


def _sites(name: str) -> list[ForbiddenSite]:
    """Return the site of a name or of bases; some enzymes have two."""
    bases = name.upper()
    if set(bases) <= set(ambiguous_dna_values) - {"X"}:
        sites = [ForbiddenSite(bases, bases)]
    else:
        enzymes = {each.lower(): each for each in rest_dict}
        enzyme = enzymes.get(name.lower())
        if enzyme is None:
            raise UserError(
                f"--avoid {name}: no restriction enzyme has that name, and it is no bases; write "
                "it as REBASE does (BsaI), or its site (GGTCTC)."
            )
        found = str(rest_dict[enzyme]["site"]).split("|")
        sites = [ForbiddenSite(enzyme, each.strip("N")) for each in found]
    for site in sites:
        if sum(base != "N" for base in site.bases) < _SHORTEST_SITE:
            raise UserError(
                f"--avoid {site.title}: a site of fewer than {_SHORTEST_SITE} bases cannot be "
                "kept out."
            )
    return sites


def rules_of(options: OrderOptions, sites: tuple[ForbiddenSite, ...]) -> tuple[Rule, ...]:
    """Return every rule that the flags ask for.

    Raises:
        UserError: a range or limit that cannot be meant.
    """
    match = re.fullmatch(r"(\d+)-(\d+)", options.gc)
    if match is None or not 0 <= int(match[1]) < int(match[2]) <= 100:
        raise UserError(f"--gc {options.gc}: give percents, LOW-HIGH, as in 30-70.")
    if options.gc_window < 10:
        raise UserError(f"--gc-window {options.gc_window}: give 10 bases or more.")
    if options.max_homopolymer < 3:
        raise UserError(
            f"--max-homopolymer {options.max_homopolymer}: give 3 or more; codons such as AAA "
            "need that."
        )
    gc = GcContent(int(match[1]), int(match[2]), options.gc_window)
    return (*sites, Homopolymer(options.max_homopolymer), gc)
