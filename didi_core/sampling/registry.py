"""The samplers by name: what `--sampler` can choose, the entries of this package's modules.

To add one, write its file: docs/adding-a-sampler.md has a worked example.
"""

from difflib import get_close_matches

from didi_core.diffusion.process import IN_WORDS, article_of
from didi_core.discovery import entries_of
from didi_core.errors import UserError
from didi_core.models.causal import CausalNetwork
from didi_core.models.folder import LoadedModel
from didi_core.models.joint_head_file import load_joint_head
from didi_core.models.noise import NoisyDenoiser
from didi_core.models.noise_file import load_noise
from didi_core.number_checks import too_many
from didi_core.sampling.predictor import AnyPredictor, NextTokenPredictor, Predictor
from didi_core.sampling.request import Sampler, SampleSettings
from didi_core.sampling.sampler_options import SamplerOptions
from didi_core.sampling.sampler_spec import SamplerSpec

SAMPLERS = entries_of("didi_core.sampling", SamplerSpec)


def samplers_of(process: str) -> list[SamplerSpec]:
    """Return those that sample models of a process."""
    return [kind for kind in SAMPLERS.values() if process in kind.processes]


def find_sampler(name: str, flag: str = "--sampler") -> SamplerSpec:
    """Return the sampler of that name.

    Args:
        flag: what messages call the name: the flag it came from.

    Raises:
        UserError: there is none.
    """
    if name in SAMPLERS:
        return SAMPLERS[name]
    plain, bracket, options = name.removesuffix(")").partition("(")
    if bracket and plain in SAMPLERS:  # as tables and `compare --samplers` write it
        each = " ".join(f"--sampler-option {option}" for option in options.split(","))
        raise UserError(f"{flag} {name}: give {flag} {plain} {each}.")
    near = get_close_matches(name, list(SAMPLERS), 1)
    meant = f"did you mean {near[0]}? There are" if near else "choose one of"
    raise UserError(f"{flag} {name} does not exist: {meant} {', '.join(sorted(SAMPLERS))}.")


def build_sampler(
    spec: SamplerSpec, predictor: AnyPredictor, model: LoadedModel, options: SamplerOptions
) -> Sampler:
    """Return the sampler of `model`.

    Raises:
        UserError: the model is of another process, or see `SamplerSpec.build`.
    """
    if model.process not in spec.processes:
        others = samplers_of(model.process)
        fitting = [each.name for each in others if each.reason_against(model) is None]
        raise UserError(
            f"--sampler {spec.name}: --model {model.name} is {article_of(model.process)} "
            f"model, which this sampler does not sample; use {', '.join(fitting)}."
        )
    return spec.build(predictor, model, options)


def build_predictor(
    model: LoadedModel, *, with_noise: bool = True, with_joint_head: bool = True
) -> AnyPredictor:
    """Return the model as samplers see it, with its noise input and joint head where it has them.

    Args:
        with_noise: False leaves the noise out, to measure what it brings.
        with_joint_head: False draws the tokens of a call independently, for the same reason.

    Raises:
        UserError: one that does not fit the model, or none that could be left out.
    """
    network, noise, head = model.denoiser, None, None
    vocabulary, extras, source = model.vocabulary, model.extras, (model.config, model.name)
    if not isinstance(network, CausalNetwork):
        noise = load_noise(network, model.config, extras.get("noise"), model.name)
        head = load_joint_head(network, vocabulary.num_generable, extras.get("joint_head"), *source)
    for flag, there, wanted in (
        ("--without-noise", "noise input", noise is not None or with_noise),
        ("--without-joint-head", "joint head", head is not None or with_joint_head),
    ):
        if not wanted:
            raise UserError(f"{flag}: --model {model.name} has no {there}; leave the flag out.")
    if isinstance(network, CausalNetwork):
        return NextTokenPredictor(network, vocabulary)
    head = head if with_joint_head else None
    if noise is None or not with_noise:
        return Predictor(network, vocabulary, joint_head=head)
    return Predictor(NoisyDenoiser(network, noise), vocabulary, noise, joint_head=head)


def check_settings(kind: SamplerSpec, settings: SampleSettings) -> None:
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
        models = " and ".join(IN_WORDS.get(each, each) for each in kind.processes)
        raise UserError(
            f"--steps {settings.steps}: --sampler {kind.name}, for {models} models, takes no "
            "--steps, because it makes one call a token; leave it out, or choose another sampler."
        )
    if settings.steps is not None and settings.steps < 1:
        raise UserError(f"--steps {settings.steps} must be at least 1.")
    if settings.steps is not None and (wrong := too_many("steps", settings.steps, "--steps")):
        raise UserError(f"{wrong}.")
    if settings.grid == "published" and not kind.has_published_grid:
        raise UserError(f"--grid published: --sampler {kind.name} has no such grid; leave it out.")
    if settings.reveal_exponent != 1.0 and not kind.reveals_on_grid:
        raise UserError(
            f"--reveal-exponent {settings.reveal_exponent:g}: --sampler {kind.name} reveals on no "
            "grid; leave it out."
        )
