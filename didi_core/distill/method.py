"""The interface of everything the training loop can drive, pre-training included.

A method owns its networks and optimisers and has one `step`. The loop does not know which method
it drives.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning.fabric import Fabric
from torch import nn

from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.process import DEFAULT_PROCESS
from didi_core.discovery import Named
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.reference import GroupedReference


@dataclass(frozen=True)
class Network:
    """Describes one network that a method holds."""

    name: str
    module: nn.Module
    optimizer: OptimizerSettings | None = None
    """How it is updated; None where it is only asked."""


@runtime_checkable
class Method(Protocol):
    """Offers the loop what a training method has."""

    @property
    def graphs(self) -> int:
        """Forward passes that are remembered for gradients at the same time."""
        ...

    def networks(self) -> list[Network]:
        """Return all that the method holds."""
        ...

    def setup(self, fabric: Fabric) -> None:
        """Move networks to the device and wrap them; called once, before any step."""
        ...

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Do update number `step` (from 0) of `steps`, in one pass or more; return metrics."""
        ...

    def sampled(self) -> nn.Module:
        """Return the network of `result` where it is; in shards, all processes make its calls."""
        ...

    def result(self) -> nn.Module:
        """Return the network the run is for, with the weights to be saved (EMA).

        Every process must call this; where networks are sharded, the first one's is filled.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs beyond (seed, step); every process must call this."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class Distillation(Method, Protocol):
    """Offers `distill` what it asks of a method beside what the loop does."""

    reference: GroupedReference

    def extra_weights(self) -> dict[str, Callable[[Path], None]]:
        """Return what writes each file of weights beside the student's own, by the file's stem.

        Every process must call this; the first one writes.
        """
        ...

    def folder_defaults(self) -> dict[str, Any]:
        """Return what `config.json` says of sampling in place of what the settings say."""
        ...


@dataclass(frozen=True)
class SharedSettings:
    """Holds settings that `distill` itself reads, and what holds where a method has none.

    A method has one by a field of that name among its own settings.
    """

    rounds: int = 1
    """Least number of updates of a run."""
    group_size: int = 1
    """Reference sequences of equal length in each group."""
    student_steps: int = 8
    """Steps at which the student's card says what its noise input brings."""
    reveal_exponent: float | None = None
    """Of the grid the student is trained for; its folder says so to `generate`."""
    sampler: str | None = None
    """What the student's folder names for `generate`; None: what the program found best."""

    @classmethod
    def of(cls, settings: object) -> "SharedSettings":
        """Return those among a method's settings."""
        own = vars(settings)
        return cls(**{each.name: own[each.name] for each in fields(cls) if each.name in own})


Builder = Callable[[Any, Vocabulary, GroupedReference, Any, int], Distillation]
"""A method from the teacher, its vocabulary, the references, the settings and the seed."""


@dataclass(frozen=True)
class MethodEntry(Named):
    """Describes one distillation method: the `ENTRY` of its module.

    Its name and its `summary` are written out as text: help reads them from the source.
    """

    name: str
    """What `method=` calls it."""
    settings: type
    """What it can be told; help and configuration read its fields from the source."""
    build: Builder
    process: str = DEFAULT_PROCESS
    """Noise process of the teachers it distils."""
