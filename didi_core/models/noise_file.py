"""`noise.safetensors`: the noise input of a student, beside its `model.safetensors`.

`config.json` names the kind under `didi.noise`. Without the file's noise the model is an ordinary
one: `transformers` opens the folder and knows nothing of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from didi_core.errors import UserError
from didi_core.io.files import atomic_path
from didi_core.models.denoiser import Denoiser
from didi_core.models.noise import KINDS, MaskNoise
from didi_core.models.safe_reader import read_weights

_TENSOR = "projection.weight"


def save_noise(noise: MaskNoise | None, folder: Path) -> None:
    """Write `noise.safetensors`; without noise, remove what an earlier run left there."""
    path = folder / "noise.safetensors"
    if noise is None:
        path.unlink(missing_ok=True)
        return
    weight = noise.projection.weight.detach().float().cpu().contiguous().clone()
    with atomic_path(path) as temporary:
        save_file({_TENSOR: weight}, temporary, metadata={"format": "pt", "kind": noise.kind})


def load_noise(
    denoiser: Denoiser, config: Mapping[str, Any], path: Path | None, source: str
) -> MaskNoise | None:
    """Load the noise input that a model folder holds; None where it has none.

    Args:
        config: the folder's `config.json`; `didi.noise` names the kind.
        path: of `noise.safetensors`, None where the folder lacks it.

    Raises:
        UserError: only one of the two is there, or they do not fit the model.
    """
    own = config.get("didi")
    kind = own.get("noise", "none") if isinstance(own, dict) else "none"
    if (kind == "none") != (path is None):
        there = "config.json names a noise input" if path is None else "noise.safetensors is there"
        lacking = "noise.safetensors is missing" if path is None else "config.json names no kind"
        raise UserError(f"{source}: {there}, but {lacking}. Fetch the folder again.")
    if path is None:
        return None
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"{source}: noise {kind!r} in config.json is none of {', '.join(KINDS)}.")
    stored = read_weights(path)
    weight, hidden = stored.get(_TENSOR), denoiser.settings.hidden_size
    if weight is None or len(stored) > 1 or weight.ndim != 2 or weight.shape[0] != hidden:
        raise UserError(f"{path} does not fit its model: one tensor {_TENSOR} [{hidden}, size].")
    if not weight.isfinite().all():
        raise UserError(f"{path} holds values that are not finite.")
    noise = MaskNoise(kind, weight.shape[1], hidden)
    noise.projection.weight.data.copy_(weight)
    return noise.to(denoiser.embedding.weight).eval().requires_grad_(False)
