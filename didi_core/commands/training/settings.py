"""Settings that `distill` has in both programs; the comments are in configs/.

A program's own settings extend these. Imports no torch: `--cfg job` is fast.
"""

from dataclasses import dataclass, field
from typing import Any, Optional

from omegaconf import MISSING

from didi_core.distill.optimizers import OptimizerSettings
from didi_core.number_checks import positive_int_errors
from didi_core.training.diffusion_pretraining import CurriculumSettings
from didi_core.training.gaussian_curriculum import GaussianSettings


@dataclass
class DistillSettings:
    """Everything that `distill` can be told; `method` is checked against its own settings class."""

    teacher: str = MISSING
    out: str = MISSING
    method: dict[str, Any] = field(default_factory=dict)
    preset: str = "default"
    reference: str = "data"
    data: Optional[str] = None  # noqa: UP045 - OmegaConf reads this form
    pool_size: int = 512
    pool_length: Optional[str] = MISSING  # noqa: UP045
    pool_steps: Optional[int] = None  # noqa: UP045
    steps: int = 1000
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    strategy: str = "auto"
    checkpoint_activations: bool = False
    precision: str = "float32"
    resume: bool = False
    overwrite: bool = False
    plan: bool = False
    offline: bool = False
    tokens_per_batch: int = 4096
    max_length: int = MISSING
    log_every: int = 10
    checkpoint_every: int = 200
    checkpoints_kept: int = 2
    max_seconds: float = 0.0


# Settings that `pretrain` has in both programs; the comments are in configs/.
#
# A program's own settings extend these.


@dataclass
class NetworkSettings:
    """Shape of a network to be trained from scratch."""

    kind: str = "masked"
    num_layers: int = MISSING
    hidden_size: int = MISSING
    num_heads: int = MISSING

    def problems(self) -> list[str]:
        """What is wrong with the values, each with the setting's name."""
        wrong = positive_int_errors(self, "num_layers", "hidden_size", "num_heads")
        if not wrong and self.hidden_size % (2 * self.num_heads):
            wrong.append(
                f"hidden_size={self.hidden_size} must be an even multiple of "
                f"num_heads={self.num_heads}"
            )
        return wrong


@dataclass
class PretrainSettings:
    """Everything that `pretrain` can be told in both programs."""

    data: str = MISSING
    out: str = MISSING
    valid: Optional[str] = None  # noqa: UP045 - OmegaConf reads this form
    model: NetworkSettings = field(default_factory=NetworkSettings)
    process: str = "absorbing"
    steps: int = 10_000
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    strategy: str = "auto"
    checkpoint_activations: bool = False
    precision: str = "float32"
    resume: bool = False
    overwrite: bool = False
    plan: bool = False
    tokens_per_batch: int = 8192
    ema: float = 0.999
    input_noise: float = 0.0
    curriculum: CurriculumSettings = field(default_factory=CurriculumSettings)
    gaussian: GaussianSettings = field(default_factory=GaussianSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    log_every: int = 10
    validate_every: int = 500
    checkpoint_every: int = 500
    checkpoints_kept: int = 2
    max_seconds: float = 0.0
