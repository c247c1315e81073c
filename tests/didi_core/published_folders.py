"""Folders and checkpoints as MDLM, Duo, SDTT and DiDi-Instruct write them, with random weights.

Names, shapes, key names and nesting are those of their public code; sizes are tiny.
"""

import json
from collections import OrderedDict
from pathlib import Path

import torch
from dit_fixtures import (
    CONDITION,
    HEADS,
    HIDDEN,
    LAYERS,
    VOCABULARY,
    discriminator_shapes,
    draw,
    published_shapes,
    published_weights,
)
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor

INVERSE = torch.full((4,), torch.nan)
"""The rotary buffer every one of them stores, and nobody needs."""
MDLM_CONFIG = {
    "_name_or_path": "mdlm",
    "architectures": ["MDLM"],
    "auto_map": {
        "AutoConfig": "configuration_mdlm.MDLMConfig",
        "AutoModelForMaskedLM": "modeling_mdlm.MDLM",
    },
    "cond_dim": CONDITION,
    "dropout": 0.1,
    "hidden_dim": HIDDEN,
    "model_length": 64,
    "model_type": "mdlm",
    "n_blocks": LAYERS,
    "n_heads": HEADS,
    "return_dict": False,
    "time_conditioning": False,
    "torch_dtype": "float32",
    "transformers_version": "4.38.2",
    "vocab_size": VOCABULARY,
}
DUO_CONFIG = {
    "architectures": ["DUO"],
    "causal": False,
    "cond_dim": CONDITION,
    "dropout": 0.1,
    "hidden_dim": HIDDEN,
    "model_length": 64,
    "model_type": "DUO",
    "n_blocks": LAYERS,
    "n_heads": HEADS,
    "torch_dtype": "float32",
    "var_min": True,
    "vocab_size": VOCABULARY,
}
"""It does not say that the network is conditioned on time."""
SDTT_CONFIG = {
    "T": 0,
    "compile": False,
    "data_preprocess": {"add_eos": True, "min_seq_len": -1, "seq_len": "${model.length}"},
    "mode": "train",
    "model": {
        "cond_dim": CONDITION,
        "dropout": 0.1,
        "hidden_size": HIDDEN,
        "length": 64,
        "n_blocks": LAYERS,
        "n_heads": HEADS,
        "name": "small",
        "scale_by_sigma": True,
        "tie_word_embeddings": False,
        "type": "ddit-orig",
    },
    "noise": {"sigma_max": 20, "sigma_min": 0.0001, "type": "loglinear"},
    "parameterization": {
        "checkpoint_path": "kuleshov-group/mdlm-owt",
        "distill_mode": "kl-bwd",
        "grow_dt_every": 10000,
        "loss_precision": None,
        "name": "multi-round-sdtt",
        "num_distill_steps": 2,
        "sampling": {"uncond": {"num_steps": 1024, "sampler": "ancestral"}},
        "sampling_mode": "ancestral",
        "start_from_hf": False,
    },
    "repo": "jdeschena/sdtt",
    "revision": "baselines_kld",
    "time_conditioning": False,
    "tokenizer": {"name": "gpt2"},
    "training": {"ema": 0.9999, "sampling_eps": 1e-05},
}
"""The whole training configuration, its references as they are written, is the `config.json`."""
ALGORITHMS = {
    "ar": {"parameterization": "ar", "time_conditioning": False, "causal_attention": True},
    "d3pm": {"parameterization": "mean", "time_conditioning": True, "T": 1000},
    "distillation": {"parameterization": "mean", "time_conditioning": True, "T": 64},
    "duo": {"parameterization": "mean", "time_conditioning": True},
    "duo_base": {"parameterization": "mean", "time_conditioning": True},
    "mdlm": {"parameterization": "subs", "time_conditioning": False},
    "ot-finetune": {"parameterization": "mean", "time_conditioning": True},
    "sedd": {"parameterization": "score", "time_conditioning": True},
}
"""What `configs/algo` of the Duo code base sets (s-sahoo/duo, commit
7c9b498f5b717de064d6fad7e2509c866e6cb620), by `algo.name`; what is left out is as in `mdlm`."""
TRAINING_CONFIG = {
    "mode": "train",
    "seed": 1,
    "algo": {
        "name": "mdlm",
        "backbone": "dit",
        "parameterization": "subs",
        "time_conditioning": False,
        "T": 0,
        "subs_masking": False,
        "causal_attention": False,
        "ignore_bos": False,
        "loss_type": "elbo",
    },
    "model": {
        "name": "small",
        "type": "ddit",
        "hidden_size": HIDDEN,
        "cond_dim": CONDITION,
        "length": 64,
        "n_blocks": LAYERS,
        "n_heads": HEADS,
        "scale_by_sigma": True,
        "dropout": 0.1,
        "tie_word_embeddings": False,
        "vocab_lookup": True,
    },
    "training": {"ema": 0.9999, "antithetic_sampling": True},
    "eval": {"checkpoint_path": "${mode}"},
}


def algorithm_config(name: str) -> dict:
    """The training configuration of one algorithm of the Duo code base."""
    return {
        **TRAINING_CONFIG,
        "algo": {**TRAINING_CONFIG["algo"], "name": name, **ALGORITHMS[name]},
    }


class Tokenizer:
    """An object of a class that the reader does not know, with a state."""

    def __init__(self) -> None:
        self.words = ["a", "b"]


def prefixed(prefix: str, weights: dict[str, Tensor], buffer: bool = True) -> dict[str, Tensor]:
    extra = {f"{prefix}rotary_emb.inv_freq": INVERSE.clone()} if buffer else {}
    return {**{prefix + name: tensor for name, tensor in weights.items()}, **extra}


def write_config(folder: Path, config: dict | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))


def mdlm_folder(folder: Path, weights: dict[str, Tensor] | None = None, **changes: object) -> Path:
    """As `kuleshov-group/mdlm-owt`."""
    config = {key: value for key, value in {**MDLM_CONFIG, **changes}.items() if value is not None}
    write_config(folder, config)
    stored = prefixed("backbone.", weights or published_weights())
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def duo_folder(folder: Path, weights: dict[str, Tensor], **changes: object) -> Path:
    """As `s-sahoo/duo` and `s-sahoo/duo-distilled`."""
    write_config(folder, {**DUO_CONFIG, **changes})
    stored = prefixed("backbone.", weights)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def sdtt_folder(folder: Path, weights: dict[str, Tensor], prefix: str = "backbone.") -> Path:
    """As one revision of `jdeschena/sdtt`.

    Args:
        prefix: "backbone.backbone." of `teacher_1M_sm`, which wraps MDLM's own module.
    """
    write_config(folder, SDTT_CONFIG)
    save_file(prefixed(prefix, weights), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def didi_folder(folder: Path, config: dict | None, weights: dict[str, Tensor]) -> Path:
    """As `haoyangzheng/didi-instruct-small`: no prefix, the discriminator beside."""
    write_config(folder, config)
    save_file(prefixed("", weights), folder / "model.safetensors")
    words = len(weights["vocab_embed.embedding"])
    stored = prefixed("", draw(discriminator_shapes(words=words), 5))
    save_file(stored, folder / "discriminator.safetensors")
    return folder


def training_content(
    *, seed: int = 0, ema_seed: int | None = 9, config: dict | None = None, **state: Tensor
) -> dict:
    """What Lightning stores of a run of the Duo code base."""
    shadow = None if ema_seed is None else list(published_weights(ema_seed).values())
    stored = published_weights(seed)
    # The buffer stands among the parameters, after the embedded time, as in the public module.
    names = list(stored)
    split = names.index("blocks.0.norm1.weight")
    ordered = {name: stored[name] for name in names[:split]}
    ordered["rotary_emb.inv_freq"] = INVERSE.clone()
    ordered |= {name: stored[name] for name in names[split:]}
    content = {
        "epoch": 2,
        "global_step": 1000,
        "pytorch-lightning_version": "2.2.1",
        "state_dict": OrderedDict({f"backbone.{n}": t for n, t in ordered.items()} | state),
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint": {"best_k_models": {}, "kept": Tokenizer()}},
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 3e-4}]}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {
            "config": OmegaConf.create(TRAINING_CONFIG if config is None else config),
            "tokenizer": Tokenizer(),
            "vocab_size": None,
        },
        "sampler": {"random_state": None},
    }
    if shadow is not None:
        content["ema"] = {"decay": 0.9999, "num_updates": 1000, "shadow_params": shadow}
    return content


def causal_weights(seed: int = 0, words: int = VOCABULARY) -> dict[str, Tensor]:
    """Of the autoregressive network of the same code base: no condition, no embedded time."""
    shapes = published_shapes(words=words)
    return draw({n: s for n, s in shapes.items() if "sigma" not in n and "adaLN" not in n}, seed)


def algorithm_content(name: str, weights: dict[str, Tensor], **model: object) -> dict:
    """What Lightning stores of an algorithm's training; `weights` are the average's."""
    config = algorithm_config(name)
    content = training_content(config={**config, "model": {**config["model"], **model}})
    live = draw({name: tuple(tensor.shape) for name, tensor in weights.items()}, 8)
    state = {f"backbone.{name}": tensor for name, tensor in live.items()}
    buffer = {"backbone.rotary_emb.inv_freq": INVERSE.clone()}
    shadow = {"decay": 0.9999, "num_updates": 1000, "shadow_params": list(weights.values())}
    return content | {"state_dict": OrderedDict(buffer | state), "ema": shadow}


def write_checkpoint(path: Path, content: dict, zipped: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def mmd_content(is_average: bool) -> dict:
    """As MDLM-MMD's training stores it (yandex-research/dlm-mmd, branch mdlm-mmd, commit
    068eba48164610df46b01adf5bc852730b150bb6): the module of MDLM's folder, so `backbone.` twice.

    Args:
        is_average: as its published `model.ckpt`, with the average in the network's place; else as
            its `last.ckpt`, with the average beside the network, and the frozen teacher.
    """
    config = algorithm_config("mdlm")
    config["algo"] = {**config["algo"], "name": "mmd", "backbone": "hf_dit"}
    config["mmd"] = {"feature_layer": 3, "kernel": "token_rbf", "rbf_alpha": 2e-5}
    content = training_content(seed=7 if is_average else 3, ema_seed=7, config=config)
    state = {f"backbone.{name}": tensor for name, tensor in content["state_dict"].items()}
    if not is_average:
        return content | {"state_dict": state | prefixed("teacher.backbone.", published_weights(2))}
    kept = {name: content[name] for name in ("epoch", "global_step", "pytorch-lightning_version")}
    parameters = {"config": content["hyper_parameters"]["config"]}
    return kept | {
        "state_dict": state,
        "checkpoint_weights": "ema",
        "hyper_parameters": parameters,
    }


def didi_content() -> dict:
    """As DiDi-Instruct's own training stores it, with its averaged student and discriminator."""
    beside = {
        **prefixed("student_ema.", published_weights(4)),
        **prefixed("discriminator.", draw(discriminator_shapes(), 5)),
        "reward_baseline": torch.tensor(0.0),
    }
    return training_content(**beside)
