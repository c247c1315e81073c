"""A denoiser in the layout of MDLM's diffusion transformer: adaLN, rotary positions, own output.

The same interface as `didi_core.models.esm.EsmDenoiser`: `embed`, `trunk`, `head`, `logits_at`.
Networks that are not conditioned on time (MDLM's) get sigma = 0, so that all rows share one
condition; others need the alpha of each row. Padding is masked in attention, although the
published training always fills its 1,024 tokens. `didi_core.models.dit_names` maps to and from
the published tensor names.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from didi_core.data.batches import padding_mask
from didi_core.models.adaln import (
    ScaleNorm,
    SigmaEmbedding,
    modulate,
    require_alpha,
    sigma_of_alpha,
)
from didi_core.models.attention_watch import AttentionWatch
from didi_core.models.positions import HeadAtPositions
from didi_core.models.recompute import call_block
from didi_core.models.rotary import RotaryCache
from didi_core.models.soft_tokens import SoftTokens
from didi_core.models.token_layout import TokenLayout, TrunkStates, choose_layout

MLP_RATIO = 4
"""How many times wider than the stream the feed-forward part is, in every published network."""


@dataclass(frozen=True)
class DitSettings:
    """Shape of the network."""

    vocabulary_size: int
    """Mask included."""
    num_layers: int
    hidden_size: int
    num_heads: int
    mask_id: int
    conditioning_size: int = 128
    """Width of the embedded time."""
    max_tokens: int = 1024
    """Longest input, framing included."""
    time_conditioned: bool = False
    """Whether the network is told the alpha of each row; else it gets sigma = 0."""


class DitBlock(nn.Module):
    """Attention and feed-forward, each modulated before and gated after by the condition."""

    def __init__(self, settings: DitSettings) -> None:
        super().__init__()
        width = settings.hidden_size
        self.num_heads = settings.num_heads
        self.attention_watch: AttentionWatch | None = None
        self.attention_norm = ScaleNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.mlp_norm = ScaleNorm(width)
        self.mlp_in = nn.Linear(width, MLP_RATIO * width)
        self.mlp_out = nn.Linear(MLP_RATIO * width, width)
        self.modulation = nn.Linear(settings.conditioning_size, 6 * width)

    def forward(
        self,
        hidden: Float[Tensor, "*n hidden"],
        condition: Float[Tensor, "rows condition"],
        layout: TokenLayout,
    ) -> Float[Tensor, "*n hidden"]:
        # adaLN: each branch is shifted and scaled before, and gated after (DiT, section 3.2).
        parts = layout.by_token(self.modulation(condition)).chunk(6, dim=-1)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = parts
        qkv = self.qkv(modulate(self.attention_norm(hidden), shift, scale))
        attended = layout.attention(qkv, self.num_heads, self.attention_watch)
        hidden = hidden + gate * self.attention_out(attended)
        widened = self.mlp_in(modulate(self.mlp_norm(hidden), mlp_shift, mlp_scale))
        return hidden + mlp_gate * self.mlp_out(F.gelu(widened, approximate="tanh"))


class DitOutput(nn.Module):
    """What turns the stream into the head's input: final norm and its modulation."""

    def __init__(self, settings: DitSettings) -> None:
        super().__init__()
        self.norm = ScaleNorm(settings.hidden_size)
        self.modulation = nn.Linear(settings.conditioning_size, 2 * settings.hidden_size)

    def forward(
        self,
        hidden: Float[Tensor, "*n hidden"],
        condition: Float[Tensor, "rows condition"],
        layout: TokenLayout,
    ) -> Float[Tensor, "*n hidden"]:
        shift, scale = layout.by_token(self.modulation(condition)).chunk(2, dim=-1)
        return modulate(self.norm(hidden), shift, scale)


class DitDenoiser(HeadAtPositions):
    """Tokens and lengths to hidden states, and hidden states at chosen positions to logits."""

    def __init__(self, settings: DitSettings) -> None:
        super().__init__()
        self.settings = settings
        width = settings.hidden_size
        self.embedding = nn.Embedding(settings.vocabulary_size, width)
        self.sigma_embedding = SigmaEmbedding(settings.conditioning_size)
        self.blocks = nn.ModuleList(DitBlock(settings) for _ in range(settings.num_layers))
        self.output: DitOutput | None = DitOutput(settings)
        self.head_linear: nn.Linear | None = nn.Linear(width, settings.vocabulary_size)
        self._rotary = RotaryCache(width // settings.num_heads)
        self.checkpoint_activations = False

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights: normal, deviation 0.02; modulation, gates and output start at zero.

        So does the published network: every block begins as the identity (adaLN-Zero) and every
        token is equally likely.
        """
        for name, parameter in self.named_parameters():
            if name.endswith("norm.weight"):
                nn.init.ones_(parameter)
            elif parameter.ndim < 2 or "modulation" in name or name.startswith("head_linear"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=0.02, generator=generator)

    def drop_output_layer(self) -> None:
        """Leave the blocks alone, as a discriminator uses them: `trunk` ends before the norm."""
        self.output = None
        self.head_linear = None

    def embed(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        soft: SoftTokens | None = None,
        noise: Float[Tensor, "batch width hidden"] | None = None,
    ) -> Float[Tensor, "batch width hidden"]:
        """Embed tokens, or distributions where given, for the first block; padding is zero."""
        table = self.embedding.weight
        embedded = F.embedding(tokens, table)
        if soft is not None:
            expected = soft.expected(table).to(embedded.dtype)
            embedded = embedded.masked_scatter(soft.at.unsqueeze(-1), expected)
        if noise is not None:
            embedded = embedded + noise
        return embedded * padding_mask(lengths, tokens.shape[1]).unsqueeze(-1).to(embedded.dtype)

    def states(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        soft: SoftTokens | None = None,
        noise: Float[Tensor, "batch width hidden"] | None = None,
        alpha: Float[Tensor, "batch"] | None = None,
    ) -> TrunkStates:
        """Return the hidden states after the final norm, padded or packed.

        Args:
            alpha: share of tokens kept in each row, for networks conditioned on time; others
                do not look at it.

        Raises:
            UserError: the network is conditioned on time and `alpha` is None.
        """
        where = (lengths, tokens.shape[1], self._rotary, self.embedding.weight)
        layout = choose_layout(*where, mask_full_rows=False)
        condition = self._condition(alpha)
        hidden = layout.enter(self.embed(tokens, lengths, soft, noise))
        for block in self.blocks:
            inputs = (hidden, condition, layout)
            hidden = call_block(block, *inputs, again=self.checkpoint_activations)
        if self.output is not None:
            hidden = self.output(hidden, condition, layout)
        return TrunkStates(hidden, layout)

    def _condition(self, alpha: Float[Tensor, "batch"] | None) -> Float[Tensor, "rows condition"]:
        """Embed the time: one row for all where the network is not conditioned on it."""
        if not self.settings.time_conditioned:
            return self.sigma_embedding(torch.zeros(1, device=self.embedding.weight.device))
        return self.sigma_embedding(sigma_of_alpha(require_alpha(alpha)))

    def head(self, hidden: Float[Tensor, "n hidden"]) -> Float[Tensor, "n vocabulary"]:
        """Return logits at chosen positions: gather them from the trunk's output first."""
        assert self.head_linear is not None
        return self.head_linear(hidden)
