"""Settings that `distill` has in both programs; the comments are in configs/.

A program's own settings extend these. Imports no torch: `--cfg job` is fast.
"""

from dataclasses import dataclass, field
from typing import Any, Optional

from omegaconf import MISSING


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
