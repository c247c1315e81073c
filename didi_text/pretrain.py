"""`didi-text pretrain`: a teacher (or an autoregressive judge or baseline) from text.

didi-text pretrain data=train.jsonl.gz valid=valid.jsonl.gz tokenizer=gpt2 out=runs/teacher
"""

from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
from torch import nn
from transformers import PreTrainedModel

from didi_core.commands.training.pretrain import PretrainRun
from didi_core.data.corpus import Corpus
from didi_core.data.vocabulary import Vocabulary
from didi_core.models.dit import DitDenoiser, DitSettings
from didi_core.number_checks import positive_int_errors
from didi_text.corpora.documents import parse_licenses
from didi_text.corpora.load import load_corpus
from didi_text.corpora.packing import Packing, Remainder
from didi_text.models.causal import build_causal_model, save_causal_folder
from didi_text.models.load import BUNDLED_MODELS, save_text_model
from didi_text.settings import PretrainSettings
from didi_text.tokenizers.tokenizer import TextTokenizer, open_tokenizer

SHORTEST_BLOCK = 3
"""A token of text between two ends of text."""
COUNTED_TOKENS = 1 << 24
"""Tokens of the corpus that the unigram baseline is counted on, at most."""


def pretrain(settings: PretrainSettings) -> Path:
    """Train a model from text and save it as a model folder in `settings.out`.

    Returns:
        The folder.

    Raises:
        UserError: an output that exists, unreadable data, or a setting without sense.
    """
    return TextPretrainRun(settings).run()


class TextPretrainRun(PretrainRun[PretrainSettings]):
    """Pre-training on packed blocks of text, as a DiT or in GPT-2's layout."""

    program = "didi-text"
    config_name = "text_pretrain"
    model_group = "text_model@model"
    unit = "token"
    rows = "blocks"
    tags = ("text", "masked-diffusion")
    title = "text model"
    descriptions: ClassVar = {
        "masked": "A masked-diffusion language model (DiT in MDLM's layout, no time input).",
        "uniform": "A uniform-state diffusion language model (DiT, told the time).",
        "sedd": "A score-entropy language model (SEDD, DiT, told the time).",
        "autoregressive": "An autoregressive language model (GPT-2's layout): judge or baseline.",
    }

    def problems(self) -> list[str]:
        settings = self.settings
        wrong = super().problems()
        if settings.block_length < SHORTEST_BLOCK:
            wrong.append(f"block_length={settings.block_length} must be at least {SHORTEST_BLOCK}")
        if settings.remainder not in ("keep", "drop", "published"):
            wrong.append(f"remainder={settings.remainder} must be keep, drop or published")
        if settings.valid_blocks < 0:
            wrong.append(f"valid_blocks={settings.valid_blocks} must be 0 or more")
        if settings.data_tokens is not None:
            wrong += positive_int_errors(settings, "data_tokens")
        return wrong

    def command_groups(self) -> dict[str, list[str]]:
        return {"recipe": [self.settings.recipe], **super().command_groups()}

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        name = BUNDLED_MODELS.path_of(self.settings.tokenizer)
        return open_tokenizer(name, offline=self.settings.offline, flag="tokenizer=")

    @property
    def vocabulary(self) -> Vocabulary:
        return self.tokenizer.vocabulary

    @property
    def max_length(self) -> int:
        return self.settings.block_length

    def load_corpora(self) -> tuple[Corpus, Corpus | None]:
        settings = self.settings
        packing = Packing(settings.block_length, remainder=cast(Remainder, settings.remainder))
        load = partial(load_corpus, stream=settings.stream, offline=settings.offline)
        corpus = load(
            settings.data,
            self.tokenizer,
            packing,
            licenses=parse_licenses(settings.licenses),
            max_tokens=settings.data_tokens,
        )
        if not settings.valid:
            return corpus, None
        held_out = load(settings.valid, self.tokenizer, packing)
        return corpus, _first(held_out, settings.valid_blocks or len(held_out))

    def build_denoiser(self) -> DitDenoiser:
        model, vocabulary = self.settings.model, self.vocabulary
        return DitDenoiser(
            DitSettings(
                vocabulary_size=vocabulary.size,
                num_layers=model.num_layers,
                hidden_size=model.hidden_size,
                num_heads=model.num_heads,
                mask_id=vocabulary.mask_id,
                conditioning_size=model.conditioning_size,
                max_tokens=self.settings.block_length,
                time_conditioned=self.time_conditioned,
            )
        )

    def build_causal(self) -> PreTrainedModel:
        settings = self.settings
        return build_causal_model(settings.model, self.tokenizer, settings.block_length)

    def save(self, folder: Path, model: nn.Module, card: str) -> None:
        if isinstance(model, DitDenoiser):
            save_text_model(folder, model, self.tokenizer, card, self.extra_config)
        else:
            save_causal_folder(folder, model, self.tokenizer, card)

    def baselines(self, corpus: Corpus, held_out: Corpus) -> dict[str, float]:
        """Of a unigram model alone: a table of pairs of tokens would not fit into memory."""
        size = self.vocabulary.size
        counts = 1.0 + np.bincount(np.asarray(corpus.flat[:COUNTED_TOKENS]), minlength=size)
        counts[self.vocabulary.rank_of_id.numpy() < 0] = 0.0
        end = int(held_out.starts[-1])
        tokens = np.bincount(np.asarray(held_out.flat[:end]), minlength=size)
        seen = tokens > 0
        log_probs = np.log(counts[seen] / counts.sum())
        return {"unigram": -float(tokens[seen] @ log_probs) / end}


def _first(corpus: Corpus, blocks: int) -> Corpus:
    return Corpus(corpus.flat, corpus.starts[: blocks + 1])
