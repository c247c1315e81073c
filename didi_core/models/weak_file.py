"""`weak.safetensors`: a network that knows less than the one beside it, in the same layout.

`--sampler contrast` asks both. Its tensors have the names of those in `model.safetensors`.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

from didi_core.io.files import atomic_path
from didi_core.models import dit_names, esm_names
from didi_core.models.denoiser import Denoiser
from didi_core.models.dit import DitDenoiser
from didi_core.models.safe_reader import read_weights

WEIGHT_KEY = "contrast_weight"
"""Under "didi" in `config.json`: w of the guided law where none is asked for."""
POSITIONS_KEY = "contrast_positions"
"""The same of how positions are chosen."""
POSITIONS = ("random", "apart")
MOST_WEIGHT = 100.0
"""Largest w: trials used 1 and 2, and what lies far above is the arg-max."""


def save_weak(weak: Denoiser, path: Path) -> None:
    """Write the tensors of a weak network, in float32.

    Raises:
        UserError: a weight is not finite.
    """
    names = dit_names if isinstance(weak, DitDenoiser) else esm_names
    weights = names.to_published(weak, torch.float32)
    with atomic_path(path) as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})


def load_weak(layout: Denoiser, path: Path) -> Denoiser:
    """Load the weak network stored at `path`, for the model beside it: its device and type.

    Raises:
        UserError: a broken file, or tensors that are missing, unexpected, of another shape, or
            not finite.
    """
    weights, source = read_weights(path), str(path)
    weak: Denoiser
    if isinstance(layout, DitDenoiser):
        weak = dit_names.from_published(weights, layout.settings, source)
    else:
        weak = esm_names.from_published(weights, layout.settings, source)
    return weak.to(layout.embedding.weight).eval().requires_grad_(False)
