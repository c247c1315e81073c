"""ESMFold2 equals `infer_protein` on each sequence alone, under the same draws.

The tolerances are those of the design: 1e-3 on pLDDT (0 to 100), 1e-5 on pTM, 1e-3 on PAE.
"""

import copy
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from folding_fixtures import fold_sequences, write_esmfold2
from safetensors.torch import load_file, save_file
from transformers import EsmFold2Model
from transformers.models.esmfold2.protein_utils import output_to_pdb, prepare_protein_features

from didi_core.errors import UserError
from didi_protein.folding import esmfold2, esmfold2_trunk, memory, network
from didi_protein.folding.esmfold2 import EsmFold2, draw_seed
from didi_protein.folding.esmfold2_trunk import stack_features
from didi_protein.folding.fold import ALPHA_CARBON, FoldRequest
from didi_protein.folding.memory import fold_or_shrink
from didi_protein.folding.network import open_folding_model
from didi_protein.folding.structure_files import pdb_text

TOLERANCES = torch.tensor([1e-3, 1e-5, 1e-3])
SEQUENCES = [*fold_sequences(3, 4, 20), "GGWGPHDC"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_esmfold2(tmp_path_factory.mktemp("esmfold2"))


@pytest.fixture(scope="module")
def library(folder):
    return EsmFold2Model.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def model(folder):
    return open_folding_model(str(folder))


@pytest.fixture(scope="module")
def singles(library):
    return references(library)


def references(network, seed=0, **settings):
    """Return the library's own path, one sequence at a time."""
    found = []
    for sequence in SEQUENCES:
        torch.manual_seed(draw_seed(seed, sequence))
        found.append(network.infer_protein(sequence, **settings))
    return found


def atoms_of(fold, values):
    """Return what each atom has, residue by residue: sorted, as the orders of atoms differ."""
    return values[fold.atom_exists.bool()]


def distance(folds, outputs):
    """Largest difference in pLDDT of an atom, in pTM, and in PAE of a residue."""
    found = []
    for fold, output in zip(folds, outputs, strict=True):
        best = int(output.ptm.argmax())
        own = atoms_of(fold, fold.atom_plddt).sort().values
        theirs = 100 * output.plddt_per_atom[best, : len(own)].sort().values
        found.append(
            [
                (own - theirs).abs().max(),
                abs(fold.ptm - output.ptm[best]),
                (fold.residue_pae - output.pae[best].mean(0)).abs().max(),
            ]
        )
    return torch.tensor(found).amax(0)


@pytest.mark.parametrize("batches", [[[0, 1, 2, 3]], [[3, 0], [2], [1]]])
def test_every_batch_gives_what_the_library_gives_alone(model, singles, batches):
    for batch in batches:
        folds = fold_or_shrink(model, [SEQUENCES[i] for i in batch])
        assert (distance(folds, [singles[i] for i in batch]) < TOLERANCES).all()


def test_the_librarys_own_batch_draws_other_structures(library, singles):
    features = stack_features([prepare_protein_features(each) for each in SEQUENCES])
    torch.manual_seed(draw_seed(0, SEQUENCES[0]))
    together = library.fold(**features, num_diffusion_samples=3).ptm.view(len(SEQUENCES), 3).amax(1)
    wrong = [abs(one - single.ptm.max()) for one, single in zip(together, singles, strict=True)]
    assert max(wrong) > 100 * TOLERANCES[1]


def test_atoms_and_their_plddt_are_those_of_the_librarys_best_sample(model, singles):
    for sequence, output in zip(SEQUENCES, singles, strict=True):
        features, fold = prepare_protein_features(sequence), fold_or_shrink(model, [sequence])[0]
        theirs = {_atom(line): line for line in output_to_pdb(output, features).splitlines()}
        ours = {_atom(line): line for line in pdb_text(fold, "a", "b").splitlines()}
        atoms = [atom for atom in ours if atom is not None]
        assert set(atoms) == set(theirs) - {None}
        for atom in atoms:
            assert ours[atom][30:54] == theirs[atom][30:54]
        best = int(output.ptm.argmax())
        total = fold.residue_plddt.sum() / 100
        assert total == pytest.approx(output.plddt[best].sum().item(), abs=1e-4)


def _atom(line):
    return line[12:26] if line.startswith("ATOM") else None


def test_plddt_is_of_alpha_carbons_where_the_librarys_is_of_beta_carbons(model, singles):
    glycines = torch.tensor([letter == "G" for letter in SEQUENCES[-1]])
    fold, output = fold_or_shrink(model, SEQUENCES[-1:])[0], singles[-1]
    theirs = 100 * output.plddt_ca[int(output.ptm.argmax())]
    assert fold.plddt.tolist() == fold.atom_plddt[:, ALPHA_CARBON].tolist()
    torch.testing.assert_close(fold.plddt[glycines], theirs[glycines])
    assert ((fold.plddt - theirs)[~glycines].abs() > 0.1).all()


def test_nobody_elses_draws_are_touched_and_none_of_theirs_matter(model):
    one = fold_or_shrink(model, SEQUENCES[1:3])
    torch.manual_seed(1)
    before = torch.get_rng_state()
    for fold, again in zip(one, fold_or_shrink(model, SEQUENCES[1:3]), strict=True):
        assert torch.equal(fold.atoms, again.atoms) and fold.ptm == again.ptm
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("request_of", "settings"),
    [
        (FoldRequest(recycles=0, samples=1), {"num_loops": 0, "num_diffusion_samples": 1}),
        (FoldRequest(seed=7, samples=2), {"seed": 7, "num_diffusion_samples": 2}),
    ],
)
def test_loops_samples_and_seed_are_the_librarys(library, folder, request_of, settings):
    folds = fold_or_shrink(open_folding_model(str(folder), request=request_of), SEQUENCES)
    assert (distance(folds, references(library, **settings)) < TOLERANCES).all()


def permute_weight(network):
    projection = network.folding_trunk.layers[0].tri_mul_out.proj_bundle.weight
    projection.copy_(projection.roll(1, 0))


def exchange_edges(network):
    layer = network.folding_trunk.layers[1]
    layer.tri_mul_in, layer.tri_mul_out = layer.tri_mul_out, layer.tri_mul_in
    layer.tri_mul_in.flow, layer.tri_mul_out.flow = "incoming", "outgoing"


def skip_layer(network):
    network.folding_trunk.layers = network.folding_trunk.layers[:1]


def silence_language_model(network):
    network.language_model.single_to_pair.output_fc2.weight.zero_()


def without_msa(network):
    network.msa_encoder = None


@pytest.mark.parametrize(
    "spoil", [permute_weight, exchange_edges, skip_layer, silence_language_model, without_msa]
)
def test_negative_control_a_wrong_network_fails_by_far(model, singles, spoil):
    wrong = copy.deepcopy(model.network)
    with torch.no_grad():
        spoil(wrong)
    folds = fold_or_shrink(_with(model, network=wrong), SEQUENCES)
    assert (distance(folds, singles) > 100 * TOLERANCES).all()


def test_negative_control_another_seed_fails_by_far(model, singles):
    folds = fold_or_shrink(_with(model, seed=1), SEQUENCES)
    assert (distance(folds, singles) > 100 * TOLERANCES).all()


def _with(model, **changes):
    names = ("name", "network", "precision", "fingerprint", "recycles", "samples", "seed")
    return EsmFold2(**{name: getattr(model, name) for name in names} | changes)


def test_negative_control_without_the_mask_it_fails_by_far(model, singles, monkeypatch):
    monkeypatch.setattr(
        esmfold2_trunk, "pair_mask", lambda mask: torch.ones(*mask.shape, mask.shape[1])
    )
    assert (distance(fold_or_shrink(model, SEQUENCES), singles) > 100 * TOLERANCES).all()


def test_chunks_change_no_result_and_shrink_where_memory_runs_out(model, singles, monkeypatch):
    folds = fold_or_shrink(model, SEQUENCES, chunk_size=3)
    assert (distance(folds, singles) < TOLERANCES).all()
    tried, run = [], esmfold2.run_trunk

    def limited(network, features, draws, recycles):
        tried.append(network.folding_trunk.layers[0].pair_transition.chunk_size)
        if tried[-1] > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(network, features, draws, recycles)

    monkeypatch.setattr(esmfold2, "run_trunk", limited)
    assert fold_or_shrink(model, SEQUENCES[:1], 64)[0].ptm == pytest.approx(folds[0].ptm, abs=1e-5)
    assert tried == [64, 32, 16]
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match="4 x 20 residues need about"):
        fold_or_shrink(model, SEQUENCES)


def test_the_language_model_alone_is_in_bf16(folder, model):
    half = open_folding_model(str(folder), precision="bf16")
    dtypes = {each.dtype for each in half.network.esmc.parameters()}
    assert dtypes == {torch.bfloat16, torch.float32}  # norms stay
    others = [each for name, each in half.network.named_parameters() if "esmc." not in name]
    assert {each.dtype for each in others} == {torch.float32}
    folds = fold_or_shrink(half, SEQUENCES)
    assert (distance(folds, references(half.network)) < TOLERANCES).all()
    assert (distance(folds, references(model.network)) > TOLERANCES).all()
    assert half.fingerprint == model.fingerprint


class _Mischief:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_folder_s_pickled_ligands_are_never_read(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    ligands = tmp_path / "ccd.pkl"
    ligands.write_bytes(pickle.dumps(_Mischief(tmp_path / "done")))
    assert fold_or_shrink(open_folding_model(str(tmp_path)), ["GA"])
    assert not (tmp_path / "done").exists()


def _without(prefix):
    return lambda weights: {k: v for k, v in weights.items() if not k.startswith(prefix)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("esmc."), "lacks its language model"),
        (_without("esmc.layers.1."), r"missing esmc\.layers\.1\."),
        (_without("msa_encoder.embed"), r"missing msa_encoder\.embed"),
        (lambda weights: weights | {"more": torch.zeros(1)}, "unexpected more"),
        (lambda weights: weights | {"parcae.log_delta": torch.zeros(3)}, "shape parcae.log_delta"),
        (
            lambda weights: weights | {"parcae.log_delta": torch.full((12,), torch.nan)},
            r"not finite: parcae\.log_delta",
        ),
    ],
)
def test_weights_must_fit(folder, tmp_path, change, message):
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    save_file(change(load_file(folder / "model.safetensors")), tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=message):
        open_folding_model(str(tmp_path))


def test_what_cannot_be_is_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"--fold-precision fp16: .*bf16"):
        open_folding_model(str(folder), precision="fp16")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "esmc"}))
    with pytest.raises(UserError, match="no ESMFold2"):
        open_folding_model(str(tmp_path))
    content = json.loads((folder / "config.json").read_text()) | {"single_inputs_size": 5}
    (tmp_path / "config.json").write_text(json.dumps(content))
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    with pytest.raises(UserError, match=r"no ESMFold2: .*single_inputs_size"):
        open_folding_model(str(tmp_path))
    with pytest.raises(UserError, match="didi-protein download biohub/ESMFold2-Fast"):
        open_folding_model("esmfold2-fast", offline=True)
    monkeypatch.setattr(network, "transformers", SimpleNamespace(__version__="5.15.1"))
    for name in ("esmfold2", str(folder)):
        with pytest.raises(UserError, match=r"5\.15\.1 .*pip install -U 'transformers>=5\.16'"):
            open_folding_model(name)
