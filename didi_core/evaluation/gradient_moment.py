"""The gradient moment of a judge: do samples pull a reference model where data pulls it? [1]_

The squared distance between the mean gradients, over all parameters, of a reference model's loss
on samples and on data. It is zero where the two laws agree, and unlike perplexity it cannot be
bought by sampling at a lower temperature.

Estimated from finite sets the squared distance is biased upwards by the noise of both means.
`GradientMoment` therefore holds three figures: the plain one as published, the same of data against
other data at equal size, and an unbiased one, for which the sets are cut into groups and only
products of *different* groups are taken.

.. [1] Hoogeboom et al. "Beyond Single Tokens: Distilling Discrete Diffusion Models via Discrete
   MMD", arXiv 2603.20155.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from didi_core.evaluation.judge import BATCH_TOKENS, row_nll
from didi_core.sampling.batching import plan_batches

Sequences = Sequence[Sequence[int]]
RowLoss = Callable[[nn.Module, Sequences], Float[Tensor, "batch"]]
"""Loss of each sequence under the model, with its gradient."""
NUM_GROUPS = 16


@dataclass(frozen=True)
class GradientMoment:
    """Squared distances between mean gradients; the unit is that of the loss, squared."""

    plain: float
    """Samples against data, as published; biased upwards."""
    natural_versus_natural: float
    """Other data against data at the same size: how much of `plain` is noise."""
    unbiased: float
    """Estimate without that bias; may be below zero where the laws agree."""
    standard_error: float
    """Of `unbiased`, by the jackknife over groups."""
    num_sequences: int
    """Of each set."""

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def causal_token_loss(bos_id: int) -> RowLoss:
    """Make the loss of an autoregressive judge: mean NLL a token of each sequence."""

    def loss(model: nn.Module, rows: Sequences) -> Float[Tensor, "batch"]:
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.float64)
        nll = row_nll(model, rows, bos_id)
        return nll / lengths.to(nll.device)

    return loss


def gradient_moment(
    model: nn.Module,
    loss: RowLoss,
    samples: Sequences,
    data: Sequences,
    other_data: Sequences,
    num_groups: int = NUM_GROUPS,
    batch_tokens: int = BATCH_TOKENS,
) -> GradientMoment:
    """Compare `samples`, and `other_data` as the floor, with `data`, all cut to one size.

    The sets are cut to a multiple of `num_groups`; sequence i is in group i modulo their number.
    The model's parameters keep their values. Memory: the parameters in float32 times the groups.

    Raises:
        ValueError: a set has fewer sequences than groups, or there are fewer than 2 groups.
    """
    each = min(len(samples), len(data), len(other_data)) // num_groups
    if num_groups < 2 or not each:
        raise ValueError(f"{num_groups} groups need that many sequences of each set, and 2 groups")
    groups = [
        [part[group : each * num_groups : num_groups] for part in (samples, data, other_data)]
        for group in range(num_groups)
    ]
    differences, floor = [], torch.zeros(())
    for parts in groups:
        own, natural, other = (_mean_gradient(model, loss, part, batch_tokens) for part in parts)
        differences.append((own - natural).float())
        floor = floor + (other - natural) / num_groups
    difference = torch.stack(differences)
    unbiased, error = _unbiased(difference)
    return GradientMoment(
        plain=float(difference.mean(0).double().square().sum()),
        natural_versus_natural=float(floor.square().sum()),
        unbiased=unbiased,
        standard_error=error,
        num_sequences=each * num_groups,
    )


def _mean_gradient(
    model: nn.Module, loss: RowLoss, sequences: Sequences, batch_tokens: int
) -> Float[Tensor, "parameter"]:
    parameters = list(model.parameters())
    total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64)
    with torch.enable_grad():
        for records in plan_batches([len(each) for each in sequences], batch_tokens):
            value = loss(model, [sequences[i] for i in records]).sum()
            gradients = torch.autograd.grad(value, parameters, allow_unused=True)
            flat = [
                (torch.zeros_like(p) if g is None else g).double().flatten().cpu()
                for g, p in zip(gradients, parameters, strict=True)
            ]
            total += torch.cat(flat)
    return total / len(sequences)


def _unbiased(difference: Float[Tensor, "group parameter"]) -> tuple[float, float]:
    """Average the products of different groups' differences; with the jackknife standard error."""
    products = (difference @ difference.T).double()
    count = len(products)
    # Groups are independent: the product of two estimates the squared mean difference, where a
    # group's product with itself would add its variance.
    off_diagonal = products - torch.diag(products.diag())
    whole = off_diagonal.sum() / (count * (count - 1))
    if count < 3:
        return float(whole), float("nan")
    # Leaving a group out takes its row and its column away.
    without = off_diagonal.sum() - 2 * off_diagonal.sum(0)
    without = without / ((count - 1) * (count - 2))
    error = ((count - 1) / count * (without - without.mean()).square().sum()).sqrt()
    return float(whole), float(error)
