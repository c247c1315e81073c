"""ESMFold2's language model and trunk over a padded batch, each sequence with draws of its own.

The modules are transformers' [1]_. Its own batched call draws the first state and the dropout of a
whole batch from one stream, so that a sequence's structure would follow its neighbours; here every
sequence draws from its own generator, at its own size and in the library's order, and padding takes
part in no sum. What does not change from pass to pass is computed once.

.. [1] `transformers.models.esmfold2.modeling_esmfold2`, `EsmFold2Model.forward`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import EsmFold2Model
from transformers.models.esmfold2.modeling_esmfold2 import (
    EsmFold2AtomInputs,
    EsmFold2TrunkOutput,
)

_ATOM_INPUTS = tuple(EsmFold2AtomInputs.__dataclass_fields__)
_LANGUAGE_INPUTS = ("input_ids", "asym_id", "residue_index", "mol_type", "attention_mask")
_PLACES = ("token_index", "residue_index", "asym_id", "sym_id", "entity_id", "token_bonds")
_ALIGNMENT = ("msa", "msa_attention_mask", "has_deletion", "deletion_value", "attention_mask")
_PREPARED = (
    *("res_type", "attention_mask", "msa", "msa_attention_mask", "deletion_mean"),
    *("ref_element", "ref_atom_name_chars", "atom_attention_mask", "atom_to_token"),
)


@torch.no_grad()
def run_trunk(
    network: EsmFold2Model,
    features: Sequence[Mapping[str, Tensor]],
    draws: Sequence[torch.Generator],
    recycles: int,
) -> list[EsmFold2TrunkOutput]:
    """Return what structures are drawn from, of each sequence at its own length.

    Args:
        network: in evaluation mode.
        features: of each sequence, as the library makes them, with a batch axis of 1.
        draws: of each sequence; they are used up as far as the library would.
        recycles: passes after the first.
    """
    batch = stack_features(features)
    atoms, single, initial, relative, bonds = _embed(network, batch)
    language = _pad([_language_pair(network, each) for each in features])
    lengths = [each["res_type"].shape[1] for each in features]
    mask = pair_mask(batch["attention_mask"])
    injected = _with_msa(network, batch, single, initial)
    state = _pad([_first_state(initial, n, each) for n, each in zip(lengths, draws, strict=True)])
    decay, matrix = network.parcae.discretize()
    for _ in range(recycles + 1):
        dropped = language * _kept(network, language, lengths, draws)
        refined = network.lm_encoder(dropped, pair_attention_mask=mask)
        state = network.parcae(state, injected + refined, decay.view(1, 1, 1, -1), matrix)
        state = network.folding_trunk(state, pair_attention_mask=mask)
    pair = network.parcae.decode_state(state, pair_attention_mask=mask)
    tensors = (pair, single, relative, bonds)
    return [_cut(each, row, atoms, *tensors) for row, each in enumerate(features)]


def stack_features(features: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join features along the batch axis, zeros after what is shorter: no atom and no residue."""
    return {name: _pad([each[name] for each in features]) for name in features[0]}


def pair_mask(mask: Bool[Tensor, "batch width"]) -> Float[Tensor, "batch width width"]:
    """Return 1 where both positions are residues."""
    return (mask.unsqueeze(2) & mask.unsqueeze(1)).float()


def _pad(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors with a batch axis of 1, each in the corner of the largest along every axis."""
    shape = [max(sizes) for sizes in zip(*(each.shape[1:] for each in tensors), strict=True)]
    joined = tensors[0].new_zeros(len(tensors), *shape)
    for row, each in enumerate(tensors):
        joined[row][tuple(slice(size) for size in each.shape[1:])] = each[0]
    return joined


def _embed(
    network: EsmFold2Model, batch: Mapping[str, Tensor]
) -> tuple[EsmFold2AtomInputs, Tensor, Tensor, Tensor, Tensor]:
    """Return atoms with their kinds as one-hot vectors, and what the library embeds of the inputs:
    single [batch, width, channels]; first pairs, relative positions and bonds, of pairs."""
    atoms = EsmFold2AtomInputs(**{name: batch[name] for name in _ATOM_INPUTS})
    residues, profile, deletions, elements, names, places = network._prepare_features(
        **{name: batch[name] for name in _PREPARED}
    )
    atoms = replace(atoms, ref_element=elements, ref_atom_name_chars=names, atom_to_token=places)
    return atoms, *network.input_embedder(
        atom_inputs=atoms,
        res_type_one_hot=residues,
        profile=profile,
        deletion_mean=deletions,
        num_tokens=residues.shape[1],
        **{name: batch[name] for name in _PLACES},
    )


def _language_pair(
    network: EsmFold2Model, features: Mapping[str, Tensor]
) -> Float[Tensor, "1 length length channels"]:
    """Run the language model on one sequence alone: in half precision, where every change of shape
    changes the rounding, it gets the same representation in any batch."""
    states = network._compute_lm_hidden_states(*(features[name] for name in _LANGUAGE_INPUTS))
    return network.language_model(states)


def _with_msa(
    network: EsmFold2Model, batch: Mapping[str, Tensor], single: Tensor, initial: Tensor
) -> Float[Tensor, "batch width width channels"]:
    """Pass the first pairs through the alignment's layers: of the sequence alone, in every pass."""
    aligned = network._build_msa_kwargs(
        single_inputs=single, **{name: batch[name] for name in _ALIGNMENT}
    )
    return initial if aligned is None else network.msa_encoder(pair_states=initial, **aligned)


def _first_state(
    like: Tensor, length: int, draws: torch.Generator
) -> Float[Tensor, "1 length length channels"]:
    """Draw the recurrence's first state: a normal of variance 2 / (5 channels), cut at 3 sigma."""
    channels = like.shape[-1]
    state = like.new_empty(1, length, length, channels)
    sigma = math.sqrt(2 / (5 * channels))
    return nn.init.trunc_normal_(state, 0.0, sigma, -3 * sigma, 3 * sigma, generator=draws)


def _kept(
    network: EsmFold2Model, like: Tensor, lengths: Sequence[int], draws: Sequence[torch.Generator]
) -> Float[Tensor, "batch width width channels"] | float:
    """Draw what the pairs of the language model are multiplied with in a pass: 0 or 1 / (1 - p).

    The model was trained with this dropout, and keeps it when it predicts.
    """
    dropout = network.config.lm_encoder
    if not (dropout.per_loop_lm_dropout and dropout.lm_dropout):
        return 1.0
    share = 1 - dropout.lm_dropout
    sizes = [(1, length, length, like.shape[-1]) for length in lengths]
    drawn = (
        like.new_empty(size).bernoulli_(share, generator=each)
        for size, each in zip(sizes, draws, strict=True)
    )
    return _pad([each.div_(share) for each in drawn])


def _cut(
    features: Mapping[str, Tensor],
    row: int,
    atoms: EsmFold2AtomInputs,
    pair: Tensor,
    single: Tensor,
    relative: Tensor,
    bonds: Tensor,
) -> EsmFold2TrunkOutput:
    """Return a row of a batch at its own length, with a batch axis of 1."""
    length, num_atoms = features["res_type"].shape[1], features["ref_pos"].shape[1]
    own = (slice(row, row + 1), slice(length))
    pairs = (*own, slice(length))
    fields = {name: getattr(atoms, name)[row : row + 1, :num_atoms] for name in _ATOM_INPUTS}
    return EsmFold2TrunkOutput(
        pair_states=pair[pairs],
        single_inputs=single[own],
        relative_position_encoding=relative[pairs],
        token_bonds_encoding=bonds[pairs],
        atom_inputs=EsmFold2AtomInputs(**fields),
    )
