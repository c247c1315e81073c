"""From the flags to what stands around each design: flanks, tags and stop codons."""

import re

from didi_core.errors import UserError
from didi_protein.ordering.construct import Frame, parse_tag
from didi_protein.ordering.hosts import STOP, CodonUsage
from didi_protein.ordering.options import OrderOptions
from didi_protein.ordering.rules import ForbiddenSite, longest_run

START = "ATG"
"""The one codon of methionine."""


def frame_of(options: OrderOptions, usage: CodonUsage, sites: tuple[ForbiddenSite, ...]) -> Frame:
    """Return what the flags ask for around each design.

    Args:
        sites: what the end, which no choice of codons changes, must not hold.

    Raises:
        UserError: a tag, stop or flank that cannot be read, or that breaks a rule by itself.
    """
    flank5 = _flank("--flank5", options.flank5, options.max_homopolymer)
    flank3 = _flank("--flank3", options.flank3, options.max_homopolymer)
    n_tag = parse_tag("--n-tag", options.n_tag)
    c_tag = parse_tag("--c-tag", options.c_tag)
    stop = _stop(options, usage, sites, flank3)
    if (run := longest_run(stop + flank3)) > options.max_homopolymer:
        raise UserError(
            f"--stop {options.stop} before --flank3 {flank3} makes a run of {run} equal bases: "
            f"give another stop or flank, or allow that with --max-homopolymer {run}."
        )
    if not options.no_start:
        _check_start(flank5, sites, options.max_homopolymer)
    return Frame(flank5, not options.no_start, n_tag, c_tag, stop, flank3)


def _check_start(flank5: str, sites: tuple[ForbiddenSite, ...], longest: int) -> None:
    """Raise UserError where flank and start codon, which has no synonym, break a rule in all."""
    fixed = f"--flank5 {flank5} before the start codon {START} makes"
    for site in sites:
        if site.places(flank5 + START, len(flank5), 0):
            raise UserError(
                f"{fixed} {site.title}: give another flank, take it out of --avoid, or leave the "
                "start to the flank (--no-start)."
            )
    if (run := longest_run(flank5 + START)) > longest:
        raise UserError(
            f"{fixed} a run of {run} equal bases: give another flank, or allow that with "
            f"--max-homopolymer {run}."
        )


def _flank(flag: str, text: str | None, longest: int) -> str:
    bases = (text or "").upper()
    if not re.fullmatch("[ACGT]*", bases):
        raise UserError(f"{flag} {text}: give the bases A, C, G and T.")
    if longest_run(bases) > longest:
        raise UserError(
            f"{flag} {text} holds a run of {longest_run(bases)} equal bases: change it, or allow "
            f"that with --max-homopolymer {longest_run(bases)}."
        )
    return bases


def _stop(
    options: OrderOptions, usage: CodonUsage, sites: tuple[ForbiddenSite, ...], flank3: str
) -> str:
    """Return the stop codons; those of the host in turn where a rule would break at the flank."""
    known, longest = usage.shares[STOP], options.max_homopolymer
    if options.stop == "none":
        return ""
    if options.stop == "auto":
        choices = sorted(known, key=lambda codon: (-known[codon], codon))
    else:
        choices = [options.stop.upper()]
        triplets = re.findall("...", choices[0])
        if "".join(triplets) != choices[0] or not triplets or not set(triplets) <= set(known):
            raise UserError(
                f"--stop {options.stop}: give auto, none, or {', '.join(sorted(known))}, also "
                "several, as in TAATGA."
            )
    clean = [
        stop
        for stop in choices
        if not any(site.places(stop + flank3, 0, len(flank3)) for site in sites)
    ]
    if not clean:
        found = next(site for site in sites if site.places(choices[0] + flank3, 0, len(flank3)))
        raise UserError(
            f"--stop {options.stop} before --flank3 {flank3} makes {found.name}: give another "
            "stop or flank, or take it out of --avoid."
        )
    return next((each for each in clean if longest_run(each + flank3) <= longest), clean[0])
