"""A batch of any make-up equals `infer` on each sequence alone, and would not if a part were wrong.

The tolerances are those of the design: 1e-3 on pLDDT (0 to 100), 1e-5 on pTM, 1e-3 on PAE.
"""

import copy

import pytest
import torch
from folding_fixtures import build_folding_network, fold_sequences
from transformers.models.esm.openfold_utils import residue_constants

import didi_protein.folding.trunk as trunk_file
from didi_protein.folding.confidence import read_folds
from didi_protein.folding.fold import ALPHA_CARBON
from didi_protein.folding.trunk import run_network

TOLERANCES = torch.tensor([1e-3, 1e-5, 1e-3])
SEQUENCES = fold_sequences()


@pytest.fixture(scope="module")
def network():
    return build_folding_network()


@pytest.fixture(scope="module")
def singles(network):
    """The library's own path, one sequence at a time."""
    return [network.infer([sequence]) for sequence in SEQUENCES]


def fold(network, sequences, recycles=None, chunk_size=None):
    order = residue_constants.restype_order
    ids = [torch.tensor([order[residue] for residue in each]) for each in sequences]
    return read_folds(network, run_network(network, ids, recycles, chunk_size))


def distance(folds, references):
    """Largest difference in pLDDT of an atom, in pTM, and in PAE of a residue."""
    pairs = list(zip(folds, references, strict=True))
    plddt = [(one.atom_plddt - 100 * ref.plddt[0]).abs().max() for one, ref in pairs]
    ptm = [abs(one.ptm - ref.ptm) for one, ref in pairs]
    pae = [(one.residue_pae - ref.predicted_aligned_error[0].mean(0)).abs().max()
           for one, ref in pairs]  # fmt: skip
    return torch.tensor([max(plddt), max(ptm), max(pae)])


BATCHES = [
    [[0, 1, 2, 3, 4, 5, 6, 7, 8]],
    [[1], [0], [3], [2], [5], [4], [7], [6], [8]],
    [[0, 1], [8, 2, 7], [3, 4, 5, 6]],
]


@pytest.mark.parametrize(
    ("batches", "chunk_size"),
    [*((batches, None) for batches in BATCHES), (BATCHES[0], 64), (BATCHES[0], 7), (BATCHES[2], 1)],
)
def test_every_batch_and_chunk_size_gives_what_the_library_gives_alone(
    network, singles, batches, chunk_size
):
    for batch in batches:
        folds = fold(network, [SEQUENCES[i] for i in batch], chunk_size=chunk_size)
        references = [singles[i] for i in batch]
        assert (distance(folds, references) < TOLERANCES).all()
        for one, reference in zip(folds, references, strict=True):
            exists = reference.atom37_atom_exists[0].bool()
            assert one.mean_plddt == pytest.approx(
                100 * reference.plddt[0, :, ALPHA_CARBON].mean().item(), abs=1e-3
            )
            assert one.mean_plddt_all_atom == pytest.approx(
                100 * reference.plddt[0][exists].mean().item(), abs=1e-3
            )
            pae = reference.predicted_aligned_error.mean().item()
            assert one.mean_pae == pytest.approx(pae, abs=1e-3)


def test_more_recycles_give_what_the_library_gives(network):
    sequences = SEQUENCES[:3]
    for recycles in (0, 2):
        copied = copy.deepcopy(network)
        copied.trunk.config.max_recycles = recycles + 1
        references = [copied.infer([sequence]) for sequence in sequences]
        assert (distance(fold(network, sequences, recycles), references) < TOLERANCES).all()


def test_atoms_are_the_librarys(network, singles):
    for one, reference in zip(fold(network, SEQUENCES), singles, strict=True):
        positions = network.output_to_pdb(reference)[0].splitlines()
        expected = [line[30:54] for line in positions if line.startswith("ATOM")]
        atoms = one.atoms[one.atom_exists.bool()]
        assert len(expected) == len(atoms)
        found = torch.tensor([[float(line[i : i + 8]) for i in (0, 8, 16)] for line in expected])
        torch.testing.assert_close(atoms, found, atol=2e-3, rtol=0)


def swap_heads(network):
    query = network.trunk.blocks[1].tri_att_start.mha.linear_q.weight
    heads = query.view(-1, network.config.esmfold_config.trunk.pairwise_head_width, len(query.T))
    query.copy_(torch.cat([heads[1:2], heads[:1], heads[2:]]).view_as(query))


def exchange_query_and_key(network):
    attention = network.trunk.blocks[1].tri_att_end.mha
    attention.linear_q, attention.linear_k = attention.linear_k, attention.linear_q


def exchange_edges(network):
    block = network.trunk.blocks[1]
    block.tri_mul_in, block.tri_mul_out = block.tri_mul_out, block.tri_mul_in


def skip_block(network):
    network.trunk.blocks = network.trunk.blocks[:1]


@pytest.mark.parametrize("spoil", [swap_heads, exchange_query_and_key, exchange_edges, skip_block])
def test_negative_control_a_wrong_network_fails_by_far(network, singles, spoil):
    wrong = copy.deepcopy(network)
    with torch.no_grad():
        spoil(wrong)
    assert (distance(fold(wrong, SEQUENCES), singles) > 100 * TOLERANCES).all()


def test_negative_control_without_the_mask_it_fails_by_far(network, singles, monkeypatch):
    monkeypatch.setattr(
        trunk_file, "padding_mask", lambda lengths, width: torch.ones(len(lengths), width).bool()
    )
    assert (distance(fold(network, SEQUENCES), singles) > 100 * TOLERANCES).all()


def test_the_librarys_batched_ptm_is_one_number_and_ours_is_not(network, singles):
    together = network.infer(SEQUENCES)
    assert together.ptm.ndim == 0
    wrong = [abs(together.ptm - single.ptm) for single in singles]
    assert max(wrong) > 100 * TOLERANCES[1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_with_the_language_model_in_half_precision_neighbours_change_nothing(network, dtype):
    half = copy.deepcopy(network)
    for parameter in half.esm.parameters():
        parameter.data = parameter.data.to(dtype)
    references = [half.infer([sequence]) for sequence in SEQUENCES]
    assert (distance(fold(half, SEQUENCES), references) < TOLERANCES).all()


def test_in_double_precision_only_rounding_is_left(network):
    double = copy.deepcopy(network).double()
    references = [double.infer([sequence]) for sequence in SEQUENCES[:4]]
    assert distance(fold(double, SEQUENCES[:4]), references).max() < 1e-4
