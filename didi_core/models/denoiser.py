"""The networks that denoise, whatever their layout.

Each offers `embed`, `trunk`, `head`, `logits_at`, `initialise`, `drop_output_layer` and `settings`
(with `vocabulary_size`, `num_layers`, `hidden_size`, `num_heads`, `mask_id`, `max_tokens`,
`time_conditioned`).
"""

import copy
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from didi_core.models.dit import DitDenoiser
from didi_core.models.esm import EsmDenoiser

Denoiser = EsmDenoiser | DitDenoiser


def is_time_conditioned(network: object) -> bool:
    """Return whether `logits_at` is to be told the alpha of each row.

    What trains a network holds it as `module`.
    """
    network = getattr(network, "module", network)
    return getattr(getattr(network, "settings", None), "time_conditioned", False)


def time_input(network: object, alpha: Float[Tensor, "batch"] | None) -> dict[str, Any]:
    """Return what `logits_at` is given beside tokens: alpha, if known and the network asks."""
    return {"alpha": alpha} if alpha is not None and is_time_conditioned(network) else {}


def told_the_time(network: Denoiser) -> Denoiser:
    """Return the network, its weights shared, as one that is told the time.

    MDLM's layout has the input also where training fed it sigma = 0; one without it stays as it is.
    """
    if not isinstance(network, DitDenoiser):
        return network
    conditioned = copy.copy(network)
    conditioned.settings = replace(network.settings, time_conditioned=True)
    return conditioned
