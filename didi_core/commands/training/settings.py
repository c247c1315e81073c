"""Settings that `pretrain` and `distill` have in both programs, each with its default and its help.

`--help` shows a field's docstring, read from here without an import; a program's own settings
extend these classes.
"""

from dataclasses import dataclass, field
from typing import Any, Optional

from omegaconf import MISSING

from didi_core.distill.optimizers import OptimizerSettings
from didi_core.number_checks import positive_int_errors
from didi_core.training.curricula import CurriculumSettings, GaussianSettings


@dataclass
class RunSettings:
    """How, where and how long a run is computed, whatever it trains."""

    seed: int = 0
    """Of all random numbers."""
    device: str = "auto"
    """auto, cpu, cuda."""
    devices: int = 1
    """Processes or GPUs of this machine; torchrun and srun say it themselves."""
    strategy: str = "auto"
    """Of several processes: ddp (auto), or fsdp: networks in shards (docs/scale.md)."""
    checkpoint_activations: bool = False
    """Compute blocks again in the backward pass: less memory, more time."""
    precision: str = "float32"
    """float32, bf16, or auto: bf16 where processor or GPU compute in it."""
    resume: bool = False
    """Go on where the run in out= stopped."""
    overwrite: bool = False
    """Replace what is in out=."""
    plan: bool = False
    """Print what memory the run would take on each process, and about what time; stop."""
    tokens_per_batch: int = 4096
    """Rows times padded width that an update sees, over all processes."""
    tokens_per_pass: Optional[int] = None  # noqa: UP045 - OmegaConf reads this form
    """Of them, what a process takes forward and backward at once; gradients add up. Null: all, and
    halves of them where memory runs out."""
    log_every: int = 10
    """Updates between lines of metrics.jsonl."""
    logger: str = "none"
    """What takes the same beside it: tensorboard, wandb or none."""
    checkpoint_every: int = 200
    """Updates between checkpoints."""
    checkpoints_kept: int = 2
    """The newest of them, each a model to look at by generate --model."""
    max_seconds: float = 0
    """End after this time, resumptions counted; schedules follow it; 0: no limit."""


@dataclass
class DistillSettings(RunSettings):
    """Everything that `distill` can be told; `method` is checked against its own settings class."""

    teacher: str = MISSING
    out: str = MISSING
    """Folder of the run and of the student."""
    method: dict[str, Any] = field(default_factory=dict)
    joint_head: bool = False
    """Also train a head by which the student draws the tokens of a step together."""
    preset: str = "default"
    reference: str = "data"
    data: Optional[str] = None  # noqa: UP045 - OmegaConf reads this form
    pool_size: int = 512
    """Samples in the pool."""
    pool_length: Optional[str] = MISSING  # noqa: UP045
    """Their lengths: as generate's --length."""
    pool_steps: Optional[int] = None  # noqa: UP045
    """Steps of the pool's sampler; null for the teacher's exact limit."""
    steps: int = 1000
    """Updates of the student."""
    offline: bool = False
    """Never use the network."""
    verdict: bool = True
    """Compare 64 samples of the student with 64 of its teacher at the end."""
    max_length: int = MISSING


@dataclass
class NetworkSettings:
    """Shape of a network to be trained from scratch."""

    kind: str = "masked"
    """masked (diffusion, of either process) or autoregressive."""
    num_layers: int = MISSING
    """Blocks."""
    hidden_size: int = MISSING
    """Width of the vector at each position."""
    num_heads: int = MISSING
    """Attention heads of a block."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = positive_int_errors(self, "num_layers", "hidden_size", "num_heads")
        if not wrong and self.hidden_size % (2 * self.num_heads):
            wrong.append(
                f"hidden_size={self.hidden_size} must be an even multiple of "
                f"num_heads={self.num_heads}"
            )
        return wrong


@dataclass
class PretrainSettings(RunSettings):
    """Everything that `pretrain` can be told in both programs."""

    data: str = MISSING
    out: str = MISSING
    """Folder of the run and of the model it ends in."""
    valid: Optional[str] = None  # noqa: UP045 - OmegaConf reads this form
    model: NetworkSettings = field(default_factory=NetworkSettings)
    process: str = "absorbing"
    """absorbing (masked), uniform (noised tokens become random ones, Duo) or sedd."""
    steps: int = 10_000
    """Updates."""
    tokens_per_batch: int = 8192
    ema: float = 0.999
    """Decay of the average of the weights, which is what is saved."""
    input_noise: float = 0.0
    """Autoregressive models: largest share of a row's inputs made random."""
    curriculum: CurriculumSettings = field(default_factory=CurriculumSettings)
    """A gentler start for diffusion models."""
    gaussian: GaussianSettings = field(default_factory=GaussianSettings)
    """process=uniform: Duo's curriculum, soft inputs made of Gaussian noise."""
    optimizer: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(
            lr=1e-3, betas=(0.9, 0.99), warmup_steps=200, decay_fraction=0.3
        )
    )
    """How the network is updated."""
    validate_every: int = 500
    """Updates between looks at valid=."""
    patience: int = 0
    """Looks at valid= without a lower figure after which training ends; 0: it goes on."""
    checkpoint_every: int = 500
