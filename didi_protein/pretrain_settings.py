"""Settings of `didi-protein pretrain`; defaults and comments are in configs/pretrain.yaml."""

from dataclasses import dataclass, field
from typing import Optional

from omegaconf import MISSING

from didi_core.distill.optimizers import OptimizerSettings
from didi_core.training.masked_pretraining import CurriculumSettings


@dataclass
class ModelSettings:
    """Shape of the network."""

    kind: str = "masked"
    num_layers: int = MISSING
    hidden_size: int = MISSING
    num_heads: int = MISSING
    intermediate_size: int = MISSING
    max_residues: int = 1022


@dataclass
class PretrainSettings:
    """Everything `pretrain` can be told."""

    data: str = MISSING
    out: str = MISSING
    valid: Optional[str] = None  # noqa: UP045 - OmegaConf reads this form
    model: ModelSettings = field(default_factory=ModelSettings)
    steps: int = 10_000
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    precision: str = "float32"
    resume: bool = False
    overwrite: bool = False
    tokens_per_batch: int = 8192
    max_length: int = 1022
    too_long: str = "crop"
    ema: float = 0.999
    input_noise: float = 0.0
    curriculum: CurriculumSettings = field(default_factory=CurriculumSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    log_every: int = 10
    validate_every: int = 500
    checkpoint_every: int = 500
    max_seconds: float = 0.0
