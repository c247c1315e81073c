"""State files, averaged weights, optimisers and their rates."""

import json
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_denoiser

from didi_core.distill.optimizers import (
    OptimizerSettings,
    build_optimizer,
    rate_factor,
    set_learning_rate,
)
from didi_core.errors import UserError
from didi_core.models.ema import ExponentialMovingAverage
from didi_core.training.checkpoints import Checkpoints
from didi_core.training.state_files import load_state, save_state


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    state = {
        "step": 12,
        "rate": 0.1 + 0.2,
        "large": 1e300,
        "name": "x",
        "nothing": None,
        "flag": True,
        "empty": {},
        "nested": {"list": [1, (2.5, shared[::2])], "by number": {0: {"a": shared}, 7: "b"}},
        "kinds": [torch.tensor([1, 2]), torch.tensor(3.0, dtype=torch.bfloat16), torch.zeros(0)],
        "double": torch.tensor([1 / 3], dtype=torch.float64),
    }
    path = tmp_path / "sub" / "state.safetensors"
    save_state(state, path)
    found = load_state(path)
    assert found.keys() == state.keys()
    plain = ("step", "rate", "large", "name", "nothing", "flag", "empty")
    assert {name: found[name] for name in plain} == {name: state[name] for name in plain}
    assert isinstance(found["nested"]["list"][1], tuple)
    assert torch.equal(found["nested"]["list"][1][1], shared[::2])
    assert list(found["nested"]["by number"]) == [0, 7]
    for one, other in zip(found["kinds"], state["kinds"], strict=True):
        assert torch.equal(one, other) and one.dtype == other.dtype
    assert torch.equal(found["double"], state["double"])
    assert [p.name for p in path.parent.iterdir()] == [path.name], "no temporary file is left"


@pytest.mark.parametrize(("old", "new"), [(b'"F32"', b'"I32"'), (b"[2,3]", b"[3,2]")])
def test_another_type_or_shape_of_the_same_bytes_is_noticed(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    path = tmp_path / "state.safetensors"
    save_state({"a": torch.arange(6.0).view(2, 3)}, path)
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    with pytest.raises(UserError, match="has changed since it was written"):
        load_state(path)


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load_latest() is None
    for step in (5, 10, 100):
        checkpoints.save(step, {"value": torch.tensor(step)})
    names = sorted(path.name for path in checkpoints.folder.iterdir())
    assert names == ["step_00000010.safetensors", "step_00000100.safetensors"]
    latest = checkpoints.load_latest()
    assert latest["step"] == 100 and int(latest["value"]) == 100


def test_a_damaged_checkpoint_does_not_count_among_those_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (5, 10):
        checkpoints.save(step, {"value": torch.tensor(step)})
    (checkpoints.folder / "step_00000010.safetensors").write_bytes(b"damaged")
    assert checkpoints.load_latest()["step"] == 5
    for step in (7, 8):
        checkpoints.save(step, {"value": torch.tensor(step)})
    names = sorted(path.name for path in checkpoints.folder.iterdir())
    assert names == ["step_00000007.safetensors", "step_00000008.safetensors"]


def test_the_average_by_hand_and_back(tmp_path: Path) -> None:
    live = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        live.weight.fill_(1.0)
    average = ExponentialMovingAverage(live, decay=0.3)
    expected = 1.0
    for update, value in enumerate((2.0, -1.0, 5.0, 0.5), start=1):
        with torch.no_grad():
            live.weight.fill_(value)
        average.update(live)
        decay = min(0.3, (1 + update) / (10 + update))  # 2/11 and 3/12, then 0.3
        expected = decay * expected + (1 - decay) * value
        assert float(average.module.weight) == pytest.approx(expected)
    assert not average.module.weight.requires_grad and not average.module.training

    save_state(average.state_dict(), tmp_path / "ema.safetensors")
    restored = ExponentialMovingAverage(torch.nn.Linear(1, 1, bias=False), decay=0.3)
    restored.load_state_dict(load_state(tmp_path / "ema.safetensors"))
    for each in (average, restored):
        each.update(live)
    assert torch.equal(average.module.weight, restored.module.weight)


def test_the_rate_by_hand() -> None:
    # Ten steps: two of warm-up, the last four of them falling to zero.
    found = [rate_factor(step, 10, 2, 0.4) for step in range(10)]
    assert found == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    assert [rate_factor(step, 4, 0, 0.0) for step in range(4)] == [1.0] * 4
    assert rate_factor(500, 10_000, 1000, 0.0) == pytest.approx(0.501)
    # Half a wave of a cosine, from one to zero; what comes before it stays.
    found = [rate_factor(step, 8, 0, 0.5, "cosine") for step in range(9)]
    assert found == pytest.approx([1, 1, 1, 1, 1, 0.85355, 0.5, 0.14645, 0], abs=1e-5)
    # Where warm-up and decay meet, the lower of the two.
    assert [rate_factor(s, 4, 4, 1.0) for s in range(4)] == pytest.approx([0.25, 0.5, 0.5, 0.25])


def test_rates_of_both_optimisers() -> None:
    denoiser = tiny_denoiser()
    settings = OptimizerSettings(name="muon", lr=1e-3, muon_lr=0.02, warmup_steps=4)
    optimizers = build_optimizer(denoiser, settings)
    set_learning_rate(optimizers, settings, step=1, steps=100)
    rates = {type(o).__name__: o.param_groups[0]["lr"] for o in optimizers}
    assert rates == pytest.approx({"Muon": 0.01, "AdamW": 5e-4})
    held = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in denoiser.parameters()), "each exactly once"
    in_blocks = {id(p) for n, p in denoiser.named_parameters() if "blocks" in n and p.ndim == 2}
    muon = next(o for o in optimizers if type(o).__name__ == "Muon")
    assert {id(p) for p in muon.param_groups[0]["params"]} == in_blocks


def test_only_what_trains_is_given_to_the_optimiser() -> None:
    denoiser = tiny_denoiser().requires_grad_(False)
    denoiser.head_bias.requires_grad_(True)
    (adamw,) = build_optimizer(denoiser, OptimizerSettings(betas=(0.8, 0.95), weight_decay=0.1))
    (group,) = adamw.param_groups
    assert [id(p) for p in group["params"]] == [id(denoiser.head_bias)]
    assert tuple(group["betas"]) == (0.8, 0.95) and group["weight_decay"] == 0.1
    assert json.dumps(group["lr"]) == "0.0001"


def test_the_fused_optimiser_makes_the_same_updates() -> None:
    plain, fused = tiny_denoiser(), tiny_denoiser()
    for module, is_fused in ((plain, False), (fused, True)):
        settings = OptimizerSettings(lr=0.01, weight_decay=0.1, fused=is_fused)
        (adamw,) = build_optimizer(module, settings)
        for number in range(3):
            for parameter in module.parameters():
                parameter.grad = torch.full_like(parameter, 0.1 * (number + 1))
            adamw.step()
        assert bool(adamw.defaults["fused"]) == is_fused
    before = tiny_denoiser().state_dict()
    for name, weight in plain.state_dict().items():
        assert (fused.state_dict()[name] - weight).abs().max() < 1e-6
        assert (weight - before[name]).abs().max() > 1e-3
