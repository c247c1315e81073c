"""Training a joint head: alone on a frozen teacher, or beside any method on its student.

References are masked at a uniform time; the frozen trunk is asked once; and the head learns the
exact likelihood of all masked positions, drawn one after the other in a random order,

    -sum over masked i of log p(x_i | z_t, x_j for j before i),

as a mean over positions. In a step of a sampler the order has fewer positions: those are the short
beginnings of the orders that it learnt. The first of an order is never corrected (`JointHead`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from lightning.fabric import Fabric
from torch import Tensor, nn

from didi_core.data.batches import TokenBatch
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.distill.distributed_mean import all_reduce_metrics, share_of_mean
from didi_core.distill.method import Distillation, MethodEntry, Network
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.passes import Pass
from didi_core.distill.reference import GroupedReference, ReferenceBatch
from didi_core.distill.updates import Trained, mesh_of, place_frozen
from didi_core.models.ema import ExponentialMovingAverage
from didi_core.models.joint_head import JointHead, draw_order
from didi_core.models.joint_head_file import head_for, save_joint_head
from didi_core.models.noise import NoiseKeys, NoiseSettings, without_noise
from didi_core.models.sharding import skeleton_of, whole_network
from didi_core.sampling.joint_draw import corrected
from didi_core.sampling.predictor import Prediction, Predictor

NAME = "joint_head"
"""Of its file, its weights in checkpoints, and of the setting that trains it beside a method."""
_OWN = 2
"""Last key of its random numbers: those of the methods beside it have none, 0 or 1."""


@dataclass
class JointHeadSettings:
    """Settings of a head's training; nothing shows before some 200 updates."""

    student: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(
            name="muon", lr=2e-3, muon_lr=4e-3, warmup_steps=20, decay_fraction=0.3, clip_norm=1.0
        )
    )
    """The head's optimiser: the teacher does not change."""
    ema: float = 0.99
    """Decay of the average of the head's weights, which is what is saved."""
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    """Must be none: a head reads the teacher as it is."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        if self.noise.kind != "none":
            return [f"noise.kind={self.noise.kind} must be none: the teacher is left as it is"]
        return []


@dataclass(frozen=True)
class MaskedState:
    """References masked in part, and the order in which their masked positions are drawn."""

    state: TokenBatch
    at: Bool[Tensor, "batch width"]
    """The masked positions."""
    order: Float[Tensor, "batch width"]
    """Those with lower numbers are drawn first."""
    alpha: Float[Tensor, "batch"]
    """Share of tokens kept, for networks that are told the time."""


def joint_nll(
    head: Callable[[Tensor, Tensor, Tensor], Tensor],
    prediction: Prediction,
    masked: MaskedState,
    clean: Int[Tensor, "masked"],
) -> Float[Tensor, "masked"]:
    """Return -log p of each masked position given those before it, row by row in that order.

    Args:
        head: as `JointHead` is called.
        prediction: at the masked positions, with hidden states.
        clean: rank of the clean token at each masked position, in row-major order.
    """
    plan = draw_order(masked.at, masked.order)
    assert prediction.hidden is not None
    correction = head(prediction.hidden[plan.entry], clean[plan.entry], plan.position)
    entry = plan.entry[plan.valid]
    law = corrected(prediction.log_probs[entry], correction[plan.valid]).log_softmax(-1)
    return -law.gather(-1, clean[entry, None])[:, 0]


class HeadTrainer:
    """Owns a joint head, its optimiser and its average, and trains it on some network's trunk."""

    def __init__(
        self, network: nn.Module, vocabulary: Vocabulary, settings: JointHeadSettings, seed: int
    ) -> None:
        self.vocabulary, self.seed = vocabulary, seed
        denoiser = without_noise(network)[0]
        head = head_for(denoiser, vocabulary.num_generable).to(denoiser.embedding.weight)
        if not denoiser.embedding.weight.is_meta:  # else only its size is asked for
            head.initialise(seed)
        self.trained = Trained(head, settings.student, forward_methods=())
        self.ema = ExponentialMovingAverage(head, settings.ema)

    def setup(self, fabric: Fabric) -> None:
        """Move the head to the device and wrap it."""
        self.fabric = fabric
        self.trained.setup(fabric)
        self.ema.place(fabric.device, mesh_of(fabric))

    def step(
        self, network: nn.Module, reference: GroupedReference, step: int, steps: int
    ) -> dict[str, float]:
        """Update the head once on the references of `step`.

        Args:
            network: the one that the head reads, in evaluation mode; it does not change here.
        """
        learn = partial(self._learn, network=network, step=step)
        figures = reference.accumulate(self.fabric, [self.trained], step, learn)
        self.trained.update(step, steps)
        self.ema.update(self.trained.module)
        return all_reduce_metrics(self.fabric, figures)

    def _learn(self, part: ReferenceBatch, network: nn.Module, step: int) -> Pass:
        """Score the masked positions of a pass in their order."""
        batch, rows = part.batch, part.rows
        state = self.mask(batch, rows, step)
        (whole,) = yield [int(state.at.sum())]
        prediction = self._ask(network, state, NoiseKeys(self.seed, rows, 0, update=step))
        clean = self.vocabulary.rank_of_id.to(rows.device)[batch.tokens[state.at]]
        nll = joint_nll(self.trained.wrapped, prediction, state, clean)
        share = share_of_mean(self.fabric, len(nll), whole)
        loss = share * nll.mean()
        self.trained.backward(loss)
        alone = -prediction.log_probs.gather(-1, clean[:, None])
        return {"head_nll": float(loss.detach()), "factorised_nll": share * float(alone.mean())}

    def mask(self, batch: TokenBatch, rows: Int[Tensor, "batch"], step: int) -> "MaskedState":
        """Mask references at a uniform time, one position at least; draw the order of positions."""
        device = rows.device
        t = keyed_uniform(self.seed, Stream.TIME, step, rows, 0, _OWN, device=device)
        position = torch.arange(batch.tokens.shape[1], device=device)
        keys = (rows[:, None], position, step, _OWN)
        uniform = keyed_uniform(self.seed, Stream.CORRUPT, *keys, device=device)
        uniform = uniform.masked_fill(~batch.maskable, torch.inf)
        at = (uniform <= torch.maximum(t, uniform.amin(-1))[:, None]) & batch.maskable
        state = batch.with_tokens(torch.where(at, self.vocabulary.mask_id, batch.tokens))
        order = keyed_uniform(self.seed, Stream.ORDER, *keys, device=device)
        return MaskedState(state, at, order, alpha=(1.0 - t).float())

    @torch.no_grad()
    def _ask(self, network: nn.Module, masked: "MaskedState", keys: NoiseKeys) -> Prediction:
        noise, state = without_noise(network)[1], masked.state
        predictor = Predictor(network, self.vocabulary, noise, joint_head=self.trained.module)
        with self.fabric.autocast():
            return predictor.predict(state.tokens, state.lengths, masked.at, keys, masked.alpha)

    def networks(self) -> list[Network]:
        """Return the head and its average."""
        head = Network(NAME, self.trained.module, self.trained.settings)
        return [head, Network(f"{NAME} average", self.ema.module)]

    def writer(self) -> Callable[[Path], None]:
        """Return what writes the averaged head; every process must call this."""
        head = cast(JointHead, self.ema.whole())
        return lambda path: save_joint_head(head, path)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs; every process must call this."""
        return {"head": self.trained.state_dict(), "ema": self.ema.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.trained.load_state_dict(state["head"])
        self.ema.load_state_dict(state["ema"])


class WithJointHead:
    """A distillation that trains a joint head on what it trains, an update for each of its own."""

    def __init__(
        self, method: Distillation, vocabulary: Vocabulary, settings: JointHeadSettings, seed: int
    ) -> None:
        self.method = method
        self.reference = method.reference
        self.graphs = method.graphs
        self.trainer = HeadTrainer(method.sampled(), vocabulary, settings, seed)

    def setup(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.method.setup(fabric)
        self.trainer.setup(fabric)

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Do the method's update, then the head's on the average that the method saves."""
        figures = self.method.step(step, steps)
        return figures | self.trainer.step(self.method.sampled(), self.reference, step, steps)

    def networks(self) -> list[Network]:
        return [*self.method.networks(), *self.trainer.networks()]

    def sampled(self) -> nn.Module:
        return self.method.sampled()

    def result(self) -> nn.Module:
        return self.method.result()

    def head(self) -> JointHead:
        """Return the averaged head where it is."""
        return cast(JointHead, self.trainer.ema.module)

    def extra_weights(self) -> dict[str, Callable[[Path], None]]:
        """Return the method's files of weights, and the head's."""
        return {**self.method.extra_weights(), NAME: self.trainer.writer()}

    def folder_defaults(self) -> dict[str, Any]:
        return self.method.folder_defaults()

    def state_dict(self) -> dict[str, Any]:
        return {**self.method.state_dict(), NAME: self.trainer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.trainer.load_state_dict(state[NAME])
        self.method.load_state_dict({k: v for k, v in state.items() if k != NAME})


class FrozenTeacher:
    """The method that changes nothing: its student is the teacher."""

    graphs = 0

    def __init__(self, teacher: nn.Module, reference: GroupedReference) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.reference = reference

    def setup(self, fabric: Fabric) -> None:
        self._skeleton = None if mesh_of(fabric) is None else skeleton_of(self.teacher)
        place_frozen(self.teacher, fabric)

    def step(self, step: int, steps: int) -> dict[str, float]:
        del step, steps
        return {}

    def networks(self) -> list[Network]:
        return [Network("teacher", self.teacher)]

    def sampled(self) -> nn.Module:
        return self.teacher

    def result(self) -> nn.Module:
        return whole_network(self.teacher, self._skeleton)

    def extra_weights(self) -> dict[str, Callable[[Path], None]]:
        return {}

    def folder_defaults(self) -> dict[str, Any]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        del state


def train_head(
    teacher: nn.Module,
    vocabulary: Vocabulary,
    reference: GroupedReference,
    settings: JointHeadSettings,
    seed: int,
) -> WithJointHead:
    """Build the training of a head alone, on a teacher that stays as it is."""
    return WithJointHead(FrozenTeacher(teacher, reference), vocabulary, settings, seed)


ENTRY = MethodEntry(
    "joint-head",
    JointHeadSettings,
    train_head,
    summary="the teacher as it is, with a head that draws the tokens of a call together",
)
