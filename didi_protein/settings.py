"""Settings of `didi-protein pretrain` and `distill`: what they add to those of both."""

from dataclasses import dataclass, field
from typing import Optional

from omegaconf import MISSING

from didi_core.commands.training.settings import DistillSettings as SharedDistillSettings
from didi_core.commands.training.settings import NetworkSettings
from didi_core.commands.training.settings import PretrainSettings as SharedPretrainSettings
from didi_core.number_checks import positive_int_errors


@dataclass
class ModelSettings(NetworkSettings):
    """Shape of the network."""

    intermediate_size: int = MISSING
    """Width of a block's feed-forward layer."""
    max_residues: int = 1022
    """Longest sequence it has positions for."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        return super().problems() + positive_int_errors(self, "intermediate_size", "max_residues")


@dataclass
class PretrainSettings(SharedPretrainSettings):
    """Everything `pretrain` can be told."""

    data: str = MISSING
    """FASTA (plain or .gz), or uniref50 (after: didi-protein download uniref50)."""
    valid: Optional[str] = None  # noqa: UP045 - OmegaConf reads this form
    """Held-out FASTA, or a share of data= such as 10%, by cluster: its likelihood is printed."""
    family: Optional[str] = None  # noqa: UP045
    """Alignment, .hmm or bundled family (PF00595): its profile is a baseline on valid=, too."""
    init: Optional[str] = None  # noqa: UP045
    """Model whose weights training starts from: bundled name, folder or hub id."""
    offline: bool = False
    """Never use the network."""
    model: ModelSettings = field(default_factory=ModelSettings)
    recipe: str = "none"
    max_length: int = 1022
    """Residues."""
    too_long: str = "crop"
    """Longer sequences: crop (a random window each time) or drop."""


@dataclass
class DistillSettings(SharedDistillSettings):
    """Everything `distill` can be told; `method` is checked against its own settings class."""

    teacher: str = MISSING
    """Bundled name (tiny), model folder, or hub id (airkingbd/dplm_150m)."""
    reference: str = "data"
    """data: sequences from data=; pool: the teacher's own samples, no data needed."""
    data: Optional[str] = None  # noqa: UP045
    """FASTA (plain or .gz), or uniref50."""
    pool_length: str = "50-150"
    max_length: int = 1022
    """Residues; longer references are left out."""
