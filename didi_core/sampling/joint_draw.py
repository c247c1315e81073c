"""Draw the tokens of one call, together where the model has a joint head.

Sequential as its law is, the draw needs few passes of the head. Each draw is a function of a keyed
random number and of the law it is drawn from, so that the sequential sample is the one fixed point
of the parallel pass: start from the tokens that the network's own law gives, correct all laws by
them, draw again with the same random numbers, until nothing changes. After pass p the first p + 1
tokens of the order are those of the sequential draw, so n positions take n - 1 passes at most.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.diffusion.draws import Stream
from didi_core.models.joint_head import DrawOrder, JointHead, draw_order
from didi_core.sampling.drawing import draw_tokens
from didi_core.sampling.predictor import Prediction
from didi_core.sampling.request import SampleSettings

Choose = Callable[[Float[Tensor, "n generable"], Int[Tensor, "n"]], Int[Tensor, "n"]]
"""From log-probabilities, and the place of each among the call's positions, to ranks. The same
place gets the same random number every time."""


@dataclass(frozen=True)
class Drawn:
    """The tokens of one call, and what drawing them took."""

    rank: Int[Tensor, "chosen"]
    """Token of each chosen position, in row-major order: its place among the generable ids."""
    head_passes: Int[Tensor, "batch"]
    """Passes of the joint head for each row."""


def keyed_choice(
    settings: SampleSettings,
    record: Int[Tensor, "n"],
    position: Int[Tensor, "n"],
    step: int,
    candidate: int = 0,
) -> Choose:
    """Return what draws at the positions of one call, keyed by record, position and step.

    Args:
        candidate: each has random numbers of its own; 0 those of a draw without others.
    """
    stream = Stream.CANDIDATE if candidate else Stream.TOKEN

    def choose(log_probs: Tensor, entry: Tensor) -> Tensor:
        keys = (record[entry], position[entry], step + (candidate << 32))
        return draw_tokens(log_probs, settings.draw, settings.seed, *keys, stream)

    return choose


def draw_together(
    head: JointHead | None,
    prediction: Prediction,
    at: Bool[Tensor, "batch width"],
    order: Float[Tensor, "batch width"],
    choose: Choose,
) -> Drawn:
    """Draw a token for each chosen position; without a head each for itself.

    Args:
        prediction: at the chosen positions; with a head it holds the hidden states.
        at: the chosen positions.
        order: where a row has several, those with lower numbers are drawn first.
    """
    log_probs = prediction.log_probs
    rank = choose(log_probs, torch.arange(len(log_probs), device=at.device))
    passes = torch.zeros(len(at), dtype=torch.long, device=at.device)
    if head is None:
        return Drawn(rank, passes)
    whole = draw_order(at, order)
    rows, settled = (whole.count > 1).nonzero()[:, 0], 1
    while len(rows):
        part = whole.rows(rows)
        place = torch.arange(part.valid.shape[1], device=at.device)
        changed = _redraw(head, prediction, part, place >= settled, rank, choose)
        passes[rows] += 1
        settled += 1
        # What the last of an order is matters to no other.
        last = place == part.count[:, None] - 1
        unsettled = (changed & ~last).any(-1) & (part.count > settled)
        rows = rows[unsettled]
    return Drawn(rank, passes)


def _redraw(
    head: JointHead,
    prediction: Prediction,
    part: DrawOrder,
    open_places: Bool[Tensor, "drawn"],
    rank: Int[Tensor, "chosen"],
    choose: Choose,
) -> Bool[Tensor, "rows drawn"]:
    """Draw positions of some rows again, given the tokens in `rank`; say which of them changed.

    Args:
        open_places: places in the order that are not settled; the others stay as they are.
    """
    assert prediction.hidden is not None
    correction = head(prediction.hidden[part.entry], rank[part.entry], part.position)
    drawn_again = part.valid & open_places
    entry = part.entry[drawn_again]
    # Not normalised: `choose` does that in float64, so that a correction of zero changes no bit.
    drawn = choose(corrected(prediction.log_probs[entry], correction[drawn_again]), entry)
    changed = torch.zeros_like(part.valid)
    changed[drawn_again] = drawn != rank[entry]
    rank[entry] = drawn
    return changed


def corrected(
    log_probs: Float[Tensor, "*n generable"], correction: Float[Tensor, "*n generable"]
) -> Float[Tensor, "*n generable"]:
    """Return log-probabilities with the head's correction, not normalised, in their own type."""
    return log_probs + correction.to(log_probs.dtype)
