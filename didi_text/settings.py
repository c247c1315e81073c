"""Settings of `didi-text pretrain`; defaults and comments are in configs/text_pretrain.yaml."""

from dataclasses import dataclass, field
from typing import Optional

from didi_core.commands.training import settings as shared
from didi_core.number_checks import positive_int_errors


@dataclass
class ModelSettings(shared.NetworkSettings):
    """Shape of the network: a DiT where masked, GPT-2's layout where autoregressive."""

    conditioning_size: int = 128

    def problems(self) -> list[str]:
        return super().problems() + positive_int_errors(self, "conditioning_size")


@dataclass
class PretrainSettings(shared.PretrainSettings):
    """Everything `pretrain` can be told."""

    model: ModelSettings = field(default_factory=ModelSettings)
    recipe: str = "none"
    tokenizer: str = "gpt2"
    offline: bool = False
    block_length: int = 1024
    remainder: str = "keep"
    licenses: str = ""
    data_tokens: Optional[int] = None  # noqa: UP045 - OmegaConf reads this form
    stream: bool = False
    valid_blocks: int = 2000


# Settings of `didi-text distill`; defaults and comments are in configs/text_distill.yaml.


@dataclass
class DistillSettings(shared.DistillSettings):
    """Everything `distill` can be told; `method` is checked against its own settings class."""

    licenses: str = ""
    data_tokens: Optional[int] = None  # noqa: UP045 - OmegaConf reads this form
    stream: bool = False
    pool_length: Optional[str] = None  # noqa: UP045
    block_length: Optional[int] = None  # noqa: UP045
    max_length: int = 1024
