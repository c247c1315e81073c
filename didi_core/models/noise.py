"""The stochastic mask: a random state at masked positions, so that one draw can choose one answer.

All tokens a step reveals are drawn independently given the state. With one fixed mask state a
student cannot tell which of several answers its neighbours will choose; with a random state that
they share it can (IMDM, arXiv 2605.10518). A latent of standard normal numbers goes through a
learned projection and is added to the mask's embedding; the projection starts at zero, so that a
student begins as its teacher.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from didi_core.diffusion.draws import Stream, keyed_generator, keyed_uniform
from didi_core.models.denoiser import Denoiser
from didi_core.models.positions import Places
from didi_core.models.soft_tokens import SoftTokens

KINDS = ("position", "sequence")


@dataclass
class NoiseSettings:
    """The noise input of a student; the same for every distillation method."""

    kind: str = "none"
    """none; position: a latent of its own for every masked position and step; sequence: one
    latent for a whole sequence, kept through all steps of its sampling."""
    size: int = 32
    """Normal numbers in a latent."""
    scale: float = 0.0
    """Root mean square of the noise at the start, relative to that of the token embeddings. At 0
    the student begins exactly as its teacher."""

    def problems(self) -> list[str]:
        """List what is wrong with the values, each with the setting's name."""
        wrong = []
        if self.kind not in ("none", *KINDS):
            wrong.append(f"noise.kind={self.kind} must be none, position or sequence")
        if self.size < 1:
            wrong.append(f"noise.size={self.size} must be at least 1")
        if not 0 <= self.scale < float("inf"):
            wrong.append(f"noise.scale={self.scale} must be 0 or more")
        return wrong


@dataclass(frozen=True)
class NoiseKeys:
    """What the latents of one network call are keyed by; never the batch."""

    seed: int
    records: Int[Tensor, "batch"]
    """Key of each row."""
    step: int
    """Number of the call within the sampling of the rows."""
    update: int = 0
    """Training step; 0 in sampling."""


def draw_latents(
    kind: str, size: int, keys: NoiseKeys, masked: Bool[Tensor, "batch width"]
) -> Float[Tensor, "masked size"]:
    """Draw standard normal latents in float64, one for each masked position in row-major order.

    With `sequence` all positions and steps of a row share one. Padding, neighbours and batch size
    do not matter, because each number is a hash of its key.
    """
    device = masked.device
    component = torch.arange(size, device=device)
    records, update = keys.records.to(device), keys.update
    row, position = masked.nonzero(as_tuple=True)
    if kind == "sequence":
        shared = (records[:, None], update, component)
        return _normal(keyed_uniform(keys.seed, Stream.NOISE, *shared, device=device))[row]
    key = (records[row, None], position[:, None], keys.step, update, component)
    return _normal(keyed_uniform(keys.seed, Stream.NOISE, *key, device=device))


def _normal(uniform: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Turn uniforms into standard normal numbers, by the inverse distribution function."""
    return torch.special.ndtri(uniform)


class MaskNoise(nn.Module):
    """From a latent to what is added to the mask's embedding."""

    def __init__(self, kind: str, size: int, hidden_size: int) -> None:
        super().__init__()
        self.kind = kind
        self.projection = nn.Linear(size, hidden_size, bias=False)
        nn.init.zeros_(self.projection.weight)

    @property
    def size(self) -> int:
        return self.projection.in_features

    def initialise(self, scale: float, seed: int) -> None:
        """Draw weights that give noise of root mean square `scale`; exact zeros at 0."""
        generator = keyed_generator(seed, Stream.NOISE, -1)
        weight = torch.randn(self.projection.weight.shape, generator=generator)
        # A channel sums `size` standard normal latents, each weighted: variance scale^2.
        self.projection.weight.data.copy_(weight * scale / self.size**0.5)

    def forward(self, latents: Float[Tensor, "n size"]) -> Float[Tensor, "n hidden"]:
        return self.projection(latents.to(self.projection.weight.dtype))


class NoisyDenoiser(nn.Module):
    """A denoiser with its noise input; without latents it is the denoiser alone."""

    def __init__(self, denoiser: Denoiser, noise: MaskNoise) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.noise = noise

    def logits_at(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Places,
        soft: SoftTokens | None = None,
        latents: Float[Tensor, "masked size"] | None = None,
    ) -> Float[Tensor, "chosen vocabulary"]:
        """Return the logits where `at` is True.

        Args:
            latents: one row for each mask token of `tokens`, in row-major order.
        """
        added = None if latents is None else self._placed(tokens, latents)
        return self.denoiser.logits_at(tokens, lengths, at, soft, added)

    def states_at(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Places,
        latents: Float[Tensor, "masked size"] | None = None,
    ) -> tuple[Float[Tensor, "chosen hidden"], Float[Tensor, "chosen vocabulary"]]:
        """Return hidden states and logits where `at` is True; arguments as of `logits_at`."""
        added = None if latents is None else self._placed(tokens, latents)
        return self.denoiser.states_at(tokens, lengths, at, noise=added)

    def _placed(self, tokens: Tensor, latents: Tensor) -> Float[Tensor, "batch width hidden"]:
        projected = self.noise(latents)
        placed = projected.new_zeros(*tokens.shape, projected.shape[-1])
        masked = tokens == self.denoiser.settings.mask_id
        return placed.masked_scatter(masked.unsqueeze(-1), projected)


def with_noise(denoiser: Any, settings: NoiseSettings, seed: int) -> nn.Module:
    """Give the denoiser a noise input to be trained; return it as it is where the kind is none."""
    if settings.kind == "none":
        return denoiser
    embedding = denoiser.embedding.weight.detach()
    noise = MaskNoise(settings.kind, settings.size, embedding.shape[1]).to(embedding)
    if not embedding.is_meta:  # else only its size is asked for
        noise.initialise(settings.scale * float(embedding.square().mean().sqrt()), seed)
    return NoisyDenoiser(denoiser, noise)


def without_noise(network: nn.Module) -> tuple[Any, MaskNoise | None]:
    """Split a network into the denoiser, and its noise input where it has one."""
    if isinstance(network, NoisyDenoiser):
        return network.denoiser, network.noise
    return network, None
