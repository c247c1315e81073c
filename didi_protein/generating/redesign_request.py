"""What `--start` and the flags beside it ask for, read and checked: see `redesign` for the rest."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from didi_core.errors import UserError
from didi_protein.generating.options import GenerateOptions
from didi_protein.generating.redesign import (
    IdentityRange,
    Kept,
    Parent,
    Redesign,
    Tolerant,
)
from didi_protein.sequences.fasta import read_records
from didi_protein.sequences.positions import parse_positions
from didi_protein.sequences.residues import CANONICAL_RESIDUES, clean_sequence, find_problem

OF_START = ("mutate", "vary", "keep", "identity")
"""Options that say what to do with the proteins of `--start`."""


def read_redesign(options: GenerateOptions, limit: int | None) -> Redesign | None:
    """Read what is asked of the proteins of `--start`; None without it.

    Args:
        limit: most residues the model takes; None where that is not known yet.

    Raises:
        UserError: flags that need `--start` without it, or it without them; a file that cannot be
            read; a share, a list or a range that is none; a parent that is no protein of the 20
            residues, is past the limit, or cannot be redesigned as asked.
    """
    given = [f"--{name}" for name in OF_START if getattr(options, name) is not None]
    if options.start is None:
        if given:
            raise UserError(
                f"{', '.join(given)}: needs --start, a FASTA file of the proteins to redesign."
            )
        return None
    _check_asked(options, given)
    vary = None if options.vary is None else _read_vary(options.vary)
    varied, tolerant = (None, vary) if isinstance(vary, Tolerant) else (vary, None)
    parents = _read_parents(str(options.start), limit)
    redesign = Redesign(
        parents=tuple(replace(parent, varied=varied) for parent in parents),
        share=None if options.mutate is None else _read_mutate(str(options.mutate)),
        tolerant=tolerant,
        kept=Kept() if options.keep is None else _read_keep(options.keep),
        identity=None if options.identity is None else _read_identity(options.identity),
    )
    for parent in redesign.parents:
        redesign.check(parent)
    if options.vary is None:
        _check_exclude(options.exclude, redesign)
    return redesign


def settings_of(options: GenerateOptions, redesign: Redesign) -> dict[str, Any]:
    """Return what decides the variants, for the fingerprint of a run."""
    asked = {name: getattr(options, name) for name in OF_START}
    return {"start": str(options.start), "parents": redesign.digest(), **asked}


def _check_asked(options: GenerateOptions, given: Sequence[str]) -> None:
    if "--mutate" in given and "--vary" in given:
        raise UserError(
            "--mutate and --vary exclude each other: the first draws positions for each design, "
            "the second is given them."
        )
    if not {"--mutate", "--vary", "--identity"}.intersection(given):
        raise UserError(
            f"--start {options.start}: say what to write anew, with --mutate 20% (a share of the "
            "residues) or --vary 12,15,40-50 (positions)."
        )


def _read_parents(source: str, limit: int | None) -> list[Parent]:
    if source == "-":
        raise UserError("--start -: give a file; it is read more than once.")
    parents = [
        Parent(record.id, clean_sequence(record.sequence))
        for record in read_records([source], "--start")
    ]
    for parent in parents:
        if problem := find_problem(parent.sequence):
            raise UserError(
                f"--start {source}: parent {parent.name}: {problem}; give the 20 residues alone."
            )
        if limit is not None and len(parent.sequence) > limit:
            raise UserError(
                f"--start {source}: parent {parent.name} has {len(parent.sequence)} residues, past "
                f"the model's limit of {limit}."
            )
    return parents


def _read_share(text: str, asked: str) -> float:
    """Return a share written as 20% or 0.2, from 0 to 1."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE]-?[0-9]+)?)\s*(%?)\s*", text)
    if match is None:
        raise UserError(f"{asked}: {text.strip()!r} is no share; write 20% or 0.2.")
    share = float(match[1]) / (100 if match[2] else 1)
    if share > 1:
        hint = "" if match[2] else f" (for {text.strip()} percent write {text.strip()}%)"
        raise UserError(f"{asked}: a share is at most 100%{hint}.")
    return share


def _read_mutate(text: str) -> float:
    share = _read_share(text, f"--mutate {text}")
    if share == 0:
        raise UserError(f"--mutate {text}: a share of 0 changes nothing; write 20% or 0.2.")
    return share


def _read_vary(text: str) -> tuple[int, ...] | Tolerant:
    """Return the positions of a list, or what `tolerant:20` or `tolerant:20%` asks for."""
    word, _, amount = (part.strip() for part in text.partition(":"))
    if word.lower() != "tolerant":
        return parse_positions(text, "--vary")
    if amount.endswith("%"):
        number, share = None, _read_share(amount, f"--vary {text}")
    else:
        number, share = int(amount) if re.fullmatch("[0-9]{1,5}", amount) else None, None
    if not (number or share):
        raise UserError(
            f"--vary {text}: say how many of the most tolerant positions to write anew, as in "
            "tolerant:20 or tolerant:20%."
        )
    return Tolerant(number, share)


def _read_keep(text: str) -> Kept:
    if re.search(r"[0-9]", text):
        return Kept(positions=parse_positions(text, "--keep"))
    letters = re.sub(r"[\s,]", "", text).upper()
    wrong = sorted(set(letters) - set(CANONICAL_RESIDUES))
    if wrong or not letters:
        raise UserError(
            f"--keep {text}: {', '.join(wrong) or 'an empty list'} is no residue; give letters, as "
            "in C or CW, or positions, as in 57,102,195."
        )
    return Kept(letters=letters)


def _read_identity(text: str) -> IdentityRange:
    asked = f"--identity {text}"
    low, dash, high = (part.strip() for part in text.partition("-"))
    if not dash:
        raise UserError(f"{asked}: give a range, as in 0.6-0.8.")
    if high.endswith("%") and not low.endswith("%"):
        low += "%"  # 60-80%
    ends = IdentityRange(_read_share(low, asked), _read_share(high, asked))
    if ends.low > ends.high:
        raise UserError(f"{asked}: the range is upside down; write {high}-{low}.")
    if ends.low == 1:
        raise UserError(f"{asked}: only the parent itself has an identity of 1.")
    return ends


def _check_exclude(exclude: str, redesign: Redesign) -> None:
    """Raise UserError where a position is to change and no other residue is left for it."""
    left = set(CANONICAL_RESIDUES) - set(exclude.upper())
    if len(left) != 1:
        return
    (letter,) = left
    for parent in redesign.parents:
        if any(parent.sequence[place] == letter for place in redesign.free(parent)):
            raise UserError(
                f"--exclude {exclude}: nothing is left that a {letter} could change to in parent "
                f"{parent.name}; exclude less, or name each {letter} in --keep."
            )
