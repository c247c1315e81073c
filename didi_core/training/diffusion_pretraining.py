"""Training a discrete diffusion teacher from sequences, whatever its process: on its bound.

Masked: MDLM, arXiv 2406.07524, equation 10. Uniform: Duo, arXiv 2506.10892, section 3.3. Scores:
SEDD, arXiv 2310.16834, theorem 3.6.
"""

from collections.abc import Generator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from didi_core.data.corpus import CorpusBatches
from didi_core.diffusion.absorbing import low_discrepancy_times
from didi_core.diffusion.draws import Stream, keyed_generator, keyed_uniform
from didi_core.diffusion.process import Process
from didi_core.distill.optimizers import OptimizerSettings, phase_length
from didi_core.distill.passes import Passes
from didi_core.models.denoiser import time_input
from didi_core.models.soft_tokens import SoftTokens
from didi_core.training.curricula import CurriculumSettings, GaussianSettings
from didi_core.training.gaussian_curriculum import GaussianCurriculum
from didi_core.training.pretraining import BatchShare, Pretraining


class DiffusionPretraining(Pretraining):
    """Minimises the likelihood bound of `process`, in nats a token, over the corpus."""

    def __init__(
        self,
        denoiser: nn.Module,
        data: CorpusBatches,
        process: Process,
        optimizer: OptimizerSettings,
        ema_decay: float,
        seed: int,
        curriculum: CurriculumSettings | None = None,
        gaussian: GaussianSettings | None = None,
        passes: Passes | None = None,
    ) -> None:
        super().__init__(denoiser, data, optimizer, ema_decay, seed, ("logits_at",), passes)
        self.process = process
        self.curriculum = curriculum or CurriculumSettings()
        self.gaussian: GaussianCurriculum | None = None
        if gaussian is not None and gaussian.steps:
            self.gaussian = GaussianCurriculum(gaussian, data.vocabulary, seed)

    def total_loss(self, share: BatchShare) -> Generator[int, list[int], Float[Tensor, ""]]:
        """Return the bound over all tokens; in the gentle start, -log p(x_l | z_t) instead."""
        batch, device = share.batch, share.batch.tokens.device
        t = self.times(share).to(device)
        process, noised, soft = self.corrupt(share, t)
        at = process.predicted(noised, batch.maskable)
        gentle = share.step < phase_length(self.curriculum.steps, share.steps)
        # The bound is over all tokens, predicted or not: of a sequence it is the sum of its terms.
        yield int(at.sum() if gentle else batch.maskable.sum())
        condition = time_input(self.network.module, process.schedule.alpha(t))
        logits = self.network.logits_at(noised, batch.lengths, at, soft, **condition)
        log_probs = process.log_prediction(self.data.vocabulary.generable_logits(logits))
        rank_of_id = self.data.vocabulary.rank_of_id.to(device)
        clean = rank_of_id[batch.tokens[at]]
        # One entry for each predicted position, in row-major order; each has its row's time.
        drawn = log_probs, clean, rank_of_id[noised[at]], t[at.nonzero()[:, 0]]
        return (process.denoising_terms if gentle else process.bound_terms)(*drawn).sum()

    def corrupt(
        self, share: BatchShare, t: Float[Tensor, "batch"]
    ) -> tuple[Process, Int[Tensor, "batch width"], SoftTokens | None]:
        """Draw z_t: return its process, z_t, and what the network sees instead, if anything."""
        batch = share.batch
        gaussian = self.gaussian
        if gaussian and share.step < phase_length(gaussian.settings.steps, share.steps):
            return gaussian.process, *gaussian.corrupt(batch, t, share.records, share.step)
        position = torch.arange(batch.tokens.shape[1])
        record = torch.as_tensor(share.records)[:, None]
        uniform = keyed_uniform(self.seed, Stream.CORRUPT, record, position, share.step)
        uniform = uniform.to(batch.tokens.device)
        return self.process, self.process.corrupt(batch.tokens, batch.maskable, t, uniform), None

    def times(self, share: BatchShare) -> Float[Tensor, "batch"]:
        """Draw each row's time; those of the whole batch cover their range evenly, in any order.

        A batch lists its rows by width, and what a row's length is must not tell its time.
        """
        gentle = share.step < phase_length(self.curriculum.steps, share.steps)
        low, high = self.curriculum.mask_range if gentle else (0.0, 1.0)
        shift = float(keyed_uniform(self.seed, Stream.TIME, share.step))
        times = low_discrepancy_times(share.num_records, shift, low, high)
        order = keyed_generator(self.seed, Stream.ORDER, share.step)
        return times[torch.randperm(share.num_records, generator=order)[share.places]]
