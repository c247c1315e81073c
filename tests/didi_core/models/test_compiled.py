"""Blocks compiled by torch compute what they did before."""

import shutil
from pathlib import Path

import pytest
import torch
from tiny_models import timed_esm, tiny_denoiser
from torch import nn

from didi_core.errors import UserError
from didi_core.models.attention_watch import watched_attention
from didi_core.models.compiled import compiled_blocks
from didi_core.models.denoiser import time_input

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler"
)


@needs_compiler
@pytest.mark.parametrize("build", [tiny_denoiser, timed_esm])
@pytest.mark.usefixtures("unchecked")
def test_logits_and_names_stay_for_every_shape(build) -> None:
    plain, compiled = build(num_layers=2), build(num_layers=2)
    uncompiled = [block._compiled_call_impl for block in compiled.blocks]
    with compiled_blocks(compiled, "--compile"), torch.no_grad():
        assert list(compiled.state_dict()) == list(plain.state_dict())
        assert None not in [block._compiled_call_impl for block in compiled.blocks]
        for lengths in ([9, 9], [12, 5, 7]):
            tokens = torch.randint(3, 7, (len(lengths), max(lengths)))
            inputs = (tokens, torch.tensor(lengths), tokens == 6)
            told = time_input(plain, torch.linspace(0.2, 0.8, len(lengths)))
            expected = plain.logits_at(*inputs, **told)
            assert (compiled.logits_at(*inputs, **told) - expected).abs().max() < 1e-5
        with watched_attention(compiled) as watch, watched_attention(plain) as expected_watch:
            compiled.logits_at(*inputs, **told)
            plain.logits_at(*inputs, **told)
        assert (watch.mean() - expected_watch.mean()).abs().max() < 1e-5
    assert [block._compiled_call_impl for block in compiled.blocks] == uncompiled == [None, None]


def test_a_machine_without_a_compiler_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(inductor.cpp, "cxx", (str(tmp_path / "no-such-compiler"),))
    torch._dynamo.reset()
    network = tiny_denoiser()
    refused = pytest.raises(UserError, match="--compile: torch cannot compile here")
    with refused, compiled_blocks(network, "--compile"):
        pass
    network.trunk(torch.tensor([[1, 3, 2]]), torch.tensor([3]))  # it can be used as before


def test_other_networks_are_left_alone() -> None:
    refused = pytest.raises(UserError, match="--compile")
    with refused, compiled_blocks(nn.Linear(2, 2), "--compile"):
        pass
