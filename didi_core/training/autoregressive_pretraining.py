"""Training a causal language model (a judge, or a baseline) by next-token cross-entropy.

The network is a Hugging Face causal LM: its input is the framed sequence, its targets are the
tokens that may be masked, each from what stands before it. The end token is not scored, because
lengths are given, never modelled.
"""

from collections.abc import Generator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from didi_core.data.batches import TokenBatch
from didi_core.data.corpus import CorpusBatches
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.passes import Passes
from didi_core.training.pretraining import BatchShare, Pretraining


class AutoregressivePretraining(Pretraining):
    """Minimises next-token cross-entropy, in nats a token.

    Args:
        input_noise: largest share of a row's inputs replaced by uniform random tokens; each row
            draws its share between 0 and this one. The targets stay clean. It keeps a small model
            from learning its training sequences by heart, so that relatives are rated fairly.
    """

    def __init__(
        self,
        model: nn.Module,
        data: CorpusBatches,
        optimizer: OptimizerSettings,
        ema_decay: float,
        input_noise: float = 0.0,
        seed: int = 0,
        passes: Passes | None = None,
    ) -> None:
        super().__init__(model, data, optimizer, ema_decay, seed, passes=passes)
        self.input_noise = input_noise

    def total_loss(self, share: BatchShare) -> Generator[int, list[int], Float[Tensor, ""]]:
        """Yield the number of tokens that are scored; return the nats of all of them."""
        inputs = self.noised(share) if self.input_noise else share.batch.tokens
        yield int(_scored(share.batch).sum())
        return _total_nll(self.network.wrapped, inputs, share.batch)

    def noised(self, share: BatchShare) -> Int[Tensor, "batch width"]:
        """Replace a random part of each row's tokens; keyed by record and step."""
        batch, step = share.batch, share.step
        record = torch.as_tensor(share.records)
        position = torch.arange(batch.tokens.shape[1])
        # Three draws: a row's share, which of its tokens are replaced, and by what.
        part = self.input_noise * keyed_uniform(self.seed, Stream.TIME, record, step)
        uniform = keyed_uniform(self.seed, Stream.CORRUPT, record[:, None], position, step)
        replaced = (uniform < part[:, None]).to(batch.tokens.device) & batch.maskable
        choice = keyed_uniform(self.seed, Stream.NOISE, record[:, None], position, step)
        generable = self.data.vocabulary.generable
        drawn = generable[(choice * len(generable)).long()].to(batch.tokens.device)
        return torch.where(replaced, drawn, batch.tokens)

    @torch.no_grad()
    def validation_loss(self, data: CorpusBatches) -> float:
        """Return the mean nats a token of the averaged model over one epoch of `data`."""
        total = count = 0.0
        device = next(self.ema.module.parameters()).device
        for step in range(data.plan.batches_per_epoch()):
            batch = data.batch(data.records(step), step).to(device)
            total += float(_total_nll(self.ema.module, batch.tokens, batch))
            count += float(_scored(batch).sum())
        return total / count

    @torch.no_grad()
    def sequence_nats(self, data: CorpusBatches) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the nats of each sequence under the averaged model, and its scored tokens.

        Returns:
            Two arrays [sequences], in the order of the corpus.
        """
        device = next(self.ema.module.parameters()).device
        nats, tokens = np.zeros(len(data.corpus)), np.zeros(len(data.corpus), dtype=np.int64)
        for step in range(data.plan.batches_per_epoch()):
            records = data.records(step)
            batch = data.batch(records, step).to(device)
            logits = self.ema.module(input_ids=batch.tokens[:, :-1]).logits.float()
            scored = _scored(batch)
            loss = F.cross_entropy(logits.transpose(1, 2), batch.tokens[:, 1:], reduction="none")
            nats[records] = (loss.double() * scored).sum(1).cpu().numpy()
            tokens[records] = scored.sum(1).cpu().numpy()
        return nats, tokens


def _scored(batch: TokenBatch) -> Bool[Tensor, "batch targets"]:
    """Mark the targets, which begin with the second token, that are scored."""
    return batch.maskable[:, 1:]


def _total_nll(
    model: nn.Module, inputs: Int[Tensor, "batch width"], batch: TokenBatch
) -> Float[Tensor, ""]:
    """Sum the cross-entropy of the batch's tokens given `inputs`."""
    # Causal attention: right padding cannot reach a real position, so no mask is needed.
    logits = model(input_ids=inputs[:, :-1]).logits
    scored = _scored(batch)
    targets = batch.tokens[:, 1:][scored]
    chosen = logits[scored]
    chosen = chosen if chosen.dtype == torch.float64 else chosen.float()
    return F.cross_entropy(chosen, targets, reduction="sum")
