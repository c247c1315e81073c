"""A denoiser in the ESM-2 layout, as DPLM and DSM have it: rotary positions, no time input there.

Ours may be conditioned on time, as uniform-state models need: every norm of the trunk is followed
by a shift and a scale made of the embedded sigma = -log alpha of the row, as a DiT's are (its gates
are left out), by matrices that start at zero. (Added to the input instead, the time grew in
training until the tokens were lost beside it.)

Trunk (tokens to hidden states) and head (hidden states at chosen positions to logits) are
separate calls, because most of a step's positions need no logits. One embedding function serves
token ids, soft inputs and noise. The three projections of attention are one matrix here;
`didi_core.models.esm_names` maps to and from the published tensor names.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from didi_core.data.batches import padding_mask
from didi_core.models.adaln import (
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

TRAINED_MASK_SHARE = 0.15 * 0.8
"""Share of tokens that ESM-2's training replaced by mask; fixed in its token dropout."""


@dataclass(frozen=True)
class EsmSettings:
    """Shape of the network; field names are those of this package, not of a file format."""

    vocabulary_size: int
    num_layers: int
    hidden_size: int
    num_heads: int
    intermediate_size: int
    mask_id: int
    max_tokens: int = 1026
    """Longest input, framing included."""
    token_dropout: bool = False
    """ESM-2's rescaling by the share of masks (METHODS 5); follow the folder's own config."""
    layer_norm_eps: float = 1e-5
    own_output_matrix: bool = False
    """Whether a matrix of its own, not the embedding, makes the logits, as in FastPLMs' folders."""
    logit_cap: float | None = None
    """Logits x leave as cap * tanh(x / cap), as DSM's do; None: as they are."""
    time_conditioned: bool = False
    """Whether the network is told the alpha of each row; never so in published folders."""
    conditioning_size: int = 128
    """Width of the embedded time."""


class TimedNorm(nn.LayerNorm):
    """Layer norm, in networks conditioned on time followed by a shift and a scale made of it."""

    def __init__(self, settings: EsmSettings) -> None:
        width = settings.hidden_size
        super().__init__(width, eps=settings.layer_norm_eps)
        self.modulation: nn.Linear | None = None
        if settings.time_conditioned:
            self.modulation = nn.Linear(settings.conditioning_size, 2 * width)

    def forward(
        self,
        hidden: Float[Tensor, "*n hidden"],
        condition: Float[Tensor, "batch condition"] | None = None,
        layout: TokenLayout | None = None,
    ) -> Float[Tensor, "*n hidden"]:
        normed = super().forward(hidden)
        if self.modulation is None:
            return normed
        assert layout is not None
        shift, scale = layout.by_token(self.modulation(condition)).chunk(2, dim=-1)
        return modulate(normed, shift, scale)


class EsmBlock(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, settings: EsmSettings) -> None:
        super().__init__()
        width = settings.hidden_size
        self.num_heads = settings.num_heads
        self.attention_watch: AttentionWatch | None = None
        self.attention_norm = TimedNorm(settings)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = TimedNorm(settings)
        self.mlp_in = nn.Linear(width, settings.intermediate_size)
        self.mlp_out = nn.Linear(settings.intermediate_size, width)

    def forward(
        self,
        hidden: Float[Tensor, "*n hidden"],
        condition: Float[Tensor, "batch condition"] | None,
        layout: TokenLayout,
    ) -> Float[Tensor, "*n hidden"]:
        qkv = self.qkv(self.attention_norm(hidden, condition, layout))
        attended = layout.attention(qkv, self.num_heads, self.attention_watch)
        hidden = hidden + self.attention_out(attended)
        return hidden + self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(hidden, condition, layout))))


class EsmDenoiser(HeadAtPositions):
    """Tokens and lengths to hidden states, and hidden states at chosen positions to logits."""

    def __init__(self, settings: EsmSettings) -> None:
        super().__init__()
        self.settings = settings
        width, eps = settings.hidden_size, settings.layer_norm_eps
        self.embedding = nn.Embedding(settings.vocabulary_size, width)
        self.blocks = nn.ModuleList(EsmBlock(settings) for _ in range(settings.num_layers))
        self.final_norm = TimedNorm(settings)
        self.head_dense = nn.Linear(width, width)
        self.head_norm = nn.LayerNorm(width, eps=eps)
        self.head_bias = nn.Parameter(torch.zeros(settings.vocabulary_size))
        own = torch.zeros(settings.vocabulary_size, width) if settings.own_output_matrix else None
        self.output_matrix = None if own is None else nn.Parameter(own)
        if settings.time_conditioned:
            self.sigma_embedding = SigmaEmbedding(settings.conditioning_size)
        self._rotary = RotaryCache(width // settings.num_heads)
        self.checkpoint_activations = False

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights: normal, deviation 0.02, smaller where a block writes to the stream.

        What the time does to the norms starts at zero.
        """
        # Two branches a block add to the stream: all together as much as one of them at 0.02.
        residual = 0.02 / (2 * self.settings.num_layers) ** 0.5
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                continue
            writes = name.endswith(("attention_out.weight", "mlp_out.weight"))
            timed = name.endswith("modulation.weight")
            std = 0.0 if timed else residual if writes else 0.02
            nn.init.normal_(parameter, std=std, generator=generator)
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def drop_output_layer(self) -> None:
        """Leave out what turns hidden states into logits, which a discriminator does not use."""
        for name in ("head_dense", "head_norm", "head_bias", "output_matrix"):
            delattr(self, name)

    def embed(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        soft: SoftTokens | None = None,
        noise: Float[Tensor, "batch width hidden"] | None = None,
    ) -> Float[Tensor, "batch width hidden"]:
        """Return the input of the first block; padding is zero.

        With token dropout the mask's embedding is zeroed and the rest multiplied by
        0.88 / (1 - share of masks); framing counts in the share. A position given softly keeps
        its mask in `tokens` and so counts as masked. Noise is added after the zeroing.
        """
        table = self.embedding.weight
        is_mask = tokens == self.settings.mask_id
        if self.settings.token_dropout:
            table = table.masked_fill(
                F.one_hot(torch.tensor(self.settings.mask_id), table.shape[0])
                .bool()
                .unsqueeze(-1)
                .to(table.device),
                0.0,
            )
        embedded = F.embedding(tokens, table)
        if soft is not None:
            expected = soft.expected(table).to(embedded.dtype)
            embedded = embedded.masked_scatter(soft.at.unsqueeze(-1), expected)
        if self.settings.token_dropout:
            share = is_mask.sum(-1) / lengths
            embedded = embedded * ((1 - TRAINED_MASK_SHARE) / (1 - share))[:, None, None]
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
        layout = choose_layout(*where, mask_full_rows=True)
        condition = self._condition(alpha) if self.settings.time_conditioned else None
        hidden = layout.enter(self.embed(tokens, lengths, soft, noise))
        for block in self.blocks:
            inputs = (hidden, condition, layout)
            hidden = call_block(block, *inputs, again=self.checkpoint_activations)
        return TrunkStates(self.final_norm(hidden, condition, layout), layout)

    def _condition(self, alpha: Float[Tensor, "batch"] | None) -> Float[Tensor, "batch condition"]:
        """Embed the time of each row."""
        return self.sigma_embedding(sigma_of_alpha(require_alpha(alpha)))

    def head(self, hidden: Float[Tensor, "n hidden"]) -> Float[Tensor, "n vocabulary"]:
        """Return logits at chosen positions: gather them from the trunk's output first."""
        features = self.head_norm(F.gelu(self.head_dense(hidden)))
        # ESM-2's output matrix is the embedding's (tied).
        matrix = self.embedding.weight if self.output_matrix is None else self.output_matrix
        logits = F.linear(features, matrix, self.head_bias)
        cap = self.settings.logit_cap
        return logits if cap is None else cap * torch.tanh(logits / cap)
