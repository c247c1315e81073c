"""D-MMD of uniform-state models: the moment matching of `matching`, where every token may be noise.

Source: arXiv 2603.20155; how the parts below are done with this process is ours.

- Nothing is certain before the data is reached, so that all positions are compared, by the law of
  their clean token: a network's prediction with the position's own token put back
  (`UniformProcess.denoised`). After a step from z_t to z_s the student's is p(x | z_t, z_s), which
  is its prediction at z_t with the token of z_s put back.
- The student's own step decides what z_s is at a position. The gradient of a position's loss with
  respect to what the student says there is sum_x p(x | z_t, z_s) grad log p(x | z_t) (log auxiliary
  - log teacher)(x): over the draw of z_s unbiased for the position's own term, with the difference
  held fixed. What its z_s changes at other positions is left out, as in `dmmd`, whose gradient this
  is where noise is a mask (there the mean is over the positions still masked, here over all).
"""

from dataclasses import dataclass, field
from functools import cached_property

from jaxtyping import Float, Int
from torch import Tensor

from didi_core.data.batches import TokenBatch
from didi_core.diffusion.draws import Stream, draw_categorical
from didi_core.diffusion.uniform import UniformProcess
from didi_core.distill.matching import MatchedState, MatchingSettings, MatchingStudent
from didi_core.distill.method import MethodEntry
from didi_core.models.noise import NoiseSettings
from didi_core.sampling.mixture import Key, Move, draw_mixture


@dataclass
class DmmdUniformSettings(MatchingSettings):
    """Settings of moment matching, without a noise input, which belongs to masks."""

    noise: NoiseSettings = field(default_factory=NoiseSettings)
    """No part of this method: leave kind at none."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = super().problems()
        if self.noise.kind != "none":
            wrong.append(f"noise.kind={self.noise.kind} is for masked models: leave it at none")
        return wrong


class UniformMomentMatching(MatchingStudent):
    """Trains students of uniform-state teachers."""

    settings: DmmdUniformSettings

    @cached_property
    def process(self) -> UniformProcess:
        return UniformProcess(self.vocabulary.generable_ids, self.schedule)

    def student_transition(
        self,
        batch: TokenBatch,
        rows: Int[Tensor, "batch"],
        t: Float[Tensor, "batch"],
        s: Float[Tensor, "batch"],
        key: int,
    ) -> MatchedState:
        """Take the step, and compare all positions by the law of their clean token."""
        at, process = batch.maskable, self.process
        before = process.corrupt(batch.tokens, at, t, self.corruption(batch, rows, key))
        alpha_t, alpha_s = self.schedule.alpha(t), self.schedule.alpha(s)
        predictor = self.student_predictor()
        student = predictor.log_probs(before, batch.lengths, at, alpha=alpha_t)
        row, position = at.nonzero(as_tuple=True)
        noised, fixed = self._ranks(before[at]), student.detach()
        keys = Key(self.seed, rows[row], position, key)
        move = Move(alpha_t.double()[row], alpha_s.double()[row])
        # z_s is drawn from q(z_s | z_t, x_theta), position by position.
        next_noised = draw_mixture(fixed, noised, move, keys)
        after = before.masked_scatter(at, self.vocabulary.generable.to(at.device)[next_noised])
        # p(x | z_t, z_s) = x_theta(x) times the likelihood of z_s: z_t's own factor drops out.
        law = process.denoised(fixed, next_noised, s[row])

        # sum_x p(x | z_t, z_s) grad log p(x | z_t): the first factor without gradient, the second
        # the student's prediction with the token of z_t put back.
        def gradient_carrier() -> Float[Tensor, "at generable"]:
            return law.exp() * process.denoised(student, noised, t[row])

        drawn = None if self.settings.soft_target else self._draw(law, keys)
        return MatchedState(batch.with_tokens(after), at, law, gradient_carrier, drawn, alpha_s)

    def num_matched(
        self,
        batch: TokenBatch,
        rows: Int[Tensor, "batch"],
        t: Float[Tensor, "batch"],
        s: Float[Tensor, "batch"],
        key: int,
    ) -> int:
        """Count all positions."""
        del rows, t, s, key
        return int(batch.maskable.sum())

    def clean_law(
        self,
        log_probs: Float[Tensor, "at generable"],
        matched: MatchedState,
        s: Float[Tensor, "batch"],
    ) -> Float[Tensor, "at generable"]:
        """Return log p(x | z_s): the prediction with the token of z_s put back."""
        noised = self._ranks(matched.state.tokens[matched.at])
        return self.process.denoised(log_probs, noised, s[matched.at.nonzero()[:, 0]])

    def _ranks(self, ids: Int[Tensor, "at"]) -> Int[Tensor, "at"]:
        """Return the place of each id among the generable ones."""
        return self.vocabulary.rank_of_id.to(ids.device)[ids]

    def _draw(self, law: Float[Tensor, "at generable"], keys: Key) -> Int[Tensor, "at"]:
        """Draw clean tokens of the student's step, given where it led."""
        return draw_categorical(law, self._uniform(Stream.CANDIDATE, *keys[1:]))


ENTRY = MethodEntry(
    "dmmd-uniform",
    DmmdUniformSettings,
    UniformMomentMatching,
    summary="uniform-state teachers: moment matching where every token may be noise",
    process="uniform",
)
