"""What every distillation method has: a frozen teacher, a student with its average, and helpers.

A method is a subclass with a `step`. It names whatever it trains beside the student with
`train_beside`; devices, checkpoints and the result are then looked after here. A network with state
that is neither of these, as a later round's teacher, goes through `networks`, `setup`, `state_dict`
and `load_state_dict` (`rounds.py` does so).
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from lightning.fabric import Fabric
from torch import Tensor, nn

from didi_core.data.vocabulary import Vocabulary
from didi_core.distill.method import Network
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.passes import Pass
from didi_core.distill.reference import GroupedReference, ReferenceBatch
from didi_core.distill.updates import Trained, mesh_of, place_frozen
from didi_core.models.ema import ExponentialMovingAverage
from didi_core.models.noise import NoiseSettings, with_noise, without_noise
from didi_core.sampling.predictor import Predictor


@runtime_checkable
class StudentSettings(Protocol):
    """Says what the settings of every method hold, beside `problems()` (`registry.py`).

    Help has these docstrings where a method's own settings have none.
    """

    noise: NoiseSettings
    """A noise input of the student (docs/methods.md)."""
    student: OptimizerSettings
    """The student's optimiser."""
    ema: float
    """Decay of the average of the student's weights, which is what is saved."""


class DistilledStudent:
    """Owns the networks of a method; randomness beyond (seed, step) has no place in it."""

    graphs: ClassVar[int] = 1
    """Forward passes remembered for gradients at once: `plan=true` counts memory by it."""
    repeated: ClassVar[int] = 0
    """Forward passes that an update of several passes makes once more, without gradients."""

    def __init__(
        self,
        teacher: nn.Module,
        vocabulary: Vocabulary,
        reference: GroupedReference,
        settings: StudentSettings,
        seed: int,
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.vocabulary = vocabulary
        self.reference = reference
        self.teacher = teacher.eval().requires_grad_(False)
        student = copy.deepcopy(teacher).requires_grad_(True)
        student = with_noise(student, settings.noise, seed)
        self.ema = ExponentialMovingAverage(student, settings.ema)
        self._trained: dict[str, Trained] = {}
        self.student = self.train_beside("student", student, settings.student)

    def train_beside(self, name: str, module: nn.Module, settings: OptimizerSettings) -> Trained:
        """Return a network with optimisers of its own, to be called before `setup`.

        Args:
            name: its key in checkpoints.
            module: is asked by its `logits_at`, which Fabric puts under precision and gradients.
        """
        self._trained[name] = Trained(module, settings, forward_methods=("logits_at",))
        return self._trained[name]

    def setup(self, fabric: Fabric) -> None:
        self.fabric = fabric
        for trained in self._trained.values():
            trained.setup(fabric)
        place_frozen(self.teacher, fabric)
        self.ema.place(fabric.device, mesh_of(fabric))

    def accumulate(
        self, networks: Sequence[Trained], key: int, learn: Callable[[ReferenceBatch], Pass]
    ) -> dict[str, float]:
        """Gather gradients over the references of `key`, in one pass or more (`passes.py`).

        Returns:
            This process's part of the metrics that `learn` returns of each pass.
        """
        return self.reference.accumulate(self.fabric, networks, key, learn)

    def update_student(self, step: int, steps: int) -> float:
        """Update the student and its average by the gradients; return their norm."""
        norm = self.student.update(step, steps)
        self.ema.update(self.student.module)
        return norm

    def student_predictor(self, training: bool = True) -> Predictor:
        """Return the student as samplers see it, with its noise where it has some.

        Args:
            training: under gradient synchronisation; else the bare network, which processes may
                call different numbers of times.
        """
        # Wrapped or bare, the network draws no noise itself: its module says what is to be drawn.
        noise = without_noise(self.student.module)[1]
        return Predictor(self.student if training else self.student.module, self.vocabulary, noise)

    @torch.no_grad()
    def teacher_log_probs(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Bool[Tensor, "batch width"],
        alpha: Float[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "chosen generable"]:
        """Return the frozen teacher's log-probabilities where `at` is True, in row-major order."""
        predictor = Predictor(self.teacher, self.vocabulary)
        with self.fabric.autocast():
            return predictor.log_probs(tokens, lengths, at, alpha=alpha)

    def networks(self) -> list[Network]:
        trained = [Network(n, each.module, each.settings) for n, each in self._trained.items()]
        return [Network("teacher", self.teacher), *trained, Network("average", self.ema.module)]

    def sampled(self) -> nn.Module:
        """Return the network of `result` where it is: in shards, all processes make its calls."""
        return self.ema.module

    def result(self) -> nn.Module:
        return self.ema.whole()

    def extra_weights(self) -> dict[str, Callable[[Path], None]]:
        """Return what writes other files of weights, by their stems; by default there are none."""
        return {}

    def folder_defaults(self) -> dict[str, Any]:
        """Return what the folder says of sampling beside the settings; by default nothing."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        trained = {name: each.state_dict() for name, each in self._trained.items()}
        return {**trained, "ema": self.ema.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, each in self._trained.items():
            each.load_state_dict(state[name])
        self.ema.load_state_dict(state["ema"])
