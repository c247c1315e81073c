"""The samplers by name: what `--sampler` can choose, and how each is built from a model.

To add one, add an entry to `SAMPLERS`: docs/adding-a-method.md has a worked example.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from didi_core.errors import UserError
from didi_core.models.causal import AUTOREGRESSIVE, CausalNetwork
from didi_core.models.discriminator import load_discriminator
from didi_core.models.folder import LoadedModel
from didi_core.models.noise import NoisyDenoiser
from didi_core.models.noise_file import load_noise
from didi_core.sampling.analytic import AnalyticSampler
from didi_core.sampling.ancestral import ancestral, first_hitting, greedy_tail
from didi_core.sampling.apart import ApartSampler, ApartSettings
from didi_core.sampling.autoregressive import AutoregressiveSampler
from didi_core.sampling.dplm import DEFAULT_STEPS, DplmSampler, DplmSettings
from didi_core.sampling.predictor import AnyPredictor, NextTokenPredictor, Predictor
from didi_core.sampling.remdm import RemaskingSampler, RemdmSettings
from didi_core.sampling.request import Sampler, SampleSettings
from didi_core.sampling.rgas import GuidedSampler, RgasSettings
from didi_core.sampling.saber import SaberSampler, SaberSettings
from didi_core.sampling.sampler_options import SamplerOptions, from_options
from didi_core.sampling.uniform import PsiSettings, UniformSampler

Builder = Callable[[AnyPredictor, LoadedModel, Any], Sampler]
"""From predictor, model and the sampler's settings, which are None where it has none."""


@dataclass(frozen=True)
class SamplerKind:
    """One sampler."""

    name: str
    builder: Builder
    takes_steps: bool = True
    """False where the sampler itself decides how many calls it makes."""
    has_published_grid: bool = True
    """Whether `--grid published` means anything to it."""
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
    sees_both_sides: bool = True
    """False where it writes from left to right: it can keep a beginning, and nothing after it."""

    def reason_against(self, model: LoadedModel) -> str | None:
        """Why it cannot sample the model; None where it can."""
        if missing := [each for each in self.needs if each not in model.extras]:
            return f"it has no {' and no '.join(missing)}"
        if model.process not in self.processes:
            return f"it is a model of the {model.process} process"
        return None

    def read(self, options: SamplerOptions, flag: str = "--sampler-option ") -> Any:
        """The sampler's settings with these options; None where it has none.

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
        """The sampler of `model`.

        Raises:
            UserError: the model is of another process, or an option without sense.
        """
        if model.process not in self.processes:
            fitting = [kind.name for kind in samplers_of(model.process)]
            raise UserError(
                f"--sampler {self.name}: --model {model.name} is a model of the {model.process} "
                f"process, which this sampler does not sample; use {', '.join(fitting)}."
            )
        return self.builder(predictor, model, self.read(options))


def _by_process(
    masked: Callable[[Predictor], Sampler], uniform: Callable[[Predictor], Sampler]
) -> Builder:
    """A builder without settings that follows the model's process."""

    def builder(predictor: Predictor, model: LoadedModel, settings: None) -> Sampler:
        del settings
        return uniform(predictor) if model.process == "uniform" else masked(predictor)

    return builder


def _rgas(predictor: Predictor, model: LoadedModel, guidance: RgasSettings) -> Sampler:
    if "discriminator" not in model.extras:
        raise UserError(
            f"--sampler rgas needs a student distilled with method=didi: --model {model.name} has "
            "no discriminator.safetensors. Distil one, or choose another sampler."
        )
    discriminator = load_discriminator(model.denoiser, model.extras["discriminator"])
    return GuidedSampler(predictor, discriminator, guidance)


def _with_settings(sampler: Callable[[Predictor, Any], Sampler]) -> Builder:
    """A builder of `sampler(predictor, settings)` that needs no weights beside the denoiser's."""

    def builder(predictor: Predictor, model: LoadedModel, settings: Any) -> Sampler:
        del model
        return sampler(predictor, settings)

    return builder


def _first_hitting(predictor: Predictor, model: LoadedModel, settings: None) -> Sampler:
    del model, settings
    return first_hitting(predictor)


def _analytic(predictor: Predictor, model: LoadedModel, settings: None) -> Sampler:
    del model, settings
    return AnalyticSampler(predictor)


def _autoregressive(predictor: NextTokenPredictor, model: LoadedModel, settings: None) -> Sampler:
    del model, settings
    return AutoregressiveSampler(predictor)


def _psi(predictor: Predictor, settings: PsiSettings) -> Sampler:
    return UniformSampler(predictor, settings.plan)


SAMPLERS: dict[str, SamplerKind] = {
    kind.name: kind
    for kind in (
        SamplerKind(
            "ancestral",
            _by_process(ancestral, UniformSampler),
            processes=("absorbing", "uniform"),
        ),
        SamplerKind(
            "greedy-tail",
            _by_process(greedy_tail, partial(UniformSampler, greedy_tail=True)),
            processes=("absorbing", "uniform"),
        ),
        SamplerKind(
            "psi",
            _with_settings(_psi),
            has_published_grid=False,
            processes=("uniform",),
            settings=PsiSettings,
        ),
        SamplerKind(
            "analytic",
            _analytic,
            has_published_grid=False,
            processes=("sedd",),
        ),
        SamplerKind(
            "first-hitting",
            _first_hitting,
            takes_steps=False,
            has_published_grid=False,
            reveals_on_grid=False,
        ),
        SamplerKind(
            "apart",
            _with_settings(ApartSampler),
            has_published_grid=False,
            settings=ApartSettings,
        ),
        SamplerKind(
            "rgas",
            _rgas,
            has_published_grid=False,
            settings=RgasSettings,
            needs=("discriminator",),
        ),
        SamplerKind(
            "dplm",
            _with_settings(DplmSampler),
            has_published_grid=False,
            reveals_on_grid=False,
            default_steps=DEFAULT_STEPS,
            settings=DplmSettings,
        ),
        SamplerKind(
            "remdm",
            _with_settings(RemaskingSampler),
            has_published_grid=False,
            settings=RemdmSettings,
        ),
        SamplerKind(
            "saber",
            _with_settings(SaberSampler),
            has_published_grid=False,
            reveals_on_grid=False,
            settings=SaberSettings,
        ),
        SamplerKind(
            AUTOREGRESSIVE,
            _autoregressive,
            takes_steps=False,
            has_published_grid=False,
            reveals_on_grid=False,
            processes=(AUTOREGRESSIVE,),
            sees_both_sides=False,
        ),
    )
}


def samplers_of(process: str) -> list[SamplerKind]:
    """Those that sample models of a process; the first is the plain one."""
    return [kind for kind in SAMPLERS.values() if process in kind.processes]


def find_sampler(name: str, flag: str = "--sampler") -> SamplerKind:
    """The sampler of that name.

    Args:
        flag: what messages call the name: the flag it came from.

    Raises:
        UserError: there is none.
    """
    if name not in SAMPLERS:
        raise UserError(f"{flag} {name} does not exist: choose one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]


def build_predictor(model: LoadedModel, *, with_noise: bool = True) -> AnyPredictor:
    """The model as samplers see it, with its noise input where it has one.

    Args:
        with_noise: False leaves the noise out, to measure what it brings.

    Raises:
        UserError: a noise input that does not fit the model, or none that could be left out.
    """
    noise = load_noise(model.denoiser, model.config, model.extras.get("noise"), model.name)
    if noise is None and not with_noise:
        raise UserError(
            f"--without-noise: --model {model.name} has no noise input; leave the flag out."
        )
    if isinstance(model.denoiser, CausalNetwork):
        return NextTokenPredictor(model.denoiser, model.vocabulary)
    if noise is None or not with_noise:
        return Predictor(model.denoiser, model.vocabulary)
    return Predictor(NoisyDenoiser(model.denoiser, noise), model.vocabulary, noise)


def check_settings(kind: SamplerKind, settings: SampleSettings) -> None:
    """Refuse settings that the sampler would have to ignore, or that it lacks.

    Raises:
        UserError: `--steps` missing or not wanted, or a grid the sampler does not have.
    """
    if kind.takes_steps and settings.steps is None:
        raise UserError(
            f"--steps is missing: --sampler {kind.name} needs it, as in --steps 8 "
            "(more steps: better and slower)."
        )
    if not kind.takes_steps and settings.steps is not None:
        raise UserError(
            f"--steps {settings.steps}: --sampler {kind.name} takes no --steps, because it makes "
            "one call a token; leave it out, or choose another sampler."
        )
    if settings.steps is not None and settings.steps < 1:
        raise UserError(f"--steps {settings.steps} must be at least 1.")
    if settings.grid == "published" and not kind.has_published_grid:
        raise UserError(f"--grid published: --sampler {kind.name} has no such grid; leave it out.")
    if settings.reveal_exponent != 1.0 and not kind.reveals_on_grid:
        raise UserError(
            f"--reveal-exponent {settings.reveal_exponent:g}: --sampler {kind.name} reveals on no "
            "grid; leave it out."
        )
