"""Autoregressive models over residues: built, saved and opened as Hugging Face causal LMs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError
from didi_core.io.files import write_text
from didi_core.models.causal import CausalNetwork
from didi_core.models.causal_folder import load_causal_model, write_causal_folder
from didi_core.models.folder import LoadedModel
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.settings import ModelSettings

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedModel

_MASK = "<mask>"


def build_causal_model(model: ModelSettings, vocabulary: Vocabulary) -> "LlamaForCausalLM":
    """Build a freshly initialised Llama-layout network; weights come from torch's global seed."""
    from transformers import LlamaConfig, LlamaForCausalLM  # slow to import

    config = LlamaConfig(
        vocab_size=vocabulary.size,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size,
        num_hidden_layers=model.num_layers,
        num_attention_heads=model.num_heads,
        num_key_value_heads=model.num_heads,
        max_position_embeddings=model.max_residues + vocabulary.num_special_per_sequence,
        bos_token_id=vocabulary.bos_id,
        eos_token_id=vocabulary.eos_id,
        pad_token_id=vocabulary.pad_id,
        tie_word_embeddings=True,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


def save_causal_folder(
    folder: Path,
    model: "PreTrainedModel",
    vocabulary: Vocabulary,
    card: str,
    dtype: torch.dtype = torch.float32,
    extra_config: Mapping[str, Any] | None = None,
) -> None:
    """Write vocab.txt, README.md, model.safetensors and config.json, each file atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "vocab.txt", "\n".join(vocabulary.tokens) + "\n")
    write_causal_folder(folder, model, card, dtype, extra_config)


def load_causal_folder(folder: Path, described: str) -> "tuple[PreTrainedModel, Vocabulary]":
    """Load the network of a folder and what its ids mean, the 20 residues generable.

    Others' vocabularies may lack a mask: it is then an id of its own, which no network is given.

    Args:
        described: what messages call it: the flag and its value.

    Raises:
        UserError: see `load_causal_model`; or no vocabulary with one token a residue.
    """
    tokens = _read_tokens(folder, described)
    model = load_causal_model(folder, described)
    if len(tokens) > (size := model.get_input_embeddings().weight.shape[0]):
        raise UserError(
            f"{described} has {size:,} ids and its vocab.txt {len(tokens):,} tokens: another "
            "vocabulary lies in the folder."
        )
    ids = {token: index for index, token in enumerate(tokens)}
    bos_id = _bos_id(model, ids, described)
    eos_id, pad_id = (_named_id(model, role, len(tokens)) for role in ("eos", "pad"))
    eos_id = eos_id if eos_id is not None else ids.get("<eos>")
    return model, Vocabulary(
        tokens=tokens if _MASK in ids else (*tokens, _MASK),
        mask_id=ids.get(_MASK, len(tokens)),
        pad_id=pad_id if pad_id is not None else bos_id,
        generable_ids=tuple(sorted(ids[residue] for residue in CANONICAL_RESIDUES)),
        bos_id=bos_id,
        eos_id=eos_id,
    )


def open_causal_model(
    folder: Path, described: str, device: torch.device | str, dtype: torch.dtype
) -> LoadedModel:
    """Open an autoregressive model to write with; see `load_causal_folder`."""
    network, vocabulary = load_causal_folder(folder, described)
    written = CausalNetwork(network, cast(int, vocabulary.bos_id)).to(device, dtype)
    return LoadedModel(written, vocabulary, network.config.to_dict(), str(folder), folder, {})


def _read_tokens(folder: Path, described: str) -> tuple[str, ...]:
    path = folder / "vocab.txt"
    if not path.is_file():
        raise UserError(f"{described}: {folder} has no vocab.txt (one token a line).")
    tokens = tuple(path.read_text(encoding="utf-8").splitlines())
    missing = [residue for residue in CANONICAL_RESIDUES if residue not in tokens]
    if missing:
        raise UserError(
            f"{described}: its vocabulary has no single token for {' '.join(missing)}; "
            "an autoregressive model of proteins must read one residue a token."
        )
    return tokens


def _bos_id(model: "PreTrainedModel", ids: dict[str, int], described: str) -> int:
    bos_id = _named_id(model, "bos", len(ids))
    if bos_id is None:
        bos_id = ids.get("<cls>", ids.get("<bos>"))
    if bos_id is None:
        raise UserError(f"{described}: its config.json names no bos_token_id among its tokens.")
    return bos_id


def _named_id(model: "PreTrainedModel", role: str, num_tokens: int) -> int | None:
    """Return the id that the configuration names; None where it is none of the vocabulary's.

    Configurations have defaults of other vocabularies: GPT-2's end is 50,256.
    """
    named = getattr(model.config, f"{role}_token_id", None)
    return named if isinstance(named, int) and 0 <= named < num_tokens else None
