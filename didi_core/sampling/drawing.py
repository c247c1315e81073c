"""From log-probabilities to tokens: bias, temperature, top-p, and the keyed draw."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.diffusion.draws import (
    Stream,
    draw_categorical,
    draw_gumbel_float32,
    keyed_uniform,
)
from didi_core.sampling.request import Draws, DrawSettings


def adjust(
    log_probs: Float[Tensor, "n generable"],
    settings: DrawSettings,
    forbidden: Bool[Tensor, "n generable"] | None = None,
) -> Float[Tensor, "n generable"]:
    """Return log-probabilities after temperature, bias and top-p, normalised again, in float64.

    Args:
        forbidden: tokens that get no probability, as `settings.forbidden_at` says.
    """
    adjusted = log_probs.double()
    if settings.temperature != 1.0:
        adjusted = adjusted / settings.temperature
    if settings.log_bias is not None:
        adjusted = adjusted + settings.log_bias.to(adjusted)
    if forbidden is not None:
        adjusted = adjusted.masked_fill(forbidden, -torch.inf)
    adjusted = adjusted.log_softmax(-1)
    if settings.top_p < 1.0:
        adjusted = keep_top_p(adjusted, settings.top_p)
    return adjusted


def keep_top_p(
    log_probs: Float[Tensor, "n generable"], top_p: float
) -> Float[Tensor, "n generable"]:
    """Keep the fewest most probable tokens whose mass is at least `top_p` (nucleus sampling)."""
    # A token stays while those before it have less than top_p: the first one always does.
    ordered, order = log_probs.sort(-1, descending=True)
    mass_before = ordered.exp().cumsum(-1) - ordered.exp()
    ordered = ordered.masked_fill(mass_before >= top_p, -torch.inf)
    kept = torch.empty_like(log_probs).scatter_(-1, order, ordered)
    return kept.log_softmax(-1)


def draw_tokens(
    log_probs: Float[Tensor, "n generable"],
    settings: DrawSettings,
    seed: int,
    record: Int[Tensor, "n"],
    position: Int[Tensor, "n"],
    step: int,
    stream: Stream = Stream.TOKEN,
) -> Int[Tensor, "n"]:
    """Draw one token for each row of `log_probs`: its rank, the place among the generable ids.

    The draw depends on (seed, record, position, step) and the distribution alone.
    """
    adjusted = adjust(log_probs, settings, settings.forbidden_at(record, position))
    return draw_adjusted(adjusted, settings.precision, seed, record, position, step, stream)


def draw_adjusted(
    log_probs: Float[Tensor, "n generable"],
    precision: Draws,
    seed: int,
    record: Int[Tensor, "n"],
    position: Int[Tensor, "n"],
    step: int,
    stream: Stream = Stream.TOKEN,
) -> Int[Tensor, "n"]:
    """Draw as `draw_tokens` does, from log-probabilities that are drawn from as they are."""
    device = log_probs.device
    if precision == "float64":
        uniform = keyed_uniform(seed, stream, record, position, step, device=device)
        return draw_categorical(log_probs, uniform)
    # A number for each token, not one for the draw: the arg-max of noised log-probabilities.
    rank = torch.arange(log_probs.shape[-1], device=device)
    keys = (record[:, None], position[:, None], step, rank)
    return draw_gumbel_float32(log_probs, keyed_uniform(seed, stream, *keys, device=device))
