"""The ablation of DiDi-Instruct: every component alone left out, and added one after the other.

The base is `method=didi` with the learning rates of a small model; the switches are those of
`didi_core/distill/didi_settings.py`. Names: `didi-without-X`, and `didi-up-to-X` for the cumulative
order of the paper (nothing, score decomposition, coupled time, omega; then pi, which is
`didi-without-regulariser`; all; and RGAS, which is a sampler and a variant of the cell).
"""

from benchmarks.exact.models import METHODS
from benchmarks.exact.study import PROCESSES, Job

OFF: dict[str, list[str]] = {
    "decomposition": ["method.score_decomposition=false"],
    "coupling": ["method.coupled_time=false"],
    "omega": ["method.use_omega=false"],
    "pi": ["method.use_pi=false"],
    "regulariser": [
        "method.kl_start=0.0",
        "method.kl_middle=0.0",
        "method.entropy_bonus=0.0",
    ],
}
"""Components in the paper's order; what leaves each out."""
ALSO_OFF: dict[str, list[str]] = {
    "groups": ["method.group_normalise=false"],
    "shared-tau": ["method.share_tau=false"],
    "smoothing": ["method.label_smoothing=0.0"],
}
"""Components that the paper's table has no row for: left out alone."""
# Importance weights 1 / pi are 1 where tau is uniform: to see them, tau must be drawn otherwise.
BASE = ["method=didi", "method.tau_beta=[2.0,2.0]"]
STEPS = ("8", "16", "32")


def ablation_methods() -> dict[str, list[str]]:
    """Students of the ablation by name."""
    methods = {"didi-all": BASE}
    for name, overrides in (OFF | ALSO_OFF).items():
        methods[f"didi-without-{name}"] = BASE + overrides
    names = list(OFF)
    for count in range(len(names) - 1):  # the next one is all without the regulariser
        later = [override for name in names[count:] for override in OFF[name]]
        reached = names[count - 1] if count else "nothing"
        methods[f"didi-up-to-{reached}"] = BASE + later
    return methods


def ablation() -> list[Job]:
    """Every student of the ablation at 8, 16 and 32 calls, three seeds; RGAS for the whole one."""
    jobs = []
    for seed in range(3):
        for process in PROCESSES:
            for method in ablation_methods():
                jobs += [Job(process, method, seed, steps) for steps in STEPS]
            jobs += [Job(process, "didi-all", seed, f"{steps}-rgas") for steps in STEPS]
    return jobs


METHODS.update(ablation_methods())
