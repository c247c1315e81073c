"""ESMFold2 behind the interface of folding models: opened from a folder, folding padded batches.

The network is transformers' `EsmFold2Model` [1]_; its own featurizer, sampler and confidence head
are called on each sequence alone, its trunk on a batch (`didi_protein.folding.esmfold2_trunk`). It
draws: the first state of its trunk, the dropout of its language model's pairs in every pass, and
the structures. All draws of a sequence are keyed by the seed and the sequence: neither batch nor
order changes a structure.

.. [1] BioHub 2026, ESMFold2 (`biohub/ESMFold2`); class and modules `transformers.models.esmfold2`.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import EsmFold2Config, EsmFold2Model
from transformers.models.esm.openfold_utils import residue_constants
from transformers.models.esmfold2.modeling_esmfold2 import (
    EsmFold2PairUpdateLayer,
    EsmFold2TrunkOutput,
)
from transformers.models.esmfold2.protein_utils import (
    PROTEIN_1TO3,
    PROTEIN_HEAVY_ATOMS,
    prepare_protein_features,
)

from didi_core.errors import UserError
from didi_core.models.fingerprint import weights_digest
from didi_core.models.weight_files import read_folder_weights
from didi_protein.folding.esmfold2_trunk import run_trunk
from didi_protein.folding.fold import NUM_ATOMS, Fold, FoldRequest
from didi_protein.folding.loading import PRECISIONS, load_network
from didi_protein.folding.memory import require_memory

TAKEN = "highest pTM"
"""Which of the structures drawn is taken, as the library does that writes one."""
_LANGUAGE_MODEL = "esmc."
_JUDGED = ("distogram_atom_idx", "attention_mask", "asym_id", "mol_type")
_BUFFERS = (".inv_freq", ".original_inv_freq")


@dataclass(frozen=True)
class EsmFold2:
    """ESMFold2, ready to fold."""

    name: str
    """What the user called it."""
    network: EsmFold2Model
    """In evaluation mode; its language model in `precision`, all else in float32."""
    precision: str
    fingerprint: str
    """Of its weights."""
    recycles: int
    """Passes of the trunk after the first."""
    samples: int
    """Structures drawn of each sequence."""
    seed: int

    @property
    def draws(self) -> bool:
        return True

    @property
    def settings(self) -> dict[str, Any]:
        schedule, _ = self.network._build_noise_schedule(None, torch.device("cpu"))
        return {
            "recycles": self.recycles,
            "samples": self.samples,
            "sample_taken": TAKEN,
            "sampling_steps": len(schedule) - 1,
            "seed": self.seed,
        }

    @torch.no_grad()
    def fold_batch(self, sequences: Sequence[str], chunk_size: int | None) -> list[Fold]:
        """Fold sequences, the trunk in one padded batch, in chunks of this size."""
        width = max(map(len, sequences))
        pair_bytes, device = bytes_per_pair(self.network.config), self.network.device
        require_memory(pair_bytes, len(sequences), width, device)
        set_chunk_size(self.network, chunk_size)
        features = [prepare_protein_features(each, device=device) for each in sequences]
        keys = [draw_seed(self.seed, each) for each in sequences]
        draws = [torch.Generator(device).manual_seed(key) for key in keys]
        trunks = run_trunk(self.network, features, draws, self.recycles)
        parts = zip(sequences, features, trunks, draws, strict=True)
        return [self._take_best(*part) for part in parts]

    def _take_best(
        self,
        sequence: str,
        features: Mapping[str, Tensor],
        trunk: EsmFold2TrunkOutput,
        draws: torch.Generator,
    ) -> Fold:
        """Draw structures, which are a batch already, and take the first of the highest pTM."""
        with _drawing_from(draws):
            structures = draw_structures(self.network, features, trunk, self.samples)
        judged = (
            (judge_structure(self.network, features, trunk, each), each) for each in structures
        )
        confidence, coordinates = max(judged, key=lambda one: float(one[0]["ptm"]))
        return _fold_of(sequence, coordinates, confidence)


def draw_seed(seed: int, sequence: str) -> int:
    """Return the key of all draws of a sequence, 0 to 2^63 - 1."""
    digest = hashlib.sha256(f"{seed} {sequence}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def _drawing_from(draws: torch.Generator) -> Iterator[None]:
    """Let torch's own generator, of which the library draws, go on as `draws`; then as before."""
    on_gpu = draws.device.type == "cuda"
    with torch.random.fork_rng([draws.device] if on_gpu else []):
        if on_gpu:
            torch.cuda.set_rng_state(draws.get_state(), draws.device)
        else:
            torch.set_rng_state(draws.get_state())
        yield


def draw_structures(
    network: EsmFold2Model,
    features: Mapping[str, Tensor],
    trunk: EsmFold2TrunkOutput,
    samples: int,
) -> Float[Tensor, "samples atoms 3"]:
    """Draw structures by denoising coordinates, all at once; ångström, padding included."""
    return network._sample_structure(
        pair_trunk=trunk.pair_states,
        single_inputs=trunk.single_inputs,
        relative_position_encoding=trunk.relative_position_encoding,
        atom_inputs=trunk.atom_inputs,
        attention_mask=features["attention_mask"],
        num_diffusion_samples=samples,
    )


def judge_structure(
    network: EsmFold2Model,
    features: Mapping[str, Tensor],
    trunk: EsmFold2TrunkOutput,
    coordinates: Float[Tensor, "atoms 3"],
) -> dict[str, Tensor]:
    """Return the library's confidences of one structure.

    The pair representation stands once for each structure that is judged: all at once they would
    take `samples` times the memory of the trunk.
    """
    assert trunk.atom_inputs is not None
    return network.confidence_head(
        single_inputs=trunk.single_inputs,
        pair_states=trunk.pair_states,
        predicted_coords=coordinates.unsqueeze(0),
        atom_to_token=trunk.atom_inputs.atom_to_token,
        atom_attention_mask=trunk.atom_inputs.atom_attention_mask,
        relative_position_encoding=trunk.relative_position_encoding,
        token_bonds_encoding=trunk.token_bonds_encoding,
        **{name: features[name] for name in _JUDGED},
    )


def _fold_of(
    sequence: str, coordinates: Float[Tensor, "atoms 3"], found: Mapping[str, Tensor]
) -> Fold:
    """Bring coordinates and pLDDT of atoms into AlphaFold's layout."""
    token, atom = atom_places(sequence)
    atoms = torch.zeros(len(sequence), NUM_ATOMS, 3)
    atoms[token, atom] = coordinates[: len(token)].float().cpu()
    exists = torch.zeros(len(sequence), NUM_ATOMS)
    exists[token, atom] = 1.0
    plddt = torch.zeros(len(sequence), NUM_ATOMS)
    plddt[token, atom] = 100 * found["plddt_per_atom"][0, : len(token)].float().cpu()
    order = residue_constants.restype_order
    residues = torch.tensor([order[residue] for residue in sequence])
    # Rows are the residues on which the structures are aligned.
    pae = found["pae"][0].float().mean(0).cpu()
    return Fold(residues, atoms, exists, plddt, float(found["ptm"][0]), pae)


def atom_places(sequence: str) -> tuple[Int[Tensor, "atoms"], Int[Tensor, "atoms"]]:
    """Return residue and place among AlphaFold's 37 atoms of each atom, in the library's order."""
    names = [PROTEIN_HEAVY_ATOMS[PROTEIN_1TO3[residue]] for residue in sequence]
    token = [place for place, atoms in enumerate(names) for _ in atoms]
    atom = [residue_constants.atom_order[name] for atoms in names for name in atoms]
    return torch.tensor(token), torch.tensor(atom)


def set_chunk_size(network: EsmFold2Model, chunk_size: int | None) -> None:
    """Set how many rows of pairs the layers of the trunk expand at once; None for as published."""
    size = network.config.chunk_size if chunk_size is None else chunk_size
    for layer in network.modules():
        if isinstance(layer, EsmFold2PairUpdateLayer):
            for part in (layer.tri_mul_out, layer.tri_mul_in, layer.pair_transition):
                part.chunk_size = size


def bytes_per_pair(config: EsmFold2Config) -> int:
    """Return the peak memory of a pair entry (padding too), beside weights.

    Seven tensors of pairs are held from pass to pass (the state, the first pairs, the language
    model's, whole, dropped and refined, positions and bonds), and a triangle layer makes sixteen
    more. For ESMFold2 23,552 bytes; measured between 96 and 160 residues: 22,400 for each more.
    """
    return torch.float32.itemsize * 23 * config.pairwise_hidden_size


def open_esmfold2(
    name: str,
    folder: Path,
    content: Mapping[str, Any],
    device: torch.device,
    precision: str,
    request: FoldRequest,
) -> EsmFold2:
    """Open ESMFold2.

    Args:
        name: what the user called it.
        content: of its config.json.
        precision: of its language model, or auto: bf16 on a GPU, float32 on a CPU.

    Raises:
        UserError: the folder has no language model, its weights do not fit, or the precision is
            fp16.
    """
    flag = f"--fold {name}"
    if precision == "fp16":
        raise UserError(
            f"--fold-precision fp16: transformers runs the language model of {flag} in bf16 or "
            "float32; use one of them, or auto."
        )
    weights = read_folder_weights(folder)
    if not any(key.startswith(_LANGUAGE_MODEL) for key in weights):
        raise UserError(
            f"{flag}: {folder} lacks its language model (tensors {_LANGUAGE_MODEL}*), without "
            "which structures are wrong and nothing says so; fetch the whole model again."
        )
    network = load_network(
        EsmFold2Model,
        _config_from(content, flag),
        weights,
        flag,
        lambda key: key.endswith(_BUFFERS),
    )
    fingerprint = weights_digest(network)
    network = network.to(device).eval().requires_grad_(False)
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" else "float32"
    _cast_language_model(network.esmc, PRECISIONS[precision])
    config = network.config
    return EsmFold2(
        name,
        network,
        precision,
        fingerprint,
        config.num_loops if request.recycles is None else request.recycles,
        config.structure_head.num_diffusion_samples if request.samples is None else request.samples,
        request.seed,
    )


def _config_from(content: Mapping[str, Any], flag: str) -> EsmFold2Config:
    try:
        return EsmFold2Config.from_dict(dict(content))
    except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"{flag}: its config.json is of no ESMFold2: {why}.") from error


def _cast_language_model(network: nn.Module, dtype: torch.dtype) -> None:
    """Bring all weights but those of norms, which stay in float32, into a type."""
    for part in network.modules():
        if not isinstance(part, nn.LayerNorm):
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
