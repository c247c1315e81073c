"""How a model is sampled where the user does not say: what its folder was written with."""

from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_core.sampling.registry import SAMPLERS, SamplerKind

PLAIN_SAMPLER = "ancestral"


def stored_sampler(grid: str, model: LoadedModel) -> str:
    """The sampler that the model's method goes with; ancestral where it names none.

    The published grid is the papers' own, of ancestral sampling.

    Raises:
        UserError: the folder names a sampler that there is not.
    """
    if grid == "published":
        return PLAIN_SAMPLER
    name = model.config.get("didi", {}).get("sampler", PLAIN_SAMPLER)
    if name not in SAMPLERS:
        raise UserError(
            f"--model {model.name}: its config.json names the sampler {name!r}, which there is "
            f"not: give --sampler, one of {', '.join(SAMPLERS)}."
        )
    return name


def stored_reveal_exponent(grid: str, kind: SamplerKind, model: LoadedModel) -> float:
    """The exponent that the model was distilled for; 1 where it has none, or the grid is fixed."""
    if grid == "published" or not kind.reveals_on_grid:
        return 1.0
    return float(model.config.get("didi", {}).get("reveal_exponent", 1.0))
