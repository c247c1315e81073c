"""Settings of `didi-protein distill`; defaults and comments are in configs/distill.yaml."""

from dataclasses import dataclass

from didi_core.commands import distill_settings as shared


@dataclass
class DistillSettings(shared.DistillSettings):
    """Everything `distill` can be told; `method` is checked against its own settings class."""

    pool_length: str = "50-150"
    max_length: int = 1022
