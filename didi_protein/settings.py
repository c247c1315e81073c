"""Settings of `didi-protein pretrain`; defaults and comments are in configs/pretrain.yaml."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from didi_core.commands.training import settings as shared
from didi_core.number_checks import positive_int_errors


@dataclass
class ModelSettings(shared.NetworkSettings):
    """Shape of the network."""

    intermediate_size: int = MISSING
    max_residues: int = 1022

    def problems(self) -> list[str]:
        return super().problems() + positive_int_errors(self, "intermediate_size", "max_residues")


@dataclass
class PretrainSettings(shared.PretrainSettings):
    """Everything `pretrain` can be told."""

    model: ModelSettings = field(default_factory=ModelSettings)
    max_length: int = 1022
    too_long: str = "crop"


# Settings of `didi-protein distill`; defaults and comments are in configs/distill.yaml.


@dataclass
class DistillSettings(shared.DistillSettings):
    """Everything `distill` can be told; `method` is checked against its own settings class."""

    pool_length: str = "50-150"
    max_length: int = 1022
