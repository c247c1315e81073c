"""Does the B-factor column of a structure hold pLDDT, and on which scale? Decided by evidence.

In this order: what says experiment, or another program's score, refuses; numbers that cannot be
pLDDT refuse; then a file that names its predictor is believed; and a file that says nothing is
believed only if its atoms look predicted (see `_why_unlike_a_prediction`). When in doubt: refused.
`docs/structures.md` is the user's account of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from Bio.PDB.Chain import Chain
from Bio.PDB.Model import Model
from jaxtyping import Float, Int
from numpy import ndarray

from didi_protein.structures.evidence import Evidence
from didi_protein.structures.parse import alpha_residues

HIGHEST = 100.0


UNSURE = 20.0
"""Where a file says nothing, its surest atom must be above this: estimates of an error in ångström
stay below, and no network is as unsure of a whole protein."""


@dataclass(frozen=True)
class PlddtDecision:
    """What to make of the B-factor column."""

    factor: float | None
    """What brings it to 0 to 100: 1 or 100. None: it is no pLDDT."""
    reason: str
    """The evidence, in a few words."""


@dataclass(frozen=True)
class _Atoms:
    b_factor: Float[ndarray, "atoms"]
    residue: Int[ndarray, "atoms"]
    """Number of each atom's residue."""


def decide(evidence: Evidence, model: Model) -> PlddtDecision:
    """Judge a whole file; its chains share the answer."""
    atoms = _atoms(model)
    refusal = (
        _contradicted(evidence) or _why_no_plddt(atoms) or _why_undeclared(evidence, atoms, model)
    )
    if refusal is not None:
        return PlddtDecision(None, refusal)
    is_fraction = float(atoms.b_factor.max()) <= 1.0
    scale = "0 to 1, times 100" if is_fraction else "0 to 100"
    basis = evidence.predictor or "one value for all atoms of each residue, all of them resolved"
    return PlddtDecision(100.0 if is_fraction else 1.0, f"{basis}; {scale}")


def _contradicted(evidence: Evidence) -> str | None:
    if evidence.experiment is not None:
        return f"experimental structure, B-factors are of temperature ({evidence.experiment})"
    if evidence.other_score is not None:
        return f"B-factors hold another score ({evidence.other_score})"
    return None


def _why_no_plddt(atoms: _Atoms) -> str | None:
    """Say what no predictor's column would hold, whatever the file says."""
    if not np.isfinite(atoms.b_factor).all():
        return "B-factors that are missing or no finite numbers"
    low, high = float(atoms.b_factor.min()), float(atoms.b_factor.max())
    if low < 0 or high > HIGHEST:
        return f"B-factors from {low:g} to {high:g}: pLDDT is 0 to 100"
    if low == high and len(np.unique(atoms.residue)) > 1:
        return f"all B-factors are {low:g}"
    if set(np.unique(atoms.b_factor)) <= {0.0, 1.0}:
        return "all B-factors are 0 or 1, as those of a backbone or a mask"
    return None


def _why_undeclared(evidence: Evidence, atoms: _Atoms, model: Model) -> str | None:
    if evidence.predictor is not None:
        return None
    reason = _why_unlike_a_prediction(evidence, atoms, model)
    return reason and f"nothing in the file says pLDDT, and {reason}"


def _why_unlike_a_prediction(evidence: Evidence, atoms: _Atoms, model: Model) -> str | None:
    """Say what speaks against a predicted model in a file that says nothing of its origin.

    AlphaFold and ColabFold give all atoms of a residue one pLDDT, and resolve every residue of one
    unbroken chain; refined temperature factors differ from atom to atom, and crystals have gaps,
    waters and partial occupancy.
    """
    if (unsure := float(atoms.b_factor.max())) > 1.0 and unsure < UNSURE:
        return f"B-factors up to {unsure:g} may be errors in ångström"
    if len(atoms.b_factor) == len(np.unique(atoms.residue)):
        return "one atom a residue tells nothing"
    if _differ_within_residues(atoms):
        return "B-factors differ within residues, as temperature factors do"
    return evidence.marks or next(_marks_of_experiment(model), None)


def _differ_within_residues(atoms: _Atoms) -> bool:
    low = np.full(atoms.residue.max() + 1, np.inf)
    high = np.full(atoms.residue.max() + 1, -np.inf)
    np.minimum.at(low, atoms.residue, atoms.b_factor)
    np.maximum.at(high, atoms.residue, atoms.b_factor)
    return bool((low < high).any())


def _marks_of_experiment(model: Model) -> Iterator[str]:
    for chain in model:
        if any(atom.get_occupancy() != 1.0 for residue in chain for atom in residue):
            yield "it has occupancies other than 1"
        if not _is_unbroken(chain):
            yield "its residue numbers have gaps"


def _is_unbroken(chain: Chain) -> bool:
    numbers = [residue.id[1] for residue in chain]
    inserted = any(residue.id[2] != " " for residue in chain)
    return not inserted and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _atoms(model: Model) -> _Atoms:
    residues = [residue for chain in model for residue in chain]
    pairs = [(number, atom.get_bfactor()) for number, each in enumerate(residues) for atom in each]
    numbers, b_factors = zip(*pairs, strict=True)
    return _Atoms(np.array(b_factors, dtype=np.float64), np.array(numbers))


def chain_plddt(chain: Chain, factor: float) -> dict[str, float]:
    """Return the means over C-alpha atoms and over all heavy atoms of a chain, 0 to 100."""
    alphas = [residue["CA"].get_bfactor() for residue in alpha_residues(chain)]
    heavy = [atom.get_bfactor() for each in chain for atom in each if atom.element != "H"]
    means = {"mean_plddt": alphas, "mean_plddt_all_atom": heavy}
    return {name: factor * float(np.mean(values)) for name, values in means.items() if values}
