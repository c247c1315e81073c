"""Tiny networks in which every tensor is random, a tiny corpus, and a Fabric on the CPU."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from didi_core.data.batches import TokenBatch, pad_batch
from didi_core.data.corpus import Corpus
from didi_core.data.vocabulary import Vocabulary
from didi_core.distill.method import Method
from didi_core.distill.passes import finished
from didi_core.models.denoiser import Denoiser, time_input
from didi_core.models.discriminator import Discriminator
from didi_core.models.dit import DitDenoiser, DitSettings
from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_core.models.folder import LoadedModel
from didi_core.models.noise import without_noise
from didi_core.sampling.predictor import Predictor
from didi_core.training.devices import build_fabric

FRAMED = Vocabulary(
    tokens=("<pad>", "<bos>", "<eos>", "A", "B", "C", "<mask>"),
    mask_id=6,
    pad_id=0,
    generable_ids=(3, 4, 5),
    bos_id=1,
    eos_id=2,
)
"""Three generable tokens, framed."""
MASK = FRAMED.mask_id


def tiny_denoiser(
    seed: int = 0, dtype: torch.dtype = torch.float32, num_layers: int = 1, width: int = 8
) -> EsmDenoiser:
    settings = EsmSettings(
        vocabulary_size=FRAMED.size,
        num_layers=num_layers,
        hidden_size=width,
        num_heads=2,
        intermediate_size=2 * width,
        mask_id=FRAMED.mask_id,
        max_tokens=64,
    )
    denoiser = EsmDenoiser(settings)
    randomise(denoiser, seed)
    return denoiser.to(dtype).eval()


def as_teacher(
    denoiser: Denoiser, process: str = "absorbing", vocabulary: Vocabulary = FRAMED
) -> LoadedModel:
    """The denoiser as if it were opened from a folder of that process."""
    config = {"didi": {"process": process}}
    return LoadedModel(denoiser, vocabulary, config, "teacher", Path(), {})


def timed_esm(seed: int = 0, num_layers: int = 1, width: int = 8) -> EsmDenoiser:
    """The same, told the time."""
    plain = tiny_denoiser(num_layers=num_layers, width=width)
    settings = replace(plain.settings, time_conditioned=True, conditioning_size=6)
    denoiser = EsmDenoiser(settings)
    randomise(denoiser, seed)
    return denoiser.eval()


def framed_dit(seed: int = 0, **changes: Any) -> DitDenoiser:
    """One layer of the text layout over the framed tokens."""
    settings = DitSettings(FRAMED.size, 1, 8, 2, MASK, conditioning_size=4, max_tokens=64)
    denoiser = DitDenoiser(replace(settings, **changes))
    randomise(denoiser, seed)
    return denoiser.eval()


@dataclass(frozen=True)
class Told(Predictor):
    """Notes the alpha of every call."""

    alphas: list[Any] = field(default_factory=list)

    def log_probs(self, tokens, lengths, at, keys=None, alpha=None):
        self.alphas.append(alpha)
        return super().log_probs(tokens, lengths, at, keys, alpha)

    def predict(self, tokens, lengths, at, keys=None, alpha=None):
        self.alphas.append(alpha)
        return super().predict(tokens, lengths, at, keys, alpha)


def tiny_discriminator(seed: int = 0, dtype: torch.dtype = torch.float32) -> Discriminator:
    discriminator = Discriminator(tiny_denoiser(seed, dtype)).to(dtype)
    return discriminator.eval().requires_grad_(False)


@torch.no_grad()
def randomise(network: torch.nn.Module, seed: int) -> None:
    """Zeros and ones agree with anything, so norms and biases are drawn too."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        near_one = "norm" in name and name.endswith("weight")
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4 + near_one)


def tiny_corpus(num_sequences: int = 40, seed: int = 0, low: int = 3, high: int = 9) -> Corpus:
    """Sequences of `low` to `high` generable ids."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(low, high + 1, (num_sequences,), generator=generator)
    return Corpus.from_ids(
        [torch.randint(3, 6, (int(n),), generator=generator).tolist() for n in lengths]
    )


def framed_batch(*rows: list[int]) -> TokenBatch:
    """Rows of unframed ids as one padded batch."""
    return pad_batch([FRAMED.frame(row) for row in rows], FRAMED)


def cpu_fabric() -> Fabric:
    return build_fabric("cpu", "float32")


def remembered_and_gradients(network: nn.Module, tokens: Tensor) -> tuple[int, list[Tensor]]:
    """Bytes that the forward pass keeps beside the parameters, and every gradient."""
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    lengths = torch.tensor([tokens.shape[1], tokens.shape[1] - 2])
    at = torch.arange(tokens.shape[1]) < lengths[:, None]
    network.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        told = time_input(network, torch.tensor([0.3, 0.8]))
        loss = network.logits_at(tokens, lengths, at, **told).square().mean()
    loss.backward()
    return sum(kept.values()), [p.grad.clone() for p in network.parameters() if p.grad is not None]


def whole_of(half_done: Generator[Any, list[int], Any]) -> tuple[Any, list[int]]:
    """Finish a pass that is the whole of its update; what it returns, and its counts."""
    counts = next(half_done)
    counts = counts if isinstance(counts, list) else [counts]
    return finished(half_done, counts), counts


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a network's tensors, without those of its noise input."""
    return {name: tensor.clone() for name, tensor in without_noise(module)[0].state_dict().items()}


def same_weights(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def check_every_setting_acts(
    method_with: Callable[[Any], Method], plain: Any, changes: dict[str, Any], *idle: str
) -> None:
    """Check that four steps repeat exactly, and end in another student for each change.

    Args:
        idle: settings that do not touch the student.
    """
    assert {*changes, *idle} == set(vars(plain)), "a new setting needs its line here"

    def result_of(settings: Any) -> dict[str, Tensor]:
        method = method_with(settings)
        for step in range(4):
            method.step(step, 4)
        return weights_of(method.result())

    usual = result_of(plain)
    assert same_weights(usual, result_of(plain)), "runs repeat exactly"
    for name, value in changes.items():
        changed = result_of(replace(plain, **{name: value}))
        assert not same_weights(usual, changed), f"{name} does nothing"
