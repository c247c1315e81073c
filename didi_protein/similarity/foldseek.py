"""Novelty and clusters by structure, through Foldseek [1]_ where it is on the PATH.

Structures are passed under their place in the list, each as one chain of a PDB file: Foldseek names
results after files and chains, and would read meaning into some names.

.. [1] van Kempen et al. "Fast and accurate protein structure search with Foldseek", Nature
   Biotechnology 42, 2024.
"""

import math
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from Bio.Data.IUPACData import protein_letters_1to3
from Bio.PDB import PDBIO
from Bio.PDB.Chain import Chain
from Bio.PDB.Residue import Residue

from didi_core.errors import UserError
from didi_protein.similarity.mmseqs import available_threads
from didi_protein.similarity.programs import (
    last_lines,
    run_program,
    scratch_folder,
    why_scratch_failed,
)
from didi_protein.structures.parse import letter_of

SEARCH_FLAGS = ("--alignment-type", "1", "--tmscore-threshold", "0", "-e", "inf")
"""TM-align, and every hit that it gives, however low its score."""
EXHAUSTIVE_FLAGS = ("--exhaustive-search", "1", "--max-seqs", "1000000")
"""Every pair is aligned: no reference is missed for want of a common word."""
FAST_FLAGS = ("-s", "9.5", "--max-seqs", "2000")
"""Above `MOST_PAIRS`: the 2,000 likeliest references of each design by their 3Di words."""
MOST_PAIRS = 1_000_000
"""Designs times reference files."""
CLUSTER_TM = 0.5
CLUSTER_FLAGS = (
    "--alignment-type", "1", "--tmscore-threshold", str(CLUSTER_TM), "--min-seq-id", "0",
    "--cov-mode", "0", "-c", "0.7",
)  # fmt: skip
ABSENT = (
    "Foldseek is not on the PATH: max_reference_tm and structure_cluster stay empty "
    "(conda install -c bioconda foldseek)."
)


def is_available() -> bool:
    """Tell whether a program named foldseek is on the PATH."""
    return shutil.which("foldseek") is not None


@cache
def version() -> str:
    """Return what `foldseek version` says."""
    return _run(["version"]).strip()


def search_definition(num_designs: int, reference: Path) -> str:
    """Say what `max_reference_tm` means, with version and flags."""
    flags = " ".join((*SEARCH_FLAGS, *prefilter_flags(num_designs, reference)))
    return (
        "highest TM-score of a design, normalised by its own length, against the structures of "
        f"--reference; lower is newer (Foldseek {version()} easy-search {flags})"
    )


def cluster_definition() -> str:
    """Say what `structure_cluster` means, with version and flags."""
    return (
        f"clusters of designs that align with a TM-score of at least {CLUSTER_TM} over 70% of both "
        f"(Foldseek {version()} easy-cluster {' '.join(CLUSTER_FLAGS)})"
    )


def max_reference_tm(
    chains: Sequence[Chain], reference: Path, threads: int | None = None
) -> list[float | None]:
    """Score each chain's nearest reference by TM, by the chain's length; None without a hit.

    Args:
        reference: a folder of PDB and mmCIF files.

    Raises:
        UserError: Foldseek failed.
    """
    flags = (*SEARCH_FLAGS, *prefilter_flags(len(chains), reference), *_threads(threads))
    best: list[float | None] = [None] * len(chains)
    with designs_in(chains) as folder:
        files = ("designs", str(reference.resolve()), "hits.tsv", "tmp")
        _run(["easy-search", *files, *flags, "--format-output", "query,qtmscore"], folder)
        for name, score in _table(folder / "hits.tsv"):
            place, tm = _place(name), min(1.0, float(score))
            best[place] = max(tm, best[place] or 0.0)
    return best


def structure_clusters(chains: Sequence[Chain], threads: int | None = None) -> list[int]:
    """Cluster of each chain, numbered from 1 in order of first appearance.

    Raises:
        UserError: Foldseek failed, or lost a design.
    """
    with designs_in(chains) as folder:
        _run(
            ["easy-cluster", "designs", "result", "tmp", *CLUSTER_FLAGS, *_threads(threads)], folder
        )
        founder = {
            _place(member): _place(name) for name, member in _table(folder / "result_cluster.tsv")
        }
    lost = [place for place in range(len(chains)) if place not in founder]
    if lost:
        raise UserError(f"Foldseek lost {len(lost)} of {len(chains)} designs while clustering.")
    number_of: dict[int, int] = {}
    return [
        number_of.setdefault(founder[place], len(number_of) + 1) for place in range(len(chains))
    ]


def prefilter_flags(num_designs: int, reference: Path) -> tuple[str, ...]:
    """Choose how references are found: all of them unless there are too many pairs."""
    num_references = sum(1 for _ in reference.iterdir())
    return EXHAUSTIVE_FLAGS if num_designs * num_references <= MOST_PAIRS else FAST_FLAGS


def _threads(threads: int | None) -> list[str]:
    return ["--threads", str(threads or available_threads()), "-v", "1"]


@contextmanager
def designs_in(chains: Sequence[Chain]) -> Iterator[Path]:
    """Write one file a chain to the folder `designs` of a temporary folder."""
    with scratch_folder("didi-foldseek-") as folder:
        (folder / "designs").mkdir()
        for place, chain in enumerate(chains):
            writer = PDBIO()
            writer.set_structure(_plain(chain))
            writer.save(str(folder / "designs" / f"{place:08d}.pdb"))
        yield folder


def _plain(chain: Chain) -> Chain:
    """Return a chain that fits into PDB's columns: A, numbers from 1, names of three letters."""
    plain = Chain("A")
    for number, residue in enumerate(chain, start=1):
        name = protein_letters_1to3.get(letter_of(residue), "UNK").upper()
        renamed = Residue((" ", number, " "), name, "")
        for atom in residue:
            copied = atom.copy()
            if not math.isfinite(copied.get_bfactor()):
                copied.set_bfactor(0.0)
            renamed.add(copied)
        plain.add(renamed)
    return plain


def _table(path: Path) -> Iterator[list[str]]:
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            yield line.rstrip("\n").split("\t")


def _place(name: str) -> int:
    """Read the number, which stands first: versions differ in what else of a name they keep."""
    match = re.match(r"\d{8}", name)
    if match is None:
        raise UserError(f"Foldseek {version()} calls a design {name!r}, which is none of ours.")
    return int(match.group())


def _run(arguments: Sequence[str], cwd: Path | None = None) -> str:
    status, output = run_program(["foldseek", *arguments], cwd)
    if status != 0:
        reason = (cwd and why_scratch_failed(cwd)) or f"it said: {last_lines(output) or 'nothing'}"
        raise UserError(f"Foldseek {arguments[0]} failed with status {status}: {reason}.")
    return output
