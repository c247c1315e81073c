"""What a sampler's module says of it: its name, what it needs, and how it is built.

Each is the `ENTRY` of its module (or one of its `ENTRIES`), where `registry` finds it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from didi_core.diffusion.process import article_of
from didi_core.discovery import Named
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_core.sampling.predictor import AnyPredictor
from didi_core.sampling.request import Sampler
from didi_core.sampling.sampler_options import SamplerOptions, from_options

Builder = Callable[..., Sampler]
"""From the predictor of a model it can sample, the model, and the sampler's settings (None where it
has none)."""


@dataclass(frozen=True)
class SamplerSpec(Named):
    """Describes one sampler.

    Its name and its `summary` are written out as text: help reads them from the source.
    """

    name: str
    builder: Builder
    calls: str = field(kw_only=True)
    """How many calls of the network a sequence costs, for the table of docs/methods.md."""
    exact: str = field(kw_only=True)
    """Whether it reaches the model's own law, and when, for the same table."""
    takes_steps: bool = True
    """False where the sampler itself decides how many calls it makes."""
    has_published_grid: bool = True
    """Whether `--grid published` means anything to it."""
    has_best_grid: bool = True
    """Whether `--grid best` does, of those that `reveals_on_grid`: each position is revealed once,
    by the grid alone."""
    reveals_on_grid: bool = True
    """Whether its steps follow a grid of alphas, which `--reveal-exponent` bends."""
    default_steps: int | None = None
    """Steps where none are given; None where they must be."""
    processes: tuple[str, ...] = ("absorbing",)
    """Processes whose models it samples."""
    settings: type[Any] | None = None
    """Dataclass of what `--sampler-option` sets; None where it has no options."""
    needs: tuple[str, ...] = ()
    """What a model's folder must hold beside the network, as `LoadedModel.extras` calls it."""
    found_in: str = "a model that holds more weights"
    """Which models hold what it `needs`, for messages."""
    reads_joint_head: bool = False
    """Whether it draws the tokens of a call together where the model has a joint head."""
    sees_both_sides: bool = True
    """False where it writes from left to right: it can keep a beginning, and nothing after it."""

    def reason_against(self, model: LoadedModel) -> str | None:
        """Return why it cannot sample the model; None where it can."""
        if missing := self._missing(model):
            return f"it has no {_files(missing)}"
        if model.process not in self.processes:
            return f"it is {article_of(model.process)} model"
        return None

    def _missing(self, model: LoadedModel) -> list[str]:
        return [each for each in self.needs if each not in model.extras]

    def read(self, options: SamplerOptions, flag: str = "--sampler-option ") -> Any:
        """Return the sampler's settings with these options; None where it has none.

        Args:
            flag: what messages put before an option.

        Raises:
            UserError: an option it does not have, or a value without sense.
        """
        if self.settings is not None:
            return from_options(self.name, self.settings, options, flag)
        if options:
            names = ", ".join(options)
            raise UserError(f"{flag}{names}: sampler {self.name} has no options, but got {names}.")
        return None

    def build(
        self, predictor: AnyPredictor, model: LoadedModel, options: SamplerOptions
    ) -> Sampler:
        """Return the sampler of `model`, which is of one of its processes.

        Raises:
            UserError: the model lacks weights, or an option without sense.
        """
        if missing := self._missing(model):
            raise UserError(
                f"--sampler {self.name} needs {self.found_in}: --model {model.name} has no "
                f"{_files(missing)}. Give such a model, or choose another sampler."
            )
        return self.builder(predictor, model, self.read(options))


def _files(missing: list[str]) -> str:
    """Return the names of files that a folder lacks, to stand behind "no"."""
    return " and no ".join(f"{each}.safetensors" for each in missing)


def without_settings(sampler: Callable[[Any], Sampler]) -> Builder:
    """Return a builder of `sampler(predictor)`: no settings, no weights beside the network's."""

    def builder(predictor: AnyPredictor, model: LoadedModel, settings: None) -> Sampler:
        del model, settings
        return sampler(predictor)

    return builder


def with_settings(sampler: Callable[[Any, Any], Sampler]) -> Builder:
    """Return a builder of `sampler(predictor, settings)`: no weights beside the network's."""

    def builder(predictor: AnyPredictor, model: LoadedModel, settings: Any) -> Sampler:
        del model
        return sampler(predictor, settings)

    return builder
