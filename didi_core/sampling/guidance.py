"""Guidance: steps drawn towards a score that the user gives, a guide.

Two ways, by what the guide takes. *Re-ranking*, of finished sequences: M candidates of the step are
drawn from the model's law, and one is kept with the probabilities

    softmax(scale * score of candidate m),  m = 1 ... M,

so that for large M the step draws from the law times exp(scale * score). To be scored, what a
candidate leaves blank is filled by a draw from the law of the same call (no call more), each
position for itself. All candidates of a step share that draw, so that their scores differ by what
the step reveals alone. *Tilting*, of probabilities: the law p of each blank position becomes

    log-softmax(log p + scale * d score / d p),

with the score at the expected tokens: p at blanks, standing tokens one-hot. For a score that is
linear in them this is the law times exp(scale * score) exactly. Temperature, biases and top-p act
behind it, and a joint head corrects the tilted law as it would the model's own.

Neither is a sampler: each takes the place of `draw_plain` in the samplers that draw step by step
(`ancestral` and its kin, `apart`, `momentum`), which go on to choose positions and to count calls.
That serves all of them with no option of their own; a sampler `guided` would be a second name for
`ancestral`, refused without a guide.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, draw_categorical, keyed_uniform
from didi_core.diffusion.process import DEFAULT_PROCESS, article_of
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_core.sampling.ancestral import PlannedSampler
from didi_core.sampling.apart import ApartSampler
from didi_core.sampling.drawing import draw_tokens
from didi_core.sampling.momentum import MomentumSampler
from didi_core.sampling.predictor import Prediction, StatePredictor
from didi_core.sampling.request import Sampler
from didi_core.sampling.step_draw import Revealed, Step, StepDraw

_NO_POSITION = 2**20
"""Keys the choice among candidates, which is of a whole row."""
_LEAST = -1e30
"""Nats that a tilt takes away at most: no token is ruled out, lest the others be excluded."""


class SequenceGuide(Protocol):
    """Scores finished sequences."""

    def scores(self, sequences: Sequence[Sequence[int]]) -> Float[Tensor, "n"]:
        """Return a finite score of each sequence of framed ids; larger is better."""
        ...


class GradientGuide(Protocol):
    """Gives the gradient of a score of expected tokens."""

    def gradient(
        self, probabilities: Float[Tensor, "n length generable"]
    ) -> Float[Tensor, "n length generable"]:
        """Return d score / d p of each sequence; framing and padding are left out."""
        ...


def guided(sampler: Sampler, draw: StepDraw | None, model: LoadedModel, name: str) -> Sampler:
    """Return the sampler with its steps drawn by `draw`; as it is where that is None.

    Raises:
        UserError: it draws by rules of its own, or the model is not a masked one.
    """
    if draw is None:
        return sampler
    if model.process != DEFAULT_PROCESS:
        raise UserError(
            f"--guide: --model {model.name} is {article_of(model.process)} model, and only masked "
            "ones can be guided; leave --guide out, or give a masked model."
        )
    if not isinstance(sampler, (PlannedSampler, ApartSampler, MomentumSampler)):
        raise UserError(
            f"--guide: --sampler {name} rewrites residues or draws them by rules of its own, which "
            "cannot be guided; take --sampler ancestral, apart or momentum."
        )
    return replace(sampler, draw=draw)


@dataclass(frozen=True)
class Reranked:
    """Draws candidates of a step and keeps one by its score."""

    guide: SequenceGuide
    scale: float = 1.0
    num_candidates: int = 4
    """M."""

    def places(self, predictor: StatePredictor, step: Step) -> Bool[Tensor, "batch width"]:
        """Return every blank: candidates are finished before they are scored."""
        return _blanks(predictor, step)

    def __call__(self, predictor: StatePredictor, step: Step, whole: Prediction) -> Revealed:
        """Make one call of the guide, with M sequences for each row."""
        blank = _blanks(predictor, step)
        part, count = _at(whole, step.now[blank]), self.num_candidates
        drawn = [step.reveal(predictor, part, candidate) for candidate in range(count)]
        states = torch.stack([each.tokens for each in drawn], 1)  # [batch, M, width]
        later = blank & ~step.now
        filler = _filler(predictor, step, later, whole.log_probs[~step.now[blank]])
        finished = torch.where(later[:, None], filler[:, None], states)
        scores = self._scores(finished, step.state.batch.lengths)
        uniform = keyed_uniform(
            step.settings.seed,
            Stream.CANDIDATE,
            step.state.records,
            _NO_POSITION,
            step.number,
            device=states.device,
        )
        kept = draw_categorical(_scaled(scores, self.scale), uniform)
        row = torch.arange(len(kept), device=kept.device)
        passes = torch.stack([each.head_passes for each in drawn]).sum(0)
        return Revealed(states[row, kept], passes, count)

    def _scores(
        self, finished: Int[Tensor, "batch candidates width"], lengths: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch candidates"]:
        ends = lengths.repeat_interleave(finished.shape[1]).tolist()
        rows = zip(finished.flatten(0, 1).tolist(), ends, strict=True)
        scores = self.guide.scores([ids[:end] for ids, end in rows])
        return scores.to(finished.device, torch.float64).view(finished.shape[:2])


@dataclass(frozen=True)
class Tilted:
    """Draws from the law tilted by the gradient of a score."""

    guide: GradientGuide
    scale: float = 1.0

    def places(self, predictor: StatePredictor, step: Step) -> Bool[Tensor, "batch width"]:
        """Return every blank: the score is of the whole sequence."""
        return _blanks(predictor, step)

    def __call__(self, predictor: StatePredictor, step: Step, whole: Prediction) -> Revealed:
        """Make one call of the guide."""
        blank = _blanks(predictor, step)
        gradient = self._gradient(step, whole.log_probs, blank, predictor.vocabulary)
        tilt = _scaled(gradient.double(), self.scale).clamp_min(_LEAST)
        tilted = (whole.log_probs.double() + tilt).log_softmax(-1).to(whole.log_probs)
        part = _at(replace(whole, log_probs=tilted), step.now[blank])
        return replace(step.reveal(predictor, part), guide_calls=1)

    def _gradient(
        self,
        step: Step,
        log_probs: Float[Tensor, "blank generable"],
        blank: Bool[Tensor, "batch width"],
        vocabulary: Vocabulary,
    ) -> Float[Tensor, "blank generable"]:
        """Return d score / d p at the blanks; rows of one length go together, without padding."""
        tokens, lengths = step.state.batch.tokens, step.state.batch.lengths
        rank = vocabulary.rank_of_id.to(tokens.device)[tokens]
        # Standing tokens one-hot, [batch, width, generable]; framing is cut off below.
        soft = F.one_hot(rank.clamp_min(0), vocabulary.num_generable).to(log_probs.dtype)
        soft[blank] = log_probs.exp()
        gradient = torch.zeros_like(soft)
        before, after = vocabulary.bos_id is not None, vocabulary.eos_id is not None
        for length in lengths.unique().tolist():
            rows, inside = lengths == length, slice(int(before), length - int(after))
            gradient[rows, inside] = self.guide.gradient(soft[rows, inside]).to(soft)
        return gradient[blank]


def _scaled(values: Float[Tensor, "rows choices"], scale: float) -> Float[Tensor, "rows choices"]:
    """Return scale * value, less that of the best: for draws among the choices this is the same.

    The product alone may be infinite, and nothing chooses between two infinite values.
    """
    wanted = values if scale > 0 else -values
    return abs(scale) * (wanted - wanted.amax(-1, keepdim=True))


def _blanks(predictor: StatePredictor, step: Step) -> Bool[Tensor, "batch width"]:
    return step.state.batch.tokens == predictor.vocabulary.mask_id


def _at(prediction: Prediction, chosen: Bool[Tensor, "predicted"]) -> Prediction:
    """Return the prediction at some of its positions."""
    hidden = None if prediction.hidden is None else prediction.hidden[chosen]
    return Prediction(prediction.log_probs[chosen], hidden)


def _filler(
    predictor: StatePredictor,
    step: Step,
    later: Bool[Tensor, "batch width"],
    log_probs: Float[Tensor, "later generable"],
) -> Int[Tensor, "batch width"]:
    """Return the state with its later positions drawn, to be scored and then forgotten."""
    row, position = later.nonzero(as_tuple=True)
    settings, record = step.settings, step.state.records[row]
    keys = (settings.seed, record, position, step.number, Stream.COMPLETION)
    rank = draw_tokens(log_probs, settings.draw, *keys)
    tokens = step.state.batch.tokens.clone()
    tokens[row, position] = predictor.vocabulary.generable.to(tokens.device)[rank]
    return tokens
