"""How the samples of a cell are made: what may stand behind the number of steps in a key."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Variant:
    """How a cell's samples are made where it differs from the plain one."""

    sampler: str = "ancestral"
    reveal_exponent: float | None = None
    """None: as the model's folder says."""
    precision: str = "bf16"
    """Of the network; draws are float64 in every cell."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Settings of the sampler."""


VARIANTS: Mapping[str, Variant] = {
    "": Variant(),
    "late": Variant(reveal_exponent=2.0),
    "even": Variant(reveal_exponent=1.0),
    "float32": Variant(precision="float32"),
    "remdm": Variant(sampler="remdm"),
    "greedy-tail": Variant(sampler="greedy-tail"),
    "psi": Variant(sampler="psi"),
    "apart": Variant(sampler="apart"),
    "apart-late": Variant(sampler="apart", reveal_exponent=2.0),
    "renoise": Variant(sampler="remdm", options={"schedule": "renoise"}),
    "momentum": Variant(sampler="momentum"),
    "momentum-late": Variant(sampler="momentum", reveal_exponent=2.0),
    "momentum-apart-late": Variant("momentum", 2.0, options={"positions": "apart"}),
    "contrast": Variant(sampler="contrast"),
    "contrast-late": Variant(sampler="contrast", reveal_exponent=2.0),
    "contrast-apart": Variant(sampler="contrast", options={"positions": "apart"}),
    "contrast-w2": Variant(sampler="contrast", options={"weight": 2.0}),
    "rgas": Variant(sampler="rgas"),
    **{
        f"rgas-{name}": Variant(sampler="rgas", options=options)
        for name, options in {
            "h0": {"tilt_start": 0.0, "tilt_end": 0.0},
            "h10": {"tilt_start": 10.0, "tilt_end": 10.0},
            "m1": {"num_candidates": 1},
            "m8": {"num_candidates": 8},
            "tilt": {"rerank_share": 0.0},
            "rerank": {"rerank_share": 1.0},
            "all": {"rerank_positions": "all"},
        }.items()
    },
}
"""Of RGAS: the strength h, the candidates M, the switch from tilting to re-ranking, its rule."""
