"""Settings of `didi-text pretrain` and `distill`: what they add to those of both."""

from dataclasses import dataclass, field
from typing import Optional

from omegaconf import MISSING

from didi_core.commands.training.settings import DistillSettings as SharedDistillSettings
from didi_core.commands.training.settings import NetworkSettings
from didi_core.commands.training.settings import PretrainSettings as SharedPretrainSettings
from didi_core.number_checks import positive_int_errors


@dataclass
class ModelSettings(NetworkSettings):
    """Shape of the network: a DiT where masked, GPT-2's layout where autoregressive."""

    conditioning_size: int = 128
    """Width of the vector that tells the time; of masked networks alone."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        return super().problems() + positive_int_errors(self, "conditioning_size")


@dataclass
class TextSource:
    """What is read of data=."""

    licenses: str = ""
    """Keep JSONL records with one of these licenses, separated by commas."""
    data_tokens: Optional[int] = None  # noqa: UP045 - OmegaConf reads this form
    """Encode about this many tokens of data= at most."""
    stream: bool = False
    """Read a corpus of the hub over the network, keeping none of its text."""


@dataclass
class PretrainSettings(SharedPretrainSettings, TextSource):
    """Everything `pretrain` can be told."""

    data: str = MISSING
    """.jsonl (key text) or .txt, plain or .gz; openwebtext or lm1b."""
    valid: Optional[str] = None  # noqa: UP045
    """Held-out text, or lm1b:valid: its likelihood bound is printed."""
    model: ModelSettings = field(default_factory=ModelSettings)
    recipe: str = "none"
    tokenizer: str = "gpt2"
    """Folder, tokenizer.json, hub id, or a bundled model (tiny)."""
    offline: bool = False
    """Never use the network."""
    block_length: int = 1024
    """Tokens of a block, an end of text at both ends included."""
    remainder: str = "keep"
    """End that fills no block: keep (a shorter block), drop, or published."""
    valid_blocks: int = 2000
    """Held-out blocks that are scored, the first so many; 0 for all."""


@dataclass
class DistillSettings(SharedDistillSettings, TextSource):
    """Everything `distill` can be told; `method` is checked against its own settings class."""

    teacher: str = MISSING
    """Bundled name (tiny), model folder, or hub id (kuleshov-group/mdlm-owt)."""
    reference: str = "data"
    """data: text from data=; pool: the teacher's own samples, no data needed."""
    data: Optional[str] = None  # noqa: UP045
    """.jsonl (key text) or .txt, plain or .gz; openwebtext or lm1b."""
    pool_length: Optional[str] = None  # noqa: UP045
    """Their lengths: as generate's --length; null for block_length."""
    block_length: Optional[int] = None  # noqa: UP045
    """Tokens of a block, as in pretrain; null for max_length."""
    max_length: int = 1024
    """block_length by its older name; as many as the teacher takes at most."""
