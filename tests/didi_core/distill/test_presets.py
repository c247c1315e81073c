"""`preset=paper` is DiDi-Instruct as published (METHODS 2), checked setting by setting."""

from typing import Any

from didi_core.cli.hydra_app import compose_plain
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.registry import method_settings
from didi_core.models.noise import NoiseSettings


def composed(*overrides: str) -> dict[str, Any]:
    return compose_plain("distill", ["teacher=tiny", "out=x", *overrides])


PAPER = {
    "group_size": 4,  # G
    "tau_beta": (1.0, 1.0),  # uniform
    "tau_range": (0.02, 0.98),
    "share_tau": True,  # one tau a group
    "score_decomposition": True,  # two reverse steps
    "end_time": 1e-3,
    "coupled_time": True,
    "label_smoothing": 0.1,
    "discriminator_blocks": 4,
    "discriminator_warmup": 0,
    "reward_clip": 8.0,
    "group_normalise": True,
    "group_deviation": "sample",  # as code has it that takes torch's `std`
    "advantage_clip": 3.0,
    "use_omega": True,
    "omega_range": (0.1, 10.0),
    "use_pi": True,
    "kl_kind": "jeffreys",
    "kl_beta": 0.5,
    "kl_start": 0.01,
    "kl_middle": 0.01,
    "entropy_bonus": 0.0005,  # the lower end of the published range
    "reduce_log_prob": "sum",  # log-probability of the sample, not of a token
    "noise": NoiseSettings("none"),
    "ema": 0.999,
}
ADAMW = {
    "name": "adamw",
    "betas": (0.9, 0.999),
    "weight_decay": 0.0,
    "warmup_steps": 1000,
    "decay_fraction": 0.0,  # constant after the warm-up
}


def tuples(value: Any) -> Any:
    """OmegaConf makes lists of tuples."""
    if isinstance(value, dict):
        return {name: tuples(each) for name, each in value.items()}
    return tuple(value) if isinstance(value, list) else value


def test_the_paper_s_preset_term_by_term() -> None:
    config = composed("method=didi", "preset=paper")
    assert config["steps"] == 10_000 and config["reference"] == "data"
    name, settings = method_settings(config["method"])
    assert name == "didi" and isinstance(settings, DidiSettings)
    networks = {"student", "discriminator"}
    assert {n: tuples(v) for n, v in vars(settings).items() if n not in networks} == PAPER
    for network, lr, clip in (("student", 1e-6, 0.5), ("discriminator", 1e-5, 1.0)):
        found = tuples(vars(getattr(settings, network)))
        del found["muon_lr"], found["fused"], found["decay_shape"]
        assert found == {**ADAMW, "lr": lr, "clip_norm": clip}
    # The preset names every setting, so that no default of ours can slip in.
    assert set(config["method"]) - {"name"} == set(vars(settings))


def test_the_command_line_wins_over_the_preset() -> None:
    config = composed("method=didi", "preset=paper", "method.kl_start=0.5", "steps=7")
    assert config["steps"] == 7
    assert method_settings(config["method"])[1].kl_start == 0.5
