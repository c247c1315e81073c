"""Settings of `didi-text pretrain`; defaults and comments are in configs/text_pretrain.yaml."""

from dataclasses import dataclass, field
from typing import Optional

from didi_core.commands import pretrain_settings as shared
from didi_core.number_checks import below_one


@dataclass
class ModelSettings(shared.NetworkSettings):
    """Shape of the network: a DiT where masked, GPT-2's layout where autoregressive."""

    conditioning_size: int = 128

    def problems(self) -> list[str]:
        return super().problems() + below_one(self, "conditioning_size")


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
