"""What another's DiT predicts: told by its configuration, read or refused by name.

The same tensors serve masked models (MDLM, SDTT, DiDi-Instruct), uniform ones (Duo), score models
(SEDD) and others, which opened as one of these would answer wrongly and say nothing.
Parameterization alone does not tell: in the Duo code base `mean` is Duo's and D3PM's, and
`algo.name` decides.
"""

from dataclasses import dataclass

from didi_core.errors import UserError

_UNIFORM_ALGORITHMS = ("duo_base", "duo", "distillation")
"""Of the Duo code base; the last is discrete consistency distillation (`s-sahoo/duo-distilled`)."""
_MASKED = ("subs", "multi-round-sdtt")
"""Parameterizations of masked models that predict the clean token: MDLM's, and SDTT's students."""
_SCORES = ("score", "sedd")
"""Parameterizations of SEDD: Duo's code base and MDLM's. The network gives log mu + log K, as ours
(`didi_core.diffusion.score_entropy`): the log score less log(alpha / (1 - alpha))."""
_AUTOREGRESSIVE = "an autoregressive network"
_OTHERS = {
    "ar": _AUTOREGRESSIVE,
    "d3pm": "D3PM, whose network may predict the mask",
}
"""By name of an algorithm or a parameterization."""
_UDLM = "UDLM, a uniform model whose layout was not checked"
OTHER_TYPES = {"udlm": _UDLM, "bd3lm": "BD3-LM, a model of blocks"}
"""By model_type of a folder on the hub."""
_READ = (
    "masked models of the MDLM kind (parameterization 'subs', SDTT's too), uniform ones of the "
    f"Duo kind (algo.name {', '.join(_UNIFORM_ALGORITHMS)}, or model_type 'duo') and SEDD's are"
)


@dataclass(frozen=True)
class Kind:
    """What a configuration says of it; None where it says nothing."""

    model_type: str | None
    """Of a folder on the hub, or ours."""
    algorithm: str | None
    """`algo.name`, of the Duo code base."""
    parameterization: str | None
    diffusion: str | None
    """Of the older MDLM code base and UDLM's."""
    is_causal: bool

    @property
    def is_uniform(self) -> bool:
        """Whether it is a uniform-state model of the Duo kind."""
        return str(self.model_type).lower() == "duo" or self.algorithm in _UNIFORM_ALGORITHMS

    @property
    def is_score(self) -> bool:
        """Whether it is a score model, SEDD's."""
        return self.algorithm == "sedd" or self.parameterization in _SCORES

    @property
    def is_autoregressive(self) -> bool:
        """Whether it writes one token after the other (`didi_core.models.causal_dit`)."""
        return self.is_causal or "ar" in (self.algorithm, self.parameterization)

    @property
    def process(self) -> str | None:
        """Name of the process, where it is not the absorbing one of masked models."""
        return "uniform" if self.is_uniform else "sedd" if self.is_score else None


def require_read(kind: Kind, source: str, *, kind_known: bool) -> None:
    """Refuse a network that is no masked diffusion model that we read.

    Args:
        kind_known: it is known to be a masked model, though its configuration does not say.

    Raises:
        UserError: another kind of model, or one that is not said.
    """
    if (other := _other(kind)) is not None:
        raise UserError(f"{source}: {other}: it is not read; {_READ}.")
    if kind.is_causal:
        raise UserError(f"{source} is an autoregressive network; masked models are read here.")
    _require_parameterization(kind, source)
    if kind.parameterization is None and kind.model_type is None and not kind_known:
        raise UserError(
            f"{source} does not say what its network predicts (parameterization 'subs' for "
            "MDLM). If it is a masked model, put a config.json with model_type 'mdlm' beside it."
        )


def _other(kind: Kind) -> str | None:
    """Name the key by which it is something else; None where no key says so."""
    model_type = str(kind.model_type).lower()
    if model_type in OTHER_TYPES:
        return f"model_type {kind.model_type!r} is {OTHER_TYPES[model_type]}"
    if kind.diffusion not in (None, "absorbing_state"):
        return f"diffusion {kind.diffusion!r} is {_UDLM}"
    named = {"algo.name": kind.algorithm, "parameterization": kind.parameterization}
    reasons = [
        f"{key} {name!r} is {_OTHERS[name]}" for key, name in named.items() if name in _OTHERS
    ]
    return reasons[0] if reasons else None


def _require_parameterization(kind: Kind, source: str) -> None:
    parameterization = kind.parameterization
    if parameterization not in (None, "mean", *_MASKED, *_SCORES):
        raise UserError(f"{source}: parameterization {parameterization!r} is not read; {_READ}.")
    if parameterization == "mean" and not kind.is_uniform:
        raise UserError(
            f"{source}: parameterization 'mean' is Duo's and D3PM's, and algo.name "
            f"{kind.algorithm!r} does not tell which: it is not read. If it is a uniform model of "
            "the Duo kind, put a config.json with model_type 'duo' beside it."
        )
    if kind.is_score and (kind.is_uniform or parameterization not in (None, *_SCORES)):
        raise UserError(
            f"{source}: parameterization {parameterization!r} and algo.name {kind.algorithm!r} "
            "are of two kinds of model: mend its config.json."
        )
    if parameterization in _MASKED and kind.is_uniform:
        uniform = "model_type 'duo'" if kind.algorithm is None else f"algo.name {kind.algorithm!r}"
        raise UserError(
            f"{source}: parameterization {parameterization!r} is a masked model's, and "
            f"{uniform} a uniform one's: mend its config.json."
        )
