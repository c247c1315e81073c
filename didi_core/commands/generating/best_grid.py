"""`--grid best`: where the steps of a model lie that lose least, by the curve in its folder."""

from didi_core.diffusion.process import DEFAULT_PROCESS, article_of
from didi_core.errors import UserError
from didi_core.evaluation.headroom import MOST_GRID_STEPS
from didi_core.evaluation.headroom_record import read_curve
from didi_core.models.folder import LoadedModel
from didi_core.models.hub import HEADROOM


def best_grid_of(model: LoadedModel, steps: int) -> tuple[float, ...]:
    """Return the `steps` + 1 shares of tokens kept, from 0 to 1.

    Raises:
        UserError: the model is not a masked one, its folder has no curve or one of other weights,
            or so many steps leave nothing to place.
    """
    asked = f"--grid best: --model {model.name}"
    if model.process != DEFAULT_PROCESS:
        raise UserError(
            f"{asked} is {article_of(model.process)} model, and only masked ones have a best grid; "
            "leave it out."
        )
    measure = f"measure it by `headroom {model.name} --data FILE`"
    stored = read_curve(model.folder)
    if stored is None:
        raise UserError(
            f"{asked} has no {HEADROOM}, the curve that says where steps go: {measure}."
        )
    if not stored.is_of(model.denoiser):
        raise UserError(f"{asked}: {model.folder / HEADROOM} is of other weights: {measure}.")
    if steps > MOST_GRID_STEPS:
        raise UserError(
            f"--steps {steps}: --grid best places at most {MOST_GRID_STEPS}; of more, it matters "
            "little where they lie: take --grid exact."
        )
    return stored.curve.best_grid(steps)
