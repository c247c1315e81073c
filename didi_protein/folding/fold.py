"""What `--fold` asks of any folding model, and what it gets: a structure and its confidence.

A folding model is anything with the attributes of `FoldingModel`; `esmfold` and `esmfold2` hold the
two there are, `network` opens the one that is named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.models.esm.openfold_utils import residue_constants

NUM_ATOMS = 37
"""Atoms of AlphaFold's fixed layout; a residue has some of them."""
ALPHA_CARBON = residue_constants.atom_order["CA"]


@dataclass(frozen=True)
class FoldRequest:
    """How sequences are folded; None for as the model was trained or published."""

    recycles: int | None = None
    """Passes after the first."""
    samples: int | None = None
    """Structures drawn, of which one is taken; of a model that draws them."""
    seed: int = 0
    """Of the draws."""


@dataclass(frozen=True)
class Fold:
    """A predicted structure and its confidence, on the CPU."""

    residues: Int[Tensor, "length"]
    """AlphaFold's residue numbers."""
    atoms: Float[Tensor, "length 37 3"]
    """Coordinates in angstrom; 0 where the residue has no such atom."""
    atom_exists: Float[Tensor, "length 37"]
    """1 where the residue has the atom."""
    atom_plddt: Float[Tensor, "length 37"]
    """Expected local agreement of each atom with the true structure, 0 to 100."""
    ptm: float
    """Expected TM-score of the whole chain, 0 to 1."""
    residue_pae: Float[Tensor, "length"]
    """Expected error of each residue's position in angstrom (0.25 to 31.75), mean over the residues
    on which the structures are aligned."""

    @property
    def alphas(self) -> Float[Tensor, "length 3"]:
        """Return the coordinates of the alpha carbons, in angstrom."""
        return self.atoms[:, ALPHA_CARBON]

    @property
    def plddt(self) -> Float[Tensor, "length"]:
        """Of the alpha carbons."""
        return self.atom_plddt[:, ALPHA_CARBON]

    @property
    def residue_plddt(self) -> Float[Tensor, "length"]:
        """Mean over each residue's atoms."""
        return (self.atom_plddt * self.atom_exists).sum(-1) / self.atom_exists.sum(-1)

    @property
    def mean_plddt(self) -> float:
        """Over alpha carbons."""
        return float(self.plddt.double().mean())

    @property
    def mean_plddt_all_atom(self) -> float:
        """Over all atoms, each counting once: what fair-esm and DPLM print."""
        total = (self.atom_plddt * self.atom_exists).double().sum()
        return float(total / self.atom_exists.sum())

    @property
    def mean_pae(self) -> float:
        """Over all pairs of residues, in angstrom."""
        return float(self.residue_pae.double().mean())


class FoldingModel(Protocol):
    """A network that predicts structures, opened."""

    @property
    def name(self) -> str:
        """What the user called it."""

    @property
    def precision(self) -> str:
        """Of the language-model half; all else is in float32."""

    @property
    def fingerprint(self) -> str:
        """Of its weights: confidences of different weights never mix."""

    @property
    def network(self) -> nn.Module:
        """All its parts."""

    @property
    def draws(self) -> bool:
        """Whether its structures are drawn: samples and a seed then mean something."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What else its structures depend on beside the sequence; for the summary too."""

    def fold_batch(self, sequences: Sequence[str], chunk_size: int | None) -> list[Fold]:
        """Fold sequences in one padded batch, each as if it were alone.

        Args:
            sequences: of the 20 residues.
            chunk_size: most rows of residue pairs expanded at once; None for as many as suit the
                device.

        Raises:
            MemoryError: too little memory; fewer sequences at once, or smaller chunks, may do.
        """
