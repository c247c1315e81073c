"""A folder of a tiny masked model of text, and `generate` on it with small defaults."""

from pathlib import Path
from typing import Any

import torch
from text_fixtures import randomised, tiny_tokenizer

from didi_core.commands.generating.options import GenerationResult
from didi_core.models.dit import DitDenoiser, DitSettings
from didi_text.generate import generate
from didi_text.models.load import save_text_model
from didi_text.samples.files import read_samples
from didi_text.samples.options import GenerateOptions

LIMIT = 64
"""Tokens the tiny model takes."""


def write_tiny_model(folder: Path, seed: int = 0, process: str = "absorbing") -> Path:
    """A DiT of 1 layer, 16 wide, every tensor random, with the tiny tokenizer.

    Args:
        process: of noise; a model of another than the absorbing one is told the time.
    """
    absorbing = process == "absorbing"
    vocabulary = tiny_tokenizer().vocabulary
    settings = DitSettings(
        vocabulary_size=vocabulary.size,
        num_layers=1,
        hidden_size=16,
        num_heads=2,
        mask_id=vocabulary.mask_id,
        conditioning_size=4,
        max_tokens=LIMIT,
        time_conditioned=not absorbing,
    )
    denoiser = randomised(DitDenoiser(settings), seed)
    assert isinstance(denoiser, DitDenoiser)
    about = None if absorbing else {"didi": {"process": process}}
    save_text_model(
        folder, denoiser, tiny_tokenizer(), card="random weights, for tests", extra_config=about
    )
    return folder


def sample(model: Path, out: Path, **changes: Any) -> GenerationResult:
    """`generate` with small defaults."""
    defaults: dict[str, Any] = {"num": 8, "steps": 4, "batch_tokens": 64, "quiet": True}
    if "infill" not in changes:
        defaults["length"] = "20"
    if changes.get("sampler") == "first-hitting":
        del defaults["steps"]
    return generate(GenerateOptions(model=str(model), out=out, **{**defaults, **changes}))


def texts(result: GenerationResult) -> list[str]:
    return [record["text"] for record in read_samples(result.out)]


def weights_differ(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return any(not torch.equal(a, b) for a, b in pairs)
