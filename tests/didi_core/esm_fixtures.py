"""Tiny ESM networks in which every tensor is drawn at random, and folders of others that hold them.

Zeros and ones agree with anything, so norms and biases are drawn too.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import EsmConfig, EsmForMaskedLM

from didi_core.data.vocabulary import Vocabulary
from didi_core.models.esm import EsmDenoiser
from didi_core.models.esm_config import settings_from_config
from didi_core.models.esm_names import from_published

NUM_LAYERS, HIDDEN, HEADS, INNER, VOCABULARY = 3, 48, 4, 80, 33
CLS, PAD, EOS, MASK = 0, 1, 2, 32
TOKENS = Vocabulary(
    tokens=tuple(f"token{index}" for index in range(33)),
    mask_id=MASK,
    pad_id=1,
    generable_ids=tuple(range(4, 24)),
    bos_id=0,
    eos_id=2,
)


def reference_model(*, token_dropout: bool, seed: int = 0) -> EsmForMaskedLM:
    """The published implementation, in float32 and evaluation mode."""
    config = EsmConfig(
        vocab_size=VOCABULARY,
        mask_token_id=MASK,
        pad_token_id=PAD,
        hidden_size=HIDDEN,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=130,
        position_embedding_type="rotary",
        emb_layer_norm_before=False,
        token_dropout=token_dropout,
        layer_norm_eps=1e-5,
    )
    model = EsmForMaskedLM(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            near_one = "norm" in name.lower() and name.endswith("weight")
            drawn = torch.randn(parameter.shape, generator=generator) * 0.3
            parameter.copy_(drawn + near_one)
    return model


def dsm_logits(hidden: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """What DSM's head makes of hidden states [..., hidden], by the tensors of its folder."""
    named = {name.removeprefix("lm_head."): each for name, each in weights.items()}
    hidden = F.gelu(F.linear(hidden, named["dense.weight"], named["dense.bias"]))
    norm = (named["layer_norm.weight"], named["layer_norm.bias"], 1e-5)
    hidden = F.layer_norm(hidden, hidden.shape[-1:], *norm)
    matrix = named.get("decoder.weight", weights["esm.embeddings.word_embeddings.weight"])
    return 30.0 * torch.tanh(F.linear(hidden, matrix, named["decoder.bias"]) / 30.0)


def our_copy(model: EsmForMaskedLM) -> EsmDenoiser:
    settings = settings_from_config(model.config.to_dict(), "reference")
    return from_published(model.state_dict(), settings, "reference").eval()


def masked_batch(share: float, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Framed rows of lengths 25, 9, 17 and 3, padded, with that share of the inside masked."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([25, 9, 17, 3])
    tokens = torch.randint(4, 24, (4, 25), generator=generator)
    inside = torch.rand(tokens.shape, generator=generator) < share
    tokens[inside] = MASK
    tokens[:, 0] = CLS
    tokens[torch.arange(4), lengths - 1] = EOS
    tokens[torch.arange(25) >= lengths[:, None]] = PAD
    return tokens, lengths


def reference_logits(model: EsmForMaskedLM, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Of every real position, row by row and without padding.

    Row by row, because transformers 4.57 rescales padded rows wrongly under token dropout.
    """
    with torch.no_grad():
        rows = zip(tokens, lengths.tolist(), strict=True)
        return torch.cat([model(row[None, :length]).logits[0] for row, length in rows])


def our_logits(denoiser: EsmDenoiser, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Of every real position, from one padded batch."""
    at = torch.arange(tokens.shape[1]) < lengths[:, None]
    with torch.no_grad():
        return denoiser.logits_at(tokens, lengths, at)


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference over largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


def write_dplm_folder(folder: Path, model: EsmForMaskedLM) -> Path:
    """As DPLM's code under transformers 4.39 writes it: pickled, rotary frequencies in each layer.

    Names and keys are those that transformers 4.39.2 was seen to write (position embeddings
    included, though the positions are rotary), plus the `position_ids` of earlier versions.
    """
    weights = {
        name: tensor.clone()
        for name, tensor in model.state_dict().items()
        if "contact_head" not in name and not name.endswith("inv_freq")
    }
    weights["lm_head.decoder.weight"] = weights["esm.embeddings.word_embeddings.weight"].clone()
    weights["esm.embeddings.position_ids"] = torch.arange(130)[None]
    weights["esm.embeddings.position_embeddings.weight"] = torch.randn(130, HIDDEN)
    for layer in range(NUM_LAYERS):
        name = f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"
        # In half precision and wrong: they must be computed anew, not read.
        weights[name] = torch.full((HIDDEN // HEADS // 2,), 0.5, dtype=torch.float16)
    config = {
        "_name_or_path": "facebook/esm2_t30_150M_UR50D",
        "architectures": ["EsmForDPLM"],
        "attention_probs_dropout_prob": 0.0,
        "dplm_type": "dplm_esm",
        "emb_layer_norm_before": False,
        "esmfold_config": None,
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "is_folding_model": False,
        "layer_norm_eps": 1e-05,
        "mask_token_id": MASK,
        "max_position_embeddings": 130,
        "model_type": "esm",
        "num_attention_heads": HEADS,
        "num_hidden_layers": NUM_LAYERS,
        "pad_token_id": PAD,
        "position_embedding_type": "rotary",
        "token_dropout": model.config.token_dropout,
        "torch_dtype": "float32",
        "transformers_version": "4.39.2",
        "use_cache": True,
        "vocab_list": None,
        "vocab_size": VOCABULARY,
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(weights, folder / "pytorch_model.bin")
    return folder


def published_config(**changes: object) -> dict[str, object]:
    """What the configs of DSM (GleghornLab/DSM_650) and FastPLMs (Synthyra) have in common.

    Both say that token dropout is on. They name code of their own (`auto_map`), never run here.
    """
    code = "Synthyra/ESM2-650M--modeling_fastesm"
    return {
        "attention_probs_dropout_prob": 0.0,
        "auto_map": {
            "AutoConfig": f"{code}.FastEsmConfig",
            "AutoModelForMaskedLM": f"{code}.FastEsmForMaskedLM",
        },
        "classifier_dropout": None,
        "emb_layer_norm_before": False,
        "esmfold_config": None,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "is_folding_model": False,
        "layer_norm_eps": 1e-05,
        "mask_token_id": MASK,
        "max_position_embeddings": 130,
        "num_attention_heads": HEADS,
        "num_hidden_layers": NUM_LAYERS,
        "pad_token_id": PAD,
        "position_embedding_type": "rotary",
        "tie_word_embeddings": False,
        "token_dropout": True,
        "torch_dtype": "float32",
        "transformers_version": "4.51.3",
        "use_cache": True,
        "vocab_list": None,
        "vocab_size": VOCABULARY,
        **changes,
    }


def published_weights(model: EsmForMaskedLM) -> dict[str, Tensor]:
    """The tensors of FastPLMs' copies: an output matrix apart, rotary frequencies in each layer."""
    weights = {name: each.detach().clone() for name, each in model.state_dict().items()}
    generator = torch.Generator().manual_seed(5)
    weights["lm_head.decoder.weight"] = torch.randn(VOCABULARY, HIDDEN, generator=generator) * 0.3
    for layer in range(model.config.num_hidden_layers):
        name = f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"
        weights[name] = torch.full((HIDDEN // HEADS // 2,), 0.5)  # wrong: computed anew
    return weights


def write_folder(folder: Path, config: dict[str, object], weights: dict[str, Tensor]) -> Path:
    """A folder as the hub holds it: no `vocab.txt`."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_fast_esm_folder(folder: Path, model: EsmForMaskedLM, **changes: object) -> Path:
    """As `Synthyra/ESM2-8M` and its larger siblings."""
    config = published_config(architectures=["FastEsmForMaskedLM"], model_type="fast_esm")
    return write_folder(folder, config | changes, published_weights(model))


def write_dplm_copy(folder: Path, model: EsmForMaskedLM) -> Path:
    """As `Synthyra/DPLM-150M` and its larger siblings."""
    changes = {"architectures": ["DPLMForMaskedLM"], "model_type": "dplm", "dplm_type": "dplm_esm"}
    return write_fast_esm_folder(folder, model, **changes)


def dsm_weights(model: EsmForMaskedLM, *, tied: bool = False) -> dict[str, Tensor]:
    """The tensors of DSM's class (Gleghorn-Lab/DSM at 4d56058): its pooler is never used.

    Args:
        tied: leave the output matrix out, as where it was saved as the embedding itself.
    """
    weights = published_weights(model)
    weights["lm_head.decoder.bias"] = 20 * weights.pop("lm_head.bias")  # so that the cap is felt
    weights["pooler.dense.weight"] = torch.full((HIDDEN, HIDDEN), torch.nan)
    weights["pooler.dense.bias"] = torch.zeros(HIDDEN)
    if tied:
        del weights["lm_head.decoder.weight"]
    return weights


def write_dsm_folder(folder: Path, model: EsmForMaskedLM, *, tied: bool = False) -> Path:
    """As `GleghornLab/DSM_150` and `DSM_650`."""
    config = published_config(
        architectures=["ESM_Diff"], model_type="esm_diff", at_vocab_size=30000, num_at_layers=1
    )
    return write_folder(folder, config, dsm_weights(model, tied=tied))
