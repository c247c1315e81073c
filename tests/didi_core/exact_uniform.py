"""A denoiser that reverses the uniform process exactly: p(x_l | other positions of z_t)."""

import itertools

import torch
from exact_denoiser import Law
from torch import Tensor, nn

from didi_core.models.dit import DitSettings


def states(num_tokens: int, length: int) -> Tensor:
    """Every sequence [num_tokens ** length, length]; the last position changes fastest."""
    return torch.tensor(list(itertools.product(range(num_tokens), repeat=length)))


def chance_of(clean: Tensor, noised: Tensor, alpha: float, num_tokens: int) -> Tensor:
    """q(z_t | x) of every pair, position by position [clean, noised, length], float64."""
    kept = (clean[:, None] == noised[None]).double()
    return alpha * kept + (1 - alpha) / num_tokens


class ExactUniformDenoiser(nn.Module):
    """Predictions at any alpha, from the whole law.

    Args:
        own: let each position see its own token too: p(x_l | z_t), which is not what the
            posterior's formula wants.
    """

    def __init__(self, law: Law, num_tokens: int, own: bool = False) -> None:
        super().__init__()
        self.num_tokens, self.own = num_tokens, own
        self.length = len(next(iter(law)))
        self.states = states(num_tokens, self.length)
        self.law = torch.tensor([law[tuple(s)] for s in self.states.tolist()]).double()
        self.anchor = nn.Parameter(torch.zeros(1))  # says where the network lives
        self.settings = DitSettings(
            num_tokens + 2, 1, 2, 1, num_tokens, max_tokens=64, time_conditioned=True
        )

    def table(self, alpha: float) -> Tensor:
        """Probabilities [states of z, length, tokens]."""
        each = chance_of(self.states, self.states, alpha, self.num_tokens)
        columns = []
        for position in range(self.length):
            others = [i for i in range(self.length) if self.own or i != position]
            joint = self.law[:, None] * each[:, :, others].prod(-1)  # [x, z]
            mass = torch.zeros(self.num_tokens, len(self.states), dtype=torch.float64)
            mass.index_add_(0, self.states[:, position], joint)
            columns.append((mass / mass.sum(0)).T)
        return torch.stack(columns, dim=1)

    def number(self, tokens: Tensor) -> Tensor:
        """Which of `states` each row is."""
        place = self.num_tokens ** torch.arange(self.length - 1, -1, -1)
        return (tokens[:, : self.length] * place).sum(-1)

    def logits_at(self, tokens: Tensor, lengths: Tensor, at: Tensor, alpha: Tensor) -> Tensor:
        assert bool((lengths == self.length).all())
        logits = torch.full((*tokens.shape, self.num_tokens + 2), -50.0, dtype=torch.float64)
        for value in alpha.unique().tolist():
            rows = (alpha == value).nonzero()[:, 0]
            chosen = self.table(value)[self.number(tokens[rows])]
            logits[rows, : self.length, : self.num_tokens] = chosen.log()
        return logits[at]


class WrongUniformDenoiser(ExactUniformDenoiser):
    """Predictions that are drawn at random for each state, the same at every alpha."""

    def table(self, alpha: float) -> Tensor:
        del alpha
        generator = torch.Generator().manual_seed(4)
        shape = (len(self.states), self.length, self.num_tokens)
        return (1.5 * torch.randn(shape, generator=generator, dtype=torch.float64)).softmax(-1)
