"""How sure ESMFold is: pLDDT, pTM and PAE, each from one sequence's own logits.

The library's pTM is one number for a padded batch: its scale and its mean follow the padded length.
Here the pair representation is cut to the sequence's own residues before the head sees it.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import EsmForProteinFolding
from transformers.models.esm.openfold_utils.data_transforms import make_atom14_masks

from didi_protein.folding.fold import NUM_ATOMS, Fold
from didi_protein.folding.trunk import FoldedBatch

MAX_ERROR = 31.0
"""Last edge of the bins of aligned error, in angstrom."""
_ROWS = 64


@torch.no_grad()
def read_folds(network: EsmForProteinFolding, batch: FoldedBatch) -> list[Fold]:
    """Apply the heads to each sequence of a folded batch."""
    return [_read_fold(network, batch, row) for row in range(len(batch.lengths))]


def _read_fold(network: EsmForProteinFolding, batch: FoldedBatch, row: int) -> Fold:
    length = batch.lengths[row]
    residues = batch.residues[row, :length]
    layout = make_atom14_masks({"aatype": residues})
    exists = layout["atom37_atom_exists"]
    place = layout["residx_atom37_to_atom14"].unsqueeze(-1).expand(-1, -1, 3)
    atoms = batch.positions[row, :length].gather(1, place) * exists.unsqueeze(-1)
    plddt = atom_plddt(network, batch.states[row, :length])
    ptm, residue_pae = ptm_and_pae(network.ptm_head, batch.pair[row, :length, :length])
    return Fold(
        residues.cpu(), atoms.cpu(), exists.cpu(), plddt.cpu(), ptm, residue_pae.float().cpu()
    )


def atom_plddt(
    network: EsmForProteinFolding, states: Float[Tensor, "length channels"]
) -> Float[Tensor, "length 37"]:
    """Return each atom's expected lDDT, 0 to 100: the mean of the head's bins (algorithm 29).

    Args:
        network: its `lddt_head` gives `lddt_bins` logits for each of the 37 atoms.
    """
    bins = network.lddt_bins
    logits = network.lddt_head(states).view(len(states), NUM_ATOMS, bins)
    centres = (torch.arange(bins, device=states.device, dtype=states.dtype) + 0.5) * (100.0 / bins)
    return logits.softmax(-1) @ centres


def ptm_and_pae(
    head: nn.Linear, pair: Float[Tensor, "length length channels"]
) -> tuple[float, Float[Tensor, "length"]]:
    """Return pTM, and the mean expected error of each residue (supplement, section 1.9.7).

    pTM is the highest, over the residue on which both structures are aligned, of the mean expected
    TM term 1 / (1 + (error / d0)^2) with d0 = 1.24 (max(length, 19) - 15)^(1/3) - 1.8.

    Args:
        head: from pair channels to logits over bins of aligned error; the last bin is open.
    """
    length, bins = len(pair), head.out_features
    step = MAX_ERROR / (bins - 2)
    centres = (torch.arange(bins, device=pair.device, dtype=torch.float64) + 0.5) * step
    d0 = 1.24 * (max(length, 19) - 15) ** (1 / 3) - 1.8
    tm_term = 1 / (1 + (centres / d0) ** 2)
    tm_of_frame = centres.new_zeros(length)
    error_sum = centres.new_zeros(length)
    for start in range(0, length, _ROWS):
        part = slice(start, start + _ROWS)
        probabilities = head(pair[part]).softmax(-1).double()
        tm_of_frame[part] = (probabilities @ tm_term).mean(-1)
        error_sum += (probabilities @ centres).sum(0)
    return float(tm_of_frame.max()), error_sum / length
