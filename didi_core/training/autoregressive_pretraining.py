"""Training a causal language model (a judge, or a baseline) by next-token cross-entropy.

The network is a Hugging Face causal LM: input bos and tokens, targets the tokens. The end token
is not scored, because lengths are given, never modelled.
"""

from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.nn import functional as F

from didi_core.corpus import CorpusBatches, share_of_batch
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.updates import Trained
from didi_core.models.ema import ExponentialMovingAverage


class AutoregressivePretraining:
    """Minimises next-token cross-entropy, in nats a token."""

    def __init__(
        self,
        model: nn.Module,
        data: CorpusBatches,
        optimizer: OptimizerSettings,
        ema_decay: float,
    ) -> None:
        self.data = data
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
        logits = self.network.wrapped(input_ids=batch.tokens[:, :-1]).logits
        scored = batch.maskable[:, 1:]
        nll = F.cross_entropy(logits[scored].float(), batch.tokens[:, 1:][scored], reduction="sum")
        count = self.fabric.all_reduce(weight * scored.sum(), reduce_op="sum")
        loss = weight * nll / count * size
        norm = self.network.update(loss, step, steps)
        self.ema.update(self.network.module)
        return {"loss": float(self.fabric.all_reduce(loss.detach())), "gradient_norm": norm}

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
