"""Teachers and students of the study by name, and what each is told."""

from collections.abc import Mapping
from dataclasses import dataclass

from didi_core.distill.registry import METHODS as DISTILLATION


@dataclass(frozen=True)
class Teacher:
    """A network trained from scratch; all have the same layers, batches and updates."""

    noise: str = "absorbing"
    """The process that it reverses."""
    gaussian: bool = False
    """Half of the updates on Duo's Gaussian curriculum, in place of the gentle start."""


TEACHERS: Mapping[str, Teacher] = {
    "teacher": Teacher(),
    "duo": Teacher("uniform"),
    "duo-gaussian": Teacher("uniform", gaussian=True),
}

MUON = [
    f"method.{network}.{setting}"
    for network, lr in (("student", 0.0005), ("auxiliary", 0.001))
    for setting in ("name=muon", f"lr={lr}", f"muon_lr={2 * lr}", "betas=[0.9,0.98]")
]
"""Orthogonalised momentum for the matrices, in place of AdamW."""

METHODS: dict[str, list[str]] = {
    # The published settings; their warm-up of a tenth of the updates is kept as a share.
    "didi-paper": ["method=didi", "preset=paper"],
    "didi": ["method=didi"],
    "dmmd": ["method=dmmd"],
    # In no plan by default: their jobs are asked for by key, as in pairs/dmmd-own/0/8.
    "dmmd-position": ["method=dmmd", "method.noise.kind=position", "method.noise.scale=0.5"],
    "dmmd-sequence": ["method=dmmd", "method.noise.kind=sequence", "method.noise.scale=0.5"],
    "dmmd-own": ["method=dmmd", "method.own_share=0.5"],
    "dmmd-own-sequence": [
        "method=dmmd",
        "method.own_share=0.5",
        "method.noise.kind=sequence",
        "method.noise.scale=0.5",
    ],
    "dmmd-anchor": ["method=dmmd", "method.start_anchor=1.0"],
    "dmmd-muon": ["method=dmmd", *MUON],
    "dmmd-muon-own": ["method=dmmd", *MUON, "method.own_share=0.5"],
    "sdtt": ["method=sdtt"],
    "dcd": ["method=dcd"],
    "dmmd-uniform": ["method=dmmd-uniform"],
    # The published rate, 6e-5, is for ten thousand updates and more a round.
    "sdtt-fast": ["method=sdtt", "method.student.lr=0.0005"],
    "dcd-fast": ["method=dcd", "method.student.lr=0.0005"],
}
"""Students by name: what `didi-protein distill` is told. `ablation` adds its own."""
FORWARD = ["method=dmmd", "method.renoise=true", "method.auxiliary_updates=4"]
METHODS |= {
    "dmmd-renoise": FORWARD,
    # The published rate, 1e-4, is for four thousand updates.
    "mmd": ["method=mmd", "method.student.lr=0.0005"],
    "joint-head": ["method=joint-head"],
    # As many rows an update as its trials had (128 and more); with a quarter it has learnt little.
    "joint-head-long": ["method=joint-head", "tokens_per_batch=8192"],
    "contrast": ["method=contrast"],
    "contrast-two": ["method=contrast", "method.networks=two"],
    "contrast-head": ["method=contrast", "joint_head=true"],
}
LONG = ("didi-paper", "dmmd", "dmmd-sequence", "dmmd-uniform")
METHODS |= {f"{name}-long": METHODS[name] for name in LONG}
UPDATES = {f"{name}-long": 2_400 for name in LONG} | {
    "joint-head": 1_000,
    "joint-head-long": 3_000,
    "contrast": 650,
    "contrast-two": 250,
    "contrast-head": 1_000,
}
"""Of students that get other numbers of them than `Scale` says. Those of contrast are the trials'
own, 250 of the weak network among them."""


def teacher_of(student: str) -> str:
    """The teacher whose seed's network it distils."""
    method = METHODS[student][0].removeprefix("method=")
    return "duo" if DISTILLATION[method].process == "uniform" else "teacher"
