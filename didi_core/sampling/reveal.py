"""Which step reveals which position. In masked diffusion this does not depend on the tokens.

Every position has a uniform number u; a grid of alphas 0 = a_0 < a_1 < ... reveals it in the step
k with a_k <= u < a_{k+1}, which gives each step the reverse posterior's reveal probability
(a_{k+1} - a_k) / (1 - a_k). So a row's calls are known before the first one is made.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.sampling.request import Prior, SampleSettings

NEVER = torch.iinfo(torch.int64).max
PUBLISHED_END = 1e-5
"""Time at which the published grid ends; one further call cleans up what is still masked."""


def alpha_grid(settings: SampleSettings) -> list[float]:
    """Return the share of tokens kept before the first step and after each, from 0 to 1.

    The published grid has a step more than the exact one: it ends short of 1, and cleans up.
    """
    assert settings.steps is not None
    if settings.grid == "best":
        assert settings.kept is not None and len(settings.kept) == settings.steps + 1
        return list(settings.kept)
    even = [k / settings.steps for k in range(settings.steps + 1)]
    if settings.grid == "published":
        return [*((1.0 - PUBLISHED_END) * share for share in even), 1.0]
    return [share**settings.reveal_exponent for share in even]


def reveal_uniform(prior: Prior, seed: int) -> Float[Tensor, "batch width"]:
    position = torch.arange(prior.batch.tokens.shape[1], device=prior.records.device)
    return keyed_uniform(
        seed, Stream.REVEAL, prior.records[:, None], position, device=prior.records.device
    )


def ancestral_plan(prior: Prior, settings: SampleSettings) -> Int[Tensor, "batch width"]:
    """Return the step (from 0) that reveals each position; `NEVER` where nothing is to be filled.

    The exact grid and the best one have `steps` steps. The published one stops short of alpha = 1:
    what it leaves is revealed in a step of its own, number `steps`.
    """
    assert settings.steps is not None
    uniform = reveal_uniform(prior, settings.seed)
    if settings.grid == "best":
        # Step k reveals a_k <= u < a_{k+1}: as many of the inner shares lie at or below u.
        inner = torch.tensor(alpha_grid(settings)[1:-1], dtype=uniform.dtype, device=uniform.device)
        step = torch.bucketize(uniform, inner, right=True)
        return step.masked_fill(~prior.batch.maskable, NEVER)
    if settings.grid == "published":
        uniform = uniform / (1.0 - PUBLISHED_END)
    if settings.reveal_exponent != 1.0:
        uniform = uniform ** (1.0 / settings.reveal_exponent)
    step = (uniform * settings.steps).long().clamp_max(settings.steps)
    return step.masked_fill(~prior.batch.maskable, NEVER)


def first_hitting_plan(prior: Prior, settings: SampleSettings) -> Int[Tensor, "batch width"]:
    """Plan one position a step, in uniformly random order: the limit of infinitely many steps.

    Zheng et al., "Masked diffusion models are secretly time-agnostic masked models and exploit
    inaccurate categorical sampling", arXiv 2409.02908, section 4.
    """
    uniform = reveal_uniform(prior, settings.seed)
    uniform = uniform.masked_fill(~prior.batch.maskable, torch.inf)
    rank = uniform.argsort(-1).argsort(-1)
    return rank.masked_fill(~prior.batch.maskable, NEVER)
