"""The joint head: a small autoregressive layer by which the tokens of one call are drawn together.

All tokens that a step reveals are drawn independently given the state; where they depend on each
other, few steps break that. The joint head lets each of them see those drawn before it in the same
step: with positions in a random order o, token x_i has the law

    log p(x_i | z_t, x_j for j before i) = log-softmax(log p(x_i | z_t) + correction_i),

the correction made by one attention layer over the trunk's hidden states h and the tokens drawn
before: queries from h_i, keys and values from W h_j + E(x_j), rotary at the true positions, and a
null entry with a score of 0 and a learned value, so that a position may attend to nothing.
The token that is drawn first is drawn from the network's own law, without a correction, so with one
token a call nothing changes; and a new head corrects by exact zeros. Kin: ADJUST [1]_,
self-speculative masked diffusion [2]_, CoDD [3]_.

.. [1] arXiv 2509.22738.
.. [2] arXiv 2510.03929.
.. [3] arXiv 2603.00045.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from didi_core.diffusion.draws import Stream, keyed_generator
from didi_core.models.rotary import RotaryCache, rotate

MLP_RATIO = 2
"""How many times wider than the head's stream its feed-forward part is."""


@dataclass(frozen=True)
class JointHeadShape:
    """Shape of a joint head; width and heads are those of the trunk that it reads."""

    hidden_size: int
    num_heads: int
    num_tokens: int
    """Generable tokens: what it embeds and what it corrects."""
    rank: int = 0
    """Width through which tokens are embedded and corrected, for large vocabularies; 0: none."""


class JointHeadBlock(nn.Module):
    """Attention from each position to those drawn before it, and a feed-forward part."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.null_value = nn.Parameter(torch.zeros(width))
        """What a position gets from attending to nothing, at a score of 0."""
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, MLP_RATIO * width)
        self.mlp_out = nn.Linear(MLP_RATIO * width, width)

    def forward(
        self,
        asked: Float[Tensor, "rows drawn hidden"],
        content: Float[Tensor, "rows drawn hidden"],
        rotary: tuple[Tensor, Tensor],
    ) -> Float[Tensor, "rows drawn hidden"]:
        """Return what each position learns of those before it in the order of drawing.

        Args:
            asked: what queries are made of, in the order of drawing.
            content: what keys and values are made of, in the same order.
        """
        query, key, value = self.query(asked), self.key(content), self.value(content)
        query, key, value = (self._heads(each) for each in (query, key, value))
        query, key = rotate(query, *rotary), rotate(key, *rotary)
        # A null entry takes the first place and the last position, which nobody may see, leaves:
        # query i sees entries 0 to i, which are the null and the i positions before it.
        null_value = self._heads(self.null_value.to(value.dtype).expand(len(value), 1, -1))
        key = F.pad(key[:, :, :-1], (0, 0, 1, 0))
        value = torch.cat([null_value, value[:, :, :-1]], dim=2)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        states = asked + self.attention_out(attended.transpose(1, 2).flatten(2))
        return states + self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(states))))

    def _heads(
        self, states: Float[Tensor, "rows drawn hidden"]
    ) -> Float[Tensor, "rows heads drawn head_dim"]:
        return states.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class JointHead(nn.Module):
    """Hidden states and tokens, in the order of drawing, to corrections of log-probabilities."""

    def __init__(self, shape: JointHeadShape) -> None:
        super().__init__()
        self.shape = shape
        width, inner = shape.hidden_size, shape.rank or shape.hidden_size
        self.norm = nn.LayerNorm(width)
        self.embedding = nn.Embedding(shape.num_tokens, inner)
        self.widen = nn.Linear(inner, width, bias=False) if shape.rank else nn.Identity()
        # In a list, as the blocks of a trunk: Muon takes the matrices of blocks.
        self.blocks = nn.ModuleList([JointHeadBlock(width, shape.num_heads)])
        self.asked = nn.Linear(width, width)
        self.content = nn.Linear(width, width)
        self.out_norm = nn.LayerNorm(width)
        self.narrow = nn.Linear(width, inner, bias=False) if shape.rank else nn.Identity()
        self.out = nn.Linear(inner, shape.num_tokens, bias=False)
        self._rotary = RotaryCache(width // shape.num_heads)

    def initialise(self, seed: int) -> None:
        """Draw fresh weights, keyed by the seed; the output is zero, so nothing is corrected."""
        generator = keyed_generator(seed, Stream.NOISE, -2)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                std = parameter.shape[-1] ** -0.5
                nn.init.normal_(parameter, std=std, generator=generator)
            elif not name.endswith("norm.weight"):
                nn.init.zeros_(parameter)
        nn.init.zeros_(self.out.weight)

    def forward(
        self,
        hidden: Float[Tensor, "rows drawn hidden"],
        rank: Int[Tensor, "rows drawn"],
        position: Int[Tensor, "rows drawn"],
    ) -> Float[Tensor, "rows drawn generable"]:
        """Return corrections, added to log-probabilities before they are normalised again.

        All arguments are in the order of drawing. What stands behind a row's last position (to
        fill the rectangle) is seen by none before it. The first position is not corrected.

        Args:
            hidden: the trunk's, at the positions to be drawn.
            rank: token drawn at each: its place among the generable ids; the last one's is not
                looked at.
            position: place of each in the sequence.
        """
        normed = self.norm(hidden)
        content = self.content(normed) + self.widen(self.embedding(rank))
        rotary = self._rotary_at(position)
        states = self.blocks[0](self.asked(normed), content, rotary)
        correction = self.out(self.narrow(self.out_norm(states)))
        # Nothing was drawn before the first: its law is the network's own.
        first = torch.zeros_like(correction[:, :1])
        return torch.cat([first, correction[:, 1:]], dim=1)

    def _rotary_at(self, position: Int[Tensor, "rows drawn"]) -> tuple[Tensor, Tensor]:
        """Return cosines and sines at the true positions, for all heads alike."""
        width = int(position.max()) + 1 if position.numel() else 1
        cosine, sine = self._rotary.table(width, position.device)
        return cosine[position].unsqueeze(1), sine[position].unsqueeze(1)


@dataclass(frozen=True)
class DrawOrder:
    """The positions of a call by row, in the order in which they are drawn."""

    entry: Int[Tensor, "rows drawn"]
    """Place of each among the chosen positions of the call, in row-major order; 0 in the fill."""
    position: Int[Tensor, "rows drawn"]
    """Place of each in its sequence; 0 in the fill."""
    valid: Bool[Tensor, "rows drawn"]
    """False where a row has fewer positions than the one with the most."""

    @property
    def count(self) -> Int[Tensor, "rows"]:
        """Return the number of positions of each row."""
        return self.valid.sum(-1)

    def rows(self, chosen: Int[Tensor, "rows"]) -> "DrawOrder":
        """Return some of the rows, as wide as the one of them with the most positions."""
        valid = self.valid[chosen]
        width = int(valid.sum(-1).max()) if len(chosen) else 0
        narrow = (each[chosen, :width] for each in (self.entry, self.position, self.valid))
        return DrawOrder(*narrow)


def draw_order(at: Bool[Tensor, "batch width"], order: Float[Tensor, "batch width"]) -> DrawOrder:
    """Return the chosen positions of each row by increasing `order`, lower positions first."""
    most = int(at.sum(-1).max()) if len(at) else 0
    position = order.masked_fill(~at, torch.inf).argsort(dim=-1, stable=True)[:, :most]
    place = (at.flatten().cumsum(0) - 1).view_as(at)
    valid = torch.arange(most, device=at.device) < at.sum(-1, keepdim=True)
    entry = place.gather(1, position).masked_fill(~valid, 0)
    return DrawOrder(entry, position.masked_fill(~valid, 0), valid)
