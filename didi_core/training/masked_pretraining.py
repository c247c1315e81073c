"""Training a masked-diffusion teacher from sequences (MDLM, arXiv 2406.07524, equation 10)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from didi_core.corpus import CorpusBatches
from didi_core.diffusion.absorbing import AbsorbingProcess, low_discrepancy_times
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.training.pretraining import BatchShare, Pretraining


@dataclass
class CurriculumSettings:
    """A gentler start: few masks, all weighted alike, until the network has learnt to look around.

    The bound's weight -alpha'/(1 - alpha) makes rows with few masks noisy and rows with many
    masks uninformative at first; a plain masked-language-model start shortens that plateau.
    """

    steps: int = 0
    """Updates of the gentle start; 0 trains on the bound from the first."""
    mask_range: tuple[float, float] = (0.1, 0.5)
    """Shares of masks it draws from, uniformly."""


class MaskedPretraining(Pretraining):
    """Minimises the likelihood bound, in nats a token, over the corpus."""

    def __init__(
        self,
        denoiser: nn.Module,
        data: CorpusBatches,
        process: AbsorbingProcess,
        optimizer: OptimizerSettings,
        ema_decay: float,
        seed: int,
        curriculum: CurriculumSettings | None = None,
    ) -> None:
        super().__init__(denoiser, data, optimizer, ema_decay, seed, ("logits_at",))
        self.process = process
        self.curriculum = curriculum or CurriculumSettings()

    def total_loss(self, share: BatchShare) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
        """The bound over all tokens; in the gentle start, cross-entropy over the masked ones."""
        batch, gentle = share.batch, share.step < self.curriculum.steps
        t = self.times(share).to(batch.tokens.device)
        position = torch.arange(batch.tokens.shape[1])
        record = torch.as_tensor(share.records)[:, None]
        uniform = keyed_uniform(self.seed, Stream.CORRUPT, record, position, share.step)
        noised = self.process.corrupt(
            batch.tokens, batch.maskable, t, uniform.to(batch.tokens.device)
        )
        masked = noised == self.process.mask_id
        logits = self.network.logits_at(noised, batch.lengths, masked)
        log_probs = self.data.vocabulary.log_probs(logits)
        token_log_prob = true_token_log_prob(log_probs, batch.tokens[masked], self.data)
        if gentle:
            return -token_log_prob.sum(), masked.sum()
        terms = self.process.bound_terms(token_log_prob, masked.nonzero()[:, 0], t)
        return terms.sum(), batch.maskable.sum()

    def times(self, share: BatchShare) -> Float[Tensor, "batch"]:
        """Each row's time; those of the whole batch cover their range evenly."""
        gentle = share.step < self.curriculum.steps
        low, high = self.curriculum.mask_range if gentle else (0.0, 1.0)
        shift = float(keyed_uniform(self.seed, Stream.TIME, share.step))
        return low_discrepancy_times(share.num_records, shift, low, high)[share.places]


def true_token_log_prob(
    log_probs: Float[Tensor, "n generable"], ids: Int[Tensor, "n"], data: CorpusBatches
) -> Float[Tensor, "n"]:
    ranks = data.vocabulary.rank_of_id.to(ids.device)[ids]
    return log_probs.gather(-1, ranks.unsqueeze(-1)).squeeze(-1)
