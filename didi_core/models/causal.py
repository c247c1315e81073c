"""An autoregressive network as a model that writes: the next token, by a key-value cache.

The network is any Hugging Face causal LM, and the cache is transformers' own. It stands in a
`LoadedModel` in the place of a denoiser; its process is `autoregressive`, which no noise defines.
"""

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jaxtyping import Float, Int
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import Cache

AUTOREGRESSIVE = "autoregressive"
"""Name of the process, and of the one sampler of it."""
UNLIMITED = 1 << 20
"""Most tokens of a network whose configuration names no limit."""


@dataclass(frozen=True)
class CausalSettings:
    """What is asked of any model that writes."""

    vocabulary_size: int
    max_tokens: int


class CausalNetwork(nn.Module):
    """A causal LM that is asked for one token after the other.

    Args:
        network: a Hugging Face causal LM: `network(input_ids=..., past_key_values=...)`.
        start_id: what every sequence begins with where nothing is given: it is never drawn.
    """

    def __init__(self, network: Any, start_id: int) -> None:
        super().__init__()
        self.network: Any = network
        self.start_id = start_id

    @property
    def settings(self) -> CausalSettings:
        size = self.network.get_input_embeddings().weight.shape[0]
        return CausalSettings(size, position_limit(self.network) or UNLIMITED)

    def next_logits(
        self, tokens: Int[Tensor, "batch new"], cache: "Cache | None"
    ) -> tuple[Float[Tensor, "batch outputs"], "Cache"]:
        """Return the logits of the token after `tokens`, and the cache with them in it.

        Args:
            tokens: those that follow what `cache` holds.
            cache: of an earlier call, which it may change; None at the beginning.
        """
        output = self.network(
            input_ids=tokens, past_key_values=cache, use_cache=True, **self._last_alone
        )
        return output.logits[:, -1], output.past_key_values

    @cached_property
    def _last_alone(self) -> dict[str, int]:
        """Asks for the logits after the last token alone, of networks that can be asked."""
        asked = "logits_to_keep" in inspect.signature(self.network.forward).parameters
        return {"logits_to_keep": 1} if asked else {}


def position_limit(network: nn.Module) -> int | None:
    """Return how many tokens the network has positions for; None where nothing says so."""
    positions = getattr(getattr(network, "config", None), "max_position_embeddings", None)
    return positions if isinstance(positions, int) else None
