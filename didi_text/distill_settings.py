"""Settings of `didi-text distill`; defaults and comments are in configs/text_distill.yaml."""

from dataclasses import dataclass
from typing import Optional

from didi_core.commands import distill_settings as shared


@dataclass
class DistillSettings(shared.DistillSettings):
    """Everything `distill` can be told; `method` is checked against its own settings class."""

    licenses: str = ""
    data_tokens: Optional[int] = None  # noqa: UP045 - OmegaConf reads this form
    stream: bool = False
    pool_length: Optional[str] = None  # noqa: UP045
    block_length: Optional[int] = None  # noqa: UP045
    max_length: int = 1024
