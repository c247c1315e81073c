"""Training a masked-diffusion teacher from sequences (MDLM, arXiv 2406.07524, equation 10)."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from lightning.fabric import Fabric
from torch import Tensor, nn

from didi_core.batches import TokenBatch
from didi_core.corpus import CorpusBatches, share_of_batch
from didi_core.diffusion.absorbing import AbsorbingProcess, low_discrepancy_times
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.updates import Trained
from didi_core.models.ema import ExponentialMovingAverage


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


class MaskedPretraining:
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
        self.data = data
        self.process = process
        self.seed = seed
        self.curriculum = curriculum or CurriculumSettings()
        self.network = Trained(denoiser, optimizer, forward_methods=("logits_at",))
        self.ema = ExponentialMovingAverage(denoiser, ema_decay)

    def setup(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.network.setup(fabric)
        self.ema.module.to(fabric.device)

    def step(self, step: int, steps: int) -> dict[str, float]:
        records = self.data.records(step)
        size = self.fabric.world_size
        mine, weight = share_of_batch(len(records), self.fabric.global_rank, size)
        gentle = step < self.curriculum.steps
        low, high = self.curriculum.mask_range if gentle else (0.0, 1.0)
        shift = float(keyed_uniform(self.seed, Stream.TIME, step))
        times = low_discrepancy_times(len(records), shift, low, high)
        batch = self.data.batch(records[mine], step).to(self.fabric.device)
        position = torch.arange(batch.tokens.shape[1])
        uniform = keyed_uniform(
            self.seed, Stream.CORRUPT, torch.as_tensor(records[mine])[:, None], position, step
        )
        total, count = self._total_loss(
            batch, times[mine].to(batch.tokens.device), uniform, weighted=not gentle
        )
        # Normalised over all processes: the loss must not depend on their number.
        count = self.fabric.all_reduce(weight * count, reduce_op="sum").clamp_min(1)
        loss = weight * total / count * size
        norm = self.network.update(loss, step, steps)
        self.ema.update(self.network.module)
        return {"loss": float(self.fabric.all_reduce(loss.detach())), "gradient_norm": norm}

    def _total_loss(
        self,
        batch: TokenBatch,
        t: Float[Tensor, "batch"],
        uniform: Float[Tensor, "batch width"],
        weighted: bool,
    ) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
        """Sum of the batch's loss in nats, and what it is to be divided by.

        Weighted: the bound over all tokens. Else: cross-entropy over the masked ones.
        """
        noised = self.process.corrupt(
            batch.tokens, batch.maskable, t, uniform.to(batch.tokens.device)
        )
        masked = noised == self.process.mask_id
        logits = self.network.logits_at(noised, batch.lengths, masked)
        log_probs = self.data.vocabulary.log_probs(logits)
        token_log_prob = true_token_log_prob(log_probs, batch.tokens[masked], self.data)
        if not weighted:
            return -token_log_prob.sum(), masked.sum()
        terms = self.process.bound_terms(token_log_prob, masked.nonzero()[:, 0], t)
        return terms.sum(), batch.maskable.sum()

    def result(self) -> nn.Module:
        return self.ema.module

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "ema": self.ema.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])


def true_token_log_prob(
    log_probs: Float[Tensor, "n generable"], ids: Int[Tensor, "n"], data: CorpusBatches
) -> Float[Tensor, "n"]:
    ranks = data.vocabulary.rank_of_id.to(ids.device)[ids]
    return log_probs.gather(-1, ranks.unsqueeze(-1)).squeeze(-1)
