"""Each method's settings, composed as for the command line, are those of its dataclass."""

import re

import pytest
from omegaconf import OmegaConf

from didi_core.cli.hydra_app import choices_of, compose_plain
from didi_core.distill.method import SharedSettings
from didi_core.distill.registry import METHODS, method_settings
from didi_core.errors import UserError

BEST = "best"
"""Whatever won: no method of its own."""


@pytest.mark.parametrize("name", METHODS)
def test_what_is_composed_is_the_dataclass_of_every_method(name: str) -> None:
    composed = compose_plain("distill", [f"method={name}"])["method"]
    assert composed.pop("name") == name
    assert composed == OmegaConf.to_container(OmegaConf.structured(METHODS[name].settings))


def test_every_method_can_be_chosen() -> None:
    assert choices_of("method") == sorted([*METHODS, BEST])


def test_the_best_is_one_of_the_methods_and_the_default() -> None:
    best, default = (
        compose_plain("distill", chosen)["method"] for chosen in ([f"method={BEST}"], [])
    )
    assert best == default
    assert method_settings(best)[0] in METHODS


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("didi", SharedSettings(group_size=4)),
        ("dcd", SharedSettings(rounds=5)),
        ("dmmd", SharedSettings(student_steps=8, reveal_exponent=2.0)),
        ("sdtt", SharedSettings(rounds=3, student_steps=8, reveal_exponent=1.0)),
        ("contrast", SharedSettings(student_steps=8, reveal_exponent=1.0)),
        ("mmd", SharedSettings(reveal_exponent=1.0)),
    ],
)
def test_distill_reads_what_a_method_has_and_the_rest_by_default(
    name: str, shared: SharedSettings
) -> None:
    assert SharedSettings.of(METHODS[name].settings()) == shared


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": "nope"}, "^method=nope is unknown"),
        (
            {"name": "didi", "typo": 1},
            "^method=didi: there is no setting typo; see didi's own with",
        ),
        ({"name": "dcd", "group_size": 4}, r"^method=dcd: there is no setting group_size.*preset="),
        ({"name": "dmmd", "noise": {"sise": 4}}, r"^method=dmmd: there is no setting sise; "),
        ({"name": "dmmd", "ema": "x"}, r"^method\.ema=x must be a number\.$"),
        ({"name": "didi", "group_size": "many"}, r"^method\.group_size=many must be a whole numb"),
        ({"name": "best"}, "method=best is unknown: choose one of contrast, dcd, didi, dmmd, "),
    ],
)
def test_what_is_wrong_is_named(wrong: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        method_settings(wrong)


OPTIMIZER = [
    ({"name": "adam"}, "name=adam must be adamw or muon"),
    ({"betas": [0.9, 1.5]}, "betas=[0.9, 1.5] must be two numbers in [0, 1)"),
    ({"betas": [0.9]}, "betas=[0.9] must be two numbers"),
    ({"weight_decay": -1.0}, "weight_decay=-1 must be 0 or more"),
    ({"warmup_steps": -1}, "warmup_steps=-1 must be 0 or more"),
    ({"lr": 0.0}, "lr=0 must be above 0"),
    ({"decay_fraction": 1.5}, "decay_fraction=1.5 must be from 0 to 1"),
    ({"decay_shape": "steps"}, "decay_shape=steps must be linear or cosine"),
    ({"clip_norm": -1.0}, "clip_norm=-1 must be 0 or more"),
]
MATCHING = [
    ({"weight_range": [10, 0.1]}, "weight_range=[10,0.1] must be two numbers from 0 to inf"),
    ({"weight_range": [5]}, "weight_range=[5] must be two numbers"),
    ({"weight_range": [-3, -1]}, "weight_range=[-3,-1] must be two numbers"),
    ({"teacher_weight": -1}, "teacher_weight=-1 must be 0 or more"),
    ({"student_steps": 0}, "student_steps=0 must be at least 1"),
    ({"reveal_exponent": 0}, "reveal_exponent=0 must be above 0"),
    ({"reveal_exponent": float("inf")}, "reveal_exponent=inf must be above 0 and finite"),
    ({"start_share": 2}, "start_share=2 must be from 0 to 1"),
]
MMD = [
    ({"candidates": 1}, "candidates=1 must be at least 2"),
    ({"draws": 1}, "draws=1 must be at least 2"),
    ({"feature_block": 0}, "feature_block=0 must be at least 1"),
    ({"bandwidth": 0}, "bandwidth=0 must be above 0"),
    ({"bandwidth": float("inf")}, "bandwidth=inf must be above 0 and finite"),
    ({"bandwidth": "wide"}, "bandwidth=wide must be a number"),
    ({"reveal_exponent": 0}, "reveal_exponent=0 must be above 0"),
]
DMMD = [
    ({"own_share": -1}, "own_share=-1 must be "),
    ({"start_anchor": -1}, "start_anchor=-1 must be "),
    ({"sampler": "saber"}, "sampler=saber must be one of ancestral, apart, momentum"),
    ({"coupled_time": False}, "coupled_time=false needs renoise=true"),
]
DIDI = [
    ({"tau_range": [0, 1]}, "tau_range=[0.0, 1.0] must leave out 0 and 1 themselves"),
    ({"tau_range": [0.9, 0.1]}, "tau_range=[0.9,0.1] must be two numbers from 0 to 1, in ord"),
    ({"tau_beta": [0, 1]}, "tau_beta=[0.0, 1.0] must be two numbers above 0"),
    ({"end_time": 5}, "end_time=5 must be in [0, 1)"),
    ({"label_smoothing": 3}, "label_smoothing=3 must be in [0, 0.5)"),
    ({"omega_range": [10, 0.1]}, "omega_range=[10,0.1] must be two numbers"),
    ({"reward_clip": -1}, "reward_clip=-1 must be above 0"),
    ({"advantage_clip": 0}, "advantage_clip=0 must be above 0"),
    ({"kl_beta": 1.5}, "kl_beta=1.5 must be from 0 to 1"),
    ({"kl_start": -1}, "kl_start=-1 must be 0 or more"),
    ({"discriminator_warmup": -1}, "discriminator_warmup=-1 must be 0 or more"),
    ({"group_size": 0}, "group_size=0 must be at least 1"),
]
CONTRAST = [
    ({"networks": "three"}, "networks=three must be one or two"),
    ({"weak": "none"}, "weak=none must be fixed or online"),
    ({"networks": "two", "weak": "online"}, "weak=online"),
    ({"networks": "two", "noise": {"kind": "position"}}, "noise.kind=position"),
    ({"weight": -1}, "weight=-1 must be "),
    ({"weight": float("inf")}, "weight=inf must be "),
    ({"weak_updates": -1}, "weak_updates=-1 must be "),
    ({"weak_steps": 0}, "weak_steps=0 must be "),
    ({"student_steps": 0}, "student_steps=0 must be "),
    ({"weak_ema": 1}, "weak_ema=1 must be in [0, 1)"),
    ({"own_share": 2}, "own_share=2 must be from 0 to 1"),
    ({"reveal_exponent": 0}, "reveal_exponent=0 must be above 0"),
    ({"sampler": "saber"}, "sampler=saber must be ancestral or apart"),
    ({"weak_optimizer": {"lr": 0.0}}, "weak_optimizer.lr=0 must be above 0"),
]
OUT_OF_RANGE = [
    *(
        (method, {"student": each}, f"student.{told}")
        for method in METHODS
        for each, told in OPTIMIZER
    ),
    *(
        (method, {"ema": ema}, f"ema={ema:g} must be in [0, 1).")
        for method in METHODS
        for ema in (-1.0, 1.0)
    ),
    *((method, *each) for method in ("dmmd", "dmmd-uniform") for each in MATCHING),
    *(("dmmd", *each) for each in DMMD),
    *(("mmd", *each) for each in MMD),
    *(("didi", *each) for each in DIDI),
    *(("contrast", *each) for each in CONTRAST),
]


@pytest.mark.parametrize(("method", "wrong", "told"), OUT_OF_RANGE)
def test_values_out_of_their_range_are_refused_by_their_place(
    method: str, wrong: dict, told: str
) -> None:
    """Not taken for another one in silence."""
    with pytest.raises(UserError, match=rf"^method\.{re.escape(told)}"):
        method_settings({"name": method, **wrong})


def test_a_range_may_be_open_to_one_side_or_a_single_value() -> None:
    values = {"name": "didi", "omega_range": [0, float("inf")], "tau_range": [0.5, 0.5]}
    assert method_settings(values)[1].tau_range == [0.5, 0.5]
