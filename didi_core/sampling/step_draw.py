"""One step of a sampler that reveals: which positions, and how the tokens there are drawn.

Such a sampler decides which positions a step reveals and leaves the rest to a `StepDraw`:
`draw_plain` draws from the model's own law; `guidance` holds those that follow a user's score.
"""

from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.models.noise import NoiseKeys
from didi_core.sampling.drawing import adjust
from didi_core.sampling.joint_draw import Choose, draw_together, keyed_choice
from didi_core.sampling.predictor import Prediction, StatePredictor
from didi_core.sampling.request import DrawSettings, Prior, SampleSettings
from didi_core.sampling.reveal import alpha_grid


@dataclass(frozen=True)
class Revealed:
    """States after a step, and what drawing them took beside the network's call."""

    tokens: Int[Tensor, "batch width"]
    head_passes: Int[Tensor, "batch"]
    """Passes of a joint head."""
    guide_calls: Int[Tensor, "batch"] | int = 0
    """Sequences that a guide scored, or gradients that it gave."""


@dataclass(frozen=True)
class Step:
    """One step of some rows."""

    state: Prior
    """The rows before it."""
    now: Bool[Tensor, "batch width"]
    """Blank positions that it reveals."""
    order: Float[Tensor, "batch width"]
    """Where a row reveals several, those with lower numbers are drawn first."""
    number: int
    settings: SampleSettings
    takes_best: bool = False
    """Take the most probable tokens instead of drawing."""

    @property
    def keys(self) -> NoiseKeys:
        """Return the keys of the step's one call."""
        return NoiseKeys(self.settings.seed, self.state.records, self.number)

    @property
    def alpha(self) -> float | None:
        """Return the share kept of z_t, for networks that are told; first-hitting has no grid."""
        return None if self.settings.steps is None else alpha_grid(self.settings)[self.number]

    def reveal(
        self, predictor: StatePredictor, prediction: Prediction, candidate: int = 0
    ) -> Revealed:
        """Draw tokens where the step reveals; each candidate has random numbers of its own.

        Args:
            prediction: at those positions.
        """
        row, position = self.now.nonzero(as_tuple=True)
        choose = self._choose(self.state.records[row], position, candidate)
        drawn = draw_together(predictor.joint_head, prediction, self.now, self.order, choose)
        tokens = self.state.batch.tokens.clone()
        tokens[row, position] = predictor.vocabulary.generable.to(tokens.device)[drawn.rank]
        return Revealed(tokens, drawn.head_passes)

    def _choose(self, record: Tensor, position: Tensor, candidate: int) -> Choose:
        if self.takes_best:
            return partial(_most_probable, self.settings.draw, record, position)
        return keyed_choice(self.settings, record, position, self.number, candidate)


def _most_probable(
    draw: DrawSettings,
    record: Int[Tensor, "n"],
    position: Int[Tensor, "n"],
    log_probs: Float[Tensor, "entries generable"],
    entry: Int[Tensor, "entries"],
) -> Int[Tensor, "entries"]:
    """Return the most probable token at some of the step's positions, as a `Choose` does."""
    forbidden = draw.forbidden_at(record[entry], position[entry])
    return adjust(log_probs, draw, forbidden).argmax(-1)


@runtime_checkable
class StepDraw(Protocol):
    """Draws what a step reveals, from what the step's one call of the network says."""

    def places(self, predictor: StatePredictor, step: Step) -> Bool[Tensor, "batch width"]:
        """Return where the network is asked: at what the step reveals, at least."""
        ...

    def __call__(self, predictor: StatePredictor, step: Step, whole: Prediction) -> Revealed:
        """Draw; `whole` is what the network says at the places."""
        ...


@dataclass(frozen=True)
class PlainDraw:
    """Draws from the model's law, which is computed only where the step reveals."""

    def places(self, predictor: StatePredictor, step: Step) -> Bool[Tensor, "batch width"]:
        """Return what the step reveals."""
        del predictor
        return step.now

    def __call__(self, predictor: StatePredictor, step: Step, whole: Prediction) -> Revealed:
        """Draw each position from its law, or together where there is a joint head."""
        return step.reveal(predictor, whole)


draw_plain = PlainDraw()
