"""How a model is sampled where the user does not say: what its folder was written with."""

from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_core.sampling.registry import (
    SAMPLERS,
    SamplerSpec,
    find_sampler,
    samplers_of,
)
from didi_core.sampling.sampler_options import options_in_words, sampler_label, split_name

PLAIN_SAMPLER = "ancestral"
"""Models of most processes have it, and what others bring is measured against it."""
OWN = "own"
"""In lists of samplers: for each model the one that its folder names, as `generate` takes."""


def plain_sampler(process: str) -> SamplerSpec:
    """Return ancestral, or where it does not sample the process the first of those that do."""
    fitting = {kind.name: kind for kind in samplers_of(process)}
    return fitting.get(PLAIN_SAMPLER) or next(iter(fitting.values()))


def choose_sampler(asked: str | None, grid: str, model: LoadedModel) -> SamplerSpec:
    """Return the sampler as asked, else as the model's folder names it, else the plain one.

    A folder names a sampler of steps, with options where it needs some (`folder_options`). The
    published grid is the papers' own: a folder's sampler that has none gives way to the plain one.

    Raises:
        UserError: there is no such sampler.
    """
    if asked is not None:
        return find_sampler(asked)
    plain = plain_sampler(model.process)
    named = _named(model)
    if named is None:
        return plain
    name = named[0]
    if name not in SAMPLERS or not SAMPLERS[name].takes_steps:
        raise UserError(
            f"--model {model.name}: its config.json names the sampler {name!r}, which is none that "
            f"takes steps: give --sampler, one of {', '.join(SAMPLERS)}."
        )
    kind = SAMPLERS[name]
    return plain if grid == "published" and not kind.has_published_grid else kind


def folder_options(kind: SamplerSpec, model: LoadedModel) -> dict[str, object]:
    """Return the options with which the model's folder names this sampler; none of any other."""
    name, options = _named(model) or (None, {})
    return options if name == kind.name else {}


def _named(model: LoadedModel) -> tuple[str, dict[str, object]] | None:
    """Return the sampler's name and options in the folder, as in `remdm(schedule=renoise)`."""
    named = model.config.get("didi", {}).get("sampler")
    where = f"--model {model.name}: its config.json names the sampler "
    return None if named is None else split_name(named, where)


def own_sampler(model: LoadedModel) -> str:
    """Return what `generate` draws a model with where nothing is asked for: NAME(OPTION=VALUE,...).

    Without options the name alone.
    """
    kind = choose_sampler(None, "exact", model)
    return sampler_label(kind.name, options_in_words(folder_options(kind, model)))


def stored_reveal_exponent(grid: str, kind: SamplerSpec, model: LoadedModel) -> float:
    """Return the exponent the model was distilled for; 1 where it has none or the grid is fixed."""
    if grid != "exact" or not kind.reveals_on_grid:
        return 1.0
    return float(model.config.get("didi", {}).get("reveal_exponent", 1.0))
