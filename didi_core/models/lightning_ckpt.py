"""Training checkpoints (`.ckpt`) of the Duo code base, which MDLM and DiDi-Instruct share.

Lightning keeps the network under `state_dict` as `backbone.*`, the exponential average of its
parameters without names under `ema.shadow_params`, and the training configuration, as omegaconf
objects, under `hyper_parameters`. DiDi-Instruct keeps the averaged student as `student_ema.*` and
the discriminator as `discriminator.*` beside it. MDLM-MMD trains the module of MDLM's folder, so
that its names have the prefix twice, and its published file has the average in the place of the
network's own weights. All is read as data (`safe_reader`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from didi_core.errors import UserError
from didi_core.models.dit_names import published_order, without_prefix
from didi_core.models.inert_unpickler import StandIn
from didi_core.models.safe_reader import read_checkpoint, require_tensors

STUDENT = "student_ema."
NETWORK = "backbone."
DISCRIMINATOR = "discriminator."
_NOT_READ = ("teacher.", "fake_model.", "reward_baseline")
"""What training keeps in `state_dict` beside the networks: of DiDi-Instruct, IDLM and MDLM-MMD."""
_BUFFER = "rotary_emb.inv_freq"


@dataclass(frozen=True)
class LightningCheckpoint:
    """What a training checkpoint holds, names without prefix."""

    weights: dict[str, Tensor]
    """Of the network to sample from: averaged, where the file has an average."""
    discriminator: dict[str, Tensor]
    """Empty where there is none."""
    config: dict[str, Any]
    """The training configuration, with `vocab_size` where it stands beside; else empty."""
    is_distilled: bool
    """Whether DiDi-Instruct wrote it: a masked student beside its discriminator."""


def read_lightning_checkpoint(path: Path) -> LightningCheckpoint:
    """Read one file.

    Raises:
        UserError: no such checkpoint, tensors that belong nowhere, or an average that does not
            fit its network.
    """
    content = read_checkpoint(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("state_dict"), Mapping):
        raise UserError(f"{path} is no training checkpoint: it has no state_dict.")
    state = require_tensors(content["state_dict"], path)
    _require_known(state, path)
    student = _under(state, STUDENT)
    weights = without_prefix(student or _under(state, NETWORK))
    average = None if student else _shadow(content.get("ema"), path)
    if average is not None:
        weights = _averaged(weights, average, path)
    return LightningCheckpoint(
        weights=weights,
        discriminator=_under(state, DISCRIMINATOR),
        config=_config(content.get("hyper_parameters")),
        is_distilled=bool(student),
    )


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): tensor for n, tensor in state.items() if n.startswith(prefix)}


def _require_known(state: Mapping[str, Tensor], path: Path) -> None:
    known = (STUDENT, NETWORK, DISCRIMINATOR, *_NOT_READ)
    if unexpected := [name for name in state if not name.startswith(known)]:
        raise UserError(f"{path} holds tensors that belong to no network: {', '.join(unexpected)}.")
    if not any(name.startswith((STUDENT, NETWORK)) for name in state):
        raise UserError(f"{path} holds no network: no tensor is named {NETWORK}*.")


def _shadow(ema: object, path: Path) -> list[Tensor] | None:
    """Return the averaged parameters, in order; None where training kept no average."""
    if ema is None:
        return None
    shadow = ema.get("shadow_params") if isinstance(ema, Mapping) else None
    if not isinstance(shadow, list) or not all(isinstance(each, Tensor) for each in shadow):
        raise UserError(f"{path}: ema holds no list of tensors under shadow_params.")
    return shadow


def _averaged(weights: Mapping[str, Tensor], shadow: list[Tensor], path: Path) -> dict[str, Tensor]:
    """Give the averages the names of the parameters they stand for.

    They come in the order in which the network lists its parameters, so that order must be the
    published one, and each shape must agree.
    """
    names = [name for name in weights if name != _BUFFER]
    num_layers = len({name.split(".")[1] for name in names if name.startswith("blocks.")})
    order = published_order(num_layers, causal="sigma_map.mlp.0.weight" not in weights)
    shapes = [(len(names), weights[name].shape) for name in names]
    if names != order or shapes != [(len(shadow), s.shape) for s in shadow]:
        raise UserError(
            f"{path}: the averaged weights (ema) cannot be given names: {len(shadow)} of them "
            f"against {len(names)} parameters, or in another order or shape."
        )
    return dict(zip(names, shadow, strict=True))


def _config(hyper_parameters: object) -> dict[str, Any]:
    plain = plain_config(hyper_parameters)
    if not isinstance(plain, Mapping):
        return {}
    nested = plain.get("config")
    config = dict(nested) if isinstance(nested, Mapping) else {}
    size = plain.get("vocab_size")
    return {**config, "vocab_size": size} if type(size) is int else config


def plain_config(value: object, depth: int = 6) -> Any:
    """Return the containers, numbers and text that the unpickler left of omegaconf's objects.

    A container of theirs keeps its items as `_content`, a leaf its value as `_val`. Anything else
    that is no plain value becomes None, and so does what lies deeper than `depth` containers.
    """
    if isinstance(value, StandIn):
        state = value.state if isinstance(value.state, Mapping) else {}
        value = state.get("_content", state.get("_val"))
    if isinstance(value, (Mapping, list)) and not depth:
        return None
    if isinstance(value, Mapping):
        return {str(key): plain_config(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [plain_config(item, depth - 1) for item in value]
    return value if isinstance(value, (str, int, float, bool)) else None
