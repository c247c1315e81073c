"""The networks that denoise, whatever their layout.

Each offers `embed`, `trunk`, `head`, `logits_at`, `initialise`, `drop_output_layer` and `settings`
(with `vocabulary_size`, `num_layers`, `hidden_size`, `num_heads`, `mask_id`, `max_tokens`).
"""

from didi_core.models.dit import DitDenoiser
from didi_core.models.esm import EsmDenoiser

Denoiser = EsmDenoiser | DitDenoiser
