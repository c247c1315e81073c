"""The distillation methods by name: the entries of this package's modules.

To add one, write its file: docs/adding-a-method.md has a worked example.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from didi_core.discovery import entries_of
from didi_core.distill.method import MethodEntry
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.errors import UserError
from didi_core.number_checks import decay_errors
from didi_core.wrong_types import wrong_type

METHODS = entries_of("didi_core.distill", MethodEntry)


def method_settings(config: Mapping[str, Any]) -> tuple[str, Any]:
    """Return name and typed settings from the `method` part of a configuration.

    Raises:
        UserError: an unknown method, or a key or value its settings refuse.
    """
    values = dict(config)
    name = str(values.pop("name", ""))
    if name not in METHODS:
        raise UserError(f"method={name} is unknown: choose one of {', '.join(METHODS)}.")
    structured = OmegaConf.structured(METHODS[name].settings)
    try:
        settings: Any = OmegaConf.to_object(OmegaConf.merge(structured, values))
    except ConfigKeyError as error:
        raise UserError(
            f"method={name}: there is no setting {error.key}; see {name}'s own with: "
            f"distill --help method={name} (preset=paper is of method=didi alone)."
        ) from error
    except OmegaConfBaseException as error:
        told = wrong_type(error, "method.") or f"method={name}: {str(error).splitlines()[0]}"
        raise UserError(f"{told}.") from error
    wrong = [*settings.problems(), *decay_errors(settings, "ema"), *_optimizer_problems(settings)]
    if wrong:
        raise UserError("; ".join(f"method.{each}" for each in wrong) + ".")
    return name, settings


def _optimizer_problems(settings: Any) -> list[str]:
    """Return what is wrong with each optimiser among a method's settings, with its place."""
    found = {each.name: getattr(settings, each.name) for each in fields(settings)}
    optimizers = {k: v for k, v in found.items() if isinstance(v, OptimizerSettings)}
    return [f"{name}.{wrong}" for name, each in optimizers.items() for wrong in each.problems()]
