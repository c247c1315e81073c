"""Natural protein families that ship in the package, by name wherever sequences are read.

The bundled models were trained on them, so that recall, copies and nearest neighbours need no
download. `_families/NOTICE` says where they come from.
"""

import os
from importlib.resources import files
from pathlib import Path

from didi_core.errors import UserError, as_written
from didi_core.models.bundled import BundledModels

FAMILIES = {"PF00595": "PDZ domains", "PF13354": "class A beta-lactamases"}
"""Pfam accession and what the family is."""
FAMILY_LENGTHS = {"PF00595": (64, 82), "PF13354": (162, 202)}
"""Fewest and most residues of what the bundled models learnt of each."""
FRAGMENTS = (
    "domains cut to Pfam's columns, whose ends and loops are missing, so that none is a whole "
    "protein; to learn with, not for the bench"
)
"""What the bundled models write."""
ALL = "families"
HELD_OUT = "-held-out"
"""Ends the name of sequences whose clusters at 60% identity have no member in training."""


def bundled_sequences(name: str | os.PathLike[str]) -> list[Path]:
    """Return the aligned FASTA files of a bundled name; none for any other name.

    Args:
        name: `families`, or the accession of one; with `-held-out` behind it those kept out of
            training. A path of the user's with such a name is given by its absolute path.
    """
    family = str(name).removesuffix(HELD_OUT)
    split = "valid" if str(name).endswith(HELD_OUT) else "train"
    chosen = list(FAMILIES) if family == ALL else [family] if family in FAMILIES else []
    return [families_folder() / f"{each}_{split}.aligned.fasta.gz" for each in chosen]


def sequences_named(place: str | os.PathLike[str], name: str) -> list[Path]:
    """Return the aligned FASTA files of what a user gave, where that is a bundled name; else none.

    Args:
        name: how messages call it: the flag or argument it came from.

    Raises:
        UserError: a path of the user's has that name, so that either may be meant.
    """
    bundled = bundled_sequences(place)
    if bundled and Path(place).exists():
        raise UserError(
            f"{as_written(name, place)} names families that ship here, and a path of yours: rename "
            "yours, or give it by its absolute path."
        )
    return bundled


def writes_fragments(model: object, parent: object = None) -> bool:
    """Return whether designs are what `FRAGMENTS` says: a variant is as whole as its parent.

    Args:
        model: that wrote them, as their headers name it.
        parent: that they are variants of; None where they were written anew.
    """
    return model in BundledModels("didi_protein").denoisers and parent is None


def is_bundled(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is one of those that a bundled name stands for: with gaps, aligned."""
    return Path(path).parent == families_folder()


def bundled_contacts(name: str | os.PathLike[str] | None) -> Path | None:
    """Return the contact table of one bundled family; None for any other name."""
    return families_folder() / f"{name}_contacts.tsv.gz" if str(name) in FAMILIES else None


def families_folder() -> Path:
    """Return the folder of the package that holds them."""
    return Path(str(files("didi_protein") / "_families"))
