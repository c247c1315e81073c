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

Builder = Callable[[AnyPredictor, LoadedModel, SamplerOptions], Sampler]


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
    sees_both_sides: bool = True
    """False where it writes from left to right: it can keep a beginning, and nothing after it."""

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
        return self.builder(predictor, model, options)


def _without_options(name: str, build: Callable[[AnyPredictor], Sampler]) -> Builder:
    """A builder that needs the predictor alone and refuses options."""

    def builder(predictor: AnyPredictor, model: LoadedModel, options: SamplerOptions) -> Sampler:
        del model  # no weights beside the denoiser's
        if options:
            raise UserError(f"sampler {name} has no options, but got {', '.join(options)}.")
        return build(predictor)

    return builder


def _by_process(
    name: str, masked: Callable[[Predictor], Sampler], uniform: Callable[[Predictor], Sampler]
) -> Builder:
    """A builder without options that follows the model's process."""

    def builder(predictor: Predictor, model: LoadedModel, options: SamplerOptions) -> Sampler:
        build = uniform if model.process == "uniform" else masked
        return _without_options(name, build)(predictor, model, options)

    return builder


def _rgas(predictor: Predictor, model: LoadedModel, options: SamplerOptions) -> Sampler:
    if "discriminator" not in model.extras:
        raise UserError(
            f"--sampler rgas needs a student distilled with method=didi: --model {model.name} has "
            "no discriminator.safetensors. Distil one, or choose another sampler."
        )
    guidance = from_options("rgas", RgasSettings, options)
    discriminator = load_discriminator(model.denoiser, model.extras["discriminator"])
    return GuidedSampler(predictor, discriminator, guidance)


def _with_options(
    name: str, sampler: Callable[[Predictor, Any], Sampler], settings: type[Any]
) -> Builder:
    """A builder of `sampler(predictor, settings)` that needs no weights beside the denoiser's."""

    def builder(predictor: Predictor, model: LoadedModel, options: SamplerOptions) -> Sampler:
        del model
        return sampler(predictor, from_options(name, settings, options))

    return builder


def _psi(predictor: Predictor, model: LoadedModel, options: SamplerOptions) -> Sampler:
    del model  # no weights beside the denoiser's
    return UniformSampler(predictor, from_options("psi", PsiSettings, options).plan)


SAMPLERS: dict[str, SamplerKind] = {
    kind.name: kind
    for kind in (
        SamplerKind(
            "ancestral",
            _by_process("ancestral", ancestral, UniformSampler),
            processes=("absorbing", "uniform"),
        ),
        SamplerKind(
            "greedy-tail",
            _by_process("greedy-tail", greedy_tail, partial(UniformSampler, greedy_tail=True)),
            processes=("absorbing", "uniform"),
        ),
        SamplerKind("psi", _psi, has_published_grid=False, processes=("uniform",)),
        SamplerKind(
            "first-hitting",
            _without_options("first-hitting", first_hitting),
            takes_steps=False,
            has_published_grid=False,
            reveals_on_grid=False,
        ),
        SamplerKind(
            "apart",
            _with_options("apart", ApartSampler, ApartSettings),
            has_published_grid=False,
        ),
        SamplerKind("rgas", _rgas, has_published_grid=False),
        SamplerKind(
            "dplm",
            _with_options("dplm", DplmSampler, DplmSettings),
            has_published_grid=False,
            reveals_on_grid=False,
            default_steps=DEFAULT_STEPS,
        ),
        SamplerKind(
            "remdm",
            _with_options("remdm", RemaskingSampler, RemdmSettings),
            has_published_grid=False,
        ),
        SamplerKind(
            "saber",
            _with_options("saber", SaberSampler, SaberSettings),
            has_published_grid=False,
            reveals_on_grid=False,
        ),
        SamplerKind(
            AUTOREGRESSIVE,
            _without_options(AUTOREGRESSIVE, AutoregressiveSampler),
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
