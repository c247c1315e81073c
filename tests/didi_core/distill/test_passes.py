"""An update in several passes is that of one pass, by every method, also when memory runs out."""

import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from shared_runs import METHODS, RATE, didi, dmmd
from tiny_models import FRAMED, cpu_fabric, timed_esm, tiny_corpus, tiny_denoiser
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from didi_core.data.corpus import CorpusBatches
from didi_core.diffusion.process import build_process
from didi_core.distill.method import Method
from didi_core.distill.passes import Passes
from didi_core.errors import UserError
from didi_core.training.autoregressive_pretraining import AutoregressivePretraining
from didi_core.training.curricula import CurriculumSettings, GaussianSettings
from didi_core.training.diffusion_pretraining import DiffusionPretraining
from didi_core.training.loop import LoopSettings, train
from didi_core.training.memory_plan import trunk_of

ROW = 16
"""Tokens of a padded row."""


def data() -> CorpusBatches:
    return CorpusBatches(tiny_corpus(30), FRAMED, tokens_per_batch=7 * ROW, max_length=20, seed=2)


def uniform() -> Method:
    """Duo's curriculum, and then the bound."""
    process, soft = build_process("uniform", FRAMED), GaussianSettings(2, 0.1)
    network = timed_esm(1).double()
    return DiffusionPretraining(network, data(), process, RATE, 0.5, 2, gaussian=soft)


def gentle() -> Method:
    process, start = build_process("absorbing", FRAMED), CurriculumSettings(2)
    network = tiny_denoiser(1, torch.float64)
    return DiffusionPretraining(network, data(), process, RATE, 0.5, 2, start)


def autoregressive() -> Method:
    torch.manual_seed(0)
    shape = {"vocab_size": FRAMED.size, "n_positions": 64, "n_embd": 8, "n_layer": 1, "n_head": 2}
    no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    network = GPT2LMHeadModel(GPT2Config(**shape, **no_dropout)).double()
    return AutoregressivePretraining(network, data(), RATE, 0.5, input_noise=0.3, seed=2)


EVERY = {**METHODS, "uniform": uniform, "gentle": gentle, "autoregressive": autoregressive}
SHORT = {"didi with noise", "own states", "renoised", "weak network", "head beside", "gentle"}
"""Forms of methods that others stand for: fewer updates will do."""


def passes_of(method: Any) -> Passes:
    return method.passes if hasattr(method, "passes") else method.reference.passes


def outcome(
    method: Method, tokens: int | None, updates: int, dtype: torch.dtype = torch.float64
) -> tuple[list[dict[str, float]], torch.Tensor]:
    """Metrics of every update, and all weights that the method ends with."""
    for network in method.networks():
        network.module.to(dtype)
    passes_of(method).tokens = tokens
    method.setup(cpu_fabric())
    figures = [method.step(step, updates) for step in range(updates)]
    return figures, all_weights(method)


def all_weights(method: Method) -> torch.Tensor:
    modules = [network.module for network in method.networks()]
    return torch.cat([p.detach().flatten() for each in modules for p in each.parameters()])


def check_same(
    one: tuple[list[dict[str, float]], torch.Tensor],
    many: tuple[list[dict[str, float]], torch.Tensor],
    atol: float,
) -> None:
    for expected, found in zip(one[0], many[0], strict=True):
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
    torch.testing.assert_close(many[1], one[1], rtol=0, atol=atol)


@pytest.fixture
def low_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny networks that are told the time enlarge a rounding error 100,000 times otherwise."""
    monkeypatch.setattr(RATE, "lr", 1e-3)


@pytest.mark.usefixtures("low_rate")
@pytest.mark.parametrize("name", EVERY)
def test_accumulated_gradients_are_those_of_one_pass(name: str) -> None:
    updates = 2 if name in SHORT else 20
    one, many = (outcome(EVERY[name](), tokens, updates) for tokens in (None, ROW))
    check_same(one, many, 1e-12)


@pytest.mark.usefixtures("low_rate")
@pytest.mark.parametrize("name", ["pretrain", "autoregressive"])
def test_they_are_in_float32(name: str) -> None:
    one, many = (outcome(EVERY[name](), tokens, 20, torch.float32) for tokens in (None, ROW))
    check_same(one, many, 1e-5)


# When memory runs out.


def limit_memory(network: nn.Module, tokens: int) -> None:
    """Let a forward pass of more tokens run out of it."""
    denoiser: Any = trunk_of(network)
    states = denoiser.states

    def limited(ids: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        if ids.numel() > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return states(ids, *rest, **named)

    denoiser.states = limited


@pytest.mark.parametrize(
    ("name", "network", "tokens", "told"),
    [
        ("pretrain", "network", 24, [24]),
        ("dmmd", "auxiliary", 16, [24]),
        # Asked after the discriminator's update, which must not come twice.
        ("didi", "teacher", 64, [96]),
        ("contrast", "weak", 16, [24]),
    ],
)
def test_an_update_that_ran_out_of_memory_begins_again_in_smaller_passes(
    name: str, network: str, tokens: int, told: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    limited, heard = EVERY[name](), []
    passes_of(limited).on_change = heard.append
    limit_memory(next(n.module for n in limited.networks() if n.name == network), tokens)
    found = outcome(limited, None, 4)
    assert heard == told
    assert capsys.readouterr().err.count("\n") == len(told)
    check_same(outcome(EVERY[name](), None, 4), found, 1e-12)


def test_what_no_smaller_pass_can_mend_is_said() -> None:
    method = METHODS["pretrain"]()
    limit_memory(method.network.module, 0)
    method.setup(cpu_fabric())
    with pytest.raises(UserError, match=r"16 tokens, which cannot be cut: give .* max_length"):
        method.step(0, 1)
    assert passes_of(method).tokens == 8, "three rows, then two, then one"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (4, "process 1: go on with tokens_per_pass=16 and resume=true"),
        (2, "which cannot be cut: give .* max_length"),
    ],
)
def test_one_of_several_processes_says_what_to_go_on_with(rows: int, told: str) -> None:
    reference = dmmd(rows).reference
    second = SimpleNamespace(world_size=2, global_rank=1)

    def learn(part: object) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")
        yield part

    with pytest.raises(UserError, match=told):
        reference.passes.accumulate(second, [], lambda: reference.in_passes(0, 1, 2), learn)


def test_passes_that_wait_for_each_other_keep_no_predictions() -> None:
    method, kept = didi(), []
    rollout = method.rollout
    method.setup(cpu_fabric())
    method.reference.passes.tokens = ROW

    def noted(*arguments: Any) -> Any:
        found = rollout(*arguments)
        kept.extend(weakref.ref(each.log_probs) for each in found.reverse)
        return found

    method.rollout = noted
    parts = method.reference.in_passes(0, rank=0, world_size=1)
    waiting = [method._discriminate(part, 0, []) for part in parts]
    assert [len(next(each)) for each in waiting] == [2] * 3
    assert len(kept) == 6 and all(each() is None for each in kept)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    method = METHODS["sdtt"]()
    method.setup(cpu_fabric())
    method.draw_times = None
    with pytest.raises(TypeError):
        method.step(0, 1)
    assert passes_of(method).tokens is None


def test_a_run_is_resumed_with_other_passes(tmp_path: Path) -> None:
    whole = outcome(METHODS["didi"](), None, 6)[1]
    for steps, tokens in ((3, None), (6, ROW)):
        method = METHODS["didi"]()
        passes_of(method).tokens = tokens
        train(method, LoopSettings(steps=steps), tmp_path, cpu_fabric(), None)
    torch.testing.assert_close(all_weights(method), whole, rtol=0, atol=1e-12)
