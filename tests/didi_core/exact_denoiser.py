"""A denoiser whose conditionals are exact: those of an enumerated law over short sequences."""

import itertools
from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from didi_core.data.batches import TokenBatch
from didi_core.data.vocabulary import Vocabulary
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, Sampler, SampleSettings

Sequence = tuple[int, ...]
Law = dict[Sequence, float]
"""Probability of each sequence of one length."""


def toy_vocabulary(num_tokens: int) -> Vocabulary:
    """`num_tokens` generable tokens 0, 1, ..., then mask, then pad; no framing."""
    letters = tuple("abcde"[:num_tokens])
    return Vocabulary(
        tokens=(*letters, "<mask>", "<pad>"),
        mask_id=num_tokens,
        pad_id=num_tokens + 1,
        generable_ids=tuple(range(num_tokens)),
    )


def random_law(num_tokens: int, length: int, seed: int) -> Law:
    """A law with strong dependence between positions; no probability is tiny."""
    generator = torch.Generator().manual_seed(seed)
    sequences = list(itertools.product(range(num_tokens), repeat=length))
    weights = (1.5 * torch.randn(len(sequences), generator=generator)).exp() + 0.05
    return dict(zip(sequences, (weights.double() / weights.sum()).tolist(), strict=True))


def conditional(law: Law, known: dict[int, int], position: int, num_tokens: int) -> list[float]:
    """p(token at `position` | tokens at the `known` positions)."""
    mass = [0.0] * num_tokens
    for sequence, probability in law.items():
        if all(sequence[i] == token for i, token in known.items()):
            mass[sequence[position]] += probability
    return [each / sum(mass) for each in mass]


def log_of(chances: list[float]) -> Tensor:
    return torch.tensor(chances, dtype=torch.float64).log()


class ExactDenoiser(nn.Module):
    """Conditionals of one law for each length, looked up in a table of all states."""

    def __init__(self, laws: Iterable[Law], num_tokens: int) -> None:
        super().__init__()
        self.base = num_tokens + 1
        self.num_tokens = num_tokens
        self.anchor = nn.Parameter(torch.zeros(1))  # says where the network lives
        self.tables = {len(next(iter(law))): self._table(law) for law in laws}

    def _table(self, law: Law) -> Tensor:
        """Log-probabilities [states, length, vocabulary]; a revealed token is left at zero."""
        length = len(next(iter(law)))
        table = torch.full(
            (self.base**length, length, self.num_tokens + 2), -50.0, dtype=torch.float64
        )
        for state in itertools.product(range(self.base), repeat=length):
            known = {i: token for i, token in enumerate(state) if token < self.num_tokens}
            number = sum(token * self.base**i for i, token in enumerate(state))
            for position in range(length):
                if position not in known:
                    chances = conditional(law, known, position, self.num_tokens)
                    table[number, position, : self.num_tokens] = (
                        torch.tensor(chances).double().log()
                    )
        return table

    def logits_at(self, tokens: Tensor, lengths: Tensor, at: Tensor) -> Tensor:
        shape = (*tokens.shape, self.num_tokens + 2)
        logits = torch.full(shape, -50.0, dtype=torch.float64)
        for length, table in self.tables.items():
            rows = (lengths == length).nonzero()[:, 0]
            place = self.base ** torch.arange(length)
            logits[rows, :length] = table[(tokens[rows, :length] * place).sum(-1)]
        return logits[at]


def k_step_law(law: Law, num_steps: int, num_tokens: int) -> Law:
    """The law of ancestral sampling with an exact denoiser in `num_steps` steps, enumerated.

    Each position falls into each step with the same chance; those of one step are drawn
    independently, given what earlier steps revealed.
    """
    length = len(next(iter(law)))
    result = dict.fromkeys(law, 0.0)
    assignments = list(itertools.product(range(num_steps), repeat=length))
    for sequence, steps in itertools.product(law, assignments):
        chance = 1.0 / len(assignments)
        for position, step in enumerate(steps):
            known = {i: sequence[i] for i in range(length) if steps[i] < step}
            chance *= conditional(law, known, position, num_tokens)[sequence[position]]
        result[sequence] += chance
    return result


def draw_sequences(
    sampler: Sampler,
    predictor: Predictor,
    settings: SampleSettings,
    row: list[int],
    count: int,
) -> Counter[Sequence]:
    """How often each sequence comes out of `count` draws that all start from the ids `row`."""
    tokens = torch.tensor(row).repeat(count, 1)
    lengths = torch.full((count,), len(row))
    batch = TokenBatch(tokens, lengths, tokens == predictor.vocabulary.mask_id)
    filled = sampler.sample(Prior(batch, torch.arange(count)), settings).tokens
    sequences, counts = filled.unique(dim=0, return_counts=True)
    found = zip(sequences.tolist(), counts.tolist(), strict=True)
    return Counter({tuple(sequence): number for sequence, number in found})


def chi_square_p_value(counts: Counter[Sequence], law: Law) -> float:
    """Chance of a statistic at least as large when the counted sequences follow `law`."""
    assert set(counts) <= {each for each, chance in law.items() if chance > 0}
    means = {each: chance * counts.total() for each, chance in law.items() if chance > 0}
    assert min(means.values()) > 5, "too few samples for the chi-square approximation"
    statistic = sum((counts[each] - mean) ** 2 / mean for each, mean in means.items())
    freedom = torch.tensor((len(means) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, torch.tensor(statistic / 2).double()))
