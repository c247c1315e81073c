"""The networks that are timed: published shapes with random weights, which cost what trained do."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from didi_core.data.vocabulary import Vocabulary
from didi_core.models.denoiser import Denoiser
from didi_core.models.dit import DitDenoiser, DitSettings
from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_protein.sequences.alphabet import PROTEIN


@dataclass(frozen=True)
class Layout:
    """A network's shape: layers, width, heads."""

    num_layers: int
    hidden_size: int
    num_heads: int
    text_tokens: int = 0
    """Tokens of a DiT over text, its mask apart; 0 for the ESM-2 layout over proteins."""

    @property
    def vocabulary(self) -> Vocabulary:
        if not self.text_tokens:
            return PROTEIN
        tokens = (*map(str, range(self.text_tokens)), "<mask>")
        last = self.text_tokens - 1
        return Vocabulary(tokens, self.text_tokens, last, tuple(range(self.text_tokens)))

    def build(self) -> Denoiser:
        """The network, on the CPU in float32."""
        shape = (self.num_layers, self.hidden_size, self.num_heads)
        vocabulary = self.vocabulary
        network: Denoiser
        if self.text_tokens:
            network = DitDenoiser(DitSettings(vocabulary.size, *shape, vocabulary.mask_id))
        else:
            wide = 4 * self.hidden_size
            network = EsmDenoiser(EsmSettings(vocabulary.size, *shape, wide, vocabulary.mask_id))
        network.initialise(torch.Generator().manual_seed(0))
        return network.eval()


LAYOUTS: Mapping[str, Layout] = {
    "esm-small": Layout(2, 64, 4),
    "tiny": Layout(6, 192, 3),
    "150m": Layout(30, 640, 20),
    "650m": Layout(33, 1280, 20),
    "dit-small": Layout(2, 64, 4, text_tokens=4_096),
    "dit-169m": Layout(12, 768, 12, text_tokens=50_257),
}
"""esm-small and dit-small are for machines without a GPU; the rest are published shapes."""
