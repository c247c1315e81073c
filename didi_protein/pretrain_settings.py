"""Settings of `didi-protein pretrain`; defaults and comments are in configs/pretrain.yaml."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from didi_core.commands import pretrain_settings as shared
from didi_core.number_checks import below_one


@dataclass
class ModelSettings(shared.NetworkSettings):
    """Shape of the network."""

    intermediate_size: int = MISSING
    max_residues: int = 1022

    def problems(self) -> list[str]:
        return super().problems() + below_one(self, "intermediate_size", "max_residues")


@dataclass
class PretrainSettings(shared.PretrainSettings):
    """Everything `pretrain` can be told."""

    model: ModelSettings = field(default_factory=ModelSettings)
    max_length: int = 1022
    too_long: str = "crop"
