"""Training a causal language model (a judge, or a baseline) by next-token cross-entropy.

The network is a Hugging Face causal LM: input bos and tokens, targets the tokens. The end token
is not scored, because lengths are given, never modelled.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from didi_core.batches import TokenBatch
from didi_core.corpus import CorpusBatches, share_of_batch
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.updates import Trained
from didi_core.models.ema import ExponentialMovingAverage


class AutoregressivePretraining:
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
    ) -> None:
        self.data = data
        self.input_noise = input_noise
        self.seed = seed
        self.network = Trained(model, optimizer, forward_methods=())
        self.ema = ExponentialMovingAverage(model, ema_decay)

    def setup(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.network.setup(fabric)
        self.ema.module.to(fabric.device)

    def step(self, step: int, steps: int) -> dict[str, float]:
        records = self.data.records(step)
        size = self.fabric.world_size
        mine, weight = share_of_batch(len(records), self.fabric.global_rank, size)
        batch = self.data.batch(records[mine], step).to(self.fabric.device)
        # Causal attention: right padding cannot reach a real position, so no mask is needed.
        inputs = self.noised(batch, records[mine], step) if self.input_noise else batch.tokens
        logits = self.network.wrapped(input_ids=inputs[:, :-1]).logits
        scored = batch.maskable[:, 1:]
        nll = F.cross_entropy(logits[scored].float(), batch.tokens[:, 1:][scored], reduction="sum")
        count = self.fabric.all_reduce(weight * scored.sum(), reduce_op="sum")
        loss = weight * nll / count * size
        norm = self.network.update(loss, step, steps)
        self.ema.update(self.network.module)
        return {"loss": float(self.fabric.all_reduce(loss.detach())), "gradient_norm": norm}

    def noised(
        self, batch: TokenBatch, records: np.ndarray, step: int
    ) -> Int[Tensor, "batch width"]:
        """The batch's tokens with a random share of each row replaced; keyed by record and step."""
        record = torch.as_tensor(records)
        position = torch.arange(batch.tokens.shape[1])
        share = self.input_noise * keyed_uniform(self.seed, Stream.TIME, record, step)
        uniform = keyed_uniform(self.seed, Stream.CORRUPT, record[:, None], position, step)
        replaced = (uniform < share[:, None]).to(batch.tokens.device) & batch.maskable
        choice = keyed_uniform(self.seed, Stream.NOISE, record[:, None], position, step)
        generable = self.data.vocabulary.generable
        drawn = generable[(choice * len(generable)).long()].to(batch.tokens.device)
        return torch.where(replaced, drawn, batch.tokens)

    def result(self) -> nn.Module:
        return self.ema.module

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "ema": self.ema.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])

    @torch.no_grad()
    def validation_loss(self, data: CorpusBatches) -> float:
        """Mean nats a token of the averaged model over one epoch of `data`."""
        total = count = 0.0
        for step in range(data.plan.batches_per_epoch()):
            batch = data.batch(data.records(step), step).to(self.fabric.device)
            logits = self.ema.module(input_ids=batch.tokens[:, :-1]).logits
            scored = batch.maskable[:, 1:]
            total += float(
                F.cross_entropy(
                    logits[scored].float(), batch.tokens[:, 1:][scored], reduction="sum"
                )
            )
            count += float(scored.sum())
        return total / count
