"""`score --motif F.pdb`: do designs hold the residues they keep as the structure does?

Headers say which residues those are and where (`motif=`, of `generate --motif`). Compared are their
alpha carbons, in the structures that `--fold` predicts or that were given. As a baseline the other
residues of up to 64 designs are shuffled and folded: what comes near the motif there, its own
letters and length bring about.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from Bio.SVDSuperimposer import SVDSuperimposer
from jaxtyping import Float
from numpy import ndarray

from didi_core.errors import UserError
from didi_core.progress import counted
from didi_protein.scoring.columns import names_by
from didi_protein.scoring.options import ScoreOptions
from didi_protein.scoring.own_shuffles import shuffle_of
from didi_protein.scoring.rows import Row
from didi_protein.scoring.structure_measures import chain_of
from didi_protein.sequences.fasta import ProteinRecord
from didi_protein.structures.motif import MotifStructure, parse_placed
from didi_protein.structures.read import chain_places

if TYPE_CHECKING:
    from didi_protein.folding.scorer import FoldScorer

HEADER = "motif"
NEAR = 1.0
"""Ångström: a motif with a smaller RMSD is in place."""
CONFIDENT = 70.0
"""Mean pLDDT above which a fold is believed."""
MOST_SHUFFLED = 64
MOTIF_VERSION = 1
"""Raised when the shuffles or their columns change: old rows are then folded again."""


@dataclass(frozen=True)
class Site:
    """The motif of one design."""

    places: tuple[int, ...]
    """Of its residues in the design, from 0."""
    target: Float[ndarray, "residues 3"]
    """Their alpha carbons in the structure it was cut from, in ångström."""

    def rmsd(self, alphas: Float[ndarray, "length 3"]) -> float | None:
        """Return the root mean square distance after superposing the motif alone, in ångström.

        Args:
            alphas: alpha carbons of the design; NaN where it has none.

        Returns:
            None of a single residue, which fits anything, and where one has no coordinates.
        """
        own = alphas[list(self.places)]
        if len(own) < 2 or not np.isfinite(own).all():
            return None
        superposed = SVDSuperimposer()
        superposed.set(self.target, own)
        superposed.run()
        return float(superposed.get_rms())


def is_success(rmsd: float | None, mean_plddt: float | None) -> bool | None:
    """Tell whether the motif is in place in a confident fold; None where either is not known."""
    if rmsd is None or mean_plddt is None:
        return None
    return rmsd < NEAR and mean_plddt > CONFIDENT


@dataclass(frozen=True)
class Motifs:
    """What the records of a run keep of one structure."""

    structure: MotifStructure
    digest: str
    """Of the file."""
    text_of: Mapping[str, str]
    """Where each record holds its motif, by id."""

    def site(self, record: ProteinRecord) -> Site | None:
        """Return a record's motif; None where it has none.

        Raises:
            ValueError: its header says no places, or others than the sequence and the file have.
        """
        text = self.text_of.get(record.id)
        if text is None:
            return None
        places: list[int] = []
        alphas: list[Any] = []
        for placed in parse_placed(text):
            found = self.structure.find(placed.piece)
            end = placed.start + placed.length
            if record.sequence[placed.start : end] != found.letters:
                raise ValueError(
                    f"{placed}: the design has {record.sequence[placed.start : end] or 'nothing'} "
                    f"there, and {self.structure.path} {found.letters}"
                )
            places.extend(range(placed.start, end))
            alphas.extend(residue["CA"].get_coord() for residue in found.residues)
        return Site(tuple(places), np.array(alphas, dtype=np.float64))


def check_motif(
    options: ScoreOptions, records: Sequence[ProteinRecord], say: Callable[[str], object]
) -> ScoreOptions:
    """Return the options with a folder for the structures that the motif is looked for in.

    Args:
        say: takes a line where records have a motif and the flag was not given, and where the
            structures go.

    Raises:
        UserError: nothing could be compared.
    """
    with_motif = [record for record in records if _says_motif(record)]
    if options.motif is None:
        if with_motif:
            say(
                f"{len(with_motif):,} of {counted(len(records), 'record')} with a motif: "
                "--motif F.pdb, the file it was cut from, says how well (with --fold or given "
                "structures)."
            )
        return options
    asked = f"--motif {options.motif}"
    if not options.motif.is_file():
        hint = "give the file alone; the headers of the designs say which residues they keep."
        if ":" not in options.motif.name:
            hint = "there is no such file; give the structure that the motif was cut from."
        raise UserError(f"{asked}: {hint}")
    if not with_motif:
        raise UserError(
            f"{asked}: no header says where a design keeps its residues (motif=A57>61), as those "
            "of generate --motif do."
        )
    if options.fold == "none":
        if not any("pdb_file" in record.columns for record in records):
            raise UserError(
                f"{asked}: there is no structure to look at; give --fold, as in --fold esmfold, or "
                "the predicted structures beside the designs."
            )
        return options
    if options.pdb_dir is not None:
        return options
    folder = options.out.with_name(f"{options.out.name.partition('.')[0]}.structures")
    say(f"{asked}: structures go to {folder} (--pdb-dir names another).")
    return replace(options, pdb_dir=folder)


def _says_motif(record: ProteinRecord) -> bool:
    try:
        return bool(parse_placed(record.header.get(HEADER, "")))
    except ValueError:
        return False


def read_motifs(
    options: ScoreOptions, records: Sequence[ProteinRecord], say: Callable[[str], object]
) -> Motifs | None:
    """Return what the records keep; a structure keeps what the design of its sequence does.

    Args:
        say: takes a line where designs of one sequence keep their motif at different places, and
            none of them has the structure's name.

    Raises:
        UserError: the file cannot be read, or is no structure.
    """
    if options.motif is None:
        return None
    structure = MotifStructure.read(options.motif)
    digest = hashlib.sha256(options.motif.read_bytes()).hexdigest()[:16]
    own = {each.id: each.header[HEADER] for each in records if HEADER in each.header}
    designs: dict[str, dict[str, str]] = {}
    for each in records:
        if each.id in own:
            designs.setdefault(each.sequence, {})[each.id] = own[each.id]
    given = {
        each.id: _motif_of_design(each.id, designs[each.sequence], say)
        for each in records
        if "pdb_file" in each.columns and each.id not in own and each.sequence in designs
    }
    return Motifs(structure, digest, {**given, **own})


def _motif_of_design(name: str, designs: Mapping[str, str], say: Callable[[str], object]) -> str:
    """Return where a structure holds its motif: as the design of its name, else as the first.

    Args:
        name: id of the structure, which has `#2` behind it beside the design of its name.
        designs: where each design of its sequence holds the motif, by id.
    """
    bare = name.partition("#")[0]
    if bare in designs:
        return designs[bare]
    first, motif = next(iter(designs.items()))
    if len(set(designs.values())) > 1:
        say(
            f"--motif: {name} has the sequence of {', '.join(designs)}, which keep the motif at "
            f"different places; looked at is that of {first}, {motif}. Call a structure as its "
            "design to choose."
        )
    return motif


def check_sites(motifs: Motifs | None, rows: Sequence[Row]) -> None:
    """Fail rows whose header and sequence do not agree with the structure, before they cost."""
    if motifs is None:
        return
    for row in rows:
        if row.status == "ok":
            try:
                motifs.site(row.record)
            except ValueError as error:
                row.fail("failed", f"motif: {error}")


def add_motifs(motifs: Motifs | None, rows: Sequence[Row], table: Path) -> None:
    """Fill in where rows with a structure hold their motif, and whether that is a success.

    Args:
        table: whose folder `pdb_file` is relative to.
    """
    for row in rows if motifs is not None else ():
        site = motifs.site(row.record) if motifs and row.status == "ok" else None
        if site is None or motifs is None:
            continue
        row.values[HEADER] = motifs.text_of[row.record.id]
        alphas = _alphas(row, table)
        rmsd = None if alphas is None else site.rmsd(alphas)
        row.values["motif_rmsd"] = rmsd
        row.values["motif_success"] = is_success(rmsd, row.as_dict().get("mean_plddt"))


def _alphas(row: Row, table: Path) -> Float[ndarray, "length 3"] | None:
    """Return the alpha carbons of a row's structure, NaN where there is none."""
    chain = chain_of(row, table)
    if chain is None:
        return None
    alphas = np.full((len(row.record.sequence), 3), np.nan)
    for place, residue in zip(chain_places(chain), chain, strict=True):
        if "CA" in residue and place < len(alphas):
            alphas[place] = residue["CA"].get_coord()
    return alphas


@dataclass(frozen=True)
class MotifShuffleScorer:
    """The motif in designs whose other residues are shuffled: folded, some of them."""

    motifs: Motifs
    folding: "FoldScorer"
    seed: int
    chosen: frozenset[str]
    """Ids of the records that are shuffled."""
    name: str = "motif_shuffles"
    columns: tuple[str, ...] = names_by("motif_shuffles")
    max_length: int | None = None

    @classmethod
    def of(
        cls, motifs: Motifs, folding: "FoldScorer", seed: int, most: int = MOST_SHUFFLED
    ) -> "MotifShuffleScorer":
        """Return the scorer of `most` of the records, drawn with the seed where there are more."""
        ids = sorted(motifs.text_of)
        if len(ids) > most:
            ids = np.random.default_rng(seed).choice(ids, most, replace=False).tolist()
        return cls(motifs, folding, seed, frozenset(ids))

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "fold": self.folding.settings,
            "motif": self.motifs.digest,
            "seed": self.seed,
            "version": MOTIF_VERSION,
        }

    def score(self, records: Sequence[ProteinRecord]) -> list[dict[str, Any]]:
        sites = {
            place: site
            for place, record in enumerate(records)
            if record.id in self.chosen and (site := self.motifs.site(record)) is not None
        }
        values: list[dict[str, Any]] = [dict.fromkeys(self.columns) for _ in records]
        if not sites:
            return values
        shuffled = [
            replace(each, sequence=shuffle_of(each.sequence, self.seed, keep=sites[place].places))
            for place, each in enumerate(records)
            if place in sites
        ]
        for (place, site), fold in zip(sites.items(), self.folding.folds(shuffled), strict=True):
            rmsd = site.rmsd(fold.alphas.double().numpy())
            success = is_success(rmsd, fold.mean_plddt)
            values[place] = dict(zip(self.columns, (rmsd, success), strict=True))
        return values
