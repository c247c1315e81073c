"""Blocks compiled by torch compute what they did before."""

import shutil
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_denoiser
from torch import nn

from didi_core.errors import UserError
from didi_core.models.compiled import compile_blocks

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler"
)


@needs_compiler
def test_logits_and_names_stay_for_every_shape() -> None:
    plain, compiled = tiny_denoiser(num_layers=2), tiny_denoiser(num_layers=2)
    compile_blocks(compiled, "--compile")
    assert list(compiled.state_dict()) == list(plain.state_dict())
    with torch.no_grad():
        for lengths in ([9, 9], [12, 5, 7]):
            tokens = torch.randint(3, 7, (len(lengths), max(lengths)))
            inputs = (tokens, torch.tensor(lengths), tokens == 6)
            expected = plain.logits_at(*inputs)
            assert (compiled.logits_at(*inputs) - expected).abs().max() < 1e-5


def test_a_machine_without_a_compiler_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(inductor.cpp, "cxx", (str(tmp_path / "no-such-compiler"),))
    torch._dynamo.reset()
    with pytest.raises(UserError, match="--compile: torch cannot compile here"):
        compile_blocks(tiny_denoiser(), "--compile")


def test_other_networks_are_left_alone() -> None:
    with pytest.raises(UserError, match="--compile"):
        compile_blocks(nn.Linear(2, 2), "--compile")
