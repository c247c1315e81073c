"""Toy families whose columns depend on each other, their contacts, and designs of them."""

import gzip
from pathlib import Path

import numpy as np

from didi_protein.score import ScoreOptions, score
from didi_protein.scoring.options import ScoreResult

WIDTH = 24
HEADER = "model=toy sampler=ancestral steps={0} nfe={0}"
RESIDUES = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def family_members(count: int, width: int, seed: int, coupled: float = 1.0) -> list[str]:
    """Relatives of one sequence of `width`; columns i and i + 10 change together, so often.

    Args:
        coupled: probability with which the second of two coupled columns follows the first.
    """
    shared = np.random.default_rng(width).choice(RESIDUES, (2, width))
    generator = np.random.default_rng(seed)
    changed = generator.random((count, width)) < 0.3
    follows = generator.random((count, width)) < coupled
    for column in range(0, width - 10, 4):
        own = changed[:, column + 10]
        changed[:, column + 10] = np.where(follows[:, column], changed[:, column], own)
    noise = generator.choice(RESIDUES, (count, width))
    rows = np.where(changed, shared[1], shared[0])
    rows = np.where(generator.random((count, width)) < 0.05, noise, rows)
    return ["".join(row) for row in rows]


def write_fasta(path: Path, sequences: list[str], header: str = "") -> Path:
    text = "".join(f">{path.stem}_{n} {header}\n{each}\n" for n, each in enumerate(sequences))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_contacts(path: Path, width: int) -> Path:
    """Columns that change together are in contact; all others are not."""
    pairs = [(i, j) for i in range(width) for j in range(i + 1, width)]
    lines = [f"{i + 1}\t{j + 1}\t{4 if j == i + 10 and i % 4 == 0 else 20}" for i, j in pairs]
    path.write_text("\n".join(["column_i\tcolumn_j\tdistance_angstrom", *lines]) + "\n")
    return path


def scored_designs(folder: Path, steps: int, coupled: float) -> ScoreResult:
    """Sixty designs of a toy family, four of them natural sequences, and one that is no relative.

    Args:
        coupled: how far the columns of the designs follow each other.
    """
    nature = family_members(150, WIDTH, seed=1)
    designs = [*nature[:4], *family_members(56, WIDTH, seed=2, coupled=coupled), "W" * 50]
    result = score(
        ScoreOptions(
            inputs=[str(write_fasta(folder / f"d{steps}.fasta", designs, HEADER.format(steps)))],
            out=folder / f"d{steps}.csv",
            judge="none",
            pseudo="none",
            family=write_fasta(folder / "toy.fasta.gz", nature),
            contacts=write_contacts(folder / "contacts.tsv", WIDTH),
            device="cpu",
            threads=1,
            quiet=True,
        )
    )
    assert result is not None
    return result
