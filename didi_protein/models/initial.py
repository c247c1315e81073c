"""The model that `pretrain init=` starts from: what it is decides shape, kind and process.

Taken are bundled models, folders of ours, and those of others in the ESM-2 layout (DPLM, ESM-2); of
autoregressive ones the judges that `pretrain` trains. Of a student the network alone is taken: its
noise input, joint head, discriminator and sampler belong to few-step drawing, and training on
likelihood has no use for them.
"""

import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import MISSING

from didi_core.cli.hydra_app import compose_plain, given_in_job
from didi_core.diffusion.process import DEFAULT_PROCESS
from didi_core.errors import UserError
from didi_core.models.causal import CausalNetwork
from didi_core.models.esm_config import settings_from_config
from didi_core.models.folder import LoadedModel, read_config
from didi_core.models.named import find_model, is_causal
from didi_protein.models.causal import open_causal_model
from didi_protein.models.load import BUNDLED_MODELS, open_model
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.settings import ModelSettings, PretrainSettings

OUR_CAUSAL_TYPE = "llama"
"""Layout of the judges that `pretrain` trains."""


def settled(settings: PretrainSettings) -> PretrainSettings:
    """Return the settings with the shape, kind and process of what `init=` names.

    A length that nobody asked for is the model's own where that is shorter.

    Raises:
        UserError: it is no model that training can start from, or settings that were given
            contradict it.
    """
    if settings.init is None:
        return settings
    folder = _folder(settings)
    shape, process = _shape(folder, f"init={settings.init}")
    usual = compose_plain("pretrain", ())
    given = given_in_job()
    own = {each.name: getattr(settings.model, each.name) for each in fields(ModelSettings)}
    wrong = [
        f"model.{name}={value} (it has {getattr(shape, name)})"
        for name, value in own.items()
        if _is_given(f"model.{name}", value, usual["model"].get(name), given)
        and value != getattr(shape, name)
    ]
    if _is_given("process", settings.process, usual["process"], given):
        wrong += [f"process={settings.process} (it is {process})"] * (settings.process != process)
    if wrong:
        raise UserError(
            f"init={settings.init} has a shape of its own, which {', '.join(wrong)} contradicts: "
            "leave model= and process= out, or init=."
        )
    longest = settings.max_length
    if not _is_given("max_length", longest, usual["max_length"], given):
        longest = min(longest, shape.max_residues)
    return replace(settings, model=shape, process=process, max_length=longest)


def open_initial(settings: PretrainSettings) -> LoadedModel | None:
    """Open what `init=` names, to be trained; None where nothing is named.

    Raises:
        UserError: it cannot be opened, or has another vocabulary.
    """
    if settings.init is None:
        return None
    called, folder = f"init={settings.init}", _folder(settings)
    if is_causal(folder):
        model = open_causal_model(folder, called, "cpu", torch.float32)
    else:
        model = open_model(settings.init, offline=settings.offline, flag="init=")
    if model.vocabulary != PROTEIN:
        raise UserError(
            f"{called} has another vocabulary than the 33 tokens of ESM-2: models of that alone "
            "are trained on."
        )
    network: torch.nn.Module = model.denoiser
    if isinstance(network, CausalNetwork):
        network.network.config.use_cache = False
    network.train().requires_grad_(True)
    _say_what_is_left(model, called)
    return replace(model, name=settings.init)


def _folder(settings: PretrainSettings) -> Path:
    return find_model(BUNDLED_MODELS, str(settings.init), offline=settings.offline, flag="init=")


def _is_given(key: str, value: object, usual: object, given: frozenset[str]) -> bool:
    """Return whether a setting was asked for, as far as can be told from its value alone."""
    if value == MISSING:
        return False
    return key in given or key.partition(".")[0] in given or value != usual


def _shape(folder: Path, called: str) -> tuple[ModelSettings, str]:
    """Return the shape and the process of a folder's network.

    Raises:
        UserError: it is of a layout that is not trained here.
    """
    config = read_config(folder) or {}
    framing = PROTEIN.num_special_per_sequence
    if is_causal(folder):
        return _causal_shape(config, called, framing), DEFAULT_PROCESS
    found = settings_from_config(config, called)
    shape = ModelSettings(
        kind="masked",
        num_layers=found.num_layers,
        hidden_size=found.hidden_size,
        num_heads=found.num_heads,
        intermediate_size=found.intermediate_size,
        max_residues=found.max_tokens - framing,
    )
    return shape, (config.get("didi") or {}).get("process", DEFAULT_PROCESS)


def _causal_shape(config: Mapping[str, Any], called: str, framing: int) -> ModelSettings:
    if config.get("model_type") != OUR_CAUSAL_TYPE:
        raise UserError(
            f"{called} is an autoregressive model of the type {config.get('model_type')!r}: only "
            "those that `pretrain model=judge` trains are trained on."
        )
    return ModelSettings(
        kind="autoregressive",
        num_layers=config["num_hidden_layers"],
        hidden_size=config["hidden_size"],
        num_heads=config["num_attention_heads"],
        intermediate_size=config["intermediate_size"],
        max_residues=config["max_position_embeddings"] - framing,
    )


def _say_what_is_left(model: LoadedModel, called: str) -> None:
    """Say which parts of a student are not taken."""
    if model.extras:
        left = ", ".join(f"{name}.safetensors" for name in sorted(model.extras))
        print(
            f"{called}: its network alone is trained; {left} of few-step drawing stays behind, so "
            "distil the result anew.",
            file=sys.stderr,
        )
