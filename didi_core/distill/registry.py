"""The distillation methods by name: to add one, write its file and settings and add a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from didi_core.diffusion.process import DEFAULT_PROCESS
from didi_core.distill.dcd import ConsistencyDistillation, DcdSettings
from didi_core.distill.didi import DidiInstruct
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.dmmd import MomentMatching
from didi_core.distill.dmmd_settings import DmmdSettings
from didi_core.distill.method import Method
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.reference import GroupedReference
from didi_core.distill.sdtt import SdttSettings, SelfDistillation
from didi_core.errors import UserError
from didi_core.vocabulary import Vocabulary

Builder = Callable[[nn.Module, Vocabulary, GroupedReference, Any, int], Method]


@dataclass(frozen=True)
class MethodEntry:
    """One method: what it can be told, and how it is built."""

    settings: type
    build: Builder
    process: str = DEFAULT_PROCESS
    """Noise process of the teachers it distils."""


METHODS: Mapping[str, MethodEntry] = {
    "didi": MethodEntry(DidiSettings, DidiInstruct),
    "dmmd": MethodEntry(DmmdSettings, MomentMatching),
    "dcd": MethodEntry(DcdSettings, ConsistencyDistillation, process="uniform"),
    "sdtt": MethodEntry(SdttSettings, SelfDistillation),
}


def method_settings(config: Mapping[str, Any]) -> tuple[str, Any]:
    """Name and typed settings from the `method` part of a configuration.

    Raises:
        UserError: an unknown method, or a key or value its settings refuse.
    """
    values = dict(config)
    name = str(values.pop("name", ""))
    if name not in METHODS:
        raise UserError(f"method={name} is unknown: choose one of {', '.join(METHODS)}.")
    structured = OmegaConf.structured(METHODS[name].settings)
    try:
        settings = OmegaConf.to_object(OmegaConf.merge(structured, values))
    except OmegaConfBaseException as error:
        first = str(error).splitlines()[0]
        raise UserError(f"method={name}: {first}.") from error
    if wrong := [*settings.problems(), *_optimizer_problems(settings)]:
        raise UserError("; ".join(f"method.{each}" for each in wrong) + ".")
    return name, settings


def _optimizer_problems(settings: Any) -> list[str]:
    """Of each optimiser among a method's settings, with its place."""
    found = {each.name: getattr(settings, each.name) for each in fields(settings)}
    optimizers = {k: v for k, v in found.items() if isinstance(v, OptimizerSettings)}
    return [f"{name}.{wrong}" for name, each in optimizers.items() for wrong in each.problems()]
