"""What a sampler is asked for and what it returns."""

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.data.batches import TokenBatch
from didi_core.sampling.forbidden import Forbidden

Draws = Literal["float64", "float32"]
Grid = Literal["exact", "published", "best"]


@dataclass(frozen=True)
class DrawSettings:
    """Settings of how a token is drawn from the network's distribution."""

    temperature: float = 1.0
    """Divides the log-probabilities; 1 is the model's own law."""
    top_p: float = 1.0
    """Keep the fewest tokens whose probabilities sum to at least this; 1 keeps all."""
    log_bias: Float[Tensor, "generable"] | None = None
    """Added to the log-probabilities (nats); -inf forbids a token."""
    precision: Draws = "float64"
    """float64 draws are exact; float32 Gumbel draws exist only to reproduce papers."""
    forbidden: Forbidden | None = None
    """Tokens that single positions may not get; filled in for each batch."""

    def forbidden_at(
        self, record: Int[Tensor, "n"], position: Int[Tensor, "n"]
    ) -> Bool[Tensor, "n generable"] | None:
        """Return which tokens positions may not get; None where nothing is forbidden."""
        return None if self.forbidden is None else self.forbidden.at(record, position)


@dataclass(frozen=True)
class SampleSettings:
    """Settings of one request, the same for all of its records."""

    steps: int | None
    """Denoising steps; None where the sampler decides (first-hitting)."""
    seed: int = 0
    grid: Grid = "exact"
    """exact ends at alpha = 1, at most `steps` calls; published makes the papers' steps + 1; best
    is exact on the shares of `kept`."""
    reveal_exponent: float = 1.0
    """After step k of K, alpha = (k / K) ** reveal_exponent; 1 is the even grid."""
    kept: tuple[float, ...] | None = None
    """Grid best: share of tokens kept before the first step and after each, from 0 to 1."""
    draw: DrawSettings = field(default_factory=DrawSettings)


@dataclass(frozen=True)
class Prior:
    """Holds a batch to fill: mask tokens where something is to be generated, all else kept."""

    batch: TokenBatch
    """`maskable` marks the positions to fill."""
    records: Int[Tensor, "batch"]
    """Key of each row's random numbers; never its place in the batch."""


@dataclass(frozen=True)
class Sampled:
    """A batch of finished sequences and what they cost."""

    tokens: Int[Tensor, "batch width"]
    denoiser_calls: Int[Tensor, "batch"]
    """Network calls made for each row; what the FASTA header calls nfe."""
    discriminator_calls: Int[Tensor, "batch"]
    """Forward, or forward-and-backward, calls of a discriminator, counted apart."""
    head_passes: Int[Tensor, "batch"] | None = None
    """Passes of a joint head, counted apart; None: there were none."""
    guide_calls: Int[Tensor, "batch"] | None = None
    """Sequences that a guide scored, or gradients that it gave; None: there was none."""


@dataclass(frozen=True)
class SampledRecord:
    """One record's sequence, framed and without padding, and what it cost."""

    record: int
    """Its number; of a single try, the key that it was drawn with."""
    ids: list[int]
    """Framed ids of the try that was taken, or of the last one where none was."""
    denoiser_calls: int
    """Of all tries."""
    discriminator_calls: int
    tries: int
    failure: str | None
    """Why no try was acceptable."""
    head_passes: int = 0
    """Of the joint head, of all tries."""
    guide_calls: int = 0
    """Of the guide, of all tries."""


@runtime_checkable
class Sampler(Protocol):
    """Turns a prior into sequences, with the network that it was made for."""

    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled: ...

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        """Return the most calls that a row with `num_free` free positions needs (for estimates)."""
        ...
